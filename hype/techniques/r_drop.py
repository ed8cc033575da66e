"""R-Drop (Liang et al., NeurIPS 2021): penalise the divergence of two forward passes of a batch."""

from hype.techniques.base import Flag
from hype.techniques.divergence import KL_REDUCTION, RegularisedLoss, divergence


class RDrop(RegularisedLoss):
    """L = (CE_1 + CE_2) / 2 + alpha (KL_12 + KL_21) / 2; for regression (MSE_1 + MSE_2) / 2 + alpha MSE_12.

    Published implementations disagree about the factor of the CE terms (`rdrop_ce_factor`) and the reduction of the KL
    (`kl_reduction`). The passes differ in their dropout masks and, with HyPe, in their noise (appendix D.2).
    """

    name = "R-Drop"
    flags = (
        Flag("rdrop_alpha", float, 0.0, "R-Drop: weight of the divergence of two passes; 0: off.", low=0),
        Flag(
            "rdrop_ce_factor",
            float,
            0.5,
            "R-Drop: factor of the two task losses: 0.5 (their mean) or 1.0 (their sum).",
            choices=(0.5, 1.0),
        ),
        KL_REDUCTION,
    )

    def loss(self, trainer, model, inputs):
        first = model(**inputs)
        # Bypass DDP, which expects one forward per backward; its hooks still reduce the gradients.
        second = trainer.model(**inputs)
        term = divergence(first.logits, second.logits, self.arguments.kl_reduction, kl_factor=0.5)
        return self.regularised(self.arguments.rdrop_ce_factor * (first.loss + second.loss), term), first
