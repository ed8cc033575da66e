"""NoisyTune (Wu et al., ACL 2022): add noise to the parameters once, before fine-tuning."""

import torch

from hype.perturbation import stream_seed
from hype.techniques.base import Flag, Technique


class NoisyTune(Technique):
    """W <- W + lambda std(W) (U - 1/2), U ~ Uniform[0, 1) per entry, for every parameter, including the new head.

    std is the unbiased standard deviation of the whole tensor; tensors with one entry have none and stay unchanged.
    The draws use their own stream, so that a run without NoisyTune has the same dropout masks and data.
    """

    name = "NoisyTune"
    flags = (
        Flag("noise_lambda", float, 0.0, "NoisyTune: relative scale of the noise on the parameters; 0: off.", low=0),
    )
    order = 1  # after the techniques that need the pre-trained weights (Fisher information, anchors, targets)

    @torch.no_grad()
    def before_training(self, trainer) -> None:
        # On the CPU, so that every device starts from the same weights.
        rng = torch.Generator().manual_seed(stream_seed(self.name, trainer.args.seed))
        for parameter in trainer.model.parameters():
            if parameter.numel() > 1:
                uniform = torch.rand(parameter.shape, dtype=parameter.dtype, generator=rng).to(parameter.device)
                parameter.add_((uniform - 0.5) * (self.arguments.noise_lambda * parameter.std()))
