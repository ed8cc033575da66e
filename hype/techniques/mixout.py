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

    The gradient is that of W~ times k (the reference), or times k / (1 - p) (the formula's, `exact_grad`).
    """

    @staticmethod
    def forward(ctx, weight, target, keep, p, exact_grad):
        rescaled = keep / (1 - p) if p < 1 else keep  # p = 1 keeps nothing: W~ = U
        ctx.save_for_backward(rescaled if exact_grad else keep)
        return torch.lerp(target, weight, rescaled)

    @staticmethod
    def backward(ctx, gradient):
        (factor,) = ctx.saved_tensors
        return gradient * factor, None, None, None, None


class Mixing:
    """What a mixed module adds to its class: `mixout` holds p and exact_grad, `targets` the pre-trained weights.

    The targets are plain attributes: as buffers, DDP would broadcast them at every forward.
    """

    INPUT_AXES: ClassVar[dict[str, tuple[int, ...]]]
    mixout: tuple[float, bool]
    targets: dict[str, torch.Tensor]

    def mixed(self, name: str) -> torch.Tensor:
        """Return the parameter `name`: mixed in training, one draw per entry of its input axes; itself otherwise."""
        weight = own_parameter(self, name)
        if not self.training:
            return weight
        p, exact_grad = self.mixout
        shape = [size if axis in self.INPUT_AXES[name] else 1 for axis, size in enumerate(weight.shape)]
        keep = keep_mask(shape, p, weight)
        return Mix.apply(weight, self.targets[name], keep, p, exact_grad)


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
    """Mix every linear map of the layers and of the body's pooler; with `mixout_modules all` the head's, too.

    The target is the weight before training, also after a resume. Names, checkpoints and evaluation are unchanged.
    """

    name = "Mixout"
    flags = (
        Flag("mixout_p", float, 0.0, "Mixout: probability of a pre-trained input column; 0: off.", low=0, high=1),
        Flag(
            "mixout_modules",
            str,
            "encoder",
            "Mixout: linear maps of the layers and the body's pooler (encoder), or all.",
            choices=("encoder", "all"),
        ),
        Flag(
            "mixout_exact_grad", bool, False, "Mixout: the formula's own gradient; off: the reference's, (1 - p) of it."
        ),
    )

    def __init__(self, arguments):
        super().__init__(arguments)
        self.module_count = 0

    def before_training(self, trainer) -> None:
        model = trainer.model
        parts = [model] if self.arguments.mixout_modules == "all" else [*layers(model), *above_the_layers(model)[0]]
        chosen = [module for part in parts for module in part.modules() if type(module) in MIXED]
        if not chosen:
            raise InputError(f"--mixout_p: {type(model).__name__} has no linear maps of a known kind to mix")
        for module in chosen:
            module.__class__ = MIXED[type(module)]
            module.mixout = (self.arguments.mixout_p, self.arguments.mixout_exact_grad)
            module.targets = {name: own_parameter(module, name).detach().clone() for name in module.INPUT_AXES}
        self.module_count = len(chosen)
        if any(isinstance(module, nn.Dropout) and module.p > 0 for part in parts for module in part.modules()):
            logger.warning("Mixout stands in for dropout, which its authors switch off (--all_dropout_rate 0)")

    def after_training(self, trainer) -> None:
        for module in trainer.model.modules():
            if type(module) in PLAIN:
                module.__class__ = PLAIN[type(module)]
                del module.mixout, module.targets

    def facts(self):
        arguments = self.arguments
        options = {"p": arguments.mixout_p, "modules": arguments.mixout_modules}
        return {**options, "exact_grad": arguments.mixout_exact_grad, "module_count": self.module_count}
