"""Benchmarks in the process of the tests."""

import pytest

from hype.benchmark import __main__ as command


@pytest.fixture(autouse=True)
def memory_goes_back(monkeypatch):
    """Leave the allocator alone, for all that is tested in this process afterwards."""
    monkeypatch.setattr(command, "keep_memory", lambda: None)
