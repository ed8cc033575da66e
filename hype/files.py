"""Files that are written whole or not at all, and hashes of their content."""

import errno
import hashlib
import json
import os
import re
from pathlib import Path

from hype.errors import DISK_FULL

WRITE_ERRORS = (*DISK_FULL, errno.EROFS, errno.EACCES)


def write_text(path: Path, content: str) -> None:
    """Write a file under a temporary name in the same folder (see `remove_temporary_files`), then rename it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_json(path: Path, content) -> None:
    """Write `content` as JSON, whole or not at all; NaN is refused."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def remove_temporary_files(folder: Path) -> None:
    """Remove what killed writes have left in a folder that no other process writes to."""
    for path in folder.glob(".*.tmp"):
        path.unlink()


def sync(folder: Path) -> None:
    """Have the system put the files of a folder, and the folder itself, on the disk."""
    for path in [*filter(Path.is_file, folder.iterdir()), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


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


def file_sha256(path: Path) -> str:
    """Hash a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def content_sha256(folder: Path, patterns: tuple[str, ...]) -> str:
    """Hash the bytes of a folder's files that match one of `patterns`; others do not count, nor do names."""
    return joint_sha256(sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}))


def weights_sha256(folder: Path) -> str | None:
    """Hash the saved weights of a run: the sha256 of model.safetensors, of several files that of theirs; None: none."""
    found = sorted(folder.glob("model*.safetensors"))
    if len(found) > 1:
        return joint_sha256(found)
    return file_sha256(found[0]) if found else None


def joint_sha256(paths: list[Path]) -> str:
    """Hash the bytes of several files, in their order, names left out."""
    return hashlib.sha256("".join(map(file_sha256, paths)).encode()).hexdigest()
