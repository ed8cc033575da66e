"""Diagnostics of the noise equal computations by hand, and measuring has no side effects."""

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from hype import HyPe
from hype.diagnostics import measure_noise
from tests.by_hand import IDS, run_with_noise
from tests.tiny import enable_checkpointing, tiny_batch, tiny_model

WIDE = {"hidden_size": 128, "dropout": 0.0}
MANY_IDS = tiny_batch(8, 30)["input_ids"]


def measured(model, *args, ids=IDS, **options):
    with HyPe(model, *args, **options) as hype:
        return measure_noise(model, hype, lambda: model(ids).logits)


def test_share_of_changed_entries_is_that_of_float32_rounding():
    """U(-eps, eps) leaves h unchanged if under half of float32's spacing at h: with probability spacing / (2 eps)."""
    model = tiny_model("bert", **WIDE)
    result = measured(model, "uniform", 1e-5, ids=MANY_IDS)
    assert [layer["dtype"] for layer in result["layers"]] == ["float32"] * 3
    _, recorded = run_with_noise(model, MANY_IDS, hype_eps=1e-5)
    for layer, (clean, _) in zip(result["layers"], recorded.draws, strict=True):
        expected = 1 - (np.spacing(clean.abs().numpy()).astype(np.float64) / 2e-5).mean()
        assert 0.99 < expected < 0.999
        assert layer["changed"] == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / clean.numel()))


@pytest.mark.parametrize(("dtype", "limit"), [(torch.bfloat16, 0.01), (torch.float16, 0.05)])
def test_noise_of_the_paper_vanishes_in_half_precision_but_not_under_autocast(dtype, limit):
    model = tiny_model("bert", **WIDE)
    with torch.autocast("cpu", dtype=dtype):
        assert measured(model, "uniform", 1e-5, ids=MANY_IDS)["least_changed"] > 0.99
    result = measured(model.to(dtype), "uniform", 1e-5, ids=MANY_IDS, allow_vanishing_noise=True)
    assert all(layer["changed"] < limit for layer in result["layers"])
    assert {layer["dtype"] for layer in result["layers"]} == {str(dtype).removeprefix("torch.")}
    assert result["least_changed"] == min(layer["changed"] for layer in result["layers"])


@pytest.mark.parametrize(("hype_type", "variance"), [("normal", 1), ("uniform", 1 / 3)])
def test_signal_to_noise_ratio_is_that_by_hand(hype_type, variance):
    model = tiny_model("bert", **WIDE)
    options = {"hype_type": hype_type, "hype_eps": 1e-2, "hype_intermediate": True}
    result = measured(model, ids=MANY_IDS, **options)
    _, recorded = run_with_noise(model, MANY_IDS, **options)
    assert len(result["layers"]) == len(recorded.draws) == 6
    for layer, (clean, noised) in zip(result["layers"], recorded.draws, strict=True):
        clean, noised = clean.double().numpy(), noised.double().numpy()
        power = (clean**2).mean()
        assert layer["snr_db"] == pytest.approx(10 * math.log10(power / ((noised - clean) ** 2).mean()), abs=1e-6)
        assert layer["snr_db"] == pytest.approx(10 * math.log10(power / (variance * 1e-4)), abs=0.1)


def test_a_noise_that_changes_nothing_has_no_signal_to_noise_ratio():
    result = measured(tiny_model("bert"), "normal", 1e-30, hype_layers=[1])
    assert [(layer["changed"], layer["snr_db"]) for layer in result["layers"]] == [(0.0, None)]
    assert result["least_changed"] == 0.0


def test_a_model_that_was_compiled_into_one_graph_is_measured_like_an_uncompiled_one():
    model = tiny_model("bert").train()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with HyPe(model, "normal", 0.5, hype_stream="global") as hype:
        compiled(IDS)
        torch.manual_seed(0)
        result = measure_noise(compiled, hype, lambda: compiled(IDS).logits)
        torch.manual_seed(0)
        assert result == measure_noise(model, hype, lambda: model(IDS).logits)
    torch.compiler.reset()


@pytest.mark.parametrize("stream", ["own", "global"])
def test_the_two_forwards_have_equal_dropout(stream):
    model = tiny_model("bert", dropout=0.5)
    assert measured(model, "normal", 1e-30, hype_stream=stream)["logit_change"] == 0.0


def test_the_two_forwards_have_equal_masks_from_numpy():
    """wav2vec 2.0 and Whisper draw SpecAugment's masks there."""
    model, before = tiny_model("bert", dropout=0.0), np.random.get_state()[2]
    with HyPe(model, "normal", 1e-30) as hype:
        assert measure_noise(model, hype, lambda: model(IDS).logits + np.random.rand())["logit_change"] == 0.0
    assert np.random.get_state()[2] == before


def test_the_change_of_the_logits_is_the_largest_of_a_batch():
    model = tiny_model("bert", dropout=0.0).train()
    with HyPe(model, "normal", 0.5) as hype:
        result = measure_noise(model, hype, lambda: model(IDS).logits)
        with torch.no_grad():
            noised = model(IDS).logits
    with torch.no_grad():
        assert result["logit_change"] == (noised - model(IDS).logits).abs().max().item() > 1e-3


@pytest.mark.parametrize("stream", ["own", "global"])
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("mode", [False, True])
def test_measuring_leaves_no_trace(mode, fails, stream, caplog):
    model, results = tiny_model("bert").train(), []

    def forward():
        logits = model(IDS).logits
        assert model.training and not logits.requires_grad
        if fails:
            raise RuntimeError("out of memory")
        return logits

    for is_measured in (False, True):
        with HyPe(model, "normal", 0.5, seed=0, hype_stream=stream) as hype:
            hype.set_step(3)
            hype.observer = observer = lambda clean, noised: None
            torch.manual_seed(0)
            model.train()(IDS)
            model.train(mode).bert.embeddings.eval()
            if is_measured:
                with pytest.raises(RuntimeError, match="out of memory") if fails else nullcontext():
                    measure_noise(model, hype, forward)
            assert (model.training, model.bert.embeddings.training) == (mode, False)
            assert hype.enabled and hype.observer is observer
            assert (hype.step, hype.draw_count) == (3, 3)
            results.append((torch.get_rng_state(), model.train()(IDS).logits))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert caplog.text == ""


def test_measuring_before_a_step_leaves_the_gradients_of_a_checkpointed_model():
    gradients = []
    for is_measured in (False, True):
        model = tiny_model("bert").train()
        enable_checkpointing(model)
        torch.manual_seed(0)
        with HyPe(model, "normal", 0.5, hype_intermediate=True) as hype:
            if is_measured:
                measure_noise(model, hype, lambda model=model: model(IDS).logits)
            model(IDS).logits.sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
