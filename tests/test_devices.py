"""No tensor is left on the CPU: a training step on the `meta` device, where mixing devices is an error."""

import pytest

from hype import HyPe
from tests.tiny import tiny_batch, tiny_model


# Others read values of their input (DeBERTa its padding, GPT-2 its last token), which do not exist on meta.
@pytest.mark.parametrize(
    ("model_type", "options", "count"),
    [
        ("bert", {"hype_type": "uniform", "hype_intermediate": True}, 6),
        ("xlnet", {"hype_type": "normal"}, 3),
    ],
)
def test_noise_is_drawn_on_the_device_of_the_states(model_type, options, count):
    model, draws = tiny_model(model_type).to("meta").train(), []
    batch = {name: value.to("meta") for name, value in tiny_batch().items() if name != "attention_mask"}
    with HyPe(model, hype_eps=1e-3, hype_stream="global", **options) as hype:
        hype.observer = lambda clean, noised: draws.append((clean.device.type, noised.device.type))
        model(**batch).loss.backward()
    assert draws == [("meta", "meta")] * count
    assert {parameter.grad.device.type for parameter in model.parameters() if parameter.grad is not None} == {"meta"}
