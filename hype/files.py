"""Atomic file writes, and hashes of file contents."""

import errno
import hashlib
import json
import os
import re
from pathlib import Path

from hype.errors import DISK_FULL, EnvironmentFault

WRITE_ERRORS = (*DISK_FULL, errno.EROFS, errno.EACCES)
WEIGHT_FILES = ("model.safetensors", "model-?????-of-?????.safetensors")


def write_text(path: Path, content: str) -> None:
    """Write a file atomically: under a temporary name (see `remove_temporary_files`), which is then renamed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_json(path: Path, content) -> None:
    """Write `content` as JSON, atomically; NaN is refused."""
    write_text(path, as_json(content))


def as_json(content) -> str:
    """Return `content` as indented JSON; NaN is refused."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_output(path: Path, content: str) -> None:
    """Write a file that the user asked for, atomically, in a folder that is created if necessary.

    Raises:
        EnvironmentFault: the folder cannot be created, or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, content)
    except OSError as error:
        raise EnvironmentFault(f"{path}: {error.strerror}; make room, or choose a folder you can write") from error


def remove_temporary_files(folder: Path) -> None:
    """Remove the leftovers of interrupted writes; no other process may be writing to the folder."""
    for path in folder.glob(".*.tmp"):
        if re.fullmatch(r"\..+\.\d+\.tmp", path.name):  # of `write_text`; others are another program's
            path.unlink()


def sync(folder: Path) -> None:
    """Flush the files of a folder, and the folder itself, to disk."""
    for path in [*filter(Path.is_file, folder.iterdir()), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_failure(error: Exception) -> str | None:
    """Return why a file could not be written, or None if the error is about something else."""
    if getattr(error, "errno", None) in WRITE_ERRORS:
        return error.strerror
    # safetensors gives the error number only in its message, torch.save not at all.
    number = re.search(r"\(os error (\d+)\)", str(error))
    if number and int(number[1]) in WRITE_ERRORS:
        return os.strerror(int(number[1]))
    # torch: "[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"
    is_from_torch_save = any(words in str(error) for words in ("PytorchStreamWriter", "] . unexpected pos"))
    return "torch.save failed" if is_from_torch_save else None


def file_sha256(path: Path) -> str:
    """Return the SHA-256 hash of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def content_sha256(folder: Path, patterns: tuple[str, ...]) -> str:
    """Hash the content, but not the names, of the files in a folder that match one of `patterns`."""
    return joint_sha256(sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}))


def weight_files(folder: Path) -> list[Path]:
    """Return the files of a run's saved weights, if any: model.safetensors or several shards."""
    return sorted(path for pattern in WEIGHT_FILES for path in folder.glob(pattern))


def weights_sha256(folder: Path) -> str | None:
    """Hash a run's saved weights, several shards together; None if there are none."""
    found = weight_files(folder)
    if len(found) > 1:
        return joint_sha256(found)
    return file_sha256(found[0]) if found else None


def joint_sha256(paths: list[Path]) -> str:
    """Hash the content, but not the names, of several files in the given order."""
    return hashlib.sha256("".join(map(file_sha256, paths)).encode()).hexdigest()
