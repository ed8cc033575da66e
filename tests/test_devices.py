"""No tensor is left on the CPU: a training step on the `meta` device, where mixing devices is an error."""

import pytest
import torch

from hype import HyPe
from hype.perturbation import SAMPLERS
from tests.tiny import tiny_batch, tiny_model


def step_on_meta(model_type, hype_type="normal", **options):
    """Run a forward and backward pass on the meta device; return the number of draws."""
    model = tiny_model(model_type).to("meta").train()
    batch = {name: value.to("meta") for name, value in tiny_batch().items() if name != "attention_mask"}
    draws = []
    with HyPe(model, hype_type, 1e-3, hype_stream="global", **options) as hype:
        hype.observer = lambda clean, noised: draws.append((clean.device.type, noised.device.type))
        model(**batch).loss.backward()
    assert {parameter.grad.device.type for parameter in model.parameters() if parameter.grad is not None} == {"meta"}
    return draws


# Others read values of their input (DeBERTa its padding, GPT-2 its last token), which do not exist on meta.
@pytest.mark.parametrize(
    ("model_type", "options", "count"),
    [
        *((name, {}, 3) for name in ("bert", "roberta", "electra", "xlnet", "distilbert")),
        ("albert", {}, 4),
        ("bert", {"hype_type": "uniform", "hype_intermediate": True}, 6),
        ("bert", {"hype_type": "uniform", "hype_uniform_support": "positive"}, 3),
    ],
)
def test_noise_is_drawn_on_the_device_of_the_states(model_type, options, count):
    assert step_on_meta(model_type, **options) == [("meta", "meta")] * count


def test_noise_left_on_the_cpu_would_be_noticed(monkeypatch):
    monkeypatch.setitem(SAMPLERS, "normal", lambda noise, eps, rng: torch.empty(noise.shape).normal_(0, eps))
    with pytest.raises(RuntimeError, match="device"):
        step_on_meta("bert")
