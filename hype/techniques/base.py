"""The common interface of the compared techniques and of their flags."""

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
        type: type of the value.
        default: leaves the technique off or, for an option, is the value in the paper or the reference code.
        help: one sentence for `--help` and docs/options.md.
        choices: allowed values; empty: any.
        low, high: smallest and largest number allowed; high None: no upper limit.
        is_idle_with_hype: whether HyPe replaces what the flag sets, so that combining them is refused.
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
    """Base class of the compared techniques. Each method is a hook into fine-tuning that does nothing by default.

    `trainer` is the Trainer that runs it, `trainer.model` the unwrapped model, `trainer.hype` the HyPe on it or None.

    Attributes:
        name: name in the paper.
        flags: the first one switches the technique on; the others have no effect without it.
        switch_value: value of the first flag that switches the technique on; None: any except the default.
        order: techniques with a lower order prepare the model first.
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
        """Raise InputError for a combination of flags that cannot work. Called if the technique is on."""

    @classmethod
    def acts_on(cls, place: str) -> bool:
        """Return whether the technique overrides the method named `place`."""
        return getattr(cls, place) is not getattr(Technique, place)

    def before_training(self, trainer) -> None:
        """Prepare the pre-trained body and the new head, before an optimizer is created or a checkpoint is loaded."""

    def optimizer(self, trainer) -> tuple[type, dict[str, Any]] | None:
        """Return an optimizer's class and arguments except the parameter groups, or None to use the run's optimizer."""
        return None

    def loss(self, trainer, model, inputs: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        """Return the mean training loss of the batch, and the outputs. `model` may be wrapped (DDP, torch.compile)."""
        outputs = model(**inputs)
        return outputs.loss, outputs

    def before_update(self, trainer) -> None:
        """Modify the gradients before an optimizer step, when they are accumulated, unscaled and clipped."""

    def after_training(self, trainer) -> None:
        """Restore a plain model; also called after an exception."""

    def state_dict(self) -> dict[str, Any]:
        """Return the values from which `facts` is computed, as JSON; they are saved in every checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; called with an empty dictionary when training starts from scratch."""

    def facts(self) -> dict[str, Any]:
        """Return what was measured in training, for the run's record, as JSON; the flags are among its settings."""
        return {}
