"""GLUE's metrics, from scikit-learn and scipy, and the paper's single score (table 10), as fractions (not x 100)."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from scipy import stats
from sklearn import metrics as sklearn_metrics
from transformers import EvalPrediction

from hype.data.labels import convert_label_ids, one_digit_each
from hype.data.tasks import Task
from hype.errors import DivergedError
from hype.training.length_order import in_given_order

METRICS: dict[str, Callable] = {
    "accuracy": sklearn_metrics.accuracy_score,
    # 0/0 only occurs without any label 1, which `_value` handles first.
    "f1": partial(sklearn_metrics.f1_score, zero_division=0.0),
    "matthews_correlation": sklearn_metrics.matthews_corrcoef,
    "pearson": lambda labels, predictions: stats.pearsonr(labels, predictions).statistic,
    "spearmanr": lambda labels, predictions: stats.spearmanr(labels, predictions).statistic,
}


def compute(task: Task, predictions: Sequence, labels: Sequence) -> tuple[dict[str, float | None], dict[str, str]]:
    """Compute the task's metrics, with remarks on them.

    Args:
        predictions, labels: label ids, or scores for regression.

    Returns:
        The metrics by their names in `evaluate`, their mean as combined_score if there are several; None: undefined.
        Remarks by metric: why its value is undefined, or set by convention.
    """
    dtype = np.float64 if task.is_regression else np.int64  # scipy would compute float32 in float32
    predictions, labels = np.asarray(predictions, dtype), np.asarray(labels, dtype)
    found = {name: _value(name, predictions, labels) for name in task.metrics}
    values = {name: value for name, (value, _) in found.items()}
    if len(values) > 1:
        values["combined_score"] = _mean(list(values.values()))
    return values, {name: remark for name, (_, remark) in found.items() if remark}


def score(task: Task, values: dict[str, float | None]) -> float | None:
    """Return the paper's score (table 10) from a task's metrics; None if it is undefined."""
    return _mean([values[name] for name in task.score_metrics])


def majority_score(task: Task, labels: Sequence) -> float | None:
    """Return the score of always predicting the most frequent label; None if that is undefined (regression)."""
    classes, counts = np.unique(np.asarray(labels), return_counts=True)
    predictions = np.full(len(labels), classes[counts.argmax()])
    return score(task, compute(task, predictions, labels)[0])


def require_finite(scores: dict) -> None:
    """Raise DivergedError if an evaluation's loss or score is not finite, and set it to None in `scores`."""
    bad = [name for name, value in scores.items() if isinstance(value, float) and not math.isfinite(value)]
    if bad:
        message = f"the evaluation's {bad[0]} is {scores[bad[0]]}: the model has diverged"
        scores.update(dict.fromkeys(bad))  # JSON has no NaN
        raise DivergedError(message)


class Scorer:
    """Compute a task's metrics from the model's outputs, and keep the predictions and remarks of the last call.

    Args:
        order: row i of the outputs belongs to example order[i].
    """

    def __init__(self, task: Task, label_names: list[str] | None, order: np.ndarray | None):
        self.task, self.label_names, self.order = task, label_names, order
        self.predictions, self.remarks = None, {}

    def __call__(self, output: EvalPrediction) -> dict[str, float | None]:
        """Return the metrics."""
        labels, outputs = (in_given_order(part, self.order) for part in (output.label_ids, output.predictions))
        predictions = predicted_labels(outputs, self.task, self.label_names)
        if self.label_names is not None:
            labels = convert_label_ids(labels, self.label_names, self.task.label_names)
            # Kept to compare two runs example by example, which regression does not need.
            self.predictions = one_digit_each(predictions, len(self.label_names))
        values, self.remarks = compute(self.task, predictions, labels)
        return values


def predicted_labels(outputs: np.ndarray, task: Task, label_names: list[str] | None) -> np.ndarray:
    """Turn the model's outputs into the task's label ids, or scores.

    Args:
        outputs: (examples, labels) in the order of `label_names`, or (examples, 1) if that is None (regression).
    """
    if label_names is None:
        return outputs.squeeze(-1)
    return convert_label_ids(outputs.argmax(-1), label_names, task.label_names)


def _value(name: str, predictions: np.ndarray, labels: np.ndarray) -> tuple[float | None, str | None]:
    is_constant = any((values == values[0]).all() for values in (predictions, labels))
    if name == "f1" and not (predictions == 1).any() and not (labels == 1).any():
        return None, "undefined: neither predictions nor labels hold class 1"
    if name == "matthews_correlation" and is_constant:
        return 0.0, "0 by convention: predictions or labels are all of one class"
    if name in ("pearson", "spearmanr") and is_constant:
        return None, "undefined: predictions or labels are constant"
    value = float(METRICS[name](labels, predictions)) if np.isfinite(predictions).all() else math.nan
    return (value, None) if math.isfinite(value) else (None, "undefined: predictions are not finite, or overflow")


def _mean(values: list[float | None]) -> float | None:
    return None if None in values else sum(values) / len(values)
