"""GLUE and the three NLI sets, read from a folder in their published format or from the Hugging Face hub."""

import os
from collections.abc import Iterable
from pathlib import Path

import datasets
import pandas
from datasets.exceptions import DatasetsError

from hype.data.labels import encode_labels
from hype.data.tables import column, read_delimited, read_json, records_table, text_examples
from hype.data.tasks import NLI_NAMES, TASKS, Task, holds
from hype.errors import InputError
from hype.flags import require
from hype.hub import from_hub
from hype.text_tables import counted

# Columns of the SNLI subset -> their names in all other NLI files in JSON.
SUBSET_COLUMNS = {"text_a": "sentence1", "text_b": "sentence2", "label": "gold_label"}
GLUE_FOLDER = "a local GLUE folder with --data_dir or GLUE_DIR"


def find_folder(data_dir: str | None, task_name: str) -> Path | None:
    """Return the folder to read a task from: --data_dir, else the variable GLUE_DIR, else None for the hub.

    The task's own folder (glue_data/RTE) may stand in for its parent. NLI sets missing from GLUE_DIR come from the hub.

    Raises:
        InputError: the folder does not exist.
    """
    name, value = ("--data_dir", data_dir) if data_dir else ("GLUE_DIR", os.environ.get("GLUE_DIR"))
    if not value:
        return None
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise InputError(f"{name} {value}: no such folder; give the one with CoLA/, RTE/ ...")
    if holds(folder, task_name):
        return folder
    own_paths = [path for source in TASKS[task_name].sources.values() for path in source.paths]
    if folder.absolute().name in {path.split("/")[0] for path in own_paths}:
        return folder.absolute().parent
    return None if name == "GLUE_DIR" and task_name in NLI_NAMES else folder


def read_folder(task: Task, split: str, folder: Path, encoding: str, notes: list[str]) -> pandas.DataFrame:
    """Read one split from a folder; rows that the data set's authors leave out are skipped, with a note.

    Returns:
        The columns sentence1, sentence2 (pairs only) and label (ids or scores, if published).

    Raises:
        InputError: a file is missing, or does not match its entry in `TASKS`.
    """
    source = task.sources[split]
    paths = source.files(folder)
    require(paths, f"{folder}: no {source.paths[0]}; give the folder that contains it with --data_dir or GLUE_DIR")
    table, malformed = _read(task, paths, encoding, is_labelled=not source.submission)
    if malformed:
        rows = ", ".join(map(str, malformed))
        notes.append(f"{split}: {counted(len(malformed), 'malformed row')} skipped, as in GLUE (row {rows})")
    *texts, label = task.file_columns
    examples = text_examples(paths[0], table, texts)
    if source.submission:
        return examples
    labelled = _with_labels(examples, column(paths[-1], table, label), paths[-1], task)
    if skipped_count := len(examples) - len(labelled):
        notes.append(f"{split}: {counted(skipped_count, 'row')} without a gold label skipped, as in GLUE")
    return labelled


def _with_labels(examples: pandas.DataFrame, words: pandas.Series, path, task: Task) -> pandas.DataFrame:
    is_labelled = words != task.unlabelled_word
    return examples[is_labelled].assign(label=encode_labels(path, words[is_labelled], task))


def _read(task: Task, paths: list[Path], encoding: str, is_labelled: bool) -> tuple[pandas.DataFrame, list[int]]:
    names = task.file_columns
    if len(paths) > 1:  # if one file has fewer lines than the others, values are missing, which is refused
        tables = [read_delimited(path, encoding, header=[name])[0] for path, name in zip(paths, names, strict=True)]
        return pandas.concat(tables, axis=1), []
    if task.is_json:
        return records_table(paths[0], read_json(paths[0], encoding)).rename(columns=SUBSET_COLUMNS), []
    header, limit = (task.file_header, task.malformed_limit) if is_labelled else (None, 0)
    return read_delimited(paths[0], encoding, header=header, keep=names, malformed_limit=limit)


def read_hub(
    task: Task, splits: Iterable[str], cache_dir: str | None, instead: str = GLUE_FOLDER
) -> tuple[dict[str, pandas.DataFrame], str]:
    """Read splits, as `read_folder` does, from the hub or its cache; also return the data set's name and revision.

    Labels are matched by their names on the hub. instead: see `hub.from_hub`.

    Raises:
        InputError, EnvironmentFault: as `hub.from_hub`.
    """

    def load(local_files_only):
        is_offline = datasets.config.HF_HUB_OFFLINE
        datasets.config.HF_HUB_OFFLINE = is_offline or local_files_only  # otherwise 25 s of retries before the cache
        try:
            name = task.hub_config or task.name
            builder = datasets.load_dataset_builder(task.hub_id, name, cache_dir=cache_dir, revision=task.hub_revision)
            builder.download_and_prepare()
            return builder
        except DatasetsError as error:  # DatasetGenerationError, such as for a full disk, is no OSError
            raise OSError(str(error.__cause__ or error)) from error
        finally:
            datasets.config.HF_HUB_OFFLINE = is_offline

    builder = from_hub(f"the data set {task.hub_id}", instead, load)
    examples = {}
    for split in splits:
        dataset = builder.as_dataset(split=task.hub_splits.get(split, split))
        examples[split] = text_examples(task.hub_id, dataset.to_pandas(), task.text_columns)
        if not task.sources[split].submission:
            examples[split] = _with_labels(examples[split], _hub_words(dataset, task), task.hub_id, task)
    return examples, f"{task.hub_id}@{builder.hash}"


def _hub_words(dataset: datasets.Dataset, task: Task) -> pandas.Series:
    """Return scores, or labels as words: ids are looked up in the hub's label names, else in GLUE's order."""
    labels = pandas.Series(dataset["label"][:], name="label")
    if labels.dtype.kind != "i":
        return labels
    names = getattr(dataset.features["label"], "names", task.label_names)
    return labels.map({-1: task.unlabelled_word, **dict(enumerate(names))})
