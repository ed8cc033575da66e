"""Tokenize texts once: the result is cached on disk, under a hash of the texts, the tokenizer and the settings."""

import json
import logging
import tempfile
from pathlib import Path

import datasets
import pyarrow
import tokenizers
import transformers
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from hype.data.splits import Splits, text_hash
from hype.data.tasks import SENTENCES
from hype.files import joint_sha256
from hype.flags import require

logger = logging.getLogger(__name__)

VERSIONS = (datasets.__version__, tokenizers.__version__, transformers.__version__)


def tokenize(
    splits: Splits,
    tokenizer: PreTrainedTokenizerBase,
    max_seq_length: int,
    pad_to_max_length: bool = False,
    overwrite_cache: bool = False,
    cache_dir: str | None = None,
) -> dict[str, Dataset]:
    """Return each split as input_ids, attention_mask, token_type_ids (if the tokenizer returns them) and label.

    Inputs are truncated to `max_seq_length` tokens, and the number of truncated inputs is added to `splits.notes`.
    Each split is cached in a file in `cache_dir`/hype_tokenized (default: the cache of `datasets`). If that fails, the
    result stays in memory and a warning is logged.
    """
    length = _length(splits, tokenizer, max_seq_length)
    folder = Path(cache_dir or datasets.config.HF_DATASETS_CACHE) / "hype_tokenized"
    determinants = (*VERSIONS, _tokenizer_hash(tokenizer), length, pad_to_max_length)
    tokenized = {}
    for name, dataset in splits.splits.items():
        columns = [column for column in SENTENCES if column in dataset.column_names]
        digest = text_hash([dataset[column][:] for column in columns])
        digest.update(repr(determinants).encode("utf-8"))
        path = folder / f"{digest.hexdigest()[:32]}.arrow"
        work = (dataset.select_columns(columns), tokenizer, length, pad_to_max_length)
        settings = {"new_fingerprint": path.stem, "desc": f"Tokenize {name}"}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tokens = _encode(*work, cache_file_name=str(path), load_from_cache_file=not overwrite_cache, **settings)
        except (OSError, pyarrow.ArrowInvalid) as error:  # disk full, or a corrupt cache file
            logger.warning("tokenized data could not be cached in %s: %s", path, error)
            tokens = _encode(*work, keep_in_memory=True, **settings)
        cut_count = sum(tokens["is_cut"][:])
        tokens = tokens.remove_columns("is_cut")
        if cut_count:
            share = f"{cut_count} of {len(dataset)} inputs ({100 * cut_count / len(dataset):.3g} %)"
            splits.notes.append(f"{name}: {share} cut to {length} tokens")
        if "label" in dataset.column_names:
            tokens = datasets.concatenate_datasets([tokens, dataset.select_columns("label")], axis=1)
        tokenized[name] = tokens
    return tokenized


def _length(splits, tokenizer, max_seq_length) -> int:
    is_pair = any("sentence2" in dataset.column_names for dataset in splits.splits.values())
    special_count = tokenizer.num_special_tokens_to_add(pair=is_pair)
    problem = f"--max_seq_length {max_seq_length}: {special_count} special tokens leave no room for text"
    require(max_seq_length > special_count, problem)
    if max_seq_length > tokenizer.model_max_length:
        splits.notes.append(f"inputs are cut to the {tokenizer.model_max_length} tokens that the model takes")
    return min(max_seq_length, tokenizer.model_max_length)


def _tokenizer_hash(tokenizer) -> str:
    """Return the sha256 of the tokenizer's saved files, without the truncation and padding of its last call."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        path = Path(folder, "tokenizer.json")
        if path.is_file():
            path.write_text(json.dumps({**json.loads(path.read_bytes()), "truncation": None, "padding": None}))
        return joint_sha256(sorted(filter(Path.is_file, Path(folder).rglob("*"))))


def _encode(texts: Dataset, tokenizer, length, pad_to_max_length, **cache) -> Dataset:
    """Return the tokenized texts, with a boolean column `is_cut` that marks truncated inputs."""
    padding = "max_length" if pad_to_max_length else False

    def encode(batch):
        columns = list(batch.values())
        # FNet's tokenizer returns a mask only on request.
        encoding = tokenizer(*columns, truncation=True, max_length=length, padding=padding, return_attention_mask=True)
        is_full = [sum(mask) == length for mask in encoding["attention_mask"]]  # truncated, or exactly this long
        rows = zip(is_full, *columns, strict=True)
        is_cut = [full and len(tokenizer(*texts, verbose=False)["input_ids"]) > length for full, *texts in rows]
        return {**encoding, "is_cut": is_cut}

    return texts.map(encode, batched=True, remove_columns=texts.column_names, **cache)
