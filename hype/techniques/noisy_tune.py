"""NoisyTune (Wu et al., ACL 2022): noise on the parameters, once, before fine-tuning."""

import torch

from hype.perturbation import stream_seed
from hype.techniques.base import Flag, Technique


class NoisyTune(Technique):
    """W <- W + lambda std(W) (U - 1/2), U ~ Uniform[0, 1) entry by entry, for every parameter, the fresh head included.

    std is unbiased and over the whole tensor; tensors of one entry have none and stay. The draws come from a stream of
    their own, so that a run without NoisyTune sees the same dropout and data.
    """

    name = "NoisyTune"
    flags = (
        Flag("noise_lambda", float, 0.0, "NoisyTune: relative size of the noise on the parameters; 0: off.", low=0),
    )
    order = 1  # Fisher information, anchors and targets are of the pre-trained weights

    @torch.no_grad()
    def before_training(self, trainer) -> None:
        # On the CPU, so that every device starts from the same weights.
        rng = torch.Generator().manual_seed(stream_seed(self.name, trainer.args.seed))
        for parameter in trainer.model.parameters():
            if parameter.numel() > 1:
                uniform = torch.rand(parameter.shape, dtype=parameter.dtype, generator=rng).to(parameter.device)
                parameter.add_((uniform - 0.5) * (self.arguments.noise_lambda * parameter.std()))

    def facts(self):
        return {"lambda": self.arguments.noise_lambda}
