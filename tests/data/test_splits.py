"""Subsets, fingerprints and notes of splits are the same for every source of the data."""

import hashlib
import json
import struct
from pathlib import Path

import pytest

from hype.data.arguments import DataArguments
from hype.data.splits import load_splits, low_resource_indices
from hype.data.tasks import TASKS
from hype.errors import InputError
from tests.glue_files import RTE_DEV, RTE_TRAIN, load, rte, write, write_rte

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "glue_data"


@pytest.fixture
def rte_folder(tmp_path):
    return write_rte(tmp_path)


def test_a_glue_folder_becomes_splits(rte_folder):
    loaded = load(rte_folder, ("train", "validation", "test"))
    assert loaded.splits["train"][:] == {
        "sentence1": ["A cat sits.", "It rains."],
        "sentence2": ["A cat sits.", "It is dry."],
        "label": [0, 1],
    }
    assert loaded.splits["validation"][1]["sentence1"] == 'He said "no".'
    assert loaded.splits["test"].column_names == ["sentence1", "sentence2"]
    assert (loaded.task, loaded.source, loaded.sample_text) == (TASKS["rte"], "folder", None)
    assert loaded.row_counts == {"train": 2, "validation": 2, "test": 2}
    assert "validation: a subset, 2 rows of officially 277; a score on them is not a GLUE score" in loaded.notes


def test_splits_that_are_not_asked_for_are_not_read(rte_folder):
    (rte_folder / "RTE/train.tsv").write_text("nonsense")
    (rte_folder / "RTE/test.tsv").unlink()
    assert list(load(rte_folder, ["validation", "validation_mismatched"]).splits) == ["validation"]


def test_glue_dir_stands_in_for_data_dir(rte_folder, monkeypatch):
    monkeypatch.setenv("GLUE_DIR", str(rte_folder))
    assert load_splits(DataArguments(task_name="rte"), ["train"]).row_counts == {"train": 2}
    monkeypatch.setenv("GLUE_DIR", str(rte_folder / "absent"))
    with pytest.raises(InputError, match=r"GLUE_DIR .*absent: no such folder"):
        load_splits(DataArguments(task_name="rte"), ["train"])


def test_a_sample_says_so_instead_of_naming_row_counts(rte_folder):
    write(rte_folder, {"SAMPLE": "Sentences written for this project.\n"})
    loaded = load(rte_folder)
    assert loaded.sample_text == "Sentences written for this project."
    assert not any("subset" in note for note in loaded.notes)


def test_shared_rows_and_empty_texts_are_counted(tmp_path):
    train = [*RTE_TRAIN, *RTE_TRAIN, ("", "x", "entailment"), ("  ", "", "entailment")]
    dev = [*RTE_DEV, RTE_TRAIN[0], (*RTE_TRAIN[1][:2], "entailment")]
    notes = load(write(tmp_path, {"RTE/train.tsv": rte(train), "RTE/dev.tsv": rte(dev)})).notes
    assert "validation: 2 of 4 rows have texts that also occur in train" in notes
    assert "train: 2 rows with an empty text" in notes


def test_the_fingerprint_is_the_sha256_of_texts_and_labels(rte_folder):
    digest = hashlib.sha256()
    for column in (0, 1):
        digest.update(struct.pack("<q", 2))
        for row in RTE_TRAIN:
            digest.update(struct.pack("<q", len(row[column])) + row[column].encode())
    digest.update(b"entailment\tnot_entailment")
    assert load(rte_folder, ["train"]).fingerprint == {"train": digest.hexdigest()}


def test_the_fingerprint_follows_content_alone(rte_folder):
    before = load(rte_folder).fingerprint
    train = rte_folder / "RTE/train.tsv"
    train.write_bytes(b"\xef\xbb\xbf" + train.read_bytes().replace(b"\n", b"\r\n"))
    assert load(rte_folder).fingerprint == before
    train.write_bytes(train.read_bytes().replace(b"not_entailment", b"entailment"))
    after = load(rte_folder).fingerprint
    assert after["train"] != before["train"]
    assert after["validation"] == before["validation"]


def test_limits_take_the_first_rows_and_make_a_subset_of_what_is_scored(rte_folder):
    limits = {"max_train_samples": 1, "max_eval_samples": 1, "max_predict_samples": 9}
    loaded = load(rte_folder, ("train", "validation", "test"), **limits)
    assert loaded.row_counts == {"train": 1, "validation": 1, "test": 2}
    assert loaded.splits["train"]["sentence1"][:] == ["A cat sits."]
    assert "train: a subset, 2 rows of officially 2490" in loaded.notes
    assert "validation: a subset, 1 rows of officially 277; a score on them is not a GLUE score" in loaded.notes


def test_the_low_resource_subset_never_changes(tmp_path):
    pinned = json.loads((ROOT / "tests/data/low_resource_rte.json").read_text())
    assert low_resource_indices(TASKS["rte"].sources["train"].row_count) == pinned
    assert len(set(pinned)) == 1000
    rows = [(f"text {i}", "x", "entailment") for i in range(2490)]
    write(tmp_path, {"RTE/train.tsv": rte(rows)})
    loaded = load(tmp_path, ["train"], low_resource=True)
    assert loaded.low_resource_indices == pinned
    assert loaded.splits["train"]["sentence1"][:] == [f"text {i}" for i in pinned]
    fewer = load(tmp_path, ["train"], low_resource=True, max_train_samples=100).low_resource_indices
    assert len(fewer) == 100 and set(fewer) < set(pinned) and fewer != pinned[:100], "not the first of the file"


def test_too_little_data_for_the_low_resource_subset_is_refused(rte_folder):
    with pytest.raises(InputError, match="--low_resource draws 1000 training examples; there are 2: leave"):
        load(rte_folder, ["train"], low_resource=True)


COUNTS = {
    "cola": {"train": 8551, "validation": 1043, "test": 1063},
    "sst2": {"validation": 872, "test": 1821},
    "mrpc": {"train": 3667, "validation": 408, "test": 1725},
    "stsb": {"train": 5749, "validation": 1500, "test": 1379},
    "qqp": {"train": 8999, "validation": 7600},
    "mnli": {"train": 8999, "validation": 7469, "validation_mismatched": 1000},
    "qnli": {"train": 8999, "validation": 5463, "test": 5463},
    "rte": {"train": 2490, "validation": 277, "test": 3000},
}


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real GLUE files in ../shared/glue_data")
class TestRealFiles:
    """Checks against the README of the files: counts, byte order marks, missing final newlines, quotes."""

    @pytest.mark.parametrize("task", COUNTS)
    def test_counts_agree_and_no_byte_of_a_text_is_lost(self, task):
        loaded = load(SHARED, COUNTS[task], task)
        assert loaded.row_counts == COUNTS[task]
        for split, dataset in loaded.splits.items():
            (path,) = TASKS[task].sources[split].files(SHARED)
            content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
            lines = [line.split(b"\t") for line in content.removesuffix(b"\n").split(b"\n")]
            names = TASKS[task].file_header if split != "test" else None
            header = [name.encode() for name in names] if names else lines.pop(0)
            for ours, theirs in zip(("sentence1", "sentence2"), TASKS[task].file_columns[:-1], strict=False):
                position = header.index(theirs.encode())
                assert [text.encode() for text in dataset[ours][:]] == [line[position] for line in lines]

    def test_the_first_row_of_mrpc_keeps_its_label_after_the_mark(self):
        row = load(SHARED, ["train"], "mrpc").splits["train"][0]
        assert row["label"] == 1
        assert row["sentence1"].startswith('Amrozi accused his brother , whom he called " the witness " ,')

    def test_official_files_are_noted_as_such(self):
        assert load(SHARED, ["validation"], "sst2").notes == []
        notes = load(SHARED, ["train", "validation"], "mrpc").notes
        assert notes == ["train: a subset, 3667 rows of officially 3668"]

    @pytest.mark.parametrize(("task", "shared"), [("cola", 16), ("stsb", 6), ("rte", 0), ("mrpc", 0)])
    def test_overlap_is_that_of_the_readme(self, task, shared):
        found = [note for note in load(SHARED, ["train", "validation"], task).notes if "also occur" in note]
        assert [int(note.split()[1]) for note in found] == ([shared] if shared else [])
