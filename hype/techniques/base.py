"""The one interface of the compared techniques."""

from typing import Any

import torch

from hype.techniques.arguments import TechniqueArguments


class Technique:
    """One compared technique. Each method is one place in fine-tuning where it may act; by default it does nothing.

    `trainer` is the Trainer that runs it: `trainer.model` is the plain model, `trainer.hype` the attached HyPe or None.
    """

    name: str

    def __init__(self, arguments: TechniqueArguments):
        self.arguments = arguments

    def before_training(self, trainer) -> None:
        """Act once on the pre-trained body and the fresh head, before an optimiser exists or a checkpoint is loaded."""

    def optimizer(self, trainer) -> tuple[type, dict[str, Any]] | None:
        """Return the class and arguments of an optimiser, whose parameter groups are Trainer's; None: the run's own."""
        return None

    def loss(self, trainer, model, inputs: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        """Return the training loss, a mean over the batch, and the outputs. `model` may be wrapped (DDP, compiled)."""
        outputs = model(**inputs)
        return outputs.loss, outputs

    def before_update(self, trainer) -> None:
        """Act on the gradients of one optimiser step: accumulated, unscaled and clipped."""

    def after_training(self, trainer) -> None:
        """Leave a plain model behind; called also after an exception."""

    def state_dict(self) -> dict[str, Any]:
        """Return what facts are made from so far, as JSON: a checkpoint keeps it."""
        return {}

    def load_state_dict(self, progress: dict[str, Any]) -> None:
        """Take up the progress of the checkpoint that a training goes on from; empty at a start."""

    def facts(self) -> dict[str, Any]:
        """Return what the record of the run says about the technique, as JSON."""
        return {}

    @classmethod
    def acts_on(cls, place: str) -> bool:
        """Say whether the technique overrides the method named `place`."""
        return getattr(cls, place) is not getattr(Technique, place)
