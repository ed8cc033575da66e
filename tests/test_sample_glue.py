"""The sample folder is what its generator writes, has the layout of the GLUE download and copies nothing from GLUE."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "examples" / "sample_glue"
GLUE = ROOT.parent / "shared" / "glue_data"
MAX_BYTES = 400_000

MNLI_TEST = (
    "index promptID pairID genre sentence1_binary_parse sentence2_binary_parse sentence1_parse sentence2_parse"
    " sentence1 sentence2"
)
STSB_TEST = "index genre filename year old_index source1 source2 sentence1 sentence2"
MRPC_TEXTS = "#1_ID #2_ID #1_String #2_String"
# The columns of the download by file; CoLA's train and dev have no header. "_" stands for the blank in MRPC's names.
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
BINARY = {"0", "1"}
ENTAILMENT = {"entailment", "not_entailment"}
LABELS = {
    "CoLA": BINARY,
    "SST-2": BINARY,
    "MRPC": BINARY,
    "QQP": BINARY,
    "WNLI": BINARY,
    "RTE": ENTAILMENT,
    "QNLI": ENTAILMENT,
    "MNLI": {"entailment", "neutral", "contradiction"},
}
LABEL_COLUMNS = ("label", "Quality", "is_duplicate", "gold_label", "score")
TEXT_COLUMNS = {"sentence", "sentence1", "sentence2", "question", "question1", "question2", "#1_String", "#2_String"}
LABELLED = [name for name in COLUMNS if "test" not in name and not name.startswith("diagnostic")]
HEADLESS = ("CoLA/train", "CoLA/dev")


def rows_of(name: str) -> list[dict[str, str]]:
    """Read a file by splitting at line feeds and tabs; a row or header of another width fails."""
    columns = COLUMNS[name].split()
    text = (SAMPLE / f"{name}.tsv").read_bytes().decode("utf-8-sig")
    table = [line.split("\t") for line in text.removesuffix("\n").split("\n")]
    if name not in HEADLESS:
        assert [column.replace(" ", "_") for column in table.pop(0)] == columns
    return [dict(zip(columns, fields, strict=True)) for fields in table]


def texts_of(name: str) -> list[tuple[str, ...]]:
    """Return the texts of each row, without the blanks around them."""
    return [tuple(row[column].strip() for column in row if column in TEXT_COLUMNS) for row in rows_of(name)]


def labels_of(name: str) -> list[str]:
    """Return the label of each row."""
    column = next(column for column in LABEL_COLUMNS if column in COLUMNS[name].split())
    return [row[column] for row in rows_of(name)]


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
def test_every_row_has_the_columns_of_the_download_and_texts_in_them(name):
    rows = rows_of(name)
    assert len(rows) >= 16
    assert all(all(texts) for texts in texts_of(name))
    if "index" in rows[0]:
        assert [row["index"] for row in rows] == [str(index) for index in range(len(rows))]


@pytest.mark.parametrize("name", [name for name in LABELLED if not name.startswith("STS-B")])
def test_every_labelled_file_has_all_labels_of_its_task_and_no_other(name):
    labels = labels_of(name)
    expected = LABELS[name.split("/")[0]]
    assert set(labels) == expected
    assert min(labels.count(label) for label in expected) >= 0.6 * len(labels) / len(expected)


@pytest.mark.parametrize("name", ["STS-B/train", "STS-B/dev"])
def test_scores_lie_between_0_and_5_and_spread(name):
    scores = [float(label) for label in labels_of(name)]
    assert min(scores) == 0
    assert max(scores) == 5
    assert len(set(scores)) > 15
    assert any(not score.is_integer() for score in scores)


@pytest.mark.parametrize("task", sorted({name.split("/")[0] for name in COLUMNS}))
def test_no_text_pair_occurs_twice_in_a_task(task):
    texts = [row for name in COLUMNS if name.startswith(f"{task}/") for row in texts_of(name)]
    assert len(set(texts)) == len(texts)


def test_files_keep_the_quirks_of_the_download():
    begins_with_bom = [n for n in COLUMNS if (SAMPLE / f"{n}.tsv").read_bytes().startswith(b"\xef\xbb\xbf")]
    lacks_newline = [n for n in COLUMNS if not (SAMPLE / f"{n}.tsv").read_bytes().endswith(b"\n")]
    assert begins_with_bom == ["MRPC/train", "MRPC/dev"]
    assert lacks_newline == ["CoLA/dev"]
    assert all(row["mark"] == ("*" if row["label"] == "0" else "") for n in HEADLESS for row in rows_of(n))


def test_texts_hold_what_trips_readers():
    texts = {text for name in LABELLED for row in texts_of(name) for text in row}
    assert {"None", "NA"} <= texts
    assert any(text.count('"') == 1 for text in texts)
    assert any(text.startswith('"') and text.count('"') == 1 for text in texts)
    assert any("'" in text for text in texts)
    assert any(not text.isascii() for text in texts)


def test_readme_states_the_row_counts():
    readme = (SAMPLE / "README.md").read_text(encoding="utf-8")
    stated = [line.strip("| ").split(" | ")[:2] for line in readme.splitlines() if line.count("|") == 4]
    assert dict(stated[2:]) == {f"{name}.tsv": str(len(rows_of(name))) for name in COLUMNS}


def glue_texts() -> Iterator[str]:
    """Yield the fields of all tables of the GLUE data beside the project."""
    for path in GLUE.rglob("*.tsv"):
        for line in path.read_text(encoding="utf-8-sig").split("\n"):
            yield from (field.strip() for field in line.split("\t"))


@pytest.mark.skipif(not GLUE.is_dir(), reason="no GLUE data at ../shared/glue_data to compare with")
def test_no_text_occurs_in_glue():
    ours = {text for name in COLUMNS for row in texts_of(name) for text in row}
    assert ours.intersection(glue_texts()) == set()
