"""The one interface of the compared techniques, and the flags that each of them declares."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from hype.errors import InputError


@dataclass(frozen=True)
class Flag:
    """One command-line flag of a technique.

    Args:
        name: without the two dashes.
        type: what the value is parsed as.
        default: leaves the technique off, or, for an option, is the value of the paper or the reference code.
        help: one sentence for `--help` and docs/options.md.
        choices: the only values allowed.
        low, high: the range allowed for a number; high None: no limit.
        is_idle_with_hype: whether HyPe replaces what the flag sets, so that giving both is refused.
    """

    name: str
    type: Any
    default: Any
    help: str
    choices: tuple = ()
    low: float | None = None
    high: float | None = None
    is_idle_with_hype: bool = False

    def is_set(self, arguments: Any) -> bool:
        """Return whether the flag differs from its default."""
        return getattr(arguments, self.name) != self.default

    def check(self, value) -> None:
        """Raise InputError if the value is outside the choices or the range."""
        if value == self.default:
            return
        if self.choices and value not in self.choices:
            raise InputError(f"--{self.name} {value}: give {' or '.join(map(str, self.choices))}")
        if self.low is not None and not (math.isfinite(value) and self.low <= value <= (self.high or math.inf)):
            limits = f"of at least {self.low}" if self.high is None else f"from {self.low} to {self.high}"
            raise InputError(f"--{self.name} {value}: give a finite number {limits}")


class Technique:
    """One compared technique. Each method is one place in fine-tuning where it may act; by default it does nothing.

    `trainer` is the Trainer that runs it: `trainer.model` is the plain model, `trainer.hype` the attached HyPe or None.

    Attributes:
        name: as the paper writes it.
        flags: the first one switches the technique on; the others have no effect without it.
        switch_value: the value of the first flag that switches it on; None: any but the default.
        order: techniques of a lower order prepare the model first.
    """

    name: str
    flags: ClassVar[tuple[Flag, ...]]
    switch_value: ClassVar[str | None] = None
    order: ClassVar[int] = 0

    def __init__(self, arguments: Any):
        self.arguments = arguments

    @classmethod
    def is_on(cls, arguments: Any) -> bool:
        """Return whether the flags switch the technique on."""
        switch = cls.flags[0]
        return switch.is_set(arguments) and cls.switch_value in (None, getattr(arguments, switch.name))

    @classmethod
    def check(cls, arguments: Any) -> None:
        """Raise InputError if flags that are each allowed do not fit together. Called if the technique is on."""

    @classmethod
    def acts_on(cls, place: str) -> bool:
        """Return whether the technique overrides the method named `place`."""
        return getattr(cls, place) is not getattr(Technique, place)

    def before_training(self, trainer) -> None:
        """Act once on the pre-trained body and the fresh head, before an optimizer exists or a checkpoint is loaded."""

    def optimizer(self, trainer) -> tuple[type, dict[str, Any]] | None:
        """Return the class and arguments of an optimizer, whose parameter groups are Trainer's; None: the run's own."""
        return None

    def loss(self, trainer, model, inputs: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        """Return the training loss, a mean over the batch, and the outputs. `model` may be wrapped (DDP, compiled)."""
        outputs = model(**inputs)
        return outputs.loss, outputs

    def before_update(self, trainer) -> None:
        """Act on the gradients of one optimizer step: accumulated, unscaled and clipped."""

    def after_training(self, trainer) -> None:
        """Leave a plain model behind; called also after an exception."""

    def state_dict(self) -> dict[str, Any]:
        """Return what `facts` are computed from so far, as JSON; it is saved in every checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; an empty one at the start of a training."""

    def facts(self) -> dict[str, Any]:
        """Return what the record of the run says about the technique, as JSON."""
        return {}
