"""RecAdam (Chen et al., EMNLP 2020): Adam that recalls the pre-trained weights, and forgets them on a schedule."""

import math

import torch

from hype.errors import InputError
from hype.optimizers import LegacyAdamW
from hype.techniques.base import Flag, Technique


def anneal(function: str, step: int, k: float, t0: int, weight: float) -> float:
    """Return lambda(t), the weight of the task's step at `step`, counted from 1."""
    if function == "sigmoid":
        return weight / (1 + math.exp(min(-k * (step - t0), 700)))  # exp overflows above 709
    if function == "linear":
        return weight * min(1, step / t0)
    return weight


class RecallingAdamW(LegacyAdamW):
    """theta <- theta - lambda(t) (Adam's step); theta <- theta - lr (weight - lambda(t)) gamma (theta - anchor); decay.

    Neither part enters the other's statistics, and lr is the scheduled one. Parameters without an anchor take
    LegacyAdamW's step. Anchors are not part of the state dict: whoever resumes passes the pre-trained ones again.
    """

    def __init__(self, params, anchors: dict[torch.Tensor, torch.Tensor], schedule: dict, gamma: float, **kwargs):
        super().__init__(params, **kwargs)
        self.anchors, self.schedule, self.gamma = anchors, schedule, gamma

    def update(self, parameter, group) -> None:
        anchor = self.anchors.get(parameter)
        if anchor is None:
            return super().update(parameter, group)
        share = anneal(step=self.state[parameter].get("step", 0) + 1, **self.schedule)
        self.adam_step(parameter, group, share)
        parameter.lerp_(anchor, group["lr"] * (self.schedule["weight"] - share) * self.gamma)
        self.decay(parameter, group)


class RecAdam(Technique):
    """Penalise the distance of the whole body (embeddings, biases and norms included) to its pre-trained weights.

    The head is not penalised. Learning rate, betas, epsilon and weight decay are the run's.
    """

    name = "RecAdam"
    flags = (
        Flag("recadam", bool, False, "RecAdam: pull the body to its pre-trained weights, less and less."),
        Flag(
            "recadam_anneal_fun",
            str,
            "sigmoid",
            "RecAdam: schedule of the task's weight: sigmoid, linear, constant.",
            choices=("sigmoid", "linear", "constant"),
        ),
        Flag("recadam_anneal_k", float, 0.5, "RecAdam: steepness of the sigmoid.", low=0),
        Flag(
            "recadam_anneal_t0",
            int,
            250,
            "RecAdam: step at the middle of the sigmoid, or at the end of the line.",
            low=0,
        ),
        Flag("recadam_anneal_weight", float, 1.0, "RecAdam: weight at the end of the schedule.", low=0),
        Flag("recadam_gamma", float, 5000.0, "RecAdam: strength of the quadratic penalty.", low=0),
    )

    def __init__(self, arguments):
        super().__init__(arguments)
        self.anchors = {}

    @classmethod
    def check(cls, arguments):
        if arguments.recadam_anneal_fun == "linear" and arguments.recadam_anneal_t0 == 0:
            raise InputError("--recadam_anneal_t0 0: the linear schedule divides by it, give at least 1")

    def before_training(self, trainer) -> None:
        if not trainer.args.optim.startswith("adamw_torch"):
            raise InputError(f"--optim {trainer.args.optim} and --recadam exclude each other: give one")
        if self.arguments.recadam_anneal_weight == 0:  # the reference's ordinary step
            return
        prefix = trainer.model.base_model_prefix + "."
        self.anchors = {
            parameter: parameter.detach().clone()
            for name, parameter in trainer.model.named_parameters()
            if name.startswith(prefix) and parameter.requires_grad
        }

    def optimizer(self, trainer):
        arguments = self.arguments
        schedule = {
            "function": arguments.recadam_anneal_fun,
            "k": arguments.recadam_anneal_k,
            "t0": arguments.recadam_anneal_t0,
            "weight": arguments.recadam_anneal_weight,
        }
        return RecallingAdamW, {
            "lr": trainer.args.learning_rate,
            "betas": (trainer.args.adam_beta1, trainer.args.adam_beta2),
            "eps": trainer.args.adam_epsilon,
            "anchors": self.anchors,
            "schedule": schedule,
            "gamma": arguments.recadam_gamma,
        }

    def after_training(self, trainer) -> None:
        self.anchors = {}

    def facts(self):
        names = ("anneal_fun", "anneal_k", "anneal_t0", "anneal_weight", "gamma")
        return {name: getattr(self.arguments, f"recadam_{name}") for name in names}
