"""Blocks of code that leave the random streams as they found them."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def forked_torch_streams() -> Iterator[None]:
    """Run the block on copies of torch's generators."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    devices = range(torch.accelerator.device_count()) if accelerator else ()
    with torch.random.fork_rng(devices=devices, device_type=accelerator.type if accelerator else "cuda"):
        yield


@contextmanager
def forked_streams() -> Iterator[None]:
    """Run the block on copies of torch's generators and of Python's and numpy's global ones."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with forked_torch_streams():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
