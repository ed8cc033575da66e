"""Whole checkpoints, told from half-written ones by a marker that is written last."""

import hashlib
import json
import logging
import os
import re
from pathlib import Path

logger = logging.getLogger(__name__)
MARKER = "complete.json"
MASK_FILE = "child_tuning_mask.safetensors"  # beside the weights of such a run


def write_text(path: Path, content: str) -> None:
    """Write a file under a temporary name in the same folder, then rename it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_json(path: Path, content) -> None:
    """Write `content` as JSON, whole or not at all; NaN is refused."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def file_sha256(path: Path) -> str:
    """Hash a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def model_sha256(folder: Path) -> str:
    """Hash the weights and the configuration of a model's folder; other files of it do not count."""
    patterns = ("config.json", "*.safetensors", "pytorch_model*.bin")
    found = sorted(path for pattern in patterns for path in folder.glob(pattern))
    return joint_sha256([path for path in found if path.name != MASK_FILE])


def tokenizer_sha256(folder: Path) -> str:
    """Hash the files of the tokenizer in a model's folder, whichever kind it is."""
    patterns = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "*.model")
    return joint_sha256(sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}))


def joint_sha256(paths: list[Path]) -> str:
    """Hash the bytes of several files, in their order, names left out."""
    return hashlib.sha256("".join(map(file_sha256, paths)).encode()).hexdigest()


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
