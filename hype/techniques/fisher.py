"""The Fisher information of a model's weights on its training data, and the masks made from it."""

import os
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tqdm.auto import tqdm

from hype.errors import InputError
from hype.perturbation import stream_seed
from hype.random_streams import forked_torch_streams


def fisher_information(trainer, scored: dict[str, torch.nn.Parameter]) -> dict[str, torch.Tensor]:
    """Return the mean over the training batches of the squared, clipped gradient of the batch's mean loss.

    As the reference: each tensor is clipped by itself to `max_grad_norm` (0: not at all), in training mode, without
    autocast. With several processes, each takes its share of the batches and all get the mean. Torch's random streams
    stay as they were.
    """
    model, was_training = trainer.model, trainer.model.training
    # Squares of small gradients are 0 in float16.
    wide = {name: torch.promote_types(p.dtype, torch.float32) for name, p in scored.items()}
    total = {name: torch.zeros_like(p, dtype=wide[name], requires_grad=False) for name, p in scored.items()}
    with forked_torch_streams():
        # The same masks whenever they are computed: the streams before training depend on what ran before.
        torch.manual_seed(stream_seed("Fisher", trainer.args.seed))
        batches = trainer.get_train_dataloader()
        model.train()
        for batch in tqdm(batches, desc="Fisher information", disable=not trainer.is_world_process_zero()):
            model(**trainer._prepare_inputs(batch)).loss.backward()
            for name, parameter in scored.items():
                if parameter.grad is not None:
                    total[name].add_(clipped(parameter.grad.to(wide[name]), trainer.args.max_grad_norm).square())
            model.zero_grad()
    model.train(was_training)
    count = len(batches) * trainer.args.world_size
    return {name: trainer.accelerator.reduce(tensor) / count for name, tensor in total.items()}


def clipped(gradient: torch.Tensor, max_norm: float) -> torch.Tensor:
    """Scale one gradient down to `max_norm`, as torch's clip_grad_norm_ does; 0: as it is."""
    return gradient * min(1.0, max_norm / (gradient.norm().item() + 1e-6)) if max_norm > 0 else gradient


def masks_of_largest(information: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """Return boolean masks of the entries at or above the (1 - share) quantile of all entries together."""
    entries = np.concatenate([tensor.flatten().cpu().numpy() for tensor in information.values()])
    # numpy's, since torch.quantile refuses more than 2^24 entries
    threshold = np.quantile(entries, 1 - share, overwrite_input=True).item()
    return {name: tensor >= threshold for name, tensor in information.items()}


def save_masks(path: Path, masks: dict[str, torch.Tensor], share: float) -> None:
    """Write the boolean masks of a share, eight entries per byte, under a temporary name, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    packed = {name: torch.from_numpy(np.packbits(mask.cpu().numpy())) for name, mask in masks.items()}
    save_file(packed, temporary, metadata={"share": str(share)})
    temporary.replace(path)


def load_masks(path: Path, like: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor] | None:
    """Read the masks of `like`, the parameters that they belong to; None if they are of another share.

    Raises:
        InputError: the file is damaged or belongs to another model.
    """
    try:
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("share") != str(share):
                return None
            packed = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
        if packed.keys() != like.keys():
            raise ValueError("its names are not the model's")
        return {name: unpacked(packed[name], parameter) for name, parameter in like.items()}
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{path} cannot be used ({error}): delete it, and it is computed anew") from None


def unpacked(bits: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return the boolean mask of the shape of `like` that `bits` packs; ValueError where it does not fit."""
    if len(bits) != -(-like.numel() // 8):
        raise ValueError(f"{len(bits)} bytes for {like.numel()} entries")
    mask = np.unpackbits(bits.numpy(), count=like.numel()).astype(bool)
    return torch.from_numpy(mask).reshape(like.shape).to(like.device)
