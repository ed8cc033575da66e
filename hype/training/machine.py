"""The machine that a run is done on: its device, versions, commit and memory."""

import contextlib
import functools
import gc
import importlib.metadata
import platform
import re
import resource
import subprocess
import sys
from pathlib import Path

import torch

PACKAGES = ("torch", "transformers", "datasets", "accelerate", "tokenizers", "scikit-learn", "scipy", "numpy")


def current_device() -> torch.device:
    """Return the accelerator that a run takes where there is one, else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def describe_machine(device: torch.device, world_size: int = 1) -> dict:
    """Describe versions, commit, device and the number of processes, as a record holds them."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    return {
        "versions": {"python": platform.python_version(), **{p: importlib.metadata.version(p) for p in PACKAGES}},
        "git": _git_state(),
        "device": {"type": device.type, "name": name, "threads": torch.get_num_threads()},
        "world_size": world_size,
    }


def _cpu_name() -> str:
    """Name the CPU and the instruction set that torch uses: others round differently, which long trainings show."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)", info.read_text(), re.MULTILINE) if info.exists() else None
    return f"{found[1] if found else platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"


def _git_state() -> dict | None:
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    git = functools.partial(subprocess.run, cwd=root, capture_output=True, text=True, check=True, timeout=10)
    try:
        commit = git(["git", "rev-parse", "HEAD"]).stdout.strip()
        # Published results do not change the code that makes them.
        changed = git(["git", "status", "--porcelain", "--", ".", ":(exclude)results"]).stdout.strip()
        return {"commit": commit, "dirty": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return None


def reset_peak_memory(device: torch.device) -> None:
    """Forget the peak so far, where the system allows it: one process may do many runs."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif (resets := Path("/proc/self/clear_refs")).exists():
        with contextlib.suppress(OSError):  # not every container lets a process write it
            resets.write_text("5")


def peak_memory_bytes(device: torch.device) -> int:
    """Return the largest memory since `reset_peak_memory`: the CUDA allocator's, else the process's resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():  # Linux's ru_maxrss begins with the peak of the process that started this one
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def leave_process_group() -> None:
    """Leave the process group of torchrun once a finished run is written; without one do nothing.

    The Trainer's cycles hold the group, and with it gloo's threads, beyond its end: a thread that lets go of its last
    tensor while the interpreter shuts down aborts the process, and a finished run ends in SIGABRT.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        gc.collect()
        torch.distributed.destroy_process_group()
