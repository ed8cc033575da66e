"""What each of two ranks does: train a tiny model with each technique; rank 0 saves its weights."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.small_training import weights
from tests.techniques.test_two_processes import COMPARED, DRAWING, MASKED, run


def are_equal_on_all_ranks(found: dict) -> bool:
    flat = torch.cat([weight.flatten() for weight in found.values()])
    first = flat.clone()
    torch.distributed.broadcast(first, 0)
    return torch.equal(flat, first)


def main(folder: Path) -> None:
    for name, flags in {**COMPARED, **MASKED, **DRAWING}.items():
        trainer = run(folder / name, flags, is_drawing=name in DRAWING, batch_size=2)
        found = weights(trainer.model)
        assert are_equal_on_all_ranks(found), f"{name}: the weights of the ranks differ"
        if trainer.is_world_process_zero():
            save_file(found, folder / f"{name}.safetensors")
