"""The folder of a run: one live process at a time, never two different runs, and where to go on."""

import errno
import json
import logging
import os
import re
import shutil
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from hype.data.tasks import TASKS
from hype.errors import EnvironmentFault, InputError, LockedError
from hype.files import MASK_FILE, write_json
from hype.training.checkpoints import is_complete, last_complete

logger = logging.getLogger(__name__)
RECORD = "run.json"
SCHEMA = 1  # of the record; another number, another meaning of its fields
LOCK = ".lock"
# What a run leaves beside checkpoints, but for the tokenizer: beside another run's record it would pass for that one's.
OWN_FILES = (
    RECORD, "README.md", "config.json", "model.safetensors", "model-?????-of-?????.safetensors",
    "model.safetensors.index.json", "training_args.bin", "trainer_state.json", "all_results.json", "train_results.json",
    "eval_results.json", "low_resource_indices.json", MASK_FILE, "test_predictions.tsv",
    *sorted({s.submission for task in TASKS.values() for s in task.sources.values() if s.submission}),
)  # fmt: skip
WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)


@contextmanager
def locked(folder: Path, name: str = LOCK):
    """Hold the folder, made if need be, for this process. name: of the lock's file.

    Raises:
        LockedError: another live process holds it; a dead one's lock is free again.
        EnvironmentFault: the folder cannot be made or written.
    """
    lock = FileLock(folder / name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise LockedError(
            f"--output_dir {folder}: another run is in it ({_holder(folder / name)}); wait for it or choose another "
            "folder"
        ) from None
    except OSError as error:
        raise EnvironmentFault(f"--output_dir {folder}: {error.strerror}; choose a folder you can write") from error
    try:
        _sign(folder / f"{name}.json")
        yield
    finally:
        lock.release()


def _sign(path: Path) -> None:
    start = time.strftime("%Y-%m-%d %H:%M:%S")
    try:
        write_json(path, {"pid": os.getpid(), "host": socket.gethostname(), "start": start})
    except OSError as error:
        raise EnvironmentFault(f"{path}: {error.strerror}; make room, or choose a folder you can write") from error


def _holder(lock: Path) -> str:
    try:
        holder = json.loads(lock.with_name(f"{lock.name}.json").read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {holder['host']} since {holder['start']}"
    except (OSError, ValueError, KeyError):
        return "its holder is not known"


def write_failure(error: Exception) -> str | None:
    """Return why the disk did not take a file, or None if that is not what an error says."""
    if getattr(error, "errno", None) in WRITE_ERRORS:
        return error.strerror
    # safetensors gives the number in its message, torch.save none at all.
    number = re.search(r"\(os error (\d+)\)", str(error))
    if number and int(number[1]) in WRITE_ERRORS:
        return os.strerror(int(number[1]))
    is_torchs = any(words in str(error) for words in ("PytorchStreamWriter", "] . unexpected pos"))
    return "torch.save failed" if is_torchs else None


def require_space(folder: Path, byte_count: int) -> None:
    """Refuse a run that the disk cannot hold, before it trains.

    Raises:
        EnvironmentFault: fewer bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < byte_count:
        raise EnvironmentFault(
            f"--output_dir {folder}: {free:,} bytes are free, checkpoints and model need about {byte_count:,}; make "
            "room, choose another folder, or pass --save_strategy no"
        )


@dataclass
class Plan:
    """What to do in the folder: nothing (`finished`), go on from `checkpoint`, or start anew.

    changed: setting -> old and new value. resumed_from: a checkpoint that no record of this folder vouches for.
    is_to_clear: the folder is cleared first.
    """

    finished: dict | None = None
    checkpoint: str | None = None
    changed: dict | None = None
    resumed_from: str | None = None
    is_to_clear: bool = False


def read_record(path: Path, remedy: str = "move it away, or pass --overwrite_output_dir") -> dict:
    """Read a run.json. remedy: said of a damaged one.

    Raises:
        InputError: it cannot be read or is no record.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        groups = record["identity"], record.get("changed") or {}, record.get("arguments") or {}
        if not (isinstance(record["status"], str) and all(isinstance(group, dict) for group in groups)):
            raise ValueError("its groups are none")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give the folder of a run") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{path}: damaged or no record of a run; {remedy}") from None
    if record.get("schema", SCHEMA) != SCHEMA:
        raise InputError(f"{path}: written by another version (schema {record['schema']}, here {SCHEMA}); use that one")
    return record


def plan(folder: Path, identity: dict, resume: str | None, overwrite: bool, allow_changed: bool) -> Plan:
    """Decide between start, resumption and nothing, from what the folder holds.

    Args:
        identity: everything that determines the result, as in the record.
        resume: a checkpoint that the user names; "true": the newest whole one.

    Raises:
        InputError: the folder holds another run or foreign files, or the named checkpoint is not whole.
    """
    if overwrite:
        if resume:
            raise InputError(
                f"--overwrite_output_dir starts anew and --resume_from_checkpoint {resume} goes on: give one of them"
            )
        _require_own(folder)
        return Plan(is_to_clear=True)
    if not (folder / RECORD).exists():
        if resume:
            return _plan_from(folder, resume, identity, allow_changed)
        _refuse_foreign_files(folder)
        return Plan()
    record = read_record(folder / RECORD)
    changed = _changes(record, identity)
    newest = last_complete(folder)
    if changed and newest is None and record["status"] in ("running", "failed"):
        # It came to nothing: a flag was wrong, or it ended before its first checkpoint.
        return _plan_from(folder, resume, identity, allow_changed) if resume else Plan()
    if changed and not allow_changed:
        raise InputError(
            f"--output_dir {folder} holds another run ({_shown(changed)}): choose another folder, or pass "
            "--overwrite_output_dir to start anew, --allow_changed to go on with the new settings"
        )
    if record["status"] == "finished" and not changed:
        return Plan(finished=record)
    if resume:
        return _plan_from(folder, resume, identity, allow_changed)
    if record["status"] == "finished":
        raise InputError(
            f"--output_dir {folder} holds a finished run, of which nothing is left to go on with ({_shown(changed)}): "
            "choose another folder, name a checkpoint by --resume_from_checkpoint, or pass --overwrite_output_dir"
        )
    return _gone_on(newest, record, changed, record.get("resumed_from")) if newest else Plan()


def _refuse_foreign_files(folder: Path) -> None:
    foreign = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if foreign:
        raise InputError(
            f"--output_dir {folder} holds files of something else ({', '.join(foreign[:3])}): choose an empty folder, "
            "or pass --overwrite_output_dir to write beside them"
        )


def _changes(record: dict, identity: dict) -> dict[str, list]:
    old = record["identity"]
    return {
        key: [old.get(key), identity.get(key)]
        for key in sorted(old.keys() | identity.keys())
        if old.get(key) != identity.get(key)
    }


def _shown(changed: dict[str, list]) -> str:
    return "; ".join(f"{key}: {old} -> {new}" for key, (old, new) in list(changed.items())[:5])


def _plan_from(folder: Path, resume: str, identity: dict, allow_changed: bool) -> Plan:
    """Go on from the checkpoint that the user names, if the record beside it is of the same settings."""
    checkpoint = last_complete(folder) if resume.lower() == "true" else Path(resume)
    if checkpoint is None:
        raise InputError(f"--resume_from_checkpoint: {folder} holds no whole checkpoint; drop the flag to start anew")
    if not is_complete(checkpoint):
        raise InputError(f"--resume_from_checkpoint {checkpoint}: missing, half-written or damaged; name another")
    source = checkpoint.resolve().parent
    is_own = source == folder.resolve()
    if not is_own:
        _refuse_foreign_checkpoints(folder)
    if not (source / RECORD).exists():
        if not allow_changed:
            raise InputError(
                f"--resume_from_checkpoint {checkpoint}: no {RECORD} beside it says which run it is of; name another, "
                "or pass --allow_changed to go on from it"
            )
        return Plan(checkpoint=str(checkpoint), resumed_from=str(checkpoint))
    record = read_record(source / RECORD, "name a checkpoint of another run")
    changed = _changes(record, identity)
    if changed and not allow_changed:
        raise InputError(
            f"--resume_from_checkpoint {checkpoint} is of another run ({_shown(changed)}): name one of this run, or "
            "pass --allow_changed to go on with the new settings"
        )
    return _gone_on(checkpoint, record, changed, record.get("resumed_from") if is_own else str(checkpoint))


def _gone_on(checkpoint: Path, record: dict, changed: dict[str, list], resumed_from: str | None) -> Plan:
    # What was changed before the checkpoint is in its weights, whoever goes on from it.
    return Plan(
        checkpoint=str(checkpoint), changed={**(record.get("changed") or {}), **changed}, resumed_from=resumed_from
    )


def require_outside(folder: Path, places: dict[str, str | None]) -> None:
    """Refuse to clear a folder in which the run would read. places: flag -> a path, or a name of the hub.

    Raises:
        InputError: one of them lies in the folder.
    """
    for name, path in places.items():
        if path and Path(path).resolve().is_relative_to(folder.resolve()):
            raise InputError(
                f"--{name} {path} lies in --output_dir {folder}, which --overwrite_output_dir clears: choose another "
                "folder"
            )


def has_weights(folder: Path) -> bool:
    """Return whether a run's model is in its folder."""
    return any(folder.glob("model*.safetensors"))


def clear(folder: Path) -> None:
    """Remove a run of ours; files of others stay."""
    for path in folder.glob("checkpoint-*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
    # The record last: what is left if this is killed is still known for ours.
    for path in sorted({p for pattern in OWN_FILES for p in folder.glob(pattern)}, key=lambda p: p.name == RECORD):
        path.unlink()


def _require_own(folder: Path) -> None:
    """Refuse a folder without a record of ours in which a run would overwrite files."""
    _refuse_foreign_checkpoints(folder)
    found = sorted(path.name for pattern in OWN_FILES for path in folder.glob(pattern))
    if found and not (folder / RECORD).exists():
        raise InputError(
            f"--output_dir {folder} holds {', '.join(found[:3])} of another program (there is no {RECORD}), which "
            "the run would overwrite: choose another folder"
        )


def _refuse_foreign_checkpoints(folder: Path) -> None:
    # --save_total_limit would remove them, one by one, as the run's own.
    found = [] if (folder / RECORD).exists() else sorted(path.name for path in folder.glob("checkpoint-*"))
    if found:
        raise InputError(
            f"--output_dir {folder} holds {', '.join(found[:3])} of another program (there is no {RECORD}): move them "
            "away or choose another folder"
        )
