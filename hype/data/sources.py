"""Where examples come from: a GLUE folder, the hub, own files. Each gives texts and labels in one form."""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import datasets

from hype.data.arguments import DataArguments
from hype.data.labels import DECIMAL, MISSING, class_names, folder_labels, label_kind, own_labels
from hype.data.readers import Table, read_gold_last_tsv, read_json, read_json_object, read_lines, read_table, read_tsv
from hype.data.tasks import Form, SplitSource, Task, own_task
from hype.errors import InputError
from hype.hub import from_hub

FILE_FLAGS = {"train": "train_file", "validation": "validation_file", "test": "test_file"}
GLUE_FOLDER = "a GLUE folder on this disk by --data_dir or GLUE_DIR"
# Columns that number the rows, and the nameless one that pandas writes: no texts unless --text_columns says so.
NUMBERING = ("", "idx", "index", "id")


@dataclass(frozen=True)
class Examples:
    """Texts, one list for each column; label ids or scores, None where unlabelled; the position in the source."""

    texts: tuple[list[str], ...]
    labels: list | None
    idx: list[int]

    def __len__(self):
        return len(self.idx)

    def select(self, indices: Sequence[int]) -> "Examples":
        """Return these examples alone."""
        texts = tuple([column[i] for i in indices] for column in self.texts)
        labels = None if self.labels is None else [self.labels[i] for i in indices]
        return Examples(texts, labels, [self.idx[i] for i in indices])


def wanted_splits(task: Task, splits: Iterable[str]) -> list[str]:
    """Return the splits that a GLUE task has. Only MNLI has mismatched ones; lacking another is an InputError."""
    splits = [split for split in splits if split in task.sources or not split.endswith("_mismatched")]
    for split in splits:
        if split not in task.sources:
            raise InputError(f"{task.title} has no {split} data; it has {', '.join(task.sources)}")
    return splits


def folder_examples(task: Task, split: str, folder: Path, encoding: str, notes: list[str]) -> Examples:
    """Read one split from the GLUE folder; rows that GLUE leaves out are left out and noted.

    Raises:
        InputError: a file is missing, or is not what the table of tasks says.
    """
    source = task.sources[split]
    if source.forms:
        table, source, task = _published_form(task, split, folder, encoding)
    else:
        table = _glue_table(source, split, folder, encoding, notes)
    label = source.label_column
    idx = list(range(len(table.numbers)))
    if label and task.unlabelled_word:
        labelled = [i for i in idx if table.columns[label][i] != task.unlabelled_word]
        if len(labelled) < len(idx):
            notes.append(f"{split}: {len(idx) - len(labelled)} rows without a gold label left out, as in GLUE")
            table, idx = table.select(labelled), labelled
    labels = folder_labels(table, label, task) if label else None
    return Examples(tuple(table.columns[name] for name in source.text_columns), labels, idx)


def _glue_table(source: SplitSource, split: str, folder: Path, encoding: str, notes: list[str]) -> Table:
    path = next((folder / path for path in source.paths if (folder / path).is_file()), None)
    if path is None:
        raise InputError(f"{folder}: no {' or '.join(source.paths)}; give the GLUE folder by --data_dir or GLUE_DIR")
    keep = source.text_columns + ((source.label_column,) if source.label_column else ())
    table = read_tsv(path, encoding, source.header, keep, source.malformed_limit)
    if table.malformed:
        rows = ", ".join(map(str, table.malformed))
        notes.append(f"{split}: {len(table.malformed)} malformed rows left out, as in GLUE (row {rows})")
    return table


def _published_form(task: Task, split: str, folder: Path, encoding: str) -> tuple[Table, Form, Task]:
    """Read the first of a split's forms that the folder holds; also return it, and the task with its label words."""
    forms = task.sources[split].forms
    for form in forms:
        for files in form.paths:
            paths = [folder / name for name in files]
            if all(path.is_file() for path in paths):
                table = FORM_READERS[form.reader](paths, encoding, form)
                if form.where:
                    column, value = form.where
                    table = table.select([i for i, other in enumerate(table.column(column)) if other == value])
                return table, form, replace(task, label_words=form.label_words)
    names = ", ".join(" + ".join(form.paths[0]) for form in forms)
    raise InputError(f"{folder}: no {split} data of {task.title}; it takes {names}; give the folder that holds them")


def _kept(form: Form) -> tuple[str, ...]:
    return (*form.text_columns, form.label_column, *(form.where or ())[:1])


FORM_READERS = {
    "tsv": lambda paths, encoding, form: read_tsv(paths[0], encoding, form.header, _kept(form)),
    "gold_last_tsv": lambda paths, encoding, form: read_gold_last_tsv(paths[0], encoding, _kept(form)),
    "json": lambda paths, encoding, form: read_json(paths[0], encoding, _kept(form)),
    "json_object": lambda paths, encoding, form: read_json_object(paths[0], encoding),
    "lines": lambda paths, encoding, form: read_lines(paths, encoding),
}


def hub_examples(
    task: Task, splits: Iterable[str], cache_dir: str | None, instead: str = GLUE_FOLDER
) -> tuple[dict[str, Examples], str]:
    """Read splits from the hub or its cache; also return the name and revision of what was read.

    Labels are understood by the names that the hub gives them. instead: see `hub.from_hub`.

    Raises:
        InputError, EnvironmentFault: as `hub.from_hub`.
    """

    def load(local_files_only):
        with _offline(local_files_only):
            name = task.hub_config or task.name
            builder = datasets.load_dataset_builder(task.hub_id, name, cache_dir=cache_dir, revision=task.hub_revision)
            builder.download_and_prepare()
            return builder

    builder = from_hub(f"the data set {task.hub_id}", instead, load)
    examples = {}
    for split in splits:
        source = task.sources[split]
        dataset = builder.as_dataset(split=source.hub_split)
        columns = dataset[:]
        labels = _hub_labels(dataset, task) if source.label_column else None
        idx = columns.get("idx") or list(range(len(columns[task.text_columns[0]])))
        examples[split] = Examples(tuple(columns[name] for name in task.text_columns), labels, idx)
        if labels and task.unlabelled_word:
            examples[split] = examples[split].select([i for i, label in enumerate(labels) if label != -1])
    return examples, f"{task.hub_id}@{builder.hash}"


def _hub_labels(dataset: datasets.Dataset, task: Task) -> list:
    labels = dataset["label"][:]
    if task.hub_label_words:
        return [task.hub_label_words.index(word) for word in labels]
    names = getattr(dataset.features["label"], "names", None)
    if names is None or tuple(names) == task.label_names:
        return labels
    if set(names) != set(task.label_names or ()):
        raise InputError(f"{task.hub_id} names its labels {', '.join(names)}; {task.title} needs its own data set")
    ids = {-1: -1, **{i: task.label_names.index(name) for i, name in enumerate(names)}}
    return [ids[label] for label in labels]


@contextlib.contextmanager
def _offline(offline: bool):
    """Have `datasets` go to its cache at once, which it else does after 25 s of retries."""
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or offline
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def file_examples(
    data: DataArguments, splits: Iterable[str], label_names: Sequence[str] | None, notes: list[str]
) -> tuple[Task, dict[str, Examples]]:
    """Read own files. The training file, or else `label_names`, says which classes there are.

    label_names: of the checkpoint, for files without training data; empty: it is a regression.

    Raises:
        InputError: a file is missing, cannot be read, or lacks a column; or its labels do not fit.
    """
    splits = [split for split in splits if split in FILE_FLAGS]
    for split in splits:
        if getattr(data, FILE_FLAGS[split]) is None:
            raise InputError(f"no {split} data: give --{FILE_FLAGS[split]}")
    # The classes are those of the training file, whether or not it is trained on.
    needed = splits if data.train_file is None else {"train": None, **dict.fromkeys(splits)}
    tables = {split: read_table(getattr(data, FILE_FLAGS[split]), data.encoding) for split in needed}
    text_columns = _text_columns(data, next(iter(tables.values())), notes)
    labelled = {split: table for split, table in tables.items() if _is_labelled(table, split, data.label_column)}
    if "train" in tables or label_names is None:
        label_names = _own_label_names(labelled, data.label_column, notes)
    task = own_task(text_columns, tuple(label_names) or None)
    examples = {}
    for split in splits:
        texts = tuple(_texts(tables[split], name) for name in text_columns)
        labels = own_labels(tables[split], data.label_column, task.label_names) if split in labelled else None
        examples[split] = Examples(texts, labels, list(range(len(texts[0]))))
    return task, examples


def _text_columns(data, table: Table, notes) -> tuple[str, ...]:
    if data.text_columns is None and data.label_column in ("sentence1", "sentence2"):
        raise InputError(
            f"--label_column {data.label_column}: that column is taken for a text; name the texts by --text_columns"
        )
    if data.text_columns is not None:
        names = tuple(name.strip() for name in data.text_columns.split(","))
        if len(names) > 2 or len(set(names)) < len(names) or data.label_column in names:
            raise InputError(f"--text_columns {data.text_columns}: give one or two columns other than the label's")
        return names
    if "sentence1" in table.columns:
        return ("sentence1", "sentence2") if "sentence2" in table.columns else ("sentence1",)
    others = [name for name in table.columns if name != data.label_column and name not in NUMBERING]
    if not others:
        raise InputError(f"{table.path}: no text column besides {', '.join(table.columns)}; give --text_columns")
    notes.append(f"texts are the columns {', '.join(others[:2])}; --text_columns names others")
    return tuple(others[:2])


def _texts(table: Table, name: str) -> list[str]:
    values = table.column(name)
    bad = [i for i, value in enumerate(values) if not isinstance(value, str)]
    if bad:
        table.refuse(name, bad, "give texts, not")
    return values


def _is_labelled(table: Table, split: str, column: str) -> bool:
    """Return whether a file has labels. Test files need none: no column, empty cells, or -1 in every row."""
    if split != "test":
        if label_kind(table, column) == MISSING:
            table.refuse(column, range(len(table.numbers)), "the label is missing")
        return True
    return column in table.columns and not {str(value) for value in table.columns[column]} <= {"", "-1", "None"}


def _own_label_names(labelled: dict[str, Table], column: str, notes) -> tuple[str, ...]:
    """Return the classes of the first labelled file, in the order train, validation, test; none for regression."""
    if not labelled:
        raise InputError("--test_file has no labels: give --train_file too, or a model that names its labels")
    split, table = next(iter(labelled.items()))
    kind = label_kind(table, column)
    if kind == DECIMAL:
        notes.append("labels have a decimal point in every row: regression (write 0, 1 ... or words for classes)")
        return ()
    if split != "train":
        notes.append(f"no --train_file: the classes are those of the {split} data")
    return class_names(table, column, kind)
