"""Mixout (Lee et al., ICLR 2020): mix each linear map with its pre-trained weights, column by column."""

import logging
from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import linear
from transformers.models.xlnet.modeling_xlnet import XLNetRelativeAttention

from hype.errors import InputError
from hype.techniques.base import Flag, Technique
from hype.techniques.parts import above_the_layers, layers

logger = logging.getLogger(__name__)


class Mix(torch.autograd.Function):
    """W~ = U + k (W - U) / (1 - p) with k in {0, 1} per input column, so that its mean is W.

    The gradient is that of W~ times k, as in the reference: (1 - p) of the formula's own.
    """

    @staticmethod
    def forward(ctx, weight, target, keep, p):
        ctx.save_for_backward(keep)
        return torch.lerp(target, weight, keep / (1 - p) if p < 1 else keep)  # p = 1 keeps nothing: W~ = U

    @staticmethod
    def backward(ctx, gradient):
        (keep,) = ctx.saved_tensors
        return gradient * keep, None, None, None


class Mixing:
    """What a mixed module adds to its class: the probability `p` and the pre-trained weights `targets`.

    The targets are plain attributes: as buffers, DDP would broadcast them at every forward.
    """

    INPUT_AXES: ClassVar[dict[str, tuple[int, ...]]]
    p: float
    targets: dict[str, torch.Tensor]

    def mixed(self, name: str) -> torch.Tensor:
        """Return the parameter `name`: mixed in training, one draw per entry of its input axes; itself otherwise."""
        weight = own_parameter(self, name)
        if not self.training:
            return weight
        shape = [size if axis in self.INPUT_AXES[name] else 1 for axis, size in enumerate(weight.shape)]
        return Mix.apply(weight, self.targets[name], keep_mask(shape, self.p, weight), self.p)


def own_parameter(module: nn.Module, name: str) -> nn.Parameter:
    """Return a parameter that a property of the module's class may hide."""
    return dict(module.named_parameters(recurse=False))[name]


def keep_mask(shape: list[int], p: float, like: torch.Tensor) -> torch.Tensor:
    """Draw ones with probability 1 - p from torch's global generator, else zeros."""
    return torch.empty(shape, dtype=like.dtype, device=like.device).bernoulli_(1 - p)


class MixedLinear(Mixing, nn.Linear):
    """nn.Linear with mixed weights (out, in); the bias is not mixed."""

    INPUT_AXES: ClassVar = {"weight": (1,)}

    def forward(self, x):
        return linear(x, self.mixed("weight"), self.bias)


class MixedRelativeAttention(Mixing, XLNetRelativeAttention):
    """XLNet's attention, whose maps are bare parameters: q, k, v, r (in, heads, head) and o (out, heads, head)."""

    INPUT_AXES: ClassVar = {"q": (0,), "k": (0,), "v": (0,), "r": (0,), "o": (1, 2)}

    def forward(self, *args, **kwargs):
        self.current = {name: self.mixed(name) for name in self.INPUT_AXES}
        try:
            return super().forward(*args, **kwargs)
        finally:
            del self.current

    # Properties of the class win over nn.Module's look-up of parameters, so the forward reads the mixed ones.
    q = property(lambda self: self.current["q"])
    k = property(lambda self: self.current["k"])
    v = property(lambda self: self.current["v"])
    r = property(lambda self: self.current["r"])
    o = property(lambda self: self.current["o"])


MIXED = {nn.Linear: MixedLinear, XLNetRelativeAttention: MixedRelativeAttention}
PLAIN = {mixed: plain for plain, mixed in MIXED.items()}


class Mixout(Technique):
    """Mix every linear map of the layers and of the body's pooler, not those of the head.

    The target is the weight before training, also after a resume. Names, checkpoints and evaluation are unchanged.
    """

    name = "Mixout"
    flags = (Flag("mixout_p", float, 0.0, "Mixout: probability of a pre-trained input column; 0: off.", low=0, high=1),)

    def __init__(self, arguments):
        super().__init__(arguments)
        self.module_count = 0

    def before_training(self, trainer) -> None:
        model = trainer.model
        parts = [*layers(model), *above_the_layers(model)[0]]
        chosen = [module for part in parts for module in part.modules() if type(module) in MIXED]
        if not chosen:
            raise InputError(f"--mixout_p: {type(model).__name__} has no linear maps of a known kind to mix")
        for module in chosen:
            module.__class__ = MIXED[type(module)]
            module.p = self.arguments.mixout_p
            module.targets = {name: own_parameter(module, name).detach().clone() for name in module.INPUT_AXES}
        self.module_count = len(chosen)
        if any(isinstance(module, nn.Dropout) and module.p > 0 for part in parts for module in part.modules()):
            logger.warning("Mixout replaces dropout, which its authors switch off (--all_dropout_rate 0)")

    def after_training(self, trainer) -> None:
        for module in trainer.model.modules():
            if type(module) in PLAIN:
                module.__class__ = PLAIN[type(module)]
                del module.p, module.targets

    def facts(self):
        return {"p": self.arguments.mixout_p, "module_count": self.module_count}
