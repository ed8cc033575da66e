"""A user's own files: which columns are texts, whether labels are classes or scores, and which classes there are."""

import re
from collections.abc import Iterable, Sequence

import pandas

from hype.data.arguments import FILE_FLAGS, DataArguments
from hype.data.labels import NUMBER, are_scores, class_names, class_notes, own_labels, require_labels, scores
from hype.data.tables import column, read_table, text_column
from hype.data.tasks import SENTENCES, Task, own_task
from hype.errors import InputError

# Names of columns that number or identify the rows; pandas writes its index as "" or "Unnamed: 0".
ROW_NAMES = re.compile(r"(?i:unnamed: \d+|idx|index|guid|uuid)?|(.*[^A-Za-z])?(?i:id)|.*[a-z]I[dD]")
UNLABELLED = {"", "-1", "None", "nan"}


def read_files(
    data: DataArguments, splits: Iterable[str], label_names: Sequence[str] | None, notes: list[str]
) -> tuple[Task, dict[str, pandas.DataFrame]]:
    """Read own files. The training file says which classes there are, whether or not it is trained on.

    Args:
        data: The flags.
        splits: Of these, train, validation and test are read.
        label_names: Classes of the checkpoint, for files without training data; empty if it is a regression.
        notes: What a reader of the score must know is appended.

    Returns:
        The task; and for each split the columns sentence1, sentence2 (of pairs), label (if the file has labels) and
        idx (position in the file).

    Raises:
        InputError: a file is missing, cannot be read, or lacks a column; or its labels do not fit.
    """
    splits = [split for split in splits if split in FILE_FLAGS]
    for split in splits:
        if getattr(data, FILE_FLAGS[split]) is None:
            raise InputError(f"no {split} data: give --{FILE_FLAGS[split]}")
    needed = splits if data.train_file is None else list(dict.fromkeys(["train", *splits]))
    paths = {split: getattr(data, FILE_FLAGS[split]) for split in needed}
    tables = {split: read_table(path, data.encoding, data.delimiter) for split, path in paths.items()}
    labels = {split: _labels(split, paths[split], table, data.label_column) for split, table in tables.items()}
    labels = {split: values for split, values in labels.items() if values is not None}
    text_columns = _text_columns(data, paths[needed[0]], tables[needed[0]], notes)
    if "train" in tables or label_names is None or (data.do_regression is not None and labels):
        label_names = _label_names(data, paths, labels, notes)
    task = own_task(text_columns, tuple(label_names) or None)
    examples = {}
    for split in splits:
        texts = [text_column(paths[split], tables[split], name, "text_columns") for name in text_columns]
        examples[split] = pandas.DataFrame(dict(zip(SENTENCES, texts, strict=False)))
        if split in labels and task.is_regression:
            examples[split]["label"] = scores(paths[split], labels[split])
        elif split in labels:
            examples[split]["label"] = own_labels(paths[split], labels[split], task.label_names)
        examples[split]["idx"] = range(len(examples[split]))
    return task, examples


def _text_columns(data, path, table: pandas.DataFrame, notes) -> tuple[str, ...]:
    if data.text_columns is not None:
        names = tuple(name.strip() for name in data.text_columns.split(","))
        if len(names) > 2 or len(set(names)) < len(names) or data.label_column in names:
            raise InputError(f"--text_columns {data.text_columns}: give one or two columns other than the label's")
        return names
    if data.label_column in SENTENCES:
        raise InputError(
            f"--label_column {data.label_column}: that column is taken for a text; name the texts by --text_columns"
        )
    names = list(table.columns)
    if "sentence1" in names:
        return SENTENCES if "sentence2" in names else SENTENCES[:1]
    others = [name for i, name in enumerate(names) if name != data.label_column and _is_text(name, table.iloc[:, i])]
    if not others:
        raise InputError(f"{path}: no text column among {', '.join(names)}; give --text_columns")
    notes.append(f"text columns: {', '.join(others[:2])} (--text_columns names others)")
    return tuple(others[:2])


def _is_text(name: str, values: pandas.Series) -> bool:
    """Return whether a column may be a text: it does not number the rows, and does not hold numbers alone."""
    words = (value for value in values if isinstance(value, str) and value)
    return not ROW_NAMES.fullmatch(name) and any(not NUMBER.fullmatch(word) for word in words)


def _labels(split: str, path, table: pandas.DataFrame, name: str) -> pandas.Series | None:
    """Return the labels of a file. Those of a test file are optional: no column, empty cells, or -1 in every row."""
    if split == "test" and name not in table.columns:
        return None
    values = column(path, table, name, "label_column")
    if split == "test" and {str(value) for value in values} <= UNLABELLED:
        return None
    require_labels(path, values)
    return values


def _label_names(data, paths, labels: dict[str, pandas.Series], notes) -> tuple[str, ...]:
    """Return the classes of the first labelled file, in the order train, validation, test; empty for regression."""
    if not labels:
        raise InputError("--test_file has no labels: give --train_file too, or a model that names its labels")
    split, values = next(iter(labels.items()))
    is_regression = data.do_regression
    if is_regression is None:
        is_regression = are_scores(paths[split], values)
    if is_regression:
        numbers = scores(paths[split], values)
        hint = "" if data.do_regression else " (for classes pass --do_regression false)"
        notes.append(f"regression: labels are scores from {min(numbers):g} to {max(numbers):g}{hint}")
        return ()
    names = class_names(paths[split], values)
    if split != "train":
        notes.append(f"no --train_file: the classes are those of the {split} data")
    notes += class_notes(values, names)
    return names
