"""Write a miniature GLUE folder and NLI set for the tests."""

import csv
import io
import json

import datasets
import pyarrow
import pyarrow.parquet

from hype.data.arguments import DataArguments
from hype.data.splits import load_splits

RTE_TRAIN = [("A cat sits.", "A cat sits.", "entailment"), ("It rains.", "It is dry.", "not_entailment")]
RTE_DEV = [("A dog runs.", "A dog runs.", "entailment"), ('He said "no".', "He said yes.", "not_entailment")]
NLI_ROWS = [
    ("A man eats.", "He eats.", "entailment"),
    ("A dog.", "A cat.", "contradiction"),
    ("Rain.", "Mud.", "neutral"),
]


def as_bytes(extension: str, rows: list[dict]) -> bytes:
    """Encode rows of texts as the content of a file with this extension."""
    if extension == ".tsv":
        return "".join("\t".join(row) + "\n" for row in [list(rows[0]), *(r.values() for r in rows)]).encode()
    if extension == ".csv":
        file = io.StringIO()
        csv.writer(file).writerows([list(rows[0]), *(row.values() for row in rows)])
        return file.getvalue().encode()
    if extension == ".parquet":
        file = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
        return file.getvalue()
    if extension == ".json":
        return json.dumps(rows, ensure_ascii=False).encode()
    return "\n".join(map(json.dumps, rows)).encode()


def snli_jsonl(rows):
    return "\n".join(json.dumps({"gold_label": gold, "sentence1": a, "sentence2": b}) for a, b, gold in rows)


def rte(rows, labelled=True):
    names = ["index", "sentence1", "sentence2", "label"][: 4 if labelled else 3]
    lines = [[str(i), *row[: len(names) - 1]] for i, row in enumerate(rows)]
    return "".join("\t".join(line) + "\n" for line in [names, *lines])


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return folder


def load(folder, splits=("train", "validation"), task="rte", **flags):
    return load_splits(DataArguments(task_name=task, data_dir=str(folder), **flags), splits)


def write_rte(folder):
    """Write a GLUE folder with two rows in each split of RTE."""
    return write(
        folder,
        {"RTE/train.tsv": rte(RTE_TRAIN), "RTE/dev.tsv": rte(RTE_DEV), "RTE/test.tsv": rte(RTE_DEV, labelled=False)},
    )


def put_on_hub(monkeypatch, hub_id, config, split, dataset):
    """Make the hub provide one split of one data set."""

    class Builder:
        hash = "0"

        def __init__(self, *names, **settings):
            assert names == (hub_id, config)

        def download_and_prepare(self):
            pass

        def as_dataset(self, **names):
            assert names == {"split": split}
            return dataset

    monkeypatch.setattr(datasets, "load_dataset_builder", Builder)
    monkeypatch.setattr("hype.hub.hub_is_reachable", lambda *args: False)
