"""SNLI, SICK and SciTail in every published form: small files written here, and the real ones where at hand."""

import json
import shutil
from collections import Counter
from pathlib import Path

import datasets
import pytest

from hype.data.arguments import DataArguments
from hype.data.splits import load_splits
from hype.data.tasks import TASKS
from hype.errors import InputError
from tests.glue_files import load, write

REAL = Path(__file__).parents[2] / "../shared/nli_data"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="no ../shared/nli_data")
ROWS = [("A man eats.", "He eats.", "entailment"), ("A dog.", "A cat.", "contradiction"), ("Rain.", "Mud.", "neutral")]
PARSES = ["sentence1_binary_parse", "sentence2_binary_parse", "sentence1_parse", "sentence2_parse"]
SICK_ROWS = [(first, second, label.upper()) for first, second, label in ROWS]


def snli_jsonl(rows):
    return "\n".join(json.dumps({"gold_label": gold, "sentence1": a, "sentence2": b}) for a, b, gold in rows)


def tsv(header, rows):
    return "".join("\t".join(row) + "\n" for row in (header, *rows) if row)


def snli_txt(rows):
    header = [
        "gold_label",
        *PARSES,
        "sentence1",
        "sentence2",
        "captionID",
        "pairID",
        *(f"label{i}" for i in range(1, 6)),
    ]
    return tsv(header, [[gold, "p", "p", "p", "p", a, b, "c", "i", gold, "", "", "", ""] for a, b, gold in rows])


def glue_snli(rows):
    """Write one annotator's label under label1, but five of them in the second row, as the real files do."""
    header = ["index", "captionID", "pairID", *PARSES, "sentence1", "sentence2", "label1", "gold_label"]
    lines = [[str(i), "c", "i", "p", "p", "p", "p", a, b, "neutral", gold] for i, (a, b, gold) in enumerate(rows)]
    lines[1][10:10] = ["neutral"] * 4
    return tsv(header, lines)


def sick(rows):
    header = ["pair_ID", "sentence_A", "sentence_B", "relatedness_score", "entailment_judgment"]
    return tsv(header, [[str(i), a, b, "3.5", label] for i, (a, b, label) in enumerate(rows)])


def sick_txt(rows):
    header = ["pair_ID", "sentence_A", "sentence_B", "entailment_label", "relatedness_score", "SemEval_set"]
    lines = [[str(i), a, b, label, "3.5", "TRAIN"] for i, (a, b, label) in enumerate(rows)]
    return tsv(
        header, [["9", "No.", "Yes.", "NEUTRAL", "1", "TRIAL"], *lines, ["8", "X.", "Y.", "NEUTRAL", "1", "TEST"]]
    )


def lines(values):
    return "".join(f"{value}\n" for value in values)


FIRST, SECOND, LABELS = zip(*ROWS, strict=True)
FORMS = {
    "jsonl": ("snli", {"SNLI/snli_1.0_train.jsonl": snli_jsonl(ROWS)}),
    "jsonl in its own folder": ("snli", {"snli_1.0/snli_1.0_train.jsonl": snli_jsonl(ROWS)}),
    "jsonl in the folder itself": ("snli", {"snli_1.0_train.jsonl": snli_jsonl(ROWS)}),
    "columns": ("snli", {"SNLI/snli_1.0_train.txt": snli_txt(ROWS)}),
    "parallel": ("snli", {
        "SNLI/train_s1.txt": lines(FIRST), "SNLI/train_s2.txt": lines(SECOND), "SNLI/train_labels.txt": lines(LABELS),
    }),
    "parallel, other names": ("snli", {
        "SNLI/s1.train": lines(FIRST), "SNLI/s2.train": lines(SECOND), "SNLI/labels.train": lines(LABELS),
    }),
    "gold label last": ("snli", {"SNLI/train.tsv": glue_snli(ROWS)}),
    "subset": ("snli", {
        "SNLI/train_subset.json": json.dumps(
            {i: {"text_a": a, "text_b": b, "label": gold} for i, (a, b, gold) in enumerate(ROWS)}
        ),
    }),
    "SemEval": ("sick", {"SICK/SICK_train.txt": sick(SICK_ROWS)}),
    "SemEval, CRLF": ("sick", {"SICK/SICK_train.txt": sick(SICK_ROWS).replace("\n", "\r\n")}),
    "one file": ("sick", {"SICK/SICK.txt": sick_txt(SICK_ROWS)}),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_every_published_form_gives_the_same_rows(name, tmp_path):
    task, files = FORMS[name]
    dataset = load(write(tmp_path, files), ["train"], task).splits["train"]
    gold = [TASKS["mnli"].label_names.index(label) for label in LABELS]
    assert (dataset["sentence1"][:], dataset["sentence2"][:], dataset["label"][:]) == (list(FIRST), list(SECOND), gold)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("SciTail/train.jsonl", '{"sentence1": "A.", "sentence2": "B.", "gold_label": "N"}\n'
                                '{"sentence1": "C.", "sentence2": "D.", "gold_label": "E"}'),
        ("SciTailV1.1/snli_format/scitail_1.0_train.txt",
         '{"gold_label": "neutral", "sentence1": "A.", "sentence2": "B."}\n'
         '{"gold_label": "entailment", "sentence1": "C.", "sentence2": "D."}'),
        ("tsv_format/scitail_1.0_train.tsv", "A.\tB.\tneutral\nC.\tD.\tentails\n"),
    ],
)  # fmt: skip
def test_scitails_three_spellings_of_its_two_labels_are_the_same(path, content, tmp_path):
    dataset = load(write(tmp_path, {path: content}), ["train"], "scitail").splits["train"]
    assert [TASKS["scitail"].label_names[i] for i in dataset["label"]] == ["neutral", "entailment"]
    assert dataset["sentence2"][:] == ["B.", "D."]


def test_rows_without_a_gold_label_are_left_out_and_said(tmp_path):
    loaded = load(write(tmp_path, {"snli_1.0_train.jsonl": snli_jsonl([("A.", "B.", "-"), *ROWS])}), ["train"], "snli")
    assert loaded.splits["train"]["sentence1"][:] == list(FIRST)
    assert any("1 rows without a gold label left out" in note for note in loaded.notes)


BAD = {
    "a label of no one": ("snli", {"SNLI/train.tsv": glue_snli([*ROWS, ("A.", "B.", "maybe")])}, "'maybe'"),
    "files of other lengths": (
        "snli",
        {"train_s1.txt": lines(FIRST), "train_s2.txt": lines(SECOND[:2]), "train_labels.txt": lines(LABELS)},
        "train_s2.txt 2",
    ),
    "half of the files": ("snli", {"train_s1.txt": lines(FIRST)}, "no train data of SNLI"),
    "an array, not an object": ("snli", {"train_subset.json": "[]"}, "list where one object is needed"),
    "a row too short": ("sick", {"SICK_train.txt": sick(SICK_ROWS) + "1\tA.\n"}, "row 5: 2 columns"),
    "another task's file": (
        "snli",
        {"train.tsv": "sentence1\tsentence2\tlabel\nA.\tB.\t1\n"},
        "no column 'gold_label'",
    ),
    "a missing key": ("scitail", {"train.jsonl": '{"sentence1": "A.", "gold_label": "N"}'}, "no column 'sentence2'"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_such_file_is_refused_with_its_place(name, tmp_path):
    task, files, message = BAD[name]
    with pytest.raises(InputError, match=message):
        load(write(tmp_path, files), ["train"], task)


def test_the_hubs_words_and_missing_labels_are_understood(monkeypatch):
    """Stand in for the hub with what its three sets hold: ids with -1, ids, words."""
    held = {
        "stanfordnlp/snli": {"premise": ["A.", "B."], "hypothesis": ["C.", "D."], "label": [-1, 2]},
        "RobZamp/sick": {"sentence_A": ["A."], "sentence_B": ["B."], "label": [1]},
        "allenai/scitail": {"premise": ["A.", "B."], "hypothesis": ["C.", "D."], "label": ["neutral", "entails"]},
    }

    class Builder:
        hash = "0"

        def __init__(self, hub_id, name, cache_dir, revision):
            self.columns = held[hub_id]

        def download_and_prepare(self):
            pass

        def as_dataset(self, split):
            return datasets.Dataset.from_dict(self.columns)

    monkeypatch.setattr(datasets, "load_dataset_builder", Builder)
    monkeypatch.setattr("hype.hub.hub_is_reachable", lambda *args: False)
    monkeypatch.delenv("GLUE_DIR", raising=False)
    labels = {}
    for task in ("snli", "sick", "scitail"):
        dataset = load_splits(DataArguments(task_name=task), ["validation"]).splits["validation"]
        labels[task] = [TASKS[task].label_names[i] for i in dataset["label"]]
    assert labels == {"snli": ["contradiction"], "sick": ["neutral"], "scitail": ["neutral", "entailment"]}


def test_the_variables_folder_is_passed_over_for_a_set_that_is_not_glues(tmp_path, monkeypatch):
    """GLUE_DIR is the folder of GLUE; one that is named by --data_dir is meant."""
    asked = []
    monkeypatch.setattr("hype.data.splits.hub_examples", lambda task, *_: asked.append(task.name) or ({}, "hub"))
    monkeypatch.setenv("GLUE_DIR", str(tmp_path))
    load_splits(DataArguments(task_name="snli"), ["validation"])
    assert asked == ["snli"]
    for data in (DataArguments(task_name="rte"), DataArguments(task_name="snli", data_dir=str(tmp_path))):
        with pytest.raises(InputError, match=str(tmp_path)):
            load_splits(data, ["validation"])
    (tmp_path / "SICK").mkdir()
    (tmp_path / "SICK" / "SICK.txt").touch()
    with pytest.raises(InputError, match=r"SICK\.txt"):
        load_splits(DataArguments(task_name="sick"), ["validation"])


# Label counts of the README beside the files: entailment, neutral, contradiction.
REAL_COUNTS = {
    ("snli", "train"): (2981, 2994, 3024),
    ("snli", "validation"): (3329, 3235, 3278),
    ("snli", "test"): (3368, 3219, 3237),
    ("sick", "train"): (1299, 2536, 665),
    ("sick", "validation"): (144, 282, 74),
    ("sick", "test"): (1414, 2793, 720),
    ("scitail", "validation"): (657, 647),
    ("scitail", "test"): (842, 1284),
}
COPIED = {
    "SNLI/heldout_subset.json": ("SNLI/train_subset.json", (346, 328, 326)),
    "SNLI/snli_1.0_dev_part.jsonl": ("SNLI/snli_1.0_train.jsonl", (433, 421, 419)),
    **{
        f"SNLI/kshot/16-{seed}/{split}.tsv": ("SNLI/train.tsv", (16, 16, 16))
        for seed in (13, 21, 42, 87, 100)
        for split in ("train", "dev")
    },
}


def label_counts(loaded, task, split):
    counts = Counter(loaded.splits[split]["label"][:])
    return tuple(counts[i] for i in range(TASKS[task].label_count))


@needs_real
@pytest.mark.parametrize(("task", "split"), REAL_COUNTS)
def test_the_real_files_have_their_readmes_counts(task, split):
    assert label_counts(load(REAL, [split], task), task, split) == REAL_COUNTS[task, split]


@needs_real
@pytest.mark.parametrize("path", COPIED)
def test_the_other_real_forms_have_their_readmes_counts(path, tmp_path):
    name, counts = COPIED[path]
    (tmp_path / "SNLI").mkdir()
    shutil.copy(REAL / path, tmp_path / name)
    assert label_counts(load(tmp_path, ["train"], "snli"), "snli", "train") == counts
