"""The sample folder equals its generator's output, is laid out like the GLUE download and copies nothing from GLUE."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from hype.data.tasks import SENTENCES, TASKS
from tests.glue_files import load
from tests.tiny import SAMPLE

ROOT = Path(__file__).resolve().parents[1]
GLUE = ROOT.parent / "shared" / "glue_data"
MAX_BYTES = 400_000

MNLI_TEST = (
    "index promptID pairID genre sentence1_binary_parse sentence2_binary_parse sentence1_parse sentence2_parse"
    " sentence1 sentence2"
)
STSB_TEST = "index genre filename year old_index source1 source2 sentence1 sentence2"
MRPC_TEXTS = "#1_ID #2_ID #1_String #2_String"
# Columns of each file of the download; CoLA's train and dev have no header. "_" stands for the blank in MRPC's names.
COLUMNS = {
    "CoLA/train": "source label mark sentence",
    "CoLA/dev": "source label mark sentence",
    "CoLA/test": "index sentence",
    "SST-2/train": "sentence label",
    "SST-2/dev": "sentence label",
    "SST-2/test": "index sentence",
    "MRPC/train": f"Quality {MRPC_TEXTS}",
    "MRPC/dev": f"Quality {MRPC_TEXTS}",
    "MRPC/test": f"index {MRPC_TEXTS}",
    "STS-B/train": f"{STSB_TEST} score",
    "STS-B/dev": f"{STSB_TEST} score",
    "STS-B/test": STSB_TEST,
    "QQP/train": "id qid1 qid2 question1 question2 is_duplicate",
    "QQP/dev": "id qid1 qid2 question1 question2 is_duplicate",
    "QQP/test": "id question1 question2",
    "MNLI/train": f"{MNLI_TEST} label1 gold_label",
    "MNLI/dev_matched": f"{MNLI_TEST} label1 label2 label3 label4 label5 gold_label",
    "MNLI/dev_mismatched": f"{MNLI_TEST} label1 label2 label3 label4 label5 gold_label",
    "MNLI/test_matched": MNLI_TEST,
    "MNLI/test_mismatched": MNLI_TEST,
    "QNLI/train": "index question sentence label",
    "QNLI/dev": "index question sentence label",
    "QNLI/test": "index question sentence",
    "RTE/train": "index sentence1 sentence2 label",
    "RTE/dev": "index sentence1 sentence2 label",
    "RTE/test": "index sentence1 sentence2",
    "WNLI/train": "index sentence1 sentence2 label",
    "WNLI/dev": "index sentence1 sentence2 label",
    "WNLI/test": "index sentence1 sentence2",
    "diagnostic/diagnostic": "index sentence1 sentence2",
}
HEADLESS = ("CoLA/train", "CoLA/dev")
FOLDERS = {name.split("/")[0] for name in COLUMNS}


def lines_of(name: str) -> list[list[str]]:
    """Read a file by splitting at line feeds and tabs."""
    text = (SAMPLE / f"{name}.tsv").read_bytes().decode("utf-8-sig")
    return [line.split("\t") for line in text.removesuffix("\n").split("\n")]


def splits_of(folder: str):
    """Read a task by its folder name as runs do, which refuses rows of the wrong width and unknown labels."""
    name = {"diagnostic": "ax"}.get(folder, folder.lower().replace("-", ""))
    return load(SAMPLE, TASKS[name].sources, name)


def texts_of(folder: str) -> list[tuple[str, ...]]:
    """Return the texts of each row of a task, stripped of surrounding blanks."""
    columns = [
        [data[name][:] for name in SENTENCES if name in data.features] for data in splits_of(folder).splits.values()
    ]
    return [tuple(map(str.strip, row)) for split in columns for row in zip(*split, strict=True)]


def test_generator_writes_the_committed_files_byte_for_byte(tmp_path):
    env = os.environ | {"PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, ROOT / "examples" / "make_sample_glue.py", tmp_path], check=True, env=env)
    written = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    committed = {path.relative_to(SAMPLE): path.read_bytes() for path in SAMPLE.rglob("*.tsv")}
    assert written.keys() == committed.keys()
    assert [path for path in written if written[path] != committed[path]] == []


def test_folder_holds_the_files_of_the_download_and_stays_small():
    assert {path.relative_to(SAMPLE).with_suffix("").as_posix() for path in SAMPLE.rglob("*.tsv")} == COLUMNS.keys()
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) < MAX_BYTES


@pytest.mark.parametrize("name", COLUMNS)
def test_every_row_has_the_columns_of_the_download(name):
    columns, lines = COLUMNS[name].split(), lines_of(name)
    if name not in HEADLESS:
        assert [column.replace(" ", "_") for column in lines.pop(0)] == columns
    assert len(lines) >= 16 and {len(line) for line in lines} == {len(columns)}
    if columns[0] == "index":
        assert [line[0] for line in lines] == [str(index) for index in range(len(lines))]
    if name in HEADLESS:
        assert all(mark == ("*" if label == "0" else "") for _, label, mark, _ in lines)


@pytest.mark.parametrize("folder", sorted(FOLDERS))
def test_a_task_has_all_of_its_labels_and_no_text_twice(folder):
    loaded = splits_of(folder)
    for labels in (data["label"][:] for data in loaded.splits.values() if "label" in data.features):
        counts = Counter(labels)
        if loaded.task.is_regression:
            assert (min(counts), max(counts)) == (0, 5) and len(counts) > 15
            assert not all(score.is_integer() for score in counts)
        else:
            assert len(counts) == loaded.task.label_count
            assert min(counts.values()) >= 0.6 * len(labels) / len(counts)
    texts = texts_of(folder)
    assert all(all(row) for row in texts) and len(set(texts)) == len(texts)


def test_readme_states_the_row_counts():
    readme = (SAMPLE / "README.md").read_text(encoding="utf-8")
    stated = [line.strip("| ").split(" | ")[:2] for line in readme.splitlines() if line.count("|") == 4]
    assert dict(stated[2:]) == {f"{name}.tsv": str(len(lines_of(name)) - (name not in HEADLESS)) for name in COLUMNS}


@pytest.mark.skipif(not GLUE.is_dir(), reason="no GLUE data at ../shared/glue_data to compare with")
def test_no_text_occurs_in_glue():
    ours = {text for folder in FOLDERS for row in texts_of(folder) for text in row}
    for path in GLUE.rglob("*.tsv"):
        for line in path.read_text(encoding="utf-8-sig").split("\n"):
            assert ours.isdisjoint(map(str.strip, line.split("\t")))
