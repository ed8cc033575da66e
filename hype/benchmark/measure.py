"""The one way to measure: the sides of a comparison take turns, so that a disturbance affects all of them."""

import ctypes
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import TrainerCallback

from hype.errors import EnvironmentFault, InputError
from hype.training.record import RECORD

# For a process whose peak memory is measured: glibc returns what is freed to the system, so that the peak resident set
# is what was in use at once. Otherwise it varies by 1 % with the order of allocations. Nothing is timed, so all cores
# may be used.
EXACT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "131072", "OMP_NUM_THREADS": str(os.cpu_count())}
# For a process whose time is measured, the opposite (malloc.h: M_MMAP_MAX, M_TRIM_THRESHOLD, M_ARENA_MAX).
KEEP_ALL_MEMORY = {-4: 0, -1: -1, -8: 1}


def keep_memory() -> None:
    """Have glibc keep what is freed, on Linux: page faults of memory that is returned and requested again come at
    random and cost a step more than what is to be measured.
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


def timed(device: torch.device, work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes."""
    started = now(device)
    work()
    return now(device) - started


def take_turns(sides: dict[str, Callable[[int], float]], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of every side in each repeat.

    A side is called with the number of the repeat, does its work and returns the seconds. In each repeat all sides go
    once in a random order and once in the reverse order, so that none is first more often. A first turn of each, which
    is slower, does not count.
    """
    for side in sides.values():
        side(0)
    seconds = {name: [0.0] * repeats for name in sides}
    rng = random.Random(0)
    for repeat in range(repeats):
        order = rng.sample(list(sides), len(sides))
        for name in (*order, *reversed(order)):
            seconds[name][repeat] += sides[name](repeat)
    return seconds


def ratios(over: list[float], under: list[float]) -> list[float]:
    """Divide repeat by repeat."""
    return [a / b for a, b in zip(over, under, strict=True)]


class StepClock(TrainerCallback):
    """Times a training from the end of its first step, which warms up, to the end of its last."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 1:
            self.started = now(args.device)
        if state.global_step == state.max_steps:
            self.seconds = now(args.device) - self.started


def run_module(module: str, argv: list[str], variables: dict[str, str] | None = None) -> None:
    """Run `python -m module argv` in its own process, which prints to stderr, with these environment variables.

    Raises:
        InputError, EnvironmentFault: the process failed; the former if it says that its input is wrong.
    """
    command = [sys.executable, "-m", module, *argv]
    code = subprocess.run(command, env={**os.environ, **(variables or {})}, stdout=2).returncode
    if code != 0:
        kind = InputError if code == InputError.exit_code else EnvironmentFault
        raise kind(f"{module} {' '.join(argv)} ended with exit code {code}: see its log above")


def peak_mebibytes(argv: list[str]) -> float:
    """Do a run in its own process; return the peak memory from its record: the allocator's on CUDA."""
    run_module("hype", argv, EXACT_MEMORY)
    record = json.loads((Path(argv[argv.index("--output_dir") + 1]) / RECORD).read_text(encoding="utf-8"))
    return record["peak_memory_bytes"] / 2**20
