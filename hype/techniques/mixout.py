"""Mixout (Lee et al., ICLR 2020): mix each linear map with its pre-trained weights, column by column."""

import logging

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers.models.xlnet.modeling_xlnet import XLNetRelativeAttention

from hype.errors import InputError
from hype.techniques.base import Flag, Technique
from hype.techniques.parts import above_the_layers, layers

logger = logging.getLogger(__name__)

# Module class -> its linear maps and their input axes. nn.Linear's weight is (out, in); the maps of XLNet's attention
# are bare parameters, q, k, v, r (in, heads, head) and o (out, heads, head). Biases are not mixed.
INPUT_AXES = {
    nn.Linear: {"weight": (1,)},
    XLNetRelativeAttention: {"q": (0,), "k": (0,), "v": (0,), "r": (0,), "o": (1, 2)},
}


class Mix(torch.autograd.Function):
    """W~ = U + k (W - U) / (1 - p) with k in {0, 1} per input column, so that its mean is W.

    The gradient is that of W~ times k, as in the reference code: (1 - p) times the exact gradient of the formula.
    """

    @staticmethod
    def forward(ctx, weight, target, keep, p):
        ctx.save_for_backward(keep)
        return torch.lerp(target, weight, keep / (1 - p) if p < 1 else keep)  # p = 1 keeps nothing: W~ = U

    @staticmethod
    def backward(ctx, gradient):
        (keep,) = ctx.saved_tensors
        return gradient * keep, None, None, None


def keep_mask(shape: list[int], p: float, like: torch.Tensor) -> torch.Tensor:
    """Draw a mask from torch's global generator: 1 with probability 1 - p, else 0."""
    return torch.empty(shape, dtype=like.dtype, device=like.device).bernoulli_(1 - p)


def mix_in_training(module: nn.Module, p: float) -> list[RemovableHandle]:
    """Make a module mix its weights with their present values, with one draw per input column and forward pass."""
    maps = INPUT_AXES[type(module)]
    targets = {name: getattr(module, name).detach().clone() for name in maps}

    def mix(module, args):
        for name, target in targets.items() if module.training else ():
            weight = getattr(module, name)
            shape = [size if axis in maps[name] else 1 for axis, size in enumerate(weight.shape)]
            # Attribute lookup finds an entry of __dict__ before the parameter of the same name.
            vars(module)[name] = Mix.apply(weight, target, keep_mask(shape, p, weight), p)

    def restore(module, args, output):
        for name in targets:
            vars(module).pop(name, None)

    return [module.register_forward_pre_hook(mix), module.register_forward_hook(restore, always_call=True)]


class Mixout(Technique):
    """Mix every linear map of the layers and of the body's pooler, but not those of the head.

    The targets are the weights before training, even in a resumed run. Names, checkpoints and evaluation are unchanged.
    """

    name = "Mixout"
    flags = (
        Flag("mixout_p", float, 0.0, "Mixout: probability of mixing in pre-trained columns; 0: off.", low=0, high=1),
    )

    def __init__(self, arguments):
        super().__init__(arguments)
        self.module_count, self.handles = 0, []

    def before_training(self, trainer) -> None:
        model = trainer.model
        parts = [*layers(model), *above_the_layers(model)[0]]
        chosen = [module for part in parts for module in part.modules() if type(module) in INPUT_AXES]
        if not chosen:
            raise InputError(f"--mixout_p: {type(model).__name__} has no linear maps of a known kind to mix")
        self.handles = [handle for module in chosen for handle in mix_in_training(module, self.arguments.mixout_p)]
        self.module_count = len(chosen)
        if any(isinstance(module, nn.Dropout) and module.p > 0 for part in parts for module in part.modules()):
            logger.warning("Mixout replaces dropout: its authors turn dropout off (--all_dropout_rate 0)")

    def after_training(self, trainer) -> None:
        for handle in self.handles:
            handle.remove()

    def facts(self):
        return {"module_count": self.module_count}
