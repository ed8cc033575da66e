"""The paper's printed numbers, and which of its averages and gains do not follow from its scores."""

import numpy as np

from hype.reproduction.experiments import VANILLA, Experiment, written

TOLERANCE = 0.011  # printed averages are rounded, from scores that are rounded themselves, to 0.01 each


def _rows(experiment: Experiment, model: str, trained: str | None) -> dict:
    """Return the rows of one model: tables of one model leave its name out; table 7 has a part per training set."""
    printed = experiment.printed
    return printed.get(model, printed.get(f"train={trained}", printed))


def printed_score(experiment: Experiment, model: str, method: str, task: str, trained: str | None = None) -> str:
    """Return a printed score with its standard deviation, "" where there is none; "?" where it is not legible."""
    row = _rows(experiment, model, trained).get(method)
    scores = row.get("score", row) if isinstance(row, dict) else {}
    if task not in scores:
        return ""
    score, std = scores[task], row.get("std", {}).get(task)
    return "?" if score is None else f"{score:.2f}" + ("" if std is None else f" ± {std:.2f}")


def claims(experiment: Experiment) -> list[tuple[str, str, str, str, str, str]]:
    """Return the printed averages and gains that do not follow from the printed scores.

    Each: model, method, what, the printed number, the recomputed one, and which score would be needed.
    """
    found = []
    for model in experiment.models:
        rows = _rows(experiment, model.name, None)
        vanilla = rows.get(VANILLA, {})
        for method in experiment.methods:
            row = rows.get(method.name)
            if not isinstance(row, dict) or "score" not in row:
                continue
            stated = {"average": (row.get("avg"), 0.0)}
            if gain := experiment.printed_gains.get(method.name):
                offset = _mean(vanilla["score"], row["score"])
                stated["gain over vanilla"] = (rows[gain] if isinstance(gain, str) else gain, offset)
            names = (written(model.name), written(method.name))
            for what, (number, offset) in stated.items():
                if number is not None and (text := _deviation(row["score"], number, offset)):
                    found.append((*names, what, f"{number:.2f}", *text))
    return found


def _mean(scores: dict, tasks) -> float | None:
    values = [scores.get(task) for task in tasks]
    return None if None in values else float(np.mean(values))


def _deviation(scores: dict, number: float, offset: float | None) -> tuple[str, str] | None:
    """Return the recomputed number and a remark; None where the printed one follows, up to rounding."""
    mean = _mean(scores, scores)
    if mean is not None and offset is not None:
        return None if abs(mean - offset - number) <= TOLERANCE else (f"{mean - offset:.2f}", "")
    illegible = [task for task, score in scores.items() if score is None]
    if len(illegible) == 1 and offset is not None:
        needed = (number + offset) * len(scores) - sum(score or 0.0 for score in scores.values())
        return "-", f"not legible: {written(illegible[0])}, which would have to be {needed:.2f}"
    return "-", ""
