"""Whole checkpoints, told from half-written ones, and whether a run's folder is to be resumed, started or left alone.

A checkpoint is whole once its marker, which is written last, names all of its files with their hashes. The marker also
says which run the checkpoint is of, so that a lost or damaged run.json costs nothing.
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
from hype.files import file_sha256, remove_temporary_files, sync, weights_sha256, write_json
from hype.training.arguments import Arguments, RunArguments
from hype.training.record import RECORD, DamagedRecordError, environment, provenance, read_record

logger = logging.getLogger(__name__)
MARKER = "complete.json"
LOCK = ".lock"
# What a run leaves beside checkpoints and tokenizer. Next to another run's record it would pass for that run's.
OWN_FILES = (
    RECORD, "README.md", "config.json", "model.safetensors", "model-?????-of-?????.safetensors",
    "model.safetensors.index.json", "training_args.bin", "trainer_state.json", "all_results.json", "train_results.json",
    "eval_results.json", "low_resource_indices.json", "test_predictions.tsv",
    *sorted({s.submission for task in TASKS.values() for s in task.sources.values() if s.submission}),
)  # fmt: skip


def mark_complete(checkpoint: Path, run: dict) -> None:
    """Mark a checkpoint as whole, with size and hash of every file, and on the disk.

    Args:
        run: which run it is of, see `hype.training.record.provenance`.
    """
    sync(checkpoint)
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != MARKER)
    sums = {str(p.relative_to(checkpoint)): {"bytes": p.stat().st_size, "sha256": file_sha256(p)} for p in files}
    write_json(checkpoint / MARKER, {"files": sums, "run": run})


def is_complete(checkpoint: Path) -> bool:
    """Say whether a checkpoint has its marker and every file that the marker names, unchanged."""
    try:
        sums = json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))["files"]
        return bool(sums) and all(
            (checkpoint / name).stat().st_size == entry["bytes"] and file_sha256(checkpoint / name) == entry["sha256"]
            for name, entry in sums.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def last_complete(folder: Path) -> Path | None:
    """Return the newest whole checkpoint of a run; half-written or damaged newer ones are named in a warning."""
    numbered = {int(m[1]): p for p in folder.glob("checkpoint-*") if (m := re.fullmatch(r"checkpoint-(\d+)", p.name))}
    for step in sorted(numbered, reverse=True):
        if is_complete(numbered[step]):
            return numbered[step]
        logger.warning("%s is half-written or damaged and is ignored", numbered[step])
    return None


@contextmanager
def locked(folder: Path, name: str = LOCK):
    """Create the run's folder if necessary and lock it; what killed writes have left in it is removed.

    Args:
        name: of the lock's file.

    Raises:
        LockedError: another live process holds it. The lock of a dead one is free again.
        EnvironmentFault: the folder cannot be created or written.
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
            holder = "its holder is not known"
        raise LockedError(
            f"--output_dir {folder}: another run is in it ({holder}); wait for it or choose another folder"
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
    """What to do in a run's folder."""

    finished: dict | None = None  # the record of the run, which is finished: nothing is left to do
    checkpoint: Path | None = None  # what to resume from; None: start
    changed: dict | None = None  # setting -> [old, new value], of all resumptions so far
    resumed_from: str | None = None  # the checkpoint of another folder that the run began from


def decide_resume(arguments: Arguments, folder: Path, record: dict) -> Decision:
    """Decide between start, resumption and nothing from what a run's folder holds.

    Args:
        record: of the run that is asked for, see `hype.training.record.new_record`.

    Raises:
        InputError: the folder holds another run or foreign files, or the named checkpoint is not whole.
    """
    training, resume = arguments.training, arguments.training.resume_from_checkpoint
    if training.overwrite_output_dir:
        _require_clearable(arguments, folder)
        return Decision()

    newest = last_complete(folder)
    held = _record_in(folder, newest)
    run = provenance(held) if held else _marked_run(newest) if newest else None  # what is in the folder
    is_finished = held is not None and held["status"] == "finished"
    if is_finished and run["identity"] == record["identity"]:
        require_weights(folder, held)
        return Decision(finished=held)
    changed = _differences(run, record) if run else {}
    ways_out = "choose another folder, pass --overwrite_output_dir to start again, or "
    if is_finished and not resume:
        ways_out += "resume one of its checkpoints by --resume_from_checkpoint and --allow_changed"
        raise InputError(f"--output_dir {folder} holds another run ({_shown(changed)}), which is finished: {ways_out}")
    # A run that ended before its first checkpoint (a flag was wrong) leaves nothing that could be mixed up.
    if changed and (newest or is_finished) and not training.allow_changed:
        ways_out += "--allow_changed to resume with the new settings"
        raise InputError(f"--output_dir {folder} holds another run ({_shown(changed)}): {ways_out}")

    checkpoint = newest
    if resume and resume.lower() != "true":
        named = Path(resume).expanduser()
        checkpoint = named if is_complete(named) else None
    if checkpoint is None:
        if resume:
            raise InputError(f"--resume_from_checkpoint {resume}: no whole checkpoint; name another or leave it out")
        if held is None:
            remedy = "choose an empty folder, or pass --overwrite_output_dir to write beside them"
            _refuse_files(folder, ["[!.]*"], remedy)
        return Decision()

    is_own = checkpoint.resolve().parent == folder.resolve()
    if not is_own:
        _require_own(folder)
        run = _marked_run(checkpoint)
        changed = _differences(run, record)
        if changed and not training.allow_changed:
            raise InputError(
                f"{checkpoint} is of another run ({_shown(changed)}): name one of this run by "
                "--resume_from_checkpoint, or pass --allow_changed to resume with the new settings"
            )
    return Decision(
        checkpoint=checkpoint,
        changed={**(run["changed"] or {}), **changed} or None,
        resumed_from=run["resumed_from"] if is_own else str(checkpoint),
    )


def on_first_process(training: RunArguments, decide: Callable[[], Decision]) -> Decision:
    """Decide on the first process, for all of them; its errors are raised on all of them, too."""
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
    """Read the folder's record; None if there is none, or a damaged one that whole checkpoints make up for."""
    path = folder / RECORD
    try:
        if path.exists():
            return read_record(path)
    except DamagedRecordError:
        if newest is None:
            raise
    if newest is not None:
        logger.warning("%s is missing or damaged; what it held is taken from %s", path, newest.name)
    return None


def _marked_run(checkpoint: Path) -> dict:
    return json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))["run"]


def _differences(run: dict, record: dict) -> dict[str, list]:
    """Compare a run with the one that is asked for: setting -> [old, new value]."""
    old, new = {**run["identity"], **run["environment"]}, {**record["identity"], **environment(record)}
    return {
        key: [old.get(key), new.get(key)] for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)
    }


def _shown(changed: dict[str, list]) -> str:
    """Describe changed settings; a changed hash tells nothing but that the content changed."""
    is_hash = re.compile(r"[0-9a-f]{64}").fullmatch
    texts = []
    for key, values in list(changed.items())[:5]:
        old, new = ("default" if value is None else str(value) for value in values)
        texts.append(f"the content of {key} changed" if is_hash(old) and is_hash(new) else f"{key}: {old} -> {new}")
    return "; ".join(texts)


def _require_clearable(arguments: Arguments, folder: Path) -> None:
    """Refuse to clear a folder of other files, or one that the run would read from."""
    _require_own(folder)
    for name in ("model_name_or_path", "checkpoint_dir", "config_name", "tokenizer_name"):
        path = getattr(arguments.model, name)
        if path and Path(path).resolve().is_relative_to(folder.resolve()):
            raise InputError(
                f"--{name} {path} lies in --output_dir {folder}, which --overwrite_output_dir clears: choose another "
                "folder"
            )


def _require_own(folder: Path) -> None:
    """Refuse a folder in which a run would overwrite or, by --save_total_limit, remove files of another program."""
    if not (folder / RECORD).exists() and not any(folder.glob(f"checkpoint-*/{MARKER}")):
        _refuse_files(folder, ["checkpoint-*", *OWN_FILES], "move them away or choose another folder")


def _refuse_files(folder: Path, patterns: list[str], remedy: str) -> None:
    found = sorted(path.name for pattern in patterns for path in folder.glob(pattern))
    if found:
        raise InputError(f"--output_dir {folder} holds {', '.join(found[:3])} of another program: {remedy}")


def require_weights(folder: Path, record: dict) -> None:
    """Check that the weights in a finished run's folder are those that it finished with.

    A run whose model was not saved, or has been deleted, passes.

    Raises:
        InputError: they are empty, cut or altered.
    """
    expected, found = record["model"].get("weights_sha256"), weights_sha256(folder)
    if expected and found and found != expected:
        raise InputError(
            f"{folder}: its weights are not those that the run finished with (damaged or altered); restore them, or "
            "pass --overwrite_output_dir to train again"
        )


def has_weights(folder: Path) -> bool:
    """Return whether a run's model is in its folder."""
    return any(folder.glob("model*.safetensors"))


def require_space(folder: Path, model: nn.Module, training: RunArguments, has_checkpoint: bool) -> None:
    """Refuse a training that the disk cannot hold: the new checkpoint and the one that it replaces, and the model.

    Raises:
        EnvironmentFault: too few bytes are free.
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
    """Remove a run from its folder; files of others stay."""
    for path in folder.glob("checkpoint-*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
    # The record goes last: what is left if this is killed is still known to be a run.
    for path in sorted({p for pattern in OWN_FILES for p in folder.glob(pattern)}, key=lambda p: p.name == RECORD):
        path.unlink()
