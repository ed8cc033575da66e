"""A context manager that restores the random states at the end of the block."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def forked_streams() -> Iterator[None]:
    """Restore torch's generators, on all devices, and the global ones of Python and NumPy after the block."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    devices = range(torch.accelerator.device_count()) if accelerator else ()
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices, device_type=accelerator.type if accelerator else "cuda"):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
