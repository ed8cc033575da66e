"""Files for the GLUE server: names, header, label words, row counts."""

import numpy as np
import pytest

from hype.data.submission import write_submission
from hype.data.tasks import TASKS, own_task

NLI = ["entailment", "neutral", "contradiction"]
ENTAILMENT = ["entailment", "not_entailment"]
# Task and split -> the server's file name, and its words for the label ids.
SUBMISSIONS = {
    ("cola", "test"): ("CoLA.tsv", ["0", "1"]),
    ("sst2", "test"): ("SST-2.tsv", ["0", "1"]),
    ("mrpc", "test"): ("MRPC.tsv", ["0", "1"]),
    ("stsb", "test"): ("STS-B.tsv", ["0.000", "1.000"]),
    ("qqp", "test"): ("QQP.tsv", ["0", "1"]),
    ("mnli", "test"): ("MNLI-m.tsv", NLI),
    ("mnli", "test_mismatched"): ("MNLI-mm.tsv", NLI),
    ("qnli", "test"): ("QNLI.tsv", ENTAILMENT),
    ("rte", "test"): ("RTE.tsv", ENTAILMENT),
    ("wnli", "test"): ("WNLI.tsv", ["0", "1"]),
    ("ax", "test"): ("AX.tsv", NLI),
}


@pytest.mark.parametrize(("task", "split"), SUBMISSIONS)
def test_a_file_has_the_servers_name_and_words(task, split, tmp_path):
    name, words = SUBMISSIONS[task, split]
    path, _ = write_submission(TASKS[task], split, range(len(words)), tmp_path)
    rows = [f"{i}\t{word}\n" for i, word in enumerate(words)]
    assert path == tmp_path / name
    assert path.read_bytes().decode() == "".join(["index\tprediction\n", *rows])


@pytest.mark.parametrize(("row_count", "is_warned"), [(9847, False), (9796, True)])
def test_another_number_of_rows_than_the_servers_is_warned_of(row_count, is_warned, tmp_path):
    predictions = np.zeros(row_count, dtype=np.int64)
    _, warning = write_submission(TASKS["mnli"], "test_mismatched", predictions, tmp_path)
    assert (warning is not None and "9847" in warning) == is_warned


def test_scores_of_stsb_are_clipped_and_have_three_decimals(tmp_path):
    path, _ = write_submission(TASKS["stsb"], "test", np.float32([-0.5, 2.34567, 5.25]), tmp_path)
    assert path.read_text() == "index\tprediction\n0\t0.000\n1\t2.346\n2\t5.000\n"


def test_own_data_gets_its_own_words_and_is_not_clipped(tmp_path):
    path, warning = write_submission(own_task(("t",), ("no", "yes")), "test", [1, 0], tmp_path)
    assert (path.name, warning) == ("test_predictions.tsv", None)
    assert path.read_text() == "index\tprediction\n0\tyes\n1\tno\n"
    path, _ = write_submission(own_task(("t",), None), "test", np.float32([-7.25, 1.5e-5, 123456.5]), tmp_path)
    assert path.read_text() == "index\tprediction\n0\t-7.25\n1\t1.5e-05\n2\t123456.5\n"
