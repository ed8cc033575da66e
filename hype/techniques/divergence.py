"""Shared by R-Drop, R3F and LNSR: the divergence of two forward passes, and a loss with a regulariser."""

import logging

import torch
from torch.nn.functional import log_softmax, mse_loss

from hype.errors import InputError
from hype.techniques.base import Flag, Technique

logger = logging.getLogger(__name__)

REDUCTIONS = {
    "batchmean": lambda terms: terms.sum() / len(terms),
    "sum": lambda terms: terms.sum(),
    "elementmean": lambda terms: terms.mean(),
}
KL_REDUCTION = Flag(
    "kl_reduction",
    str,
    "batchmean",
    "R-Drop, R3F: reduction of the divergence: batchmean, sum or elementmean.",
    choices=tuple(REDUCTIONS),
)


def wide(tensor: torch.Tensor) -> torch.Tensor:
    """Convert to float32 if the dtype is narrower."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def symmetric_kl(logits_a: torch.Tensor, logits_b: torch.Tensor, reduction: str) -> torch.Tensor:
    """Return KL(a||b) + KL(b||a) of logits of shape (batch, classes), in at least float32.

    Computed as the sum of (P_a - P_b)(log P_a - log P_b), which stays non-negative where the two are almost equal.
    """
    log_a, log_b = log_softmax(wide(logits_a), dim=-1), log_softmax(wide(logits_b), dim=-1)
    return REDUCTIONS[reduction]((log_a.exp() - log_b.exp()) * (log_a - log_b))


def divergence(logits_a: torch.Tensor, logits_b: torch.Tensor, reduction: str, kl_factor: float) -> torch.Tensor:
    """Return `kl_factor` times the symmetric KL or, for one output (regression), the mean squared difference."""
    if logits_a.shape[-1] == 1:
        return mse_loss(wide(logits_a), wide(logits_b))
    return kl_factor * symmetric_kl(logits_a, logits_b, reduction)


class RegularisedLoss(Technique):
    """A technique that adds a regulariser, weighted by its first flag, to the loss; its mean value is recorded."""

    def __init__(self, arguments):
        super().__init__(arguments)
        self.weight = getattr(arguments, self.flags[0].name)
        self.mean, self.forward_count = 0.0, 0

    def before_training(self, trainer) -> None:
        if trainer.args.label_smoothing_factor:
            raise InputError(f"--label_smoothing_factor has no effect with {self.name}: leave it out")

    def regularised(self, task_loss: torch.Tensor, term: torch.Tensor) -> torch.Tensor:
        """Add the weighted regulariser to the loss; warn once if it is too small to have any effect."""
        size = term.detach()
        if self.forward_count == 0 and self.weight * abs(size) < torch.finfo(torch.float32).eps * abs(task_loss):
            logger.warning(
                "%s: the regulariser (%.1e, weight %g) has no effect: it is below the resolution of the loss (%.3g)",
                self.name, size.item(), self.weight, task_loss.item(),
            )  # fmt: skip
        self.forward_count += 1
        self.mean = self.mean + (size - self.mean) / self.forward_count
        return task_loss + self.weight * term

    def state_dict(self):
        return {"mean": float(self.mean), "forwards": self.forward_count}

    def load_state_dict(self, state):
        self.mean, self.forward_count = state.get("mean", 0.0), state.get("forwards", 0)

    def facts(self):
        return {"mean_regulariser": float(self.mean), "forwards": self.forward_count}
