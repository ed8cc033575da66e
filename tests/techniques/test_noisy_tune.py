"""NoisyTune matches the numbers of the HyPe release's implementation."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hype.techniques import TechniqueArguments, noisy_tune
from hype.techniques.noisy_tune import NoisyTune
from tests.techniques.vectors import assert_near, tensor
from tests.tiny import tiny_model


def apply(model, weight=0.15, seed=0):
    trainer = SimpleNamespace(model=model, args=SimpleNamespace(seed=seed))
    NoisyTune(TechniqueArguments(noise_lambda=weight)).before_training(trainer)
    return model


def test_parameters_move_as_in_the_release(vectors, monkeypatch):
    vector = vectors["noisytune"]
    model = nn.Module()
    for name, values in vector["before"].items():
        model.register_parameter(name, nn.Parameter(tensor(values)))
    # The draws are in the order of the parameters; skipped parameters draw nothing.
    draws = iter(vector["uniform01_draws"].values())
    monkeypatch.setattr(noisy_tune.torch, "rand", lambda shape, **options: tensor(next(draws)).reshape(shape))
    apply(model, vector["lambda"])
    for name, parameter in model.named_parameters():
        assert_near(parameter.detach(), vector["after"][name])
    assert not list(draws)


@pytest.mark.parametrize("num_labels", [3, 1])
def test_every_kind_of_parameter_moves_and_those_without_a_spread_stay(num_labels):
    model, before = apply(tiny_model("bert", num_labels=num_labels)), tiny_model("bert", num_labels=num_labels)
    for (name, after), parameter in zip(model.named_parameters(), before.parameters(), strict=True):
        is_flat = parameter.numel() == 1 or parameter.std().item() == 0
        assert torch.equal(after, parameter) == is_flat and torch.isfinite(after).all(), name
        assert after.is_leaf and after.requires_grad


def test_draws_depend_on_the_seed_and_leave_the_global_stream_alone():
    before = torch.get_rng_state()
    first, again, other = (apply(tiny_model("bert"), seed=seed).classifier.weight for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
