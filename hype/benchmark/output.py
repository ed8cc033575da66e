"""The JSON file of --output, tried before hours of work."""

import json
import tempfile
from pathlib import Path

from hype.errors import InputError


def require_writable(path: Path) -> None:
    """Make the folder of the file and try whether it can be written.

    Raises:
        InputError: it cannot; or the file is a folder.
    """
    if path.is_dir():
        raise InputError(f"--output {path}: that is a folder; give a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise InputError(f"--output {path}: {error.strerror}; give a file in a folder that you can write") from None


def read_json(path: Path):
    """Return the content of the file; None where there is none.

    Raises:
        InputError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    except (OSError, ValueError) as error:
        raise InputError(f"--output {path}: not readable as JSON ({error}); remove it or give another file") from None
