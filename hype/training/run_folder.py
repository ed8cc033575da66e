"""The folder of a run: its lock, the files that belong to it, and the space that it needs."""

import json
import os
import shutil
import socket
import time
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from torch import nn

from hype.data.tasks import TASKS
from hype.errors import EnvironmentFault, InputError, LockedError
from hype.files import WEIGHT_FILES, remove_temporary_files, weights_sha256, write_json
from hype.training.arguments import RunArguments
from hype.training.checkpoints import MARKER, numbered
from hype.training.record import RECORD

LOCK = ".lock"
# Files of a run besides checkpoints and tokenizer. Next to another run's record they would be taken for that run's.
OWN_FILES = (
    RECORD, "README.md", "config.json", *WEIGHT_FILES, "model.safetensors.index.json", "training_args.bin",
    "trainer_state.json", "all_results.json", "train_results.json", "eval_results.json", "test_results.json",
    "low_resource_indices.json", "test_predictions.tsv",
    *sorted({s.submission for task in TASKS.values() for s in task.sources.values() if s.submission}),
)  # fmt: skip


@contextmanager
def locked(folder: Path, name: str = LOCK):
    """Create the run's folder if necessary, lock it, and remove temporary files of interrupted writes.

    Args:
        name: file name of the lock.

    Raises:
        LockedError: another process holds the lock, which is released when that process ends.
        EnvironmentFault: the folder cannot be created or written to.
    """
    lock, signature = FileLock(folder / name), folder / f"{name}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        start = time.strftime("%Y-%m-%d %H:%M:%S")
        write_json(signature, {"pid": os.getpid(), "host": socket.gethostname(), "start": start})
    except Timeout:
        try:
            holder = "process {pid} on {host} since {start}".format(**json.loads(signature.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError):
            holder = "process unknown"
        raise LockedError(
            f"--output_dir {folder}: in use by another run ({holder}); wait for it to end, or choose another folder"
        ) from None
    except OSError as error:
        lock.release()
        raise EnvironmentFault(
            f"--output_dir {folder}: {error.strerror}; make room, or choose a folder you can write"
        ) from error
    try:
        if name == LOCK:
            remove_temporary_files(folder)
        yield
    finally:
        lock.release()


def require_own(folder: Path) -> None:
    """Refuse a folder in which a run would overwrite or, by --save_total_limit, remove files of another program."""
    if not (folder / RECORD).exists() and not any(folder.glob(f"checkpoint-*/{MARKER}")):
        refuse_files(folder, ["checkpoint-*", *OWN_FILES], "move them away, or choose another folder")


def refuse_files(folder: Path, patterns: list[str], remedy: str) -> None:
    """Raise InputError if the folder contains files that match one of `patterns`."""
    found = sorted(path.name for pattern in patterns for path in folder.glob(pattern))
    if found:
        raise InputError(f"--output_dir {folder} contains files of another program ({', '.join(found[:3])}): {remedy}")


def require_weights(folder: Path, record: dict) -> None:
    """Check that the weights in a finished run's folder are unchanged.

    Passes if the model was not saved or has been deleted.

    Raises:
        InputError: they are empty, truncated or modified.
    """
    expected, found = record["model"].get("weights_sha256"), weights_sha256(folder)
    if expected and found and found != expected:
        raise InputError(
            f"{folder}: the weights have changed since the run finished (damaged or modified); restore them, or "
            "pass --overwrite_output_dir to train again"
        )


def require_space(folder: Path, model: nn.Module, training: RunArguments, has_checkpoint: bool) -> None:
    """Refuse to train without disk space for the model, the new checkpoint and the one that it replaces.

    Raises:
        EnvironmentFault: there is too little free space.
    """
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    checkpoint = weights * (3 if "adam" in training.optim and not training.save_only_model else 1)
    checkpoint_count = 0 if training.save_strategy == "no" else 2 - has_checkpoint
    needed, free = checkpoint_count * checkpoint + training.save_model * weights, shutil.disk_usage(folder).free
    if free < needed:
        raise EnvironmentFault(
            f"--output_dir {folder}: {free:,} bytes are free, checkpoints and model need about {needed:,}; make room, "
            "choose another folder, or pass --save_strategy no"
        )


def clear(folder: Path) -> None:
    """Remove a run from its folder; other files stay."""
    for path in numbered(folder).values():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
    # The record goes last: if this is killed, the rest is still recognised as a run.
    for path in sorted({p for pattern in OWN_FILES for p in folder.glob(pattern)}, key=lambda p: p.name == RECORD):
        path.unlink()
