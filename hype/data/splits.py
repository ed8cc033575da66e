"""Splits of a task, ready to tokenize: read, limited to the requested subset, fingerprinted, with notes on oddities."""

import hashlib
import random
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pandas
from datasets import Dataset, Features, Value

from hype.data.arguments import DataArguments
from hype.data.files import read_files
from hype.data.glue import find_folder, read_folder, read_hub
from hype.data.tasks import SENTENCES, TASKS, Task, sample_text
from hype.flags import require
from hype.text_tables import counted

LOW_RESOURCE_SIZE = 1000  # paper, table 3
# Our own choice: the paper's subset is unknown, as the release lacks its index file.
LOW_RESOURCE_SEED = 42
MAX_SAMPLES_FLAGS = {"train": "max_train_samples", "validation": "max_eval_samples", "test": "max_predict_samples"}


@dataclass
class Splits:
    """What `load_splits` read.

    Args:
        task: The task; for the user's own files, it contains their classes.
        splits: Split -> data set with the columns sentence1, sentence2 (pairs only) and label: int64 in GLUE's order,
            or float32 for regression; unlabelled splits lack it.
        source: "folder", "files", or the hub's name and revision.
        fingerprint: Split -> sha256 of its texts and labels, independent of where they were read from.
        notes: What a reader of the score must know.
        sample_text: Text of the folder's SAMPLE file, if any; it marks sample data, on which scores are meaningless.
        low_resource_indices: Positions of the training examples that `--low_resource` drew.
    """

    task: Task
    splits: dict[str, Dataset]
    source: str
    fingerprint: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    sample_text: str | None = None
    low_resource_indices: list[int] | None = None

    @property
    def row_counts(self) -> dict[str, int]:
        """Number of examples of each split."""
        return {split: len(dataset) for split, dataset in self.splits.items()}


def load_splits(
    data: DataArguments,
    splits: Iterable[str],
    cache_dir: str | None = None,
    label_names: Sequence[str] | None = None,
) -> Splits:
    """Read the requested data: the user's own files, or a task from --data_dir, GLUE_DIR or the hub, in this order.

    Args:
        data: The flags.
        splits: Splits to read, from train, validation, validation_mismatched, test and test_mismatched. The mismatched
            ones are skipped for tasks that lack them.
        cache_dir: Where data from the hub is cached.
        label_names: The checkpoint's classes, for own files without a training file; empty for regression.

    Raises:
        InputError: a file or folder is missing or invalid; the message gives the row and the remedy.
        EnvironmentFault: the hub is needed but unreachable.

    Example:
        >>> splits = load_splits(DataArguments(task_name="rte", data_dir="glue_data"), ["train", "validation"])
        >>> splits.splits["train"][0]
    """
    notes, sample = [], None
    if data.task_name is None:
        source = "files"
        task, examples = read_files(data, splits, label_names, notes)
    else:
        task = TASKS[data.task_name]
        splits = [split for split in splits if split in task.sources or not split.endswith("_mismatched")]
        for split in splits:
            require(split in task.sources, f"{task.title} has no {split} data; it has {', '.join(task.sources)}")
        folder = find_folder(data.data_dir, task.name)
        if folder is None:
            examples, source = read_hub(task, splits, cache_dir)
        else:
            source, sample = "folder", sample_text(folder)
            examples = {split: read_folder(task, split, folder, data.encoding, notes) for split in splits}
    loaded = Splits(task, {}, source, notes=notes, sample_text=sample)
    for split, read in examples.items():
        used = examples[split] = _subset(loaded, split, read, data)
        loaded.splits[split] = _dataset(used, task)
        loaded.fingerprint[split] = _fingerprint(used, task)
        loaded.notes += _row_notes(loaded, split, read if split == "train" else used)
    loaded.notes += _overlap_notes(examples)
    return loaded


def low_resource_indices(row_count: int, limit: int | None = None) -> list[int]:
    """Return the positions of the 1,000 low-resource training examples (paper, table 3), the same in every run.

    Args:
        limit: the first ones drawn, if fewer are wanted.

    Raises:
        InputError: there are fewer.
    """
    problem = f"--low_resource draws {LOW_RESOURCE_SIZE} training examples; there are {row_count}"
    require(row_count >= LOW_RESOURCE_SIZE, f"{problem}: leave the flag out to train on all of them")
    return sorted(random.Random(LOW_RESOURCE_SEED).sample(range(row_count), LOW_RESOURCE_SIZE)[:limit])


def _subset(loaded: Splits, split: str, examples: pandas.DataFrame, data: DataArguments) -> pandas.DataFrame:
    limit = getattr(data, MAX_SAMPLES_FLAGS[split.removesuffix("_mismatched")])
    if split == "train" and data.low_resource:
        loaded.low_resource_indices = low_resource_indices(len(examples), limit)
        return examples.iloc[loaded.low_resource_indices]
    return examples.iloc[:limit]


def _dataset(examples: pandas.DataFrame, task: Task) -> Dataset:
    label_type = Value("float32" if task.is_regression else "int64")
    features = {name: label_type if name == "label" else Value("string") for name in examples}
    return Dataset.from_pandas(examples, Features(features), preserve_index=False)


def text_hash(columns: Iterable[Sequence[str]]):
    """Return a sha256 object updated with the texts of each column, each preceded by its length."""
    digest = hashlib.sha256()
    for texts in columns:
        digest.update(struct.pack("<q", len(texts)))
        for text in texts:
            content = text.encode("utf-8")
            digest.update(struct.pack("<q", len(content)) + content)
    return digest


def _fingerprint(examples: pandas.DataFrame, task: Task) -> str:
    digest = text_hash(texts for _, texts in examples.filter(SENTENCES).items())
    if "label" in examples and task.is_regression:
        digest.update(struct.pack(f"<{len(examples)}f", *examples["label"]))
    elif "label" in examples:
        digest.update("\t".join(task.label_names[i] for i in examples["label"]).encode("utf-8"))
    return digest.hexdigest()


def _row_notes(loaded: Splits, split: str, examples: pandas.DataFrame) -> list[str]:
    notes = []
    source = loaded.task.sources.get(split)
    if source and loaded.sample_text is None and len(examples) != source.row_count:
        consequence = "" if split == "train" else "; a score on them is not a GLUE score"
        notes.append(f"{split}: a subset, {len(examples)} rows of officially {source.row_count}{consequence}")
    empty_count = int((examples.filter(SENTENCES).map(str.strip) == "").any(axis="columns").sum())
    if empty_count:
        notes.append(f"{split}: {counted(empty_count, 'row')} with an empty text")
    return notes


def _overlap_notes(examples: dict[str, pandas.DataFrame]) -> list[str]:
    if "train" not in examples:
        return []
    train, notes = examples["train"].filter(SENTENCES).drop_duplicates(), []
    for split in (split for split in examples if split.startswith("validation")):
        shared_count = len(examples[split].filter(SENTENCES).merge(train))
        if shared_count:
            notes.append(f"{split}: {shared_count} of {len(examples[split])} rows have texts that also occur in train")
    return notes
