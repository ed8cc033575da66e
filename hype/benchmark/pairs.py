"""Seconds of alternatives, measured in turns, step by step, so that what disturbs one of them disturbs all."""

import ctypes
import random
import sys
import time
from collections.abc import Callable

import torch
from scipy.stats import gmean

# For a process whose peak memory counts: glibc then returns what is freed to the system, so that the peak resident set
# is what was in use at once. Without, it moves by 1 % with the order of allocations.
EXACT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "131072"}
# For a process whose time counts, the contrary (malloc.h: M_MMAP_MAX, M_TRIM_THRESHOLD, M_ARENA_MAX).
KEEP_ALL_MEMORY = {-4: 0, -1: -1, -8: 1}


def keep_memory() -> None:
    """Have glibc keep what is freed. Elsewhere, do nothing.

    By default it gives memory back and asks for it anew, at moments that hang on all that went before: page faults hit
    a step of any side now and then, and cost it more than what is to be measured.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        for option, value in KEEP_ALL_MEMORY.items():
            libc.mallopt(option, value)


def now(device: torch.device) -> float:
    """Read the clock: processor time of this process on a CPU, else wall time of a synchronised device.

    Processor time in one thread is what other work on the machine moves least.
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


def interleaved(sides: dict[str, Callable[[], float]], repeats: int, steps: int = 2) -> dict[str, list[float]]:
    """Let every side do a step in turn, `repeats` x `steps` times; return its seconds of each repeat.

    A side does its next step and returns the seconds. Each does one before, which does not count: the first one of
    full size is slower. The order of the sides is drawn for each two steps and turned around between them, so that
    every repeat is balanced by itself: none comes first, or after the same other one, more often.

    Raises:
        ValueError: `steps` is odd.
    """
    if steps % 2:
        raise ValueError(f"{steps} steps cannot be done as often in an order as in its reverse")
    for step in sides.values():
        step()
    seconds = {name: [0.0] * repeats for name in sides}
    rng = random.Random(0)
    for repeat in range(repeats):
        for _ in range(steps // 2):
            order = rng.sample(list(sides), len(sides))
            for name in (*order, *reversed(order)):
                seconds[name][repeat] += sides[name]()
    return seconds


def ratios(over: list[float], under: list[float]) -> list[float]:
    """Divide pair by pair."""
    return [a / b for a, b in zip(over, under, strict=True)]


def geometric_means(rows: list[list[float]]) -> list[float]:
    """Return the geometric mean of each column."""
    return gmean(rows, axis=0).tolist()
