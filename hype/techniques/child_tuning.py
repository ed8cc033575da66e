"""Child-Tuning (Xu et al., EMNLP 2021): update a part of the weights only, by masks on the clipped gradients.

Masks come between clipping and Adam, so that masked entries still decay and, in F, still move by their momentum.
"""

import logging
from pathlib import Path

import torch
from torch import nn

from hype.errors import InputError
from hype.files import MASK_FILE
from hype.perturbation import stream_seed
from hype.techniques.base import Technique
from hype.techniques.fisher import fisher_information, load_masks, masks_of_largest, save_masks

logger = logging.getLogger(__name__)


class ChildTuningF(Technique):
    """Task-free: at every step keep each entry of every gradient with probability p, and divide it by p.

    The masks come from a stream of (seed, optimiser step), equal on all ranks.
    """

    name = "Child-Tuning F"

    def before_update(self, trainer) -> None:
        rngs = {}
        embeddings = {module.weight for module in trainer.model.modules() if isinstance(module, nn.Embedding)}
        for parameter in trainer.model.parameters():
            if parameter.grad is not None:
                device = parameter.grad.device
                if device not in rngs:
                    seed = stream_seed(self.name, trainer.args.seed, trainer.state.global_step)
                    rngs[device] = torch.Generator(device).manual_seed(seed)
                self._mask(parameter.grad, rngs[device], parameter in embeddings)

    def _mask(self, gradient: torch.Tensor, rng: torch.Generator, is_embedding: bool) -> None:
        if is_embedding:
            # Rows of words that the batch lacks are zero, masked or not: most of the table.
            rows = ((gradient.amax(1) != 0) | (gradient.amin(1) != 0)).nonzero().squeeze(1)
            chosen = gradient[rows]
            gradient[rows] = chosen.mul_(self.keep_mask(chosen, rng)).div_(self.arguments.reserve_p)
        else:
            gradient.mul_(self.keep_mask(gradient, rng)).div_(self.arguments.reserve_p)

    def keep_mask(self, gradient: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Draw the mask of one gradient: 1 with probability p, else 0, in the gradient's dtype."""
        # On the CPU this takes half the time of bernoulli_, and a product with booleans five times that with floats
        # (measured, 2026-11-22).
        uniform = torch.rand(gradient.shape, generator=rng, device=gradient.device, dtype=gradient.dtype)
        return uniform.lt_(self.arguments.reserve_p)

    def facts(self):
        return {"reserve_p": self.arguments.reserve_p}


class ChildTuningD(Technique):
    """Task-driven: keep the gradients of the share p of the layers' weights with the largest Fisher information.

    Only parameters whose name contains `layer`, in small letters, are masked, as in the reference: on the paper's
    architectures those inside the Transformer layers. All others train as usual. The masks are computed once, in one
    pass over the training data (HyPe's noise is on, as in every training forward), and kept in the run's folder, where
    a run resumed with the same p finds them.
    """

    name = "Child-Tuning D"

    def __init__(self, arguments):
        super().__init__(arguments)
        self.masks: dict[str, torch.Tensor] = {}
        self.kept_share = None

    def before_training(self, trainer) -> None:
        scored = scored_parameters(trainer.model)
        path = Path(trainer.args.output_dir) / MASK_FILE
        share = self.arguments.reserve_p
        found = load_masks(path, scored, share) if trainer.is_resuming and path.is_file() else None
        self.masks = found or masks_of_largest(fisher_information(trainer, scored), share)
        if found is None and trainer.args.should_save:
            save_masks(path, self.masks, share)
        kept = sum(mask.sum().item() for mask in self.masks.values())
        self.kept_share = kept / sum(mask.numel() for mask in self.masks.values())
        logger.info("%s keeps %.4f of the gradients of %d tensors", self.name, self.kept_share, len(self.masks))

    def before_update(self, trainer) -> None:
        for name, parameter in trainer.model.named_parameters():
            if name in self.masks and parameter.grad is not None:
                parameter.grad.mul_(self.masks[name])

    def after_training(self, trainer) -> None:
        self.masks = {}

    def facts(self):
        return {"reserve_p": self.arguments.reserve_p, "kept_share": self.kept_share}


def scored_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name the parameters that Child-Tuning D masks.

    Raises:
        InputError: there is none.
    """
    scored = {name: p for name, p in model.named_parameters() if "layer" in name and p.requires_grad}
    if not scored:
        raise InputError(
            f"--mode ChildTuning-D: no trainable parameter of {type(model).__name__} has `layer` in its name, "
            "so there is nothing to mask: choose ChildTuning-F"
        )
    return scored
