"""Comparison with the published numbers of the techniques."""

import torch


def tensor(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def assert_near(actual, expected, rtol=1e-6, atol=1e-9):
    """Compare with the tolerances that the file of numbers prescribes: rtol 1e-6, atol 1e-9."""
    actual = torch.as_tensor(actual, dtype=torch.float64)
    torch.testing.assert_close(actual, tensor(expected), rtol=rtol, atol=atol)
