"""How benchmarks measure: the sides of a comparison take turns, so that a disturbance affects all of them."""

import ctypes
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from hype.errors import EnvironmentFault
from hype.training.record import RECORD, read_record

# To measure peak memory, make glibc return freed memory to the system, so that the peak resident set is the most memory
# in use at once; otherwise it varies by 1 % with the order of allocations. Nothing is timed, so all cores may be used.
EXACT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "131072", "OMP_NUM_THREADS": str(os.cpu_count())}
# To measure time, the opposite (malloc.h: M_MMAP_MAX, M_TRIM_THRESHOLD, M_ARENA_MAX).
KEEP_ALL_MEMORY = {-4: 0, -1: -1, -8: 1}


def keep_memory() -> None:
    """Make glibc keep freed memory, on Linux: returning and requesting it again causes page faults at random, which
    cost a step more than the differences to be measured.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        for option, value in KEEP_ALL_MEMORY.items():
            libc.mallopt(option, value)


def now(device: torch.device) -> float:
    """Read the clock: processor time of this process on a CPU (other work on the machine hardly changes it), else wall
    time of a synchronised device.
    """
    if device.type == "cpu":
        return time.process_time()
    torch.accelerator.synchronize(device)
    return time.perf_counter()


def timed(device: torch.device, work: Callable, *arguments) -> float:
    """Return the seconds that `work(*arguments)` takes."""
    started = now(device)
    work(*arguments)
    return now(device) - started


def take_turns(sides: dict[str, Callable[[int], float]], repeats: int) -> dict[str, np.ndarray]:
    """Return the seconds of every side in each repeat.

    A side is called with the number of the repeat, does its work and returns the seconds. In each repeat all sides run
    once in a random order and once in the reverse order, so that none is first more often. The first turn of each side
    is a warm-up and does not count.
    """
    for side in sides.values():
        side(0)
    seconds = {name: np.zeros(repeats) for name in sides}
    rng = random.Random(0)
    for repeat in range(repeats):
        order = rng.sample(list(sides), len(sides))
        for name in (*order, *reversed(order)):
            seconds[name][repeat] += sides[name](repeat)
    return seconds


def run_module(module: str, argv: list[str], variables: dict[str, str] | None = None) -> None:
    """Run `python -m module argv` in its own process, which prints to stderr; if it fails, exit with its code."""
    command = [sys.executable, "-m", module, *argv]
    code = subprocess.run(command, env={**os.environ, **(variables or {})}, stdout=2).returncode
    if code != 0:
        sys.exit(code)


def peak_mebibytes(argv: list[str]) -> float:
    """Do a run in its own process; return the peak memory from its record (on CUDA, the allocator's)."""
    run_module("hype", argv, EXACT_MEMORY)
    return read_record(Path(argv[argv.index("--output_dir") + 1]) / RECORD)["peak_memory_bytes"] / 2**20


def seconds_until(awaited: str, command: list[str]) -> float:
    """Return the wall time until the command prints a line that contains `awaited`; it must then exit with 0."""
    started, reached = time.perf_counter(), None
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout:
            if reached is None and awaited in line:
                reached = time.perf_counter() - started
    if process.returncode != 0 or reached is None:
        raise EnvironmentFault(f"{' '.join(command)}: exit code {process.returncode}; expected 0 and {awaited}")
    return reached
