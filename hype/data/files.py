"""The user's own files: which columns are texts, whether labels are classes or scores, and what the classes are."""

import re
from collections.abc import Iterable, Sequence

import pandas

from hype.data.arguments import FILE_FLAGS, DataArguments
from hype.data.labels import NUMBER, encode_labels, label_texts, own_classes
from hype.data.tables import column, read_table, text_examples
from hype.data.tasks import SENTENCES, Task, own_task
from hype.flags import require

# Names of columns that number or identify the rows; pandas writes its index as "" or "Unnamed: 0". The files of SetFit
# spell the label in label_text, which would be taken for the second text of a pair.
NO_TEXTS = re.compile(r"(?i:unnamed: \d+|idx|index|guid|uuid|label_text)?|(.*[^A-Za-z])?(?i:id)|.*[a-z]I[dD]")
UNLABELLED = {"", "-1", "None", "nan"}


def read_files(
    data: DataArguments, splits: Iterable[str], label_names: Sequence[str] | None, notes: list[str]
) -> tuple[Task, dict[str, pandas.DataFrame]]:
    """Read the user's own files. The training file defines the classes, even if it is not trained on.

    Args:
        data: The flags.
        splits: Splits to read; all but train, validation and test are ignored.
        label_names: The checkpoint's classes, for use without a training file; empty for regression.
        notes: List to which remarks on the data are appended.

    Returns:
        The task, and for each split the columns sentence1, sentence2 (pairs only) and label (if the file has labels).

    Raises:
        InputError: a file is missing, unreadable or lacks a column, or its labels are invalid.
    """
    splits = [split for split in splits if split in FILE_FLAGS]
    needed = splits if data.train_file is None else dict.fromkeys(["train", *splits])
    paths, tables, labels = {}, {}, {}
    for split in needed:
        path = paths[split] = getattr(data, FILE_FLAGS[split])
        require(path is not None, f"no {split} data: give --{FILE_FLAGS[split]}")
        tables[split] = read_table(path, data.encoding, data.delimiter)
        if (texts := _labels(split, path, tables[split], data.label_column)) is not None:
            labels[split] = texts
    split, table = next(iter(tables.items()))
    text_columns = _text_columns(data, paths[split], table, notes)
    if "train" in tables or label_names is None or (data.do_regression is not None and labels):
        require(labels, "--test_file has no labels: give --train_file too, or a model that names its labels")
        split, texts = next(iter(labels.items()))
        label_names = own_classes(paths[split], texts, data.do_regression, notes)
        if label_names and split != "train":
            notes.append(f"no --train_file: the classes are those of the {split} data")
    task = own_task(text_columns, tuple(label_names) or None)
    examples = {}
    for split in splits:
        examples[split] = text_examples(paths[split], tables[split], text_columns, "text_columns")
        if split in labels:
            examples[split]["label"] = encode_labels(paths[split], labels[split], task)
    return task, examples


def _labels(split: str, path, table: pandas.DataFrame, name: str) -> pandas.Series | None:
    """Return the labels of a file, or None for a test file without the column or any label in it."""
    if split == "test" and name not in table:
        return None
    values = column(path, table, name, "label_column")
    return None if split == "test" and set(map(str, values)) <= UNLABELLED else label_texts(path, values)


def _text_columns(data, path, table: pandas.DataFrame, notes) -> tuple[str, ...]:
    label = data.label_column
    if data.text_columns is not None:
        names = tuple(name.strip() for name in data.text_columns.split(","))
        message = f"--text_columns {data.text_columns}: give one or two columns other than the label column"
        require(len(set(names)) == len(names) <= 2 and label not in names, message)
        return names
    message = f"--label_column {label}: that column is taken as a text; name the texts with --text_columns"
    require(label not in SENTENCES, message)
    if "sentence1" in table:
        return SENTENCES if "sentence2" in table else SENTENCES[:1]
    names = [name for name, values in table.items() if name != label and _is_text(name, values)][:2]
    require(names, f"{path}: no text column among {', '.join(table)}; give --text_columns")
    notes.append(f"text columns: {', '.join(names)} (--text_columns names others)")
    return tuple(names)


def _is_text(name: str, values: pandas.Series) -> bool:
    """Return whether a column may contain texts: its name does not say otherwise, and not all of it is numbers."""
    words = (value for value in values if isinstance(value, str) and value)
    return not NO_TEXTS.fullmatch(name) and any(not NUMBER.fullmatch(word) for word in words)
