"""Recognise complete checkpoints, and remove old ones.

A checkpoint is complete once it has its marker, a file that is written last and lists all others with their hashes. The
marker also identifies the run, so that a lost or damaged run.json costs nothing.
"""

import json
import logging
import re
import shutil
from pathlib import Path

from hype.errors import InputError
from hype.files import file_sha256, sync, write_json

logger = logging.getLogger(__name__)
MARKER = "complete.json"


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


def numbered(folder: Path) -> dict[int, Path]:
    """Return a run's checkpoints by their step, complete or not; folders with other names are the user's."""
    return {int(m[1]): p for p in folder.glob("checkpoint-*") if (m := re.fullmatch(r"checkpoint-(\d+)", p.name))}


def rotate(folder: Path, limit: int, kept: set[Path]) -> None:
    """Remove a run's oldest checkpoints, except those in `kept`, until `limit` are left."""
    paths = [path for _, path in sorted(numbered(folder).items()) if not path.is_symlink()]
    for path in [path for path in paths if path not in kept][: max(len(paths) - limit, 0)]:
        shutil.rmtree(path, ignore_errors=True)


def last_complete(folder: Path) -> Path | None:
    """Return the newest complete checkpoint of a run; warn about newer ones, from which it cannot be resumed."""
    for _, checkpoint in sorted(numbered(folder).items(), reverse=True):
        if is_complete(checkpoint):
            return checkpoint
        logger.warning("%s is ignored: incomplete, damaged, or saved with --save_only_model", checkpoint)
    return None


def marked_run(checkpoint: Path) -> dict:
    """Return what identifies the run of a complete checkpoint.

    Raises:
        InputError: it was saved by a Trainer outside of main.py.
    """
    run = json.loads((checkpoint / MARKER).read_text(encoding="utf-8")).get("run")
    if not run:
        raise InputError(f"{checkpoint} names no run, so it was not saved by main.py: move it away")
    return run
