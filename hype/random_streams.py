"""Context managers that restore the random states at the end of the block."""

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch


def forked_torch_streams() -> AbstractContextManager[None]:
    """Restore torch's generators, on all devices, after the block."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    devices = range(torch.accelerator.device_count()) if accelerator else ()
    return torch.random.fork_rng(devices=devices, device_type=accelerator.type if accelerator else "cuda")


@contextmanager
def forked_streams() -> Iterator[None]:
    """Restore torch's generators and the global ones of Python and NumPy after the block."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with forked_torch_streams():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
