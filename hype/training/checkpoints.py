"""Whole checkpoints, told from half-written ones by a marker that is written last."""

import json
import logging
import re
from pathlib import Path

from hype.files import file_sha256, write_json

logger = logging.getLogger(__name__)
MARKER = "complete.json"


def mark_complete(folder: Path) -> None:
    """Record size and sha256 of every file of a checkpoint, as its last file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MARKER)
    sums = {str(p.relative_to(folder)): {"bytes": p.stat().st_size, "sha256": file_sha256(p)} for p in files}
    write_json(folder / MARKER, sums)


def is_complete(folder: Path) -> bool:
    """Say whether a checkpoint has its marker and every file that the marker names, unchanged."""
    try:
        sums = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        return bool(sums) and all(
            (folder / name).stat().st_size == entry["bytes"] and file_sha256(folder / name) == entry["sha256"]
            for name, entry in sums.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def last_complete(output_dir: Path) -> Path | None:
    """Return the newest whole checkpoint of a run; half-written or damaged newer ones are named in a warning."""
    numbered = {
        int(m[1]): p for p in output_dir.glob("checkpoint-*") if (m := re.fullmatch(r"checkpoint-(\d+)", p.name))
    }
    for step in sorted(numbered, reverse=True):
        if is_complete(numbered[step]):
            return numbered[step]
        logger.warning("%s is half-written or damaged and is left aside", numbered[step])
    return None
