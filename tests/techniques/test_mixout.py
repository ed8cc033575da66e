"""Mixout's mixing against the reference's numbers, and its place in a model."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hype.techniques import TechniqueArguments, mixout
from hype.techniques.mixout import Mix, MixedLinear, Mixout
from tests.techniques.conftest import assert_near, tensor
from tests.tiny import tiny_batch, tiny_model


def mixed(vector, p, keep):
    weight = tensor(vector["inputs"]["w_current"]).requires_grad_()
    result = Mix.apply(weight, tensor(vector["inputs"]["u_target"]), tensor(keep), p)
    result.backward(tensor(vector["inputs"]["upstream_grad_wrt_mixed_weight"]))
    return result.detach(), weight.grad


@pytest.mark.parametrize("case", [0, 1, 2])
def test_mixed_weight_and_gradient_equal_the_reference(vectors, case):
    expected = vectors["mixout"]["cases"][case]
    result, weight_gradient = mixed(vectors["mixout"], expected["p"], expected["keep_mask_per_input_column"])
    assert_near(result, expected["mixed_weight"])
    assert_near(weight_gradient, expected["grad_wrt_weight_reference"])


def test_p_1_is_the_target(vectors):
    result, gradient = mixed(vectors["mixout"], 1.0, [0.0] * 4)
    assert_near(result, vectors["mixout"]["p_equals_1_mixed"])
    assert not gradient.any()


def test_linear_map_mixes_in_training_and_not_in_evaluation(vectors, monkeypatch):
    vector, inputs = vectors["mixout"]["linear_layer"], vectors["mixout"]["inputs"]
    monkeypatch.setattr(mixout, "keep_mask", lambda shape, p, like: tensor(vector["mask"]).reshape(shape))
    layer = nn.Linear(4, 3).double()
    layer.load_state_dict({"weight": tensor(inputs["w_current"]), "bias": tensor(vector["bias"])})
    layer.__class__ = MixedLinear
    layer.p, layer.targets = vector["p"], {"weight": tensor(inputs["u_target"])}
    assert_near(layer.train()(tensor(vector["x"])).detach(), vector["train_out"])
    assert_near(layer.eval()(tensor(vector["x"])).detach(), vector["eval_out"])


def attach(model, **flags):
    technique = Mixout(TechniqueArguments(**{"mixout_p": 0.9, **flags}))
    technique.before_training(SimpleNamespace(model=model))
    return technique


def mixed_modules(model):
    return [name for name, module in model.named_modules() if isinstance(module, mixout.Mixing)]


@pytest.mark.parametrize("model_type", ["bert", "roberta", "electra", "xlnet", "deberta"])
def test_layers_and_the_pretrained_pooler_are_mixed_and_nothing_else(model_type):
    model = tiny_model(model_type)
    attach(model)
    names = mixed_modules(model)
    prefix = model.base_model_prefix
    assert {name.split(".")[0] for name in names} == {prefix}
    assert (f"{prefix}.pooler.dense" in names) == (model_type == "bert")
    assert not any("embeddings" in name for name in names)
    linears = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and ".layer." in n]
    assert set(linears) <= set(names)


def test_xlnet_attention_masks_input_axes(monkeypatch):
    """Its maps are (in, heads, head), but o, of which heads and head are the input."""
    model = tiny_model("xlnet").train()
    attach(model)
    shapes = []
    draw = mixout.keep_mask

    def recorded(shape, p, like):
        shapes.append((tuple(shape), tuple(like.shape)))
        return draw(shape, p, like)

    monkeypatch.setattr(mixout, "keep_mask", recorded)
    model(**tiny_batch())
    attention = [mask for mask, weight in shapes if len(weight) == 3]
    assert attention == 3 * (4 * [(16, 1, 1)] + [(1, 2, 8)])


def xlnet_without_dropout():
    return tiny_model("xlnet", dropout=0.0, summary_last_dropout=0.0).train()


def test_xlnet_forward_with_all_columns_from_the_target_is_that_of_the_pretrained_model():
    pretrained, model = (xlnet_without_dropout() for _ in range(2))
    attach(model, mixout_p=1.0)
    for module in model.modules():
        if isinstance(module, mixout.Mixing):
            for name in module.INPUT_AXES:
                module._parameters[name].data.add_(1.0)
    batch = tiny_batch()
    assert torch.equal(model(**batch).logits, pretrained(**batch).logits)


@pytest.mark.parametrize("model_type", ["bert", "xlnet"])
def test_state_dict_and_classes_are_plain_during_and_after_training(model_type):
    model, plain = tiny_model(model_type), tiny_model(model_type)
    technique = attach(model)
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert dict(model.named_buffers()).keys() == dict(plain.named_buffers()).keys()
    technique.after_training(SimpleNamespace(model=model))
    assert [type(m) for m in model.modules()] == [type(m) for m in plain.modules()]
    assert not any("targets" in m.__dict__ for m in model.modules())


def test_a_model_without_known_maps_is_refused():
    with pytest.raises(ValueError, match="no linear maps"):
        attach(tiny_model("gpt2"))


def test_dropout_beside_mixout_is_warned_of(caplog):
    attach(tiny_model("bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    assert not caplog.records
    attach(tiny_model("bert"))
    assert "dropout" in caplog.text
