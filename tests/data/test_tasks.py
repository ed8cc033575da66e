"""GLUE as published: label orders and row counts of nyu-mll/glue, score rules of the paper's table 10."""

import pytest

from hype.data.tasks import NLI_NAMES, TASKS, own_task

LABELS = {
    "cola": ["unacceptable", "acceptable"],
    "sst2": ["negative", "positive"],
    "mrpc": ["not_equivalent", "equivalent"],
    "qqp": ["not_duplicate", "duplicate"],
    "mnli": ["entailment", "neutral", "contradiction"],
    "qnli": ["entailment", "not_entailment"],
    "rte": ["entailment", "not_entailment"],
    "wnli": ["not_entailment", "entailment"],
    "ax": ["entailment", "neutral", "contradiction"],
}
ROWS = {
    "cola": [8551, 1043, 1063],
    "sst2": [67349, 872, 1821],
    "mrpc": [3668, 408, 1725],
    "stsb": [5749, 1500, 1379],
    "qqp": [363846, 40430, 390965],
    "mnli": [392702, 9815, 9832, 9796, 9847],
    "qnli": [104743, 5463, 5463],
    "rte": [2490, 277, 3000],
    "wnli": [635, 71, 146],
    "ax": [1104],
}
SCORES = {"mrpc": ("f1",), "qqp": ("f1",), "cola": ("matthews_correlation",), "stsb": ("pearson", "spearmanr")}


def test_the_ten_tasks_of_glue_stand_in_the_usual_order():
    assert list(TASKS)[:10] == ["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli", "ax"]


@pytest.mark.parametrize("name", LABELS)
def test_labels_stand_in_glues_order(name):
    assert list(TASKS[name].label_names) == LABELS[name]
    assert TASKS[name].label_count == len(LABELS[name])
    assert len(TASKS[name].label_words) == len(LABELS[name])
    assert not TASKS[name].is_regression


@pytest.mark.parametrize("name", ROWS)
def test_row_counts_are_official(name):
    assert [source.row_count for source in TASKS[name].sources.values()] == ROWS[name]


@pytest.mark.parametrize("name", sorted(set(TASKS) - {"ax"}))
def test_the_score_follows_table_10(name):
    assert TASKS[name].score_metrics == SCORES.get(name, ("accuracy",))
    assert set(TASKS[name].score_metrics) <= set(TASKS[name].metrics)


def test_test_splits_alone_have_submissions():
    for task in TASKS.values():
        for split, source in task.sources.items():
            is_glues_test = split.startswith("test") and task.name not in NLI_NAMES
            assert bool(source.submission) == is_glues_test


def test_texts_of_folder_and_hub_agree_in_number():
    for task in TASKS.values():
        assert len(task.file_columns) == len(task.text_columns) + 1


def test_own_files_are_scored_by_accuracy_or_correlation():
    assert own_task(("text",), ("no", "yes")).score_metrics == ("accuracy",)
    assert own_task(("text",), None).score_metrics == ("pearson", "spearmanr")
    assert own_task(("text",), None).is_regression
