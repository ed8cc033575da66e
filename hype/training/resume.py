"""Decide from the contents of a run's folder whether to start the run, resume it or leave it alone."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from accelerate.utils import broadcast_object_list

from hype.errors import InputError, RunError
from hype.training.arguments import Arguments, RunArguments
from hype.training.checkpoints import is_complete, last_complete, marked_run
from hype.training.record import RECORD, DamagedRecordError, environment, provenance, read_record
from hype.training.run_folder import refuse_files, require_own, require_weights

logger = logging.getLogger(__name__)


class Decision(NamedTuple):
    """What to do with a run's folder."""

    finished: dict | None = None  # record of the finished run: nothing is left to do
    checkpoint: Path | None = None  # checkpoint to resume from; None: start from scratch
    changed: dict | None = None  # setting -> [first, last value], over all resumptions so far
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
    is_finished = held is not None and held["status"] == "finished"
    if is_finished and held["identity"] == record["identity"]:
        require_weights(folder, held)
        return Decision(finished=held)
    # The run in the folder: an unfinished one is that of its checkpoint, not of its record. If it was resumed with new
    # settings and killed before it saved a checkpoint of its own, the newest one still has the old settings.
    run = provenance(held) if is_finished else marked_run(newest) if newest else None
    changed = _differences(run, record) if run else {}
    ways_out = "choose another folder, pass --overwrite_output_dir to start over, or "
    if is_finished and not resume:
        ways_out += "resume one of its checkpoints with --resume_from_checkpoint and --allow_changed"
        raise InputError(f"--output_dir {folder} holds another run ({_shown(changed)}), which is finished: {ways_out}")
    if changed and not training.allow_changed:
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
            refuse_files(folder, ["[!.]*"], remedy)
        return Decision()

    is_own = checkpoint.resolve().parent == folder.resolve()
    if not is_own:
        require_own(folder)
        run = marked_run(checkpoint)
        changed = _differences(run, record)
        if changed and not training.allow_changed:
            raise InputError(
                f"{checkpoint} belongs to another run ({_shown(changed)}): give a checkpoint of this run as "
                "--resume_from_checkpoint, or pass --allow_changed to resume with the new settings"
            )
    before = run["changed"] or {}
    return Decision(
        checkpoint=checkpoint,
        changed={**before, **{key: [before.get(key, pair)[0], pair[1]] for key, pair in changed.items()}} or None,
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
    require_own(folder)
    for name in ("model_name_or_path", "checkpoint_dir", "config_name", "tokenizer_name"):
        path = getattr(arguments.model, name)
        place = path and Path(path).expanduser()
        if place and place.exists() and place.resolve().is_relative_to(folder.resolve()):
            raise InputError(
                f"--{name} {path} is inside --output_dir {folder}, which --overwrite_output_dir clears: choose another "
                "folder"
            )
