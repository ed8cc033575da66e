"""No tensor is left on the CPU: a training step on the `meta` device, where a mixture of devices is refused."""

import pytest
import torch

from hype import HyPe
from hype.perturbation import SAMPLERS
from tests.tiny import CONFIGS, tiny_batch, tiny_model


def step_on_meta(model_type, hype_type="normal", **options):
    """Do a forward and backward on the meta device; return how many draws were made."""
    model = tiny_model(model_type).to("meta").train()
    batch = {name: value.to("meta") for name, value in tiny_batch().items() if name != "attention_mask"}
    draws = []
    with HyPe(model, hype_type, 1e-3, hype_stream="global", **options) as hype:
        hype.observer = lambda clean, noised: draws.append((clean.device.type, noised.device.type))
        model(**batch).loss.backward()
    assert {parameter.grad.device.type for parameter in model.parameters() if parameter.grad is not None} == {"meta"}
    return draws


# Others read values of their input (DeBERTa looks for padding, GPT-2 for the last token), and there are none on meta.
@pytest.mark.parametrize("model_type", ["bert", "roberta", "electra", "xlnet", "albert", "distilbert"])
def test_noise_is_drawn_on_the_device_of_the_states(model_type):
    draws = step_on_meta(model_type)
    assert set(draws) == {("meta", "meta")} and len(draws) == CONFIGS[model_type].get("num_hidden_layers", 3)


@pytest.mark.parametrize("options", [{"hype_intermediate": True}, {"hype_uniform_support": "positive"}])
def test_every_kind_of_noise_is_drawn_there(options):
    assert set(step_on_meta("bert", "uniform", **options)) == {("meta", "meta")}


def test_noise_left_on_the_cpu_would_be_noticed(monkeypatch):
    monkeypatch.setitem(SAMPLERS, "normal", lambda noise, eps, rng: torch.empty(noise.shape).normal_(0, eps))
    with pytest.raises(RuntimeError, match="device"):
        step_on_meta("bert")
