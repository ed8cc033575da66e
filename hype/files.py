"""Files that are written whole or not at all, and hashes of their content."""

import hashlib
import json
import os
from pathlib import Path

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
