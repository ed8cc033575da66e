"""R3F (Aghajanyan et al., ICLR 2021): penalise the divergence of a clean and a noised forward pass."""

import logging
from contextlib import nullcontext

import torch

from hype.perturbation import SAMPLERS
from hype.techniques.base import Flag
from hype.techniques.divergence import KL_REDUCTION, RegularisedLoss, divergence

logger = logging.getLogger(__name__)


class R3F(RegularisedLoss):
    """L = CE(clean) + lambda (KL(clean||noised) + KL(noised||clean)); for regression, MSE replaces both.

    Without HyPe, noise is added to the word embeddings, which get no gradient from the noised pass. With HyPe (appendix
    D.2), the noised pass has HyPe's noise and leaves the word embeddings alone, and the clean pass has no noise.
    """

    name = "R3F"
    flags = (
        Flag("r3f_lambda", float, 0.0, "R3F: weight of the divergence of clean and noised pass; 0: off.", low=0),
        Flag("r3f_eps", float, 1e-5, "R3F: scale of the noise on the word embeddings.", low=0, is_idle_with_hype=True),
        Flag(
            "r3f_noise_type",
            str,
            "normal",
            "R3F: distribution of the noise, normal N(0, eps^2) or uniform U(-eps, eps).",
            choices=("normal", "uniform"),
            is_idle_with_hype=True,
        ),
        KL_REDUCTION,
    )

    noise: str | None = None

    def before_training(self, trainer) -> None:
        super().before_training(trainer)
        hype = _hype_with_noise(trainer)
        self.noise = "HyPe" if hype else f"{self.arguments.r3f_noise_type}, {self.arguments.r3f_eps:g}"
        is_half = trainer.args.bf16 or trainer.args.fp16 or trainer.model.dtype != torch.float32
        if is_half and not hype and self.arguments.r3f_eps <= 1e-4:
            logger.warning("R3F: half precision rounds most noise of scale %g (--r3f_eps) away", self.arguments.r3f_eps)

    def loss(self, trainer, model, inputs):
        hype = _hype_with_noise(trainer)
        with hype.paused() if hype else nullcontext():
            clean = model(**inputs)
        with nullcontext() if hype else trainer.model.get_input_embeddings().register_forward_hook(self.perturb):
            # Bypass DDP, which expects one forward per backward; its hooks still reduce the gradients.
            noised = trainer.model(**inputs)
        term = divergence(clean.logits, noised.logits, self.arguments.kl_reduction, kl_factor=1.0)
        return self.regularised(clean.loss, term), clean

    def perturb(self, module, args, embeddings: torch.Tensor) -> torch.Tensor:
        """Add noise to the word embeddings (batch, length, width) and detach them, as a forward hook."""
        sample = SAMPLERS[self.arguments.r3f_noise_type]
        noise = sample(torch.empty_like(embeddings), self.arguments.r3f_eps, None)  # from torch's generator
        return embeddings.detach() + noise

    def facts(self):
        return {**super().facts(), "noise": self.noise}


def _hype_with_noise(trainer):
    return trainer.hype if trainer.hype and trainer.hype.hooks else None  # with eps 0 it adds none
