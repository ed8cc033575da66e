"""What the paper prints, recomputed: averages and gains that do not follow from the printed scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hype.reproduction.statistics import PaperTable

TOLERANCE = 0.011  # Printed averages are rounded, from scores that are rounded themselves, to 0.01 each.


@dataclass(frozen=True)
class Unsupported:
    """A printed average or gain that does not follow from the printed scores.

    recomputed: None where a score is not legible; `implied` is then (task, the score that the printed number needs).
    """

    model: str
    method: str
    kind: str
    printed: float
    recomputed: float | None
    implied: tuple[str, float] | None = None


def recomputed_average(table: PaperTable, model: str, method: str, tasks: Sequence[str]) -> float | None:
    """Return the mean of the printed scores over `tasks`; None where one is not printed."""
    scores = [table.printed.get((model, method, task), (None, None))[0] for task in tasks]
    return None if not scores or None in scores else float(np.mean(scores))


def follows(recomputed: float | None, printed: float) -> bool:
    """Say whether a printed average agrees with the recomputed one, up to rounding."""
    return recomputed is not None and abs(recomputed - printed) <= TOLERANCE


def unsupported_averages(table: PaperTable) -> list[Unsupported]:
    """Return the printed averages and gains that do not follow from the printed scores."""
    claims = [(*key, "average", number) for key, number in table.printed_averages.items()]
    claims += [(*key, f"gain over {table.vanilla}", number) for key, number in table.printed_gains.items()]
    found = [_examined(table, *claim) for claim in claims]
    return [e for e in found if not follows(e.recomputed, e.printed)]


def _examined(table: PaperTable, model: str, method: str, kind: str, number: float) -> Unsupported:
    scores = {task: score for (m, x, task), (score, _) in table.printed.items() if (m, x) == (model, method)}
    offset = 0.0 if kind == "average" else recomputed_average(table, model, table.vanilla, list(scores))
    average = recomputed_average(table, model, method, list(scores))
    recomputed = None if average is None or offset is None else average - offset
    illegible = [task for task, score in scores.items() if score is None]
    implied = None
    if len(illegible) == 1 and offset is not None:
        implied = (illegible[0], (number + offset) * len(scores) - sum(score or 0.0 for score in scores.values()))
    return Unsupported(model, method, kind, number, recomputed, implied)
