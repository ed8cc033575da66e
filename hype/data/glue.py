"""Published sets, GLUE's and the three of NLI, from a folder in their own form or from the Hugging Face hub."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import datasets
import pandas

from hype.data.labels import folder_labels
from hype.data.tables import column, read_delimited, read_json_table, text_column
from hype.data.tasks import NLI_NAMES, SENTENCES, SplitSource, Task, holds, task_files
from hype.errors import InputError
from hype.hub import from_hub

# Those of the subset of SNLI, beside those of every other NLI file in JSON.
SUBSET_COLUMNS = {"text_a": "sentence1", "text_b": "sentence2", "label": "gold_label"}
GLUE_FOLDER = "a GLUE folder on this disk by --data_dir or GLUE_DIR"


def find_folder(data_dir: str | None, task_name: str) -> Path | None:
    """Return the folder to read a task from: --data_dir, else the variable GLUE_DIR, else None, which is the hub.

    The task's own folder (glue_data/RTE) stands for the one that holds it. GLUE_DIR need not hold the NLI sets.

    Raises:
        InputError: there is no such folder.
    """
    for name, value in (("--data_dir", data_dir), ("GLUE_DIR", os.environ.get("GLUE_DIR"))):
        if not value:
            continue
        folder = Path(value).expanduser()
        if not folder.is_dir():
            raise InputError(f"{name} {value}: no such folder; give the one that holds CoLA/, RTE/ ...")
        own_names = {path.split("/")[0] for path in task_files(task_name)}
        if not holds(folder, task_name) and folder.absolute().name in own_names:
            folder = folder.absolute().parent
        is_elsewhere = name == "GLUE_DIR" and task_name in NLI_NAMES and not holds(folder, task_name)
        return None if is_elsewhere else folder
    return None


def read_folder(task: Task, split: str, folder: Path, encoding: str, notes: list[str]) -> pandas.DataFrame:
    """Read one split from a folder; rows that the set's authors leave out are skipped and noted.

    Returns:
        The columns sentence1, sentence2 (of pairs), label (ids or scores, if published) and idx (position in the file).

    Raises:
        InputError: a file is missing, or is not what the table of tasks says.
    """
    source = task.sources[split]
    paths = _locate(source, folder)
    table, malformed = _read(source, paths, encoding)
    if malformed:
        rows = ", ".join(map(str, malformed))
        notes.append(f"{split}: {len(malformed)} malformed rows skipped, as in GLUE (row {rows})")
    texts = [text_column(paths[0], table, name) for name in source.text_columns]
    examples = pandas.DataFrame({**dict(zip(SENTENCES, texts, strict=False)), "idx": range(len(table))})
    if source.label_column is None:
        return examples
    labels = column(paths[-1], table, source.label_column)
    is_labelled = labels != task.unlabelled_word
    if not is_labelled.all():
        notes.append(f"{split}: {(~is_labelled).sum()} rows without a gold label skipped, as in GLUE")
    return examples[is_labelled].assign(label=folder_labels(paths[-1], labels[is_labelled], task))


def _locate(source: SplitSource, folder: Path) -> list[Path]:
    for files in source.alternatives:
        paths = [folder / file for file in files]
        if all(path.is_file() for path in paths):
            return paths
    raise InputError(f"{folder}: no {source.paths[0]}; give the folder that holds it by --data_dir or GLUE_DIR")


def _read(source: SplitSource, paths: list[Path], encoding: str) -> tuple[pandas.DataFrame, list[int]]:
    names = [*source.text_columns, *([source.label_column] if source.label_column else [])]
    if len(paths) > 1:  # a file with fewer lines than the others leaves missing values, which are refused
        tables = [read_delimited(path, encoding, header=[name])[0] for path, name in zip(paths, names, strict=True)]
        return pandas.concat(tables, axis=1), []
    if source.is_json:
        return read_json_table(paths[0], encoding).rename(columns=SUBSET_COLUMNS), []
    return read_delimited(paths[0], encoding, header=source.header, keep=names, malformed_limit=source.malformed_limit)


def read_hub(
    task: Task, splits: Iterable[str], cache_dir: str | None, instead: str = GLUE_FOLDER
) -> tuple[dict[str, pandas.DataFrame], str]:
    """Read splits from the hub or its cache, as `read_folder` does; also return the name and revision of the data set.

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
        columns = {ours: dataset[theirs][:] for ours, theirs in zip(SENTENCES, task.text_columns, strict=False)}
        columns["idx"] = dataset["idx"][:] if "idx" in dataset.column_names else list(range(len(dataset)))
        if source.label_column:
            columns["label"] = _hub_labels(dataset, task)
        examples[split] = pandas.DataFrame(columns)
        if source.label_column and task.unlabelled_word:
            examples[split] = examples[split][examples[split]["label"] != -1]
    return examples, f"{task.hub_id}@{builder.hash}"


def _hub_labels(dataset: datasets.Dataset, task: Task) -> list:
    labels = dataset["label"][:]
    if task.is_regression:
        return labels
    if labels and isinstance(labels[0], str):
        return [task.label_names.index(task.spellings.get(word, word)) for word in labels]
    names = getattr(dataset.features["label"], "names", None)
    if names is None or tuple(names) == task.label_names:
        return labels
    if set(names) != set(task.label_names):
        raise InputError(f"{task.hub_id} names its labels {', '.join(names)}; {task.title} needs its own data set")
    ids = {-1: -1, **{i: task.label_names.index(name) for i, name in enumerate(names)}}
    return [ids[label] for label in labels]


@contextlib.contextmanager
def _offline(offline: bool):
    """Let `datasets` use its cache at once; otherwise it retries for 25 s first."""
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or offline
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before
