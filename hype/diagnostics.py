"""Measure the effect of the noise on one batch: noise below the resolution of the dtype has none."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from hype.perturbation import HyPe
from hype.random_streams import forked_streams


def measure_noise(model: nn.Module, hype: HyPe, forward: Callable[[], torch.Tensor]) -> dict[str, Any]:
    """Measure what the noise changes in one batch, by a training-mode forward pass with and one without it.

    Torch's, NumPy's and Python's generators, the noise stream, the observer and the modes of all modules are restored
    afterwards.

    Args:
        model, hype: the perturbed model and its HyPe.
        forward: runs the model on the batch and returns its logits (any shape); called twice, under no_grad and with
            the same dropout masks.

    Returns:
        `layers`: one dictionary per draw, in order, with `changed`, the share of the hidden states' entries that the
        noise changes; `snr_db`, the signal-to-noise ratio in decibels after rounding, None if nothing changed; and
        `dtype`. `least_changed`: the smallest share. `logit_change`: the largest absolute change of a logit.
        `is_finite`: whether the logits without noise are finite.

    Example:
        with HyPe(model) as hype:
            measure_noise(model, hype, lambda: model(**batch).logits)["least_changed"]
    """
    layers: list[dict[str, Any]] = []
    observer, draw_count, eps = hype.observer, hype.draw_count, hype.eps
    hooks = {hook: {**vars(hook), "draws": set(hook.draws)} for hook in hype.hooks}
    modes = {module: module.training for module in model.modules()}
    hype.observer = lambda clean, noised: layers.append(_compare(clean, noised))
    model.train()
    try:
        # Compiled code runs eagerly, because observing would break its graph.
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            with forked_streams():
                noised = forward()
            hype.observer, hype.eps = None, 0.0  # with the same draws, also from torch's generator, as for the dropout
            with forked_streams():
                clean = forward()
    finally:
        hype.observer, hype.draw_count, hype.eps = observer, draw_count, eps
        for hook, state in hooks.items():
            vars(hook).update(state)
        for module, mode in modes.items():
            module.training = mode
    return {
        "layers": layers,
        "least_changed": min((layer["changed"] for layer in layers), default=0.0),
        "logit_change": (noised.float() - clean.float()).abs().max().item(),
        "is_finite": clean.isfinite().all().item(),
    }


def _compare(clean: torch.Tensor, noised: torch.Tensor) -> dict[str, Any]:
    if clean.is_mps:  # has no float64
        clean, noised = clean.cpu(), noised.cpu()
    difference = noised.double() - clean.double()
    noise_power = difference.square().mean().item()
    snr = clean.double().square().mean().item() / noise_power if noise_power else None
    return {
        "changed": (difference != 0).double().mean().item(),
        "snr_db": 10 * math.log10(snr) if snr else None,
        "dtype": str(clean.dtype).removeprefix("torch."),
    }
