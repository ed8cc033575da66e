"""Texts to token ids, once: the result is kept on disk, named after the texts, the tokenizer and the settings."""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import datasets
import tokenizers
import transformers
from datasets import Dataset
from filelock import FileLock
from transformers import PreTrainedTokenizerBase

from hype.data.splits import TEXT_COLUMNS, Splits, text_hash
from hype.errors import InputError

logger = logging.getLogger(__name__)

RECORD = "record.json"
VERSIONS = (datasets.__version__, tokenizers.__version__, transformers.__version__)


def tokenize(
    splits: Splits,
    tokenizer: PreTrainedTokenizerBase,
    max_seq_length: int,
    pad_to_max_length: bool = False,
    overwrite_cache: bool = False,
    cache_dir: str | None = None,
) -> dict[str, Dataset]:
    """Return each split as input_ids, attention_mask, token_type_ids (if the tokenizer gives them) and label.

    Inputs are cut to `max_seq_length` tokens; how many were cut is added to `splits.notes`.
    Written to disk: a folder under `cache_dir`/hype_tokenized (unset: the cache of `datasets`); a damaged one is
    made anew. Where nothing can be written the result stays in memory, with a warning in the log.
    """
    length = _length(splits, tokenizer, max_seq_length, pad_to_max_length)
    root = Path(cache_dir or datasets.config.HF_DATASETS_CACHE) / "hype_tokenized"
    settings = (*VERSIONS, _tokenizer_hash(tokenizer), length, pad_to_max_length)
    tokenized = {}
    for name, dataset in splits.splits.items():
        columns = [column for column in TEXT_COLUMNS if column in dataset.column_names]
        digest = text_hash([dataset[column][:] for column in columns])
        digest.update(repr(settings).encode("utf-8"))
        key = digest.hexdigest()[:32]

        def build(dataset=dataset, columns=columns, key=key, name=name):
            return _encode(dataset.select_columns(columns), tokenizer, length, pad_to_max_length, key, name)

        tokens, cut_count = _cached(root / key, build, overwrite_cache)
        if cut_count:
            share = f"{cut_count} of {len(dataset)} inputs ({100 * cut_count / len(dataset):.2g} %)"
            splits.notes.append(f"{name}: {share} cut to {length} tokens")
        if "label" in dataset.column_names:
            tokens = datasets.concatenate_datasets([tokens, dataset.select_columns("label")], axis=1)
        tokenized[name] = tokens
    return tokenized


def _length(splits, tokenizer, max_seq_length, pad_to_max_length) -> int:
    is_pair = any("sentence2" in dataset.column_names for dataset in splits.splits.values())
    special_count = tokenizer.num_special_tokens_to_add(pair=is_pair)
    if max_seq_length <= special_count:
        raise InputError(f"--max_seq_length {max_seq_length}: {special_count} special tokens leave no room for text")
    if pad_to_max_length and tokenizer.pad_token is None:
        raise InputError("--pad_to_max_length: the tokenizer has no padding token; leave the flag out")
    if max_seq_length > tokenizer.model_max_length:
        splits.notes.append(f"inputs are cut to the {tokenizer.model_max_length} tokens that the model takes")
    return min(max_seq_length, tokenizer.model_max_length)


def _tokenizer_hash(tokenizer) -> str:
    """Return the sha256 of what the tokenizer would save, without the truncation and padding of its last call."""
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                content = path.read_bytes()
                if path.name == "tokenizer.json":
                    settings = {**json.loads(content), "truncation": None, "padding": None}
                    content = json.dumps(settings).encode("utf-8")
                digest.update(path.name.encode("utf-8") + hashlib.sha256(content).digest())
    return digest.hexdigest()


def _encode(texts: Dataset, tokenizer, length, pad_to_max_length, key, name) -> tuple[Dataset, int]:
    padding = "max_length" if pad_to_max_length else False

    def encode(batch):
        columns = list(batch.values())
        encoding = tokenizer(*columns, truncation=True, max_length=length, padding=padding)
        full = [i for i, mask in enumerate(encoding["attention_mask"]) if sum(mask) == length]
        uncut = tokenizer(*([column[i] for i in full] for column in columns), verbose=False) if full else None
        is_cut = [False] * len(columns[0])
        for i, input_ids in zip(full, uncut["input_ids"] if uncut else (), strict=True):
            is_cut[i] = len(input_ids) > length
        return {**encoding, "is_cut": is_cut}

    tokens = texts.map(
        encode, batched=True, remove_columns=texts.column_names, new_fingerprint=key, desc=f"Tokenize {name}"
    )
    return tokens.remove_columns("is_cut"), sum(tokens["is_cut"][:])


def _cached(folder: Path, build: Callable[[], tuple[Dataset, int]], overwrite: bool) -> tuple[Dataset, int]:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            tokens = None if overwrite else _load(folder)
            return tokens or _save(folder, *build())
    except OSError as error:
        logger.warning("tokenized data is not kept in %s: %s", folder.parent, error)
        return build()


def _file_hashes(folder: Path) -> dict[str, str]:
    names = sorted(path.name for path in folder.iterdir() if path.name != RECORD)
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def _save(folder: Path, tokens: Dataset, cut_count: int) -> tuple[Dataset, int]:
    """Write to another name, then rename, so that a folder of this name is whole."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as staging:
        staged = Path(staging) / "tokens"
        tokens.save_to_disk(staged)
        record = {"cut_count": cut_count, "sha256": _file_hashes(staged)}
        (staged / RECORD).write_text(json.dumps(record), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(staged, folder)
    return Dataset.load_from_disk(folder), cut_count


def _load(folder: Path) -> tuple[Dataset, int] | None:
    """Return what the folder holds, or None if it is absent or damaged."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if record["sha256"] != _file_hashes(folder):
            return None
        return Dataset.load_from_disk(folder), record["cut_count"]
    except (OSError, ValueError, KeyError):
        return None
