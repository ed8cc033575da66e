"""Every architecture against algorithm 1 written out by hand, and the choice of layers."""

import numpy as np
import pytest
import torch
import transformers

from hype import HyPe
from hype.architectures import ARCHITECTURES
from tests.by_hand import FORWARDS, IDS, Recorded, hooks_of, run_with_noise
from tests.tiny import CONFIGS, tiny_config, tiny_model

# name -> HyPe options, noise on the layers' inputs, noise after their attention
POSITIONS = {
    "input": ({}, True, False),
    "both": ({"hype_intermediate": True}, True, True),
    "attention": ({"hype_only_intermediate": True}, False, True),
    "attention, both flags": ({"hype_intermediate": True, "hype_only_intermediate": True}, False, True),
}
# Here the residual is added after the attention module, so the code by hand computes the two sums in another order.
RESIDUAL_AFTER = ("modernbert", "gpt2", "llama", "qwen2", "qwen3")
PERM_MASK = torch.zeros(4, 9, 9)  # (batch, length, length)
TARGET_MAPPING = torch.zeros(4, 2, 9)  # (batch, targets, length)
PERM_MASK[:, :, -3:] = TARGET_MAPPING[:, 0, -1] = TARGET_MAPPING[:, 1, -2] = 1
# name -> model type, changes to its configuration, further inputs, and the number of draws per forward
MODELS = {name: (name, {}, {}, 4 if name in ("albert", "t5", "mt5", "bart") else 3) for name in CONFIGS} | {
    "albert with inner layers": ("albert", {"inner_group_num": 2}, {}, 8),
    "xlnet with two streams": ("xlnet", {}, {"perm_mask": PERM_MASK, "target_mapping": TARGET_MAPPING}, 6),
}


def noised_indices(model, **options):
    """Return the indices of the layer calls that receive a noised state."""
    received = []
    for module in model.modules():
        # By class name, independently of the paths in hype.architectures.
        if type(module).__name__ in ("BertLayer", "AlbertLayer", "T5Block", "BartEncoderLayer", "BartDecoderLayer"):
            module.register_forward_hook(lambda module, args, output: received.append(args[0]))
    _, recorded = run_with_noise(model, **options)
    return [i for i, state in enumerate(received) if any(torch.equal(state, noised) for _, noised in recorded.draws)]


def test_the_table_and_the_tiny_models_name_the_same_architectures():
    assert set(ARCHITECTURES) == set(CONFIGS) == set(FORWARDS)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("name", MODELS)
def test_output_equals_algorithm_1_by_hand(name, position):
    model_type, changes, inputs, draw_count = MODELS[name]
    options, at_input, at_attention = POSITIONS[position]
    model, recorded = tiny_model(model_type, dropout=0.0, **changes).train(), Recorded()
    places = [recorded.add if is_perturbed else lambda state: state for is_perturbed in (at_input, at_attention)]
    with torch.no_grad():
        without_noise = model(IDS, **inputs).logits
        with HyPe(model, "uniform", 0.5, **options) as hype:
            hype.observer = recorded.observe
            logits = model(IDS, **inputs).logits
        by_hand = FORWARDS[model_type](model, IDS, *places, **inputs)
    assert len(recorded.draws) == len(recorded.states) == draw_count * (at_input + at_attention)
    if at_attention and model_type in RESIDUAL_AFTER:
        torch.testing.assert_close(logits, by_hand, rtol=0, atol=1e-6)
    else:
        assert torch.equal(logits, by_hand)
        assert all(torch.equal(clean, state) for (clean, _), state in zip(recorded.draws, recorded.states, strict=True))
    assert (logits - without_noise).abs().max() > 1e-4
    if name == "xlnet with two streams":
        shapes = [tuple(clean.shape) for clean, _ in recorded.draws]
        assert shapes == [(9, 4, 16), (2, 4, 16)] * (len(shapes) // 2)  # (length or targets, batch, hidden)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0, 1, 2, 3]),
        ({"hype_top_layers": 1}, [3]),
        ({"hype_low_layers": 3}, [0, 1, 2]),
        ({"hype_top_layers": 1, "hype_low_layers": 2}, [0, 1, 3]),
        ({"hype_top_layers": 3, "hype_low_layers": 3}, [0, 1, 2, 3]),
        ({"hype_top_layers": 0, "hype_low_layers": 0}, [0, 1, 2, 3]),
        ({"hype_top_layers": 4}, [0, 1, 2, 3]),
        ({"hype_layers": [3, 0]}, [0, 3]),
        ({"hype_layers": np.array([0, 2])}, [0, 2]),
    ],
)
@pytest.mark.parametrize("model_type", ["bert", "albert", "t5", "bart"])
def test_noise_enters_the_chosen_layers_alone(model_type, options, expected):
    changes = {"num_hidden_layers": 4} if model_type == "bert" else {}
    assert noised_indices(tiny_model(model_type, **changes), **options) == expected


@pytest.mark.parametrize("index", range(8))
def test_albert_counts_the_calls_of_its_inner_layers(index):
    """4 layers of 2 inner layers each: 8 calls, which use the 4 sets of weights in the order 0 1 0 1 2 3 2 3."""
    model = tiny_model("albert", inner_group_num=2)
    assert noised_indices(model, hype_layers=[index]) == [index]


def test_albert_is_perturbed_when_its_body_is_called_without_the_head_or_past_its_call():
    model = tiny_model("albert").train()
    with HyPe(model, "normal", 0.5, hype_top_layers=1) as hype:
        for count, forward in enumerate((model.base_model, model.forward, model, model.base_model, model.forward), 1):
            forward(IDS)
            assert hype.draw_count == count


@pytest.mark.parametrize(("model_type", "name"), [("t5", "T5EncoderModel"), ("bart", "BartForCausalLM")])
def test_an_encoder_or_a_decoder_alone_is_perturbed(model_type, name):
    model = getattr(transformers, name)(tiny_config(model_type))
    with HyPe(model.train()) as hype:
        model(IDS)
    assert hype.draw_count == 2
    if name == "BartForCausalLM":  # noise after attention would be after the cross-attention, which does not run
        with pytest.raises(ValueError, match="a decoder alone"):
            HyPe(model, hype_intermediate=True)


@pytest.mark.parametrize(
    ("model_type", "options", "message"),
    [
        ("bert", {"hype_top_layers": 4}, "hype_top_layers 4: the model has 3 layers"),
        ("bert", {"hype_top_layers": -1}, "hype_top_layers -1: the model has 3 layers"),
        ("bert", {"hype_low_layers": 4}, "hype_low_layers 4: the model has 3 layers"),
        ("bert", {"hype_layers": [0, 3]}, "layers 0 to 2"),
        ("bert", {"hype_layers": [-1]}, "layers 0 to 2"),
        ("bert", {"hype_layers": []}, "layers 0 to 2"),
        ("bert", {"hype_layers": [0], "hype_top_layers": 1}, "hype_layers cannot be combined"),
        ("albert", {"hype_top_layers": 5}, "the model has 4 layers"),  # one per call
    ],
)
def test_layers_outside_of_the_model_are_refused_and_nothing_attached(model_type, options, message):
    model = tiny_model(model_type)
    with pytest.raises(ValueError, match=message):
        HyPe(model, **options)
    assert hooks_of(model) == []
