"""Mixout's mixing matches the reference's numbers, and is in the right places in a model."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hype.techniques import TechniqueArguments, mixout
from hype.techniques.mixout import Mix, Mixout, mix_in_training
from tests.techniques.vectors import assert_near, tensor
from tests.tiny import tiny_batch, tiny_model


@pytest.mark.parametrize("case", [0, 1, 2, None], ids=["0", "1", "2", "p = 1"])
def test_mixed_weight_and_gradient_equal_the_reference(vectors, case):
    vector, inputs = vectors["mixout"], vectors["mixout"]["inputs"]
    of_1 = {"p": 1.0, "keep_mask_per_input_column": [0.0] * 4, "mixed_weight": vector["p_equals_1_mixed"]}
    expected = vector["cases"][case] if case is not None else of_1
    weight = tensor(inputs["w_current"]).requires_grad_()
    keep = tensor(expected["keep_mask_per_input_column"])
    result = Mix.apply(weight, tensor(inputs["u_target"]), keep, expected["p"])
    result.backward(tensor(inputs["upstream_grad_wrt_mixed_weight"]))
    assert_near(result.detach(), expected["mixed_weight"])
    assert_near(weight.grad, expected.get("grad_wrt_weight_reference", torch.zeros_like(weight).tolist()))


def test_a_linear_map_mixes_in_training_and_not_in_evaluation(vectors, monkeypatch):
    vector, inputs = vectors["mixout"]["linear_layer"], vectors["mixout"]["inputs"]
    monkeypatch.setattr(mixout, "keep_mask", lambda shape, p, like: tensor(vector["mask"]).reshape(shape))
    layer = nn.Linear(4, 3).double()
    layer.load_state_dict({"weight": tensor(inputs["u_target"]), "bias": tensor(vector["bias"])})
    mix_in_training(layer, vector["p"])
    layer.weight.data = tensor(inputs["w_current"])
    assert_near(layer.train()(tensor(vector["x"])).detach(), vector["train_out"])
    assert_near(layer.eval()(tensor(vector["x"])).detach(), vector["eval_out"])


def test_a_forward_that_fails_leaves_the_parameter():
    layer = nn.Linear(4, 3)
    mix_in_training(layer, 0.5)
    with pytest.raises(RuntimeError):
        layer(torch.ones(1, 5))
    assert layer.weight is dict(layer.named_parameters())["weight"]


def attach(model, p=0.9):
    technique = Mixout(TechniqueArguments(mixout_p=p))
    technique.before_training(SimpleNamespace(model=model))
    return technique


def maps_of_layers(model) -> set[str]:
    """Return the names of the linear maps' weights in the layers; XLNet's biases have two axes, too."""
    biases = ("r_s_bias", "r_r_bias", "r_w_bias", "seg_embed")
    weights = {name for name, parameter in model.named_parameters() if ".layer." in name and parameter.ndim > 1}
    return {name for name in weights if not name.endswith(biases)}


@pytest.mark.parametrize("model_type", ["bert", "roberta", "electra", "xlnet", "deberta"])
def test_layers_and_the_pretrained_pooler_are_mixed_and_nothing_else(model_type, monkeypatch):
    model, mixed = tiny_model(model_type), set()
    attach(model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    monkeypatch.setattr(mixout.Mix, "apply", lambda weight, *_: mixed.add(names[id(weight)]) or weight)
    model.train()(**tiny_batch())
    assert mixed == maps_of_layers(model) | ({"bert.pooler.dense.weight"} if model_type == "bert" else set())


@pytest.mark.parametrize("model_type", ["bert", "xlnet"])
def test_all_columns_from_the_target_give_the_pretrained_forward_and_a_plain_model_stays(model_type):
    options = {"summary_last_dropout": 0.0} if model_type == "xlnet" else {}
    model, plain = (tiny_model(model_type, dropout=0.0, **options).train() for _ in range(2))
    technique, batch = attach(model, p=1.0), tiny_batch()
    for name in maps_of_layers(model):
        model.get_parameter(name).data.mul_(2.0)
    pretrained = plain(**batch).logits
    assert torch.equal(model(**batch).logits, pretrained)
    assert dict(model.named_buffers()).keys() == dict(plain.named_buffers()).keys()
    plain.load_state_dict(model.state_dict())
    technique.after_training(SimpleNamespace(model=model))
    assert torch.equal(model(**batch).logits, plain(**batch).logits)
    assert not torch.equal(model(**batch).logits, pretrained)


def test_xlnet_s_attention_masks_input_axes(monkeypatch):
    """Its maps are (in, heads, head), except o, whose input axes are heads and head."""
    model, shapes, draw = tiny_model("xlnet").train(), [], mixout.keep_mask
    attach(model)
    monkeypatch.setattr(
        mixout, "keep_mask", lambda shape, p, like: shapes.append((tuple(shape), like.ndim)) or draw(shape, p, like)
    )
    model(**tiny_batch())
    assert [mask for mask, ndim in shapes if ndim == 3] == 3 * (4 * [(16, 1, 1)] + [(1, 2, 8)])


def test_a_model_without_known_maps_is_refused():
    with pytest.raises(ValueError, match="no linear maps"):
        attach(tiny_model("gpt2"))


def test_dropout_beside_mixout_is_warned_of(caplog):
    attach(tiny_model("bert", dropout=0.0))
    assert not caplog.records
    attach(tiny_model("bert"))
    assert "dropout" in caplog.text
