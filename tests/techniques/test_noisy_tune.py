"""NoisyTune against the numbers of the HyPe release's implementation."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hype.techniques import TechniqueArguments, noisy_tune
from hype.techniques.noisy_tune import NoisyTune
from tests.techniques.conftest import assert_near, tensor
from tests.tiny import tiny_model


def apply(model, weight, seed=0):
    trainer = SimpleNamespace(model=model, args=SimpleNamespace(seed=seed))
    NoisyTune(TechniqueArguments(noise_lambda=weight)).before_training(trainer)
    return model


def test_parameters_move_as_in_the_release(vectors, monkeypatch):
    vector = vectors["noisytune"]
    model = nn.Module()
    for name, values in vector["before"].items():
        model.register_parameter(name, nn.Parameter(tensor(values)))
    # The draws come in the order of the parameters; those that are skipped draw none.
    draws = iter(vector["uniform01_draws"].values())
    monkeypatch.setattr(noisy_tune.torch, "rand", lambda shape, **options: tensor(next(draws)))
    apply(model, vector["lambda"])
    for name, parameter in model.named_parameters():
        assert_near(parameter.detach(), vector["after"][name])
    assert not list(draws)


def test_noise_is_uniform_and_relative_to_each_tensors_spread():
    model = nn.Linear(200, 100)
    before = model.weight.detach().clone()
    apply(model, 0.2)
    noise = (model.weight.detach() - before) / before.std()
    assert noise.abs().max().item() <= 0.1 + 1e-6
    assert noise.std().item() == pytest.approx(0.2 / 12**0.5, rel=0.02)
    assert abs(noise.mean().item()) < 0.002


def test_every_kind_of_parameter_moves_and_zero_biases_stay():
    model, before = apply(tiny_model("bert"), 0.15), tiny_model("bert")
    for (name, after), parameter in zip(model.named_parameters(), before.parameters(), strict=True):
        assert torch.equal(after, parameter) == (parameter.std().item() == 0), name
        assert after.is_leaf
        assert after.requires_grad


def test_a_regression_head_with_one_bias_stays_finite():
    model = apply(tiny_model("bert", num_labels=1), 0.15)
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_draws_depend_on_the_seed_and_leave_the_global_stream_alone():
    before = torch.get_rng_state()
    first, again, other = (apply(tiny_model("bert"), 0.15, seed).classifier.weight for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
