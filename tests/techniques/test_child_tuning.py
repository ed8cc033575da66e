"""Child-Tuning's masks match the reference's numbers, and act where they should."""

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
from tests.techniques.vectors import assert_near, tensor
from tests.tiny import tiny_batch, tiny_model


def f_technique(p):
    return ChildTuningF(TechniqueArguments(mode="ChildTuning-F", reserve_p=p))


def trainer_of(model, seed=0, step=0, **args):
    return SimpleNamespace(
        model=model, args=SimpleNamespace(seed=seed, **args), state=SimpleNamespace(global_step=step)
    )


def masked_steps(technique, vector, gradients, hyper):
    """Train one parameter with given raw gradients; return its values and the gradients after the mask."""
    model = nn.Module()
    model.layer = nn.Parameter(tensor(vector["theta0"]))
    options = {name: hyper[name] for name in ("lr", "betas", "eps", "weight_decay")}
    optimizer, values, masked = LegacyAdamW(model.parameters(), **options), [], []
    for gradient in gradients:
        model.layer.grad = tensor(gradient)
        technique.before_update(trainer_of(model))
        masked.append(model.layer.grad.clone())
        optimizer.step()
        values.append(model.layer.detach().clone())
    return torch.stack(values), torch.stack(masked)


def test_f_rescales_and_trains_as_the_reference(vectors, monkeypatch):
    vector, inputs = vectors["child_tuning_F"], vectors["child_tuning_F"]["inputs"]
    masks, technique = iter(inputs["keep_masks_steps_1_2_3"]), f_technique(inputs["hyper"]["p"])
    monkeypatch.setattr(technique, "keep_mask", lambda gradient, rng: tensor(next(masks)).bool())
    values, masked = masked_steps(technique, inputs, inputs["raw_grads_steps_1_2_3"], inputs["hyper"])
    assert_near(masked, vector["grads_after_mask_and_rescale"])
    assert_near(values, vector["theta_after_steps_1_2_3"])


@pytest.mark.parametrize("is_masked", [True, False])
def test_d_masks_without_rescaling_as_the_reference(vectors, is_masked):
    vector = vectors["child_tuning_D"]["step"]
    technique = ChildTuningD(TechniqueArguments(mode="ChildTuning-D", reserve_p=0.3))
    technique.masks = {"layer": torch.tensor(vector["mask"]).bool()} if is_masked else {}
    values, _ = masked_steps(technique, vector, vector["raw_grads"], vector["hyper"])
    assert_near(values, vector[f"theta_{'masked' if is_masked else 'unmasked'}_after_steps_1_2_3"])


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


def information_of(model, batches, max_grad_norm=1.0):
    trainer = trainer_of(model, max_grad_norm=max_grad_norm, world_size=1, disable_tqdm=True)
    trainer.accelerator = SimpleNamespace(reduce=lambda tensor: tensor)
    trainer.get_train_dataloader = lambda: batches
    return fisher_information(trainer, scored_parameters(model))


@pytest.mark.parametrize("case", [0, 1])
def test_fisher_and_masks_equal_the_reference(vectors, case):
    vector = vectors["child_tuning_D"]["fisher"]
    case, x, labels = vector["cases"][case], tensor(vector["x"]), torch.tensor(vector["labels"])
    size = case["batch_size"]
    batches = [{"x": x[i : i + size], "labels": labels[i : i + size]} for i in range(0, len(x), size)]
    model = ThreeMaps(vector)
    information = information_of(model, batches, case["max_grad_norm"])
    flat = torch.cat([information["layer.weight"].flatten(), information["layer.bias"]])
    assert_near(flat, case["fisher_flat_layer_weight_then_layer_bias"])
    masks = masks_of_largest(information, case["p"])
    assert {name: mask.tolist() for name, mask in masks.items()} == case["mask"]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_fisher_pass_neither_moves_the_random_streams_and_the_mode_nor_depends_on_them():
    model, results = tiny_model("bert"), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        results.append(information_of(model.train(seed == 1), [tiny_batch()]))
        assert torch.equal(torch.get_rng_state(), before) and model.training == (seed == 1)
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_fisher_information_of_half_precision_weights_is_float32(dtype):
    information = information_of(tiny_model("bert").to(dtype), [tiny_batch()], 1e-3)
    assert {tensor.dtype for tensor in information.values()} == {torch.float32}
    # A tensor's entries are 1e-5 or less: squares that float16 would round to 0.
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


def test_f_masks_change_with_step_and_seed_and_not_with_rank_or_the_global_stream():
    def gradient(rank=0, **of_the_stream):
        model = nn.Linear(100, 50)
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        f_technique(0.3).before_update(trainer_of(model, process_index=rank, **of_the_stream))
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    first = gradient()
    torch.manual_seed(99)
    assert torch.equal(first, gradient(rank=1))
    assert not torch.equal(first, gradient(step=1))
    assert not torch.equal(first, gradient(seed=1))


def test_f_masks_the_rows_of_an_embedding_that_have_a_gradient_and_leaves_the_others_zero():
    model, gradients = tiny_model("bert"), {}
    for name, parameter in model.named_parameters():
        parameter.grad = torch.ones_like(parameter)
        if name.endswith("word_embeddings.weight"):
            parameter.grad[::2] = 0
        gradients[name] = parameter.grad.clone()
    f_technique(0.25).before_update(trainer_of(model, seed=3, step=5))
    for name, parameter in model.named_parameters():
        before = gradients[name]
        assert set(parameter.grad.unique().tolist()) <= {0.0, 4.0}
        assert (parameter.grad[before == 0] == 0).all()
        share = (parameter.grad != 0).sum() / (before != 0).sum()
        assert abs(share.item() - 0.25) < 4 * (0.25 * 0.75 / (before != 0).sum().item()) ** 0.5, name
