"""Recognise complete checkpoints, and decide whether to start a run, resume it or leave it alone.

A checkpoint is complete once it has its marker, a file that is written last and lists all others with their hashes. The
marker also identifies the run, so that a lost or damaged run.json costs nothing.
"""

import json
import logging
import os
import re
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from accelerate.utils import broadcast_object_list
from filelock import FileLock, Timeout
from torch import nn

from hype.data.tasks import TASKS
from hype.errors import EnvironmentFault, InputError, LockedError, RunError
from hype.files import WEIGHT_FILES, file_sha256, remove_temporary_files, sync, weights_sha256, write_json
from hype.training.arguments import Arguments, RunArguments
from hype.training.record import RECORD, DamagedRecordError, environment, provenance, read_record

logger = logging.getLogger(__name__)
MARKER = "complete.json"
LOCK = ".lock"
# Files of a run besides checkpoints and tokenizer. Next to another run's record they would be taken for that run's.
OWN_FILES = (
    RECORD, "README.md", "config.json", *WEIGHT_FILES, "model.safetensors.index.json", "training_args.bin",
    "trainer_state.json", "all_results.json", "train_results.json", "eval_results.json", "test_results.json",
    "low_resource_indices.json", "test_predictions.tsv",
    *sorted({s.submission for task in TASKS.values() for s in task.sources.values() if s.submission}),
)  # fmt: skip


def mark_complete(checkpoint: Path, run: dict) -> None:
    """Flush a checkpoint to disk and mark it as complete, with the size and hash of every file.

    Args:
        run: identifies the run, see `hype.training.record.provenance`.
    """
    sync(checkpoint)
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != MARKER)
    sums = {str(p.relative_to(checkpoint)): {"bytes": p.stat().st_size, "sha256": file_sha256(p)} for p in files}
    write_json(checkpoint / MARKER, {"files": sums, "run": run})


def is_complete(checkpoint: Path) -> bool:
    """Return whether a checkpoint has its marker and, unchanged, every file that the marker lists."""
    try:
        sums = json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))["files"]
        return bool(sums) and all(
            (checkpoint / name).stat().st_size == entry["bytes"] and file_sha256(checkpoint / name) == entry["sha256"]
            for name, entry in sums.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def last_complete(folder: Path) -> Path | None:
    """Return the newest complete checkpoint of a run; warn about newer ones, from which it cannot be resumed."""
    numbered = {int(m[1]): p for p in folder.glob("checkpoint-*") if (m := re.fullmatch(r"checkpoint-(\d+)", p.name))}
    for step in sorted(numbered, reverse=True):
        if is_complete(numbered[step]):
            return numbered[step]
        logger.warning("%s is ignored: incomplete, damaged, or saved with --save_only_model", numbered[step])
    return None


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


class Decision(NamedTuple):
    """What to do with a run's folder."""

    finished: dict | None = None  # record of the finished run: nothing is left to do
    checkpoint: Path | None = None  # checkpoint to resume from; None: start from scratch
    changed: dict | None = None  # setting -> [old, new value], over all resumptions so far
    resumed_from: str | None = None  # checkpoint in another folder that the run started from


def decide_resume(arguments: Arguments, folder: Path, record: dict) -> Decision:
    """Decide from the contents of a run's folder whether to start, resume or do nothing.

    Args:
        record: of the requested run, see `hype.training.record.new_record`.

    Raises:
        InputError: the folder contains another run or foreign files, or the given checkpoint is incomplete.
    """
    training, resume = arguments.training, arguments.training.resume_from_checkpoint
    if training.overwrite_output_dir:
        _require_clearable(arguments, folder)
        return Decision()

    newest = last_complete(folder)
    held = _record_in(folder, newest)
    run = provenance(held) if held else _marked_run(newest) if newest else None  # the run in the folder
    is_finished = held is not None and held["status"] == "finished"
    if is_finished and run["identity"] == record["identity"]:
        require_weights(folder, held)
        return Decision(finished=held)
    changed = _differences(run, record) if run else {}
    ways_out = "choose another folder, pass --overwrite_output_dir to start over, or "
    if is_finished and not resume:
        ways_out += "resume one of its checkpoints with --resume_from_checkpoint and --allow_changed"
        raise InputError(f"--output_dir {folder} holds another run ({_shown(changed)}), which is finished: {ways_out}")
    # A run that ended before its first checkpoint (say, on a wrong flag) left nothing that could be mixed up.
    if changed and (newest or is_finished) and not training.allow_changed:
        ways_out += "--allow_changed to resume with the new settings"
        raise InputError(f"--output_dir {folder} holds another run ({_shown(changed)}): {ways_out}")

    checkpoint = newest
    if resume and resume.lower() != "true":
        named = Path(resume).expanduser()
        checkpoint = named if is_complete(named) else None
    if checkpoint is None:
        if resume:
            raise InputError(f"--resume_from_checkpoint {resume}: no complete checkpoint; give another or leave it out")
        if held is None:
            remedy = "choose an empty folder, or pass --overwrite_output_dir to write next to them"
            _refuse_files(folder, ["[!.]*"], remedy)
        return Decision()

    is_own = checkpoint.resolve().parent == folder.resolve()
    if not is_own:
        _require_own(folder)
        run = _marked_run(checkpoint)
        changed = _differences(run, record)
        if changed and not training.allow_changed:
            raise InputError(
                f"{checkpoint} belongs to another run ({_shown(changed)}): give a checkpoint of this run as "
                "--resume_from_checkpoint, or pass --allow_changed to resume with the new settings"
            )
    return Decision(
        checkpoint=checkpoint,
        changed={**(run["changed"] or {}), **changed} or None,
        resumed_from=run["resumed_from"] if is_own else str(checkpoint),
    )


def on_first_process(training: RunArguments, decide: Callable[[], Decision]) -> Decision:
    """Decide on the first process, and return its decision or raise its error on all processes."""
    outcome = [None]
    if training.process_index == 0:
        try:
            outcome = [decide()]
        except RunError as error:
            outcome = [error]
    if training.world_size > 1:
        broadcast_object_list(outcome)
    if isinstance(outcome[0], RunError):
        raise outcome[0]
    return outcome[0]


def _record_in(folder: Path, newest: Path | None) -> dict | None:
    """Read the folder's record; None if it is missing, or damaged while a complete checkpoint can replace it."""
    path = folder / RECORD
    try:
        if path.exists():
            return read_record(path)
    except DamagedRecordError:
        if newest is None:
            raise
    if newest is not None:
        logger.warning("%s is missing or damaged; the run is identified from %s instead", path, newest.name)
    return None


def _marked_run(checkpoint: Path) -> dict:
    return json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))["run"]


def _differences(run: dict, record: dict) -> dict[str, list]:
    """Compare a run with the requested one: setting -> [old, new value]."""
    old, new = {**run["identity"], **run["environment"]}, {**record["identity"], **environment(record)}
    return {
        key: [old.get(key), new.get(key)] for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)
    }


def _shown(changed: dict[str, list]) -> str:
    """Describe changed settings; hashes are not shown: of two, only that the content changed."""
    is_hash = re.compile(r"[0-9a-f]{64}").fullmatch
    texts = []
    for key, values in list(changed.items())[:5]:
        shown = ["default" if value is None else str(value) for value in values]
        old, new = ("given" if is_hash(text) else text for text in shown)
        texts.append(f"the content of {key} changed" if old == new else f"{key}: {old} -> {new}")
    return "; ".join(texts)


def _require_clearable(arguments: Arguments, folder: Path) -> None:
    """Refuse to clear a folder that contains foreign files or that the run would read from."""
    _require_own(folder)
    for name in ("model_name_or_path", "checkpoint_dir", "config_name", "tokenizer_name"):
        path = getattr(arguments.model, name)
        if path and Path(path).resolve().is_relative_to(folder.resolve()):
            raise InputError(
                f"--{name} {path} is inside --output_dir {folder}, which --overwrite_output_dir clears: choose another "
                "folder"
            )


def _require_own(folder: Path) -> None:
    """Refuse a folder in which a run would overwrite or, by --save_total_limit, remove files of another program."""
    if not (folder / RECORD).exists() and not any(folder.glob(f"checkpoint-*/{MARKER}")):
        _refuse_files(folder, ["checkpoint-*", *OWN_FILES], "move them away, or choose another folder")


def _refuse_files(folder: Path, patterns: list[str], remedy: str) -> None:
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
    for path in folder.glob("checkpoint-*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
    # The record goes last: if this is killed, the rest is still recognised as a run.
    for path in sorted({p for pattern in OWN_FILES for p in folder.glob(pattern)}, key=lambda p: p.name == RECORD):
        path.unlink()
