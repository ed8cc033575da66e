"""Skip the tests of this folder without a CUDA device, which only `pytest tests/gpu` sees.

GPU_TESTS_ON_CPU=1 runs them on the CPU instead, all but those of CUDA's own tools: a rehearsal for a machine with one.
"""

import os
from pathlib import Path

import pytest
import torch

HAS_CUDA = torch.cuda.is_available()
if HAS_CUDA:  # torch reads this at the first matrix product; set later, --full_determinism raises an error
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
IS_REHEARSAL = not HAS_CUDA and os.environ.get("GPU_TESTS_ON_CPU") == "1"


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("gpu")
            if not HAS_CUDA and not (IS_REHEARSAL and "cuda_only" not in item.fixturenames):
                reason = "no CUDA device (GPU_TESTS_ON_CPU=1 rehearses), or not started by pytest tests/gpu"
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda" if HAS_CUDA else "cpu")


@pytest.fixture
def cuda_only() -> None:
    """Mark a test of what only CUDA has."""


@pytest.fixture
def deterministic(monkeypatch):
    """Leave torch's choice of kernels as it was: --full_determinism changes it for the whole process."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", os.environ.get("CUDA_LAUNCH_BLOCKING", "0"))
    monkeypatch.setenv("FLASH_ATTENTION_DETERMINISTIC", os.environ.get("FLASH_ATTENTION_DETERMINISTIC", "0"))
    benchmark = torch.backends.cudnn.benchmark
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, benchmark
