"""Child-Tuning (Xu et al., EMNLP 2021): update only part of the weights, by masking the clipped gradients.

Masks are applied between clipping and Adam, so masked weights still decay and, in F, still move by their momentum.
"""

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from hype.errors import InputError
from hype.perturbation import stream_seed
from hype.random_streams import forked_streams
from hype.techniques.base import Flag, Technique


class ChildTuning(Technique):
    """The flags of both variants."""

    flags = (
        Flag(
            "mode",
            str | None,
            None,
            "Child-Tuning: ChildTuning-F (random masks) or ChildTuning-D (Fisher mask).",
            choices=("ChildTuning-F", "ChildTuning-D"),
        ),
        Flag("reserve_p", float, 0.0, "Child-Tuning: share of the gradient entries to keep.", low=0, high=1),
    )

    @classmethod
    def check(cls, arguments):
        if arguments.reserve_p == 0:
            raise InputError(
                f"--mode {arguments.mode} needs --reserve_p: the share of the gradient to keep, such as 0.3"
            )


class ChildTuningF(ChildTuning):
    """Task-free: at every step, keep each entry of every gradient with probability p and divide it by p.

    The masks depend only on the seed and the optimizer step, so they are equal on all ranks.
    """

    name = "Child-Tuning F"
    switch_value = "ChildTuning-F"

    def before_update(self, trainer) -> None:
        seed = stream_seed(self.name, trainer.args.seed, trainer.state.global_step)
        rng = torch.Generator(next(trainer.model.parameters()).device).manual_seed(seed)
        embeddings = {module.weight for module in trainer.model.modules() if isinstance(module, nn.Embedding)}
        for parameter in trainer.model.parameters():
            gradient = parameter.grad
            if gradient is None:
                continue
            if parameter in embeddings:
                # Most rows are zero, because their tokens are not in the batch: do not mask them.
                rows = ((gradient.amax(1) != 0) | (gradient.amin(1) != 0)).nonzero().squeeze(1)
                gradient[rows] = self._mask(gradient[rows], rng)
            else:
                self._mask(gradient, rng)

    def _mask(self, gradient: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        return gradient.mul_(self.keep_mask(gradient, rng)).div_(self.arguments.reserve_p)

    def keep_mask(self, gradient: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Draw the mask of one gradient, in its dtype: 1 with probability p, else 0."""
        # On the CPU this takes half as long as bernoulli_; multiplying by booleans takes five times as long as by
        # floats (measured, 2026-11-22).
        uniform = torch.rand(gradient.shape, generator=rng, device=gradient.device, dtype=gradient.dtype)
        return uniform.lt_(self.arguments.reserve_p)


class ChildTuningD(ChildTuning):
    """Task-driven: keep the gradients of the share p of the layers' weights with the largest Fisher information.

    As in the reference code, only parameters with `layer` (in lower case) in their name are masked: in the paper's
    architectures, those of the Transformer layers. All others train as usual. The masks are computed before training in
    one pass over the training data (with HyPe's noise, as in any training forward); a resumed run repeats this pass.
    """

    name = "Child-Tuning D"
    switch_value = "ChildTuning-D"

    def __init__(self, arguments):
        super().__init__(arguments)
        self.masks: dict[str, torch.Tensor] = {}
        self.kept_share = None

    def before_training(self, trainer) -> None:
        information = fisher_information(trainer, scored_parameters(trainer.model))
        self.masks = masks_of_largest(information, self.arguments.reserve_p)
        kept = sum(mask.sum().item() for mask in self.masks.values())
        self.kept_share = kept / sum(mask.numel() for mask in self.masks.values())

    def before_update(self, trainer) -> None:
        for name, parameter in trainer.model.named_parameters():
            if name in self.masks and parameter.grad is not None:
                parameter.grad.mul_(self.masks[name])

    def after_training(self, trainer) -> None:
        self.masks = {}

    def facts(self):
        return {"kept_share": self.kept_share}


def scored_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that Child-Tuning D masks, by name.

    Raises:
        InputError: there are none.
    """
    scored = {name: p for name, p in model.named_parameters() if "layer" in name and p.requires_grad}
    if not scored:
        raise InputError(
            f"--mode ChildTuning-D: no trainable parameter of {type(model).__name__} has `layer` in its name, "
            "so there is nothing to mask: choose ChildTuning-F"
        )
    return scored


def fisher_information(trainer, scored: dict[str, nn.Parameter]) -> dict[str, torch.Tensor]:
    """Return the squared, clipped gradient of the batch's mean loss, averaged over the training batches.

    As in the reference code, each tensor is clipped separately to `max_grad_norm` (0: no clipping), in training mode
    and without autocast. With several processes, each handles its share of the batches and all get the mean. Torch's
    random states are restored.
    """
    model, was_training = trainer.model, trainer.model.training
    limit = trainer.args.max_grad_norm
    # Squares of small gradients underflow in float16.
    total = {name: torch.zeros_like(p, dtype=torch.promote_types(p.dtype, torch.float32)) for name, p in scored.items()}
    with forked_streams():
        # Reseed so that a resumed run computes the same masks: torch's state depends on what ran before.
        torch.manual_seed(stream_seed("Fisher", trainer.args.seed))
        batches = trainer.get_train_dataloader()
        model.train()
        is_silent = trainer.args.disable_tqdm or not trainer.is_world_process_zero()
        for batch in tqdm(batches, desc="Fisher information", disable=is_silent):
            model(**batch).loss.backward()
            for name, parameter in scored.items():
                if parameter.grad is not None:
                    gradient = parameter.grad.to(total[name].dtype)
                    if limit > 0:  # as torch's clip_grad_norm_ does
                        gradient = gradient * min(1.0, limit / (gradient.norm().item() + 1e-6))
                    total[name].add_(gradient.square())
            model.zero_grad()
    model.train(was_training)
    count = len(batches) * trainer.args.world_size
    return {name: trainer.accelerator.reduce(tensor) / count for name, tensor in total.items()}


def masks_of_largest(information: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """Return boolean masks of the entries at or above the (1 - share) quantile over all tensors."""
    entries = np.concatenate([tensor.flatten().cpu().numpy() for tensor in information.values()])
    # NumPy, because torch.quantile accepts at most 2^24 entries
    threshold = np.quantile(entries, 1 - share, overwrite_input=True).item()
    return {name: tensor >= threshold for name, tensor in information.items()}
