"""GLUE as published: label orders and row counts of nyu-mll/glue, and the scores of the paper's table 10."""

import pytest

from hype.data.tasks import TASKS, own_task

NLI, ENTAILMENT = ("entailment", "neutral", "contradiction"), ("entailment", "not_entailment")
# Labels in the order of their ids, and the number of rows in each split.
GLUE = {
    "cola": (("unacceptable", "acceptable"), [8551, 1043, 1063]),
    "sst2": (("negative", "positive"), [67349, 872, 1821]),
    "mrpc": (("not_equivalent", "equivalent"), [3668, 408, 1725]),
    "stsb": (None, [5749, 1500, 1379]),
    "qqp": (("not_duplicate", "duplicate"), [363846, 40430, 390965]),
    "mnli": (NLI, [392702, 9815, 9832, 9796, 9847]),
    "qnli": (ENTAILMENT, [104743, 5463, 5463]),
    "rte": (ENTAILMENT, [2490, 277, 3000]),
    "wnli": (("not_entailment", "entailment"), [635, 71, 146]),
    "ax": (NLI, [1104]),
}
SCORES = {
    "mrpc": ("f1",), "qqp": ("f1",), "cola": ("matthews_correlation",), "ax": ("matthews_correlation",),
    "stsb": ("pearson", "spearmanr"),
}  # fmt: skip


@pytest.mark.parametrize("name", GLUE)
def test_labels_stand_in_glues_order_and_row_counts_are_official(name):
    task, (labels, row_counts) = TASKS[name], GLUE[name]
    assert (task.label_names, task.label_count, task.is_regression) == (labels, len(labels or "1"), name == "stsb")
    assert len(task.label_words or ()) == len(labels or ())
    assert [source.row_count for source in task.sources.values()] == row_counts


@pytest.mark.parametrize("name", TASKS)
def test_the_score_follows_table_10_and_columns_agree(name):
    task = TASKS[name]
    assert task.score_metrics == SCORES.get(name, ("accuracy",))
    assert set(task.score_metrics) <= set(task.metrics)
    assert len(task.file_columns) == len(task.text_columns) + 1


def test_own_files_are_scored_by_accuracy_or_correlation():
    assert own_task(("text",), ("no", "yes")).score_metrics == ("accuracy",)
    assert own_task(("text",), None).score_metrics == ("pearson", "spearmanr")
    assert own_task(("text",), None).is_regression
