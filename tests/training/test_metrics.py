"""Metrics have the values computed by hand, and are computed in double precision."""

import math
import warnings

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from hype.data.tasks import TASKS
from hype.training.metrics import compute, majority_score, score

# 3 true positives, 1 false positive, 2 false negatives, 4 true negatives.
LABELS = [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]
PREDICTIONS = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]


@pytest.fixture(autouse=True)
def no_warnings():
    """Undefined metrics must be handled before scikit-learn or scipy warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def values_of(task, predictions, labels):
    return compute(TASKS[task], predictions, labels)[0]


def test_metrics_have_their_values_by_hand():
    mrpc = values_of("mrpc", PREDICTIONS, LABELS)
    assert mrpc == pytest.approx({"accuracy": 0.7, "f1": 6 / 9, "combined_score": (0.7 + 6 / 9) / 2})
    assert score(TASKS["mrpc"], mrpc) == mrpc["f1"], "not the mean"
    matthews = (3 * 4 - 1 * 2) / math.sqrt((3 + 1) * (3 + 2) * (4 + 1) * (4 + 2))
    assert values_of("cola", PREDICTIONS, LABELS) == pytest.approx({"matthews_correlation": matthews})
    assert values_of("mnli", [0, 1, 2, 2], [0, 1, 2, 0]) == {"accuracy": 0.75}
    # Deviations (-1, 0, 1) and (-1, 1, 0): covariance 1, variances 2; ranks alike.
    stsb = values_of("stsb", [1.0, 2.0, 3.0], [1.0, 3.0, 2.0])
    assert stsb == pytest.approx({"pearson": 0.5, "spearmanr": 0.5, "combined_score": 0.5})


def test_correlations_are_scipys_in_double_precision():
    rng = np.random.default_rng(0)
    labels = rng.uniform(0, 5, 200).astype(np.float32)
    predictions = (labels + rng.normal(0, 1, 200)).astype(np.float32)
    wide = labels.astype(np.float64), predictions.astype(np.float64)
    values = values_of("stsb", predictions, labels)
    assert (values["pearson"], values["spearmanr"]) == (pearsonr(*wide).statistic, spearmanr(*wide).statistic)
    assert score(TASKS["stsb"], values) == (values["pearson"] + values["spearmanr"]) / 2


UNDEFINED = {"pearson": None, "spearmanr": None, "combined_score": None}


@pytest.mark.parametrize(
    ("task", "predictions", "labels", "values", "remarks"),
    [
        *(("stsb", [1.0, value, 2.0], [1.0, 2.0, 3.0], UNDEFINED, "undefined") for value in (math.nan, math.inf)),
        ("stsb", [2.0, 2.0, 2.0], [1.0, 2.0, 3.0], UNDEFINED, "undefined"),
        ("cola", [1] * 10, LABELS, {"matthews_correlation": 0.0}, "by convention"),
        ("mrpc", [0, 0], [0, 0], {"accuracy": 1.0, "f1": None, "combined_score": None}, "undefined"),
        ("mrpc", [0, 0], [0, 1], {"accuracy": 0.5, "f1": 0.0, "combined_score": 0.25}, None),
    ],
)
def test_a_metric_that_is_undefined_or_so_by_convention_says_why(task, predictions, labels, values, remarks):
    found, reasons = compute(TASKS[task], predictions, labels)
    assert found == values and (score(TASKS[task], found) is None) == (remarks == "undefined")
    assert all(remarks in reason for reason in reasons.values())
    assert len(reasons) == {"stsb": 2, "cola": 1, "mrpc": int(remarks is not None)}[task]


def test_the_majority_class_has_its_score():
    assert majority_score(TASKS["rte"], [0, 0, 0, 1]) == 0.75
    assert majority_score(TASKS["cola"], [1, 1, 1, 0]) == 0.0
    # Always predicting 1, with 3 of 4 right: precision 3/4, recall 1.
    assert majority_score(TASKS["mrpc"], [1, 1, 1, 0]) == pytest.approx(6 / 7)
    assert majority_score(TASKS["stsb"], [1.0, 1.0, 2.0]) is None
