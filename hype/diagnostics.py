"""What the noise does, measured on one batch before training: under the resolution of a dtype it does nothing."""

import math

import torch
from torch import nn

from hype.perturbation import HyPe
from hype.random_streams import forked_torch_streams


def measure_noise(model: nn.Module, hype: HyPe, forward) -> dict:
    """Run one batch through `model` in training mode, with and without noise.

    Args:
        forward: runs the model on the batch and returns its logits; called twice under no_grad, with equal dropout.

    Returns:
        `layers`: per draw, in order, `changed` (share of the entries that the noise changes), `snr_db` (power of the
        state over that of the realised noise, in decibel; None where nothing changed) and `dtype`; `least_changed`, the
        smallest share; `logit_change`, the largest absolute change of a logit; `is_finite`, whether the logits without
        noise are. Torch's generators, the stream of the noise and the model's mode stay as they were.
    """
    layers = []
    draw_count, was_training = hype.draw_count, model.training
    hype.observer = lambda clean, noised: layers.append(_compare(clean, noised))
    model.train()
    try:
        with torch.no_grad():
            with forked_torch_streams():
                noised = forward()
            with forked_torch_streams(), hype.paused():
                clean = forward()
    finally:
        hype.observer = None
        model.train(was_training)
        hype.draw_count = draw_count
    change = (noised.float() - clean.float()).abs().max().item()
    least = min(layer["changed"] for layer in layers)
    is_finite = clean.isfinite().all().item()
    return {"layers": layers, "least_changed": least, "logit_change": change, "is_finite": is_finite}


def _compare(clean: torch.Tensor, noised: torch.Tensor) -> dict:
    difference = noised.double() - clean.double()
    noise_power = difference.square().mean().item()
    snr = clean.double().square().mean().item() / noise_power if noise_power else None
    return {
        "changed": (difference != 0).double().mean().item(),
        "snr_db": 10 * math.log10(snr) if snr else None,
        "dtype": str(clean.dtype).removeprefix("torch."),
    }
