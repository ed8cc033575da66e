"""The published numbers with which the techniques are compared."""

import json
from pathlib import Path

import pytest
import torch

VECTORS = Path(__file__).parents[1] / "data" / "technique_vectors.json"


@pytest.fixture(scope="session")
def vectors() -> dict:
    return json.loads(VECTORS.read_text())


def tensor(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def assert_near(actual, expected, rtol=1e-6, atol=1e-9):
    """Compare with the tolerances that the file of numbers prescribes: rtol 1e-6, atol 1e-9."""
    actual = torch.as_tensor(actual, dtype=torch.float64)
    torch.testing.assert_close(actual, tensor(expected), rtol=rtol, atol=atol)
