"""Child-Tuning's masks against the reference's numbers, and where they act."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from hype.optimizers import LegacyAdamW
from hype.techniques import TechniqueArguments
from hype.techniques.child_tuning import (
    ChildTuningD,
    ChildTuningF,
    fisher_information,
    masks_of_largest,
    scored_parameters,
)
from tests.techniques.conftest import assert_near, tensor
from tests.tiny import tiny_batch, tiny_model


def masked_steps(technique, vector, gradients, options):
    """Train one parameter with given raw gradients; return its values and the gradients after the mask."""
    model = nn.Module()
    model.layer = nn.Parameter(tensor(vector["theta0"]))
    trainer = SimpleNamespace(model=model, args=SimpleNamespace(seed=0), state=SimpleNamespace(global_step=0))
    optimizer = LegacyAdamW(model.parameters(), **options)
    values, masked = [], []
    for gradient in gradients:
        model.layer.grad = tensor(gradient)
        technique.before_update(trainer)
        masked.append(model.layer.grad.clone())
        optimizer.step()
        values.append(model.layer.detach().clone())
    return torch.stack(values), torch.stack(masked)


def adamw(hyper):
    return {name: hyper[name] for name in ("lr", "betas", "eps", "weight_decay")}


def test_f_rescales_and_trains_as_the_reference(vectors, monkeypatch):
    vector = vectors["child_tuning_F"]
    inputs, masks = vector["inputs"], iter(vector["inputs"]["keep_masks_steps_1_2_3"])
    technique = ChildTuningF(TechniqueArguments(mode="ChildTuning-F", reserve_p=inputs["hyper"]["p"]))
    monkeypatch.setattr(technique, "keep_mask", lambda gradient, rng: tensor(next(masks)).bool())
    values, masked = masked_steps(technique, inputs, inputs["raw_grads_steps_1_2_3"], adamw(inputs["hyper"]))
    assert_near(masked, vector["grads_after_mask_and_rescale"])
    assert_near(values, vector["theta_after_steps_1_2_3"])


def test_d_masks_without_rescaling_as_the_reference(vectors):
    vector = vectors["child_tuning_D"]["step"]
    technique = ChildTuningD(TechniqueArguments(mode="ChildTuning-D", reserve_p=0.3))
    technique.masks = {"layer": torch.tensor(vector["mask"]).bool()}
    values, _ = masked_steps(technique, vector, vector["raw_grads"], adamw(vector["hyper"]))
    assert_near(values, vector["theta_masked_after_steps_1_2_3"])
    technique.masks = {}
    values, _ = masked_steps(technique, vector, vector["raw_grads"], adamw(vector["hyper"]))
    assert_near(values, vector["theta_unmasked_after_steps_1_2_3"])


class ThreeMaps(nn.Module):
    """The reference run's model: tanh(layer(embed(x))), then a classifier."""

    def __init__(self, vector):
        super().__init__()
        self.embed, self.layer = nn.Linear(2, 2, bias=False), nn.Linear(2, 2)
        self.classifier = nn.Linear(2, 2)
        self.double().load_state_dict(
            {name.replace("_", "."): tensor(vector[name]) for name in vector if name.endswith(("_weight", "_bias"))}
        )

    def forward(self, x, labels):
        logits = self.classifier(torch.tanh(self.layer(self.embed(x))))
        return SequenceClassifierOutput(loss=nn.functional.cross_entropy(logits, labels), logits=logits)


def fisher_trainer(model, batches, max_grad_norm=1.0):
    return SimpleNamespace(
        model=model,
        args=SimpleNamespace(seed=0, max_grad_norm=max_grad_norm, world_size=1, disable_tqdm=True),
        accelerator=SimpleNamespace(reduce=lambda tensor: tensor),
        get_train_dataloader=lambda: batches,
    )


@pytest.mark.parametrize("case", [0, 1])
def test_fisher_and_masks_equal_the_reference(vectors, case):
    vector = vectors["child_tuning_D"]["fisher"]
    case, x, labels = vector["cases"][case], tensor(vector["x"]), torch.tensor(vector["labels"])
    size = case["batch_size"]
    batches = [{"x": x[i : i + size], "labels": labels[i : i + size]} for i in range(0, len(x), size)]
    model = ThreeMaps(vector)
    information = fisher_information(fisher_trainer(model, batches, case["max_grad_norm"]), scored_parameters(model))
    flat = torch.cat([information["layer.weight"].flatten(), information["layer.bias"]])
    assert_near(flat, case["fisher_flat_layer_weight_then_layer_bias"])
    masks = masks_of_largest(information, case["p"])
    assert {name: mask.tolist() for name, mask in masks.items()} == case["mask"]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_fisher_pass_leaves_the_random_streams_and_the_mode_alone():
    model = tiny_model("bert").eval()
    batch = {"input_ids": torch.arange(5, 11).reshape(2, 3), "labels": torch.tensor([0, 1])}
    before = torch.get_rng_state()
    fisher_information(fisher_trainer(model, [batch]), scored_parameters(model))
    assert torch.equal(torch.get_rng_state(), before)
    assert not model.training


def test_the_fisher_pass_does_not_depend_on_the_random_streams():
    model = tiny_model("bert")
    batch = {"input_ids": torch.arange(5, 11).reshape(2, 3), "labels": torch.tensor([0, 1])}
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        results.append(fisher_information(fisher_trainer(model, [batch]), scored_parameters(model)))
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_fisher_information_of_half_precision_weights_is_float32(dtype):
    model = tiny_model("bert").to(dtype)
    information = fisher_information(fisher_trainer(model, [tiny_batch()], 1e-3), scored_parameters(model))
    assert {tensor.dtype for tensor in information.values()} == {torch.float32}
    # A tensor's entries are 1e-5 or less: squares that float16 would call 0.
    assert all((tensor > 0).float().mean() > 0.5 for name, tensor in information.items() if name.endswith("weight"))
    assert any(masks_of_largest(information, 0.3))


OUTSIDE = {
    "bert": {"bert.embeddings", "bert.pooler", "classifier"},
    "roberta": {"roberta.embeddings", "classifier"},
    "electra": {"electra.embeddings", "electra.embeddings_project", "classifier"},
    "xlnet": {"transformer.mask_emb", "transformer.word_embedding", "sequence_summary", "logits_proj"},
    "deberta": {"deberta.embeddings", "deberta.encoder.rel_embeddings", "pooler", "classifier"},
}


@pytest.mark.parametrize("model_type", OUTSIDE)
def test_d_masks_what_is_inside_the_layers(model_type):
    model = tiny_model(model_type)
    unmasked = [name for name, _ in model.named_parameters() if name not in scored_parameters(model)]
    assert all(any(name.startswith(part) for part in OUTSIDE[model_type]) for name in unmasked)
    assert all(any(name.startswith(part) for name in unmasked) for part in OUTSIDE[model_type])


def test_d_refuses_a_model_without_such_names():
    with pytest.raises(ValueError, match="choose ChildTuning-F"):
        scored_parameters(nn.Linear(2, 2))


def f_gradients(seed, step, rank):
    model = nn.Linear(100, 50)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    args = SimpleNamespace(seed=seed, process_index=rank)
    trainer = SimpleNamespace(model=model, args=args, state=SimpleNamespace(global_step=step))
    ChildTuningF(TechniqueArguments(mode="ChildTuning-F", reserve_p=0.3)).before_update(trainer)
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def test_f_masks_change_with_step_and_seed_and_not_with_rank_or_the_global_stream():
    first = f_gradients(seed=0, step=0, rank=0)
    torch.manual_seed(99)
    assert torch.equal(first, f_gradients(seed=0, step=0, rank=1))
    assert not torch.equal(first, f_gradients(seed=0, step=1, rank=0))
    assert not torch.equal(first, f_gradients(seed=1, step=0, rank=0))


def test_f_masks_the_rows_of_an_embedding_that_have_a_gradient_and_leaves_the_others_zero():
    model = tiny_model("bert")
    model.zero_grad()
    gradients = {}
    for name, parameter in model.named_parameters():
        parameter.grad = torch.ones_like(parameter)
        if name.endswith("word_embeddings.weight"):
            parameter.grad[::2] = 0
        gradients[name] = parameter.grad.clone()
    args, state = SimpleNamespace(seed=3), SimpleNamespace(global_step=5)
    technique = ChildTuningF(TechniqueArguments(mode="ChildTuning-F", reserve_p=0.25))
    technique.before_update(SimpleNamespace(model=model, args=args, state=state))
    for name, parameter in model.named_parameters():
        before = gradients[name]
        assert set(parameter.grad.unique().tolist()) <= {0.0, 4.0}
        assert (parameter.grad[before == 0] == 0).all()
        share = (parameter.grad != 0).sum() / (before != 0).sum()
        assert abs(share.item() - 0.25) < 4 * (0.25 * 0.75 / (before != 0).sum().item()) ** 0.5, name
