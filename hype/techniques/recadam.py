"""RecAdam (Chen et al., EMNLP 2020): Adam with an annealed pull towards the pre-trained weights."""

import math

import torch

from hype.errors import InputError
from hype.optimizers import TORCH_ADAMW, LegacyAdamW
from hype.techniques.base import Flag, Technique


def anneal(step: int, k: float, t0: int) -> float:
    """Return lambda(t), the weight of Adam's step on the task loss at `step`, counted from 1."""
    return 1 / (1 + math.exp(min(-k * (step - t0), 700)))  # exp overflows above 709


class RecallingAdamW(LegacyAdamW):
    """theta <- theta - lambda(t) (Adam's step); theta <- theta - lr (1 - lambda(t)) gamma (theta - anchor); decay.

    The pull does not enter Adam's moments, and lr is the scheduled learning rate. Parameters without an anchor take
    LegacyAdamW's step. Anchors are not part of the state dict: pass the pre-trained weights again to resume.
    """

    def __init__(self, params, anchors: dict[torch.Tensor, torch.Tensor], schedule: dict, gamma: float, **kwargs):
        super().__init__(params, **kwargs)
        self.anchors, self.schedule, self.gamma = anchors, schedule, gamma

    def update(self, parameter, group) -> None:
        anchor = self.anchors.get(parameter)
        if anchor is None:
            return super().update(parameter, group)
        share = anneal(self.state[parameter].get("step", 0) + 1, **self.schedule)
        self.adam_step(parameter, group, share)
        parameter.lerp_(anchor, group["lr"] * (1 - share) * self.gamma)
        self.decay(parameter, group)


class RecAdam(Technique):
    """Penalise the distance of the whole body (including embeddings, biases and norms) from its pre-trained weights.

    The head is not penalised. Learning rate, betas, epsilon and weight decay are those of the run.
    """

    name = "RecAdam"
    flags = (
        Flag("recadam", bool, False, "RecAdam: pull the body towards its pre-trained weights, with fading strength."),
        Flag("recadam_anneal_k", float, 0.5, "RecAdam: steepness of the sigmoid schedule.", low=0),
        Flag("recadam_anneal_t0", int, 250, "RecAdam: step at the midpoint of the schedule.", low=0),
        Flag("recadam_gamma", float, 5000.0, "RecAdam: strength of the quadratic penalty.", low=0),
    )

    def __init__(self, arguments):
        super().__init__(arguments)
        self.anchors = {}

    def before_training(self, trainer) -> None:
        if trainer.args.optim not in TORCH_ADAMW:
            raise InputError(f"--optim {trainer.args.optim} and --recadam exclude each other: give one")
        body = trainer.model.base_model.parameters()
        self.anchors = {parameter: parameter.detach().clone() for parameter in body if parameter.requires_grad}

    def optimizer(self, trainer):
        arguments = self.arguments
        return RecallingAdamW, {
            "lr": trainer.args.learning_rate,
            "betas": (trainer.args.adam_beta1, trainer.args.adam_beta2),
            "eps": trainer.args.adam_epsilon,
            "anchors": self.anchors,
            "schedule": {"k": arguments.recadam_anneal_k, "t0": arguments.recadam_anneal_t0},
            "gamma": arguments.recadam_gamma,
        }
