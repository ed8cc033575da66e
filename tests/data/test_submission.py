"""Files for the GLUE server: names, header, label words, row counts."""

import numpy as np
import pytest

from hype.data.submission import write_submission
from hype.data.tasks import TASKS, own_task

NLI = ["entailment", "neutral", "contradiction"]
ENTAILMENT = ["entailment", "not_entailment"]
# Task and split -> the server's file name, its number of rows, and the words for the label ids.
SUBMISSIONS = {
    ("cola", "test"): ("CoLA.tsv", 1063, ["0", "1"]),
    ("sst2", "test"): ("SST-2.tsv", 1821, ["0", "1"]),
    ("mrpc", "test"): ("MRPC.tsv", 1725, ["0", "1"]),
    ("stsb", "test"): ("STS-B.tsv", 1379, ["0.000", "1.000"]),
    ("qqp", "test"): ("QQP.tsv", 390965, ["0", "1"]),
    ("mnli", "test"): ("MNLI-m.tsv", 9796, NLI),
    ("mnli", "test_mismatched"): ("MNLI-mm.tsv", 9847, NLI),
    ("qnli", "test"): ("QNLI.tsv", 5463, ENTAILMENT),
    ("rte", "test"): ("RTE.tsv", 3000, ENTAILMENT),
    ("wnli", "test"): ("WNLI.tsv", 146, ["0", "1"]),
    ("ax", "test"): ("AX.tsv", 1104, NLI),
}


@pytest.mark.parametrize(("task", "split"), SUBMISSIONS)
def test_a_file_has_the_servers_name_words_and_number_of_rows(task, split, tmp_path):
    name, row_count, words = SUBMISSIONS[task, split]
    path, warning = write_submission(TASKS[task], split, range(len(words)), tmp_path)
    rows = [f"{i}\t{word}\n" for i, word in enumerate(words)]
    assert path == tmp_path / name
    assert path.read_bytes().decode() == "".join(["index\tprediction\n", *rows])
    assert f"{len(rows)} rows" in warning and "sample or subset" in warning
    path, warning = write_submission(TASKS[task], split, np.zeros(row_count, dtype=np.int64), tmp_path)
    assert (path.read_bytes().count(b"\n"), warning) == (row_count + 1, None)


def test_scores_of_stsb_are_clipped_and_have_three_decimals(tmp_path):
    path, _ = write_submission(TASKS["stsb"], "test", np.float32([-0.5, 2.34567, 5.25]), tmp_path)
    assert path.read_text() == "index\tprediction\n0\t0.000\n1\t2.346\n2\t5.000\n"


def test_own_data_gets_its_own_words_and_is_not_clipped(tmp_path):
    path, warning = write_submission(own_task(("t",), ("no", "yes")), "test", [1, 0], tmp_path)
    assert (path.name, warning) == ("test_predictions.tsv", None)
    assert path.read_text() == "index\tprediction\n0\tyes\n1\tno\n"
    path, _ = write_submission(own_task(("t",), None), "test", np.float32([-7.25, 1.5e-5, 123456.5]), tmp_path)
    assert path.read_text() == "index\tprediction\n0\t-7.25\n1\t1.5e-05\n2\t123456.5\n"
