"""GLUE's metrics by scikit-learn and scipy, and the paper's single score (table 10). All are fractions, not x 100."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats
from sklearn import metrics as sklearn_metrics

from hype.tasks import Task


def _f1(labels, predictions) -> float:
    """Return F1 of class 1; 0/0, which only happens without any 1, is caught before."""
    return sklearn_metrics.f1_score(labels, predictions, pos_label=1, zero_division=0.0)


METRICS: dict[str, Callable] = {
    "accuracy": sklearn_metrics.accuracy_score,
    "f1": _f1,
    "matthews_correlation": sklearn_metrics.matthews_corrcoef,
    "pearson": lambda labels, predictions: stats.pearsonr(labels, predictions).statistic,
    "spearmanr": lambda labels, predictions: stats.spearmanr(labels, predictions).statistic,
}


def compute(task: Task, predictions: Sequence, labels: Sequence) -> dict[str, float | None]:
    """Return the task's metrics under the names of `evaluate`; combined_score, their mean, where there are several.

    predictions, labels: label ids, or scores for regression. An undefined metric is None; `remarks` says why.
    """
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    values = {
        name: None if _undefined(name, predictions, labels) else float(METRICS[name](labels, predictions))
        for name in task.metrics
    }
    if len(values) > 1:
        values["combined_score"] = _mean(list(values.values()))
    return values


def remarks(task: Task, predictions: Sequence, labels: Sequence) -> dict[str, str]:
    """Return, for each metric whose value needs it, why it is undefined or what it is by convention."""
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    reasons = {name: _undefined(name, predictions, labels) for name in task.metrics}
    if "matthews_correlation" in reasons and (_is_constant(predictions) or _is_constant(labels)):
        reasons["matthews_correlation"] = "0 by convention: predictions or labels are all of one class"
    return {name: reason for name, reason in reasons.items() if reason}


def score(task: Task, values: dict[str, float | None]) -> float | None:
    """Return the paper's score (table 10) from the result of `compute`; None if it is undefined."""
    return _mean([values[name] for name in task.score_metrics])


def majority_score(task: Task, labels: Sequence) -> float | None:
    """Return the score of predicting the most frequent label throughout; None where that is undefined (regression)."""
    classes, counts = np.unique(np.asarray(labels), return_counts=True)
    predictions = np.full(len(labels), classes[counts.argmax()])
    return score(task, compute(task, predictions, labels))


def _undefined(name: str, predictions: np.ndarray, labels: np.ndarray) -> str | None:
    """Return why a metric has no value, or None if it has one."""
    if name == "f1" and not (predictions == 1).any() and not (labels == 1).any():
        return "neither predictions nor labels hold class 1"
    if name in ("pearson", "spearmanr"):
        if not (np.isfinite(predictions).all() and np.isfinite(labels).all()):
            return "a prediction or label is not finite"
        if len(labels) < 2 or _is_constant(predictions) or _is_constant(labels):
            return "predictions or labels are constant"
    return None


def _is_constant(values: np.ndarray) -> bool:
    return bool((values == values[0]).all())


def _mean(values: list[float | None]) -> float | None:
    return None if None in values else sum(values) / len(values)
