"""The machine of a run: its device, package versions, commit and memory."""

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
    """Return the accelerator if one is available, else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def describe_machine(device: torch.device, world_size: int = 1) -> dict:
    """Return the versions, commit, device and number of processes, as recorded in run.json."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    return {
        "versions": {"python": platform.python_version(), **{p: importlib.metadata.version(p) for p in PACKAGES}},
        "git": _git_state(),
        "device": {"type": device.type, "name": name, "threads": torch.get_num_threads()},
        "world_size": world_size,
    }


def _cpu_name() -> str:
    """Return the CPU's name and torch's instruction set, which affects rounding and thus long trainings."""
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
        # A change in results/ is not a change in the code.
        changed = git(["git", "status", "--porcelain", "--", ".", ":(exclude)results"]).stdout.strip()
        return {"commit": commit, "dirty": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return None


def reset_peak_memory(device: torch.device) -> None:
    """Reset the peak, where the system allows it: one process may execute many runs."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif (resets := Path("/proc/self/clear_refs")).exists():
        with contextlib.suppress(OSError):  # not every container allows writing to it
            resets.write_text("5")


def peak_memory_bytes(device: torch.device) -> int:
    """Return the peak memory since `reset_peak_memory`: the CUDA allocator's, else the process's resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    # On Linux, ru_maxrss starts at the parent process's peak; some sandboxes have no VmHWM.
    if status.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def leave_process_group() -> None:
    """Destroy the process group of torchrun, if there is one, after the run is written.

    Reference cycles in Trainer keep the group and gloo's threads alive: a thread that frees its last tensor while the
    interpreter shuts down aborts the process, so that a finished run would end in SIGABRT.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        gc.collect()
        torch.distributed.destroy_process_group()
