"""Files that the GLUE server takes: names, header, words, row counts."""

import numpy as np
import pytest

from hype.data.submission import write_submission
from hype.data.tasks import TASKS, own_task

# Lines with header, as the server counts them.
LINES = {"cola": 1064, "sst2": 1822, "mrpc": 1726, "stsb": 1380, "rte": 3001, "wnli": 147, "ax": 1105}
WORDS = {
    "cola": ["0", "1"],
    "sst2": ["0", "1"],
    "mrpc": ["0", "1"],
    "qqp": ["0", "1"],
    "wnli": ["0", "1"],
    "mnli": ["entailment", "neutral", "contradiction"],
    "ax": ["entailment", "neutral", "contradiction"],
    "qnli": ["entailment", "not_entailment"],
    "rte": ["entailment", "not_entailment"],
}


@pytest.mark.parametrize("task", WORDS)
def test_label_ids_become_the_servers_words(task, tmp_path):
    path, warning = write_submission(TASKS[task], "test", range(len(WORDS[task])), tmp_path)
    rows = [f"{i}\t{word}\n" for i, word in enumerate(WORDS[task])]
    assert path.read_bytes().decode() == "".join(["index\tprediction\n", *rows])
    assert f"{len(rows)} rows" in warning
    assert "sample or subset" in warning


@pytest.mark.parametrize("task", LINES)
def test_the_official_number_of_rows_passes_without_warning(task, tmp_path):
    predictions = np.zeros(LINES[task] - 1, dtype=np.int64)
    path, warning = write_submission(TASKS[task], "test", predictions, tmp_path)
    assert path.name == f"{TASKS[task].title}.tsv"
    assert path.read_bytes().count(b"\n") == LINES[task]
    assert warning is None


def test_mnli_has_two_files(tmp_path):
    names = [write_submission(TASKS["mnli"], s, [0], tmp_path)[0].name for s in ("test", "test_mismatched")]
    assert names == ["MNLI-m.tsv", "MNLI-mm.tsv"]


def test_scores_of_stsb_are_clipped_and_have_three_decimals(tmp_path):
    path, _ = write_submission(TASKS["stsb"], "test", np.float32([-0.5, 2.34567, 5.25]), tmp_path)
    assert path.read_text() == "index\tprediction\n0\t0.000\n1\t2.346\n2\t5.000\n"


def test_own_data_gets_its_own_words_and_is_not_clipped(tmp_path):
    path, warning = write_submission(own_task(("t",), ("no", "yes")), "test", [1, 0], tmp_path / "new")
    assert (path.name, warning) == ("test_predictions.tsv", None)
    assert path.read_text() == "index\tprediction\n0\tyes\n1\tno\n"
    path, _ = write_submission(own_task(("t",), None), "test", [-7.25], tmp_path)
    assert path.read_text() == "index\tprediction\n0\t-7.250\n"


def test_an_older_file_is_replaced_whole_or_not_at_all(tmp_path):
    path, _ = write_submission(TASKS["rte"], "test", [0], tmp_path)
    before = path.read_bytes()
    with pytest.raises(IndexError):
        write_submission(TASKS["rte"], "test", [0, 2], tmp_path)
    assert path.read_bytes() == before
    write_submission(TASKS["rte"], "test", [1], tmp_path)
    assert path.read_bytes() != before
    assert [path.name for path in tmp_path.iterdir()] == ["RTE.tsv"]
