"""LNSR (Hua et al., NAACL 2021): penalise the layers' response to noise in a lower layer.

There is no public implementation and the paper's settings are not known: this is a reconstruction with our defaults.
"""

import torch

from hype.errors import InputError
from hype.random_streams import forked_streams
from hype.techniques.base import Flag
from hype.techniques.divergence import RegularisedLoss, wide
from hype.techniques.parts import layers

LAYER = 1  # noise enters the output of this layer, counted from 1
NOISE_RATIO = 0.05  # norm of the noise over the norm of the hidden state, per token


def scaled_noise(hidden: torch.Tensor, gaussian: torch.Tensor, ratio: float) -> torch.Tensor:
    """Scale `gaussian` per token (last axis) to `ratio` times the norm of `hidden`, without gradient through it."""
    norms = hidden.detach().norm(dim=-1, keepdim=True) / gaussian.norm(dim=-1, keepdim=True)
    return ratio * norms * gaussian


def response(clean, perturbed, attention_mask: torch.Tensor) -> torch.Tensor:
    """Return the mean squared difference of hidden states (batch, length, hidden), summed over the layers, in float32.

    The mean is taken over the unpadded tokens and dimensions of each example, then over the batch.
    """
    total = 0.0
    for a, b in zip(clean, perturbed, strict=True):
        squares = (wide(a) - wide(b)).square().sum(-1) * attention_mask
        total = total + (squares.sum(-1) / (attention_mask.sum(-1) * a.shape[-1])).mean()
    return total


class LNSR(RegularisedLoss):
    """L = L_task + lambda sum over layers r > b of ||h_r(h_b + noise) - h_r(h_b)||^2.

    Both forward passes have the same dropout masks and the same HyPe noise, so they differ only by the noise at layer
    b. Gradients flow through both.
    """

    name = "LNSR"
    flags = (Flag("lnsr_lambda", float, 0.0, "LNSR: weight of the penalty on the response to noise; 0: off.", low=0),)

    def before_training(self, trainer) -> None:
        super().before_training(trainer)
        count = len(layers(trainer.model))
        if trainer.model.config.is_encoder_decoder:
            raise InputError(f"--lnsr_lambda needs an encoder or decoder only, not {type(trainer.model).__name__}")
        if count <= LAYER:
            raise InputError(f"--lnsr_lambda needs layers after layer {LAYER}; the model has only {count}")

    def loss(self, trainer, model, inputs):
        b, hype, device = LAYER, trainer.hype, trainer.args.device
        generators = [torch.random] if device.type == "cpu" else [torch.random, torch.get_device_module(device)]
        states, draws = [generator.get_rng_state() for generator in generators], hype.draw_count if hype else 0
        clean = model(**inputs, output_hidden_states=True)
        gaussian = torch.randn_like(clean.hidden_states[b])  # (batch, length, hidden)

        def add_noise(module, args, output):
            hidden, *rest = output if isinstance(output, tuple) else (output,)
            # XLNet's layers use another layout than its hidden states; independent draws may be reshaped.
            noise = scaled_noise(hidden, gaussian.reshape(hidden.shape), NOISE_RATIO)
            hidden = hidden + noise.to(hidden.dtype)  # autocast computes norms in float32
            return (hidden, *rest) if isinstance(output, tuple) else hidden

        if hype:
            hype.draw_count = draws
        with forked_streams(), layers(trainer.model)[b - 1].register_forward_hook(add_noise):
            for generator, state in zip(generators, states, strict=True):
                generator.set_rng_state(state)
            # Bypass DDP, which expects one forward per backward; its hooks still reduce the gradients.
            perturbed = trainer.model(**inputs, output_hidden_states=True)
        mask = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"]))
        term = response(clean.hidden_states[b + 1 :], perturbed.hidden_states[b + 1 :], mask)
        return self.regularised(clean.loss, term), clean
