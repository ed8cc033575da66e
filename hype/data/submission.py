"""Prediction files in the format of the GLUE server."""

from collections.abc import Sequence
from pathlib import Path

from hype.data.tasks import Task
from hype.files import write_text


def write_submission(task: Task, split: str, predictions: Sequence[float], output_dir: Path) -> tuple[Path, str | None]:
    """Write `index<TAB>prediction` rows under the server's file name (own data: test_predictions.tsv).

    predictions: label ids in GLUE's order, or scores. STS-B's are clipped to its range and rounded to 3 decimals; own
        scores, of any size, keep 7 digits.
    An existing file is replaced atomically.

    Returns:
        The file's path, and a warning if the server would reject it.
    """
    source = task.sources.get(split)
    name, warning = source and source.submission, None
    if name and len(predictions) != source.row_count:
        warning = f"{name}: {len(predictions)} rows; the GLUE server takes {source.row_count} (a sample or subset)"
    rows = [f"{index}\t{_word(task, prediction)}\n" for index, prediction in enumerate(predictions)]
    path = output_dir / (name or f"{split}_predictions.tsv")
    write_text(path, "".join(["index\tprediction\n", *rows]))
    return path, warning


def _word(task: Task, prediction: float) -> str:
    if not task.is_regression:
        return task.label_words[int(prediction)]
    if task.label_range is None:
        return f"{float(prediction):.7g}"
    low, high = task.label_range
    return f"{min(max(float(prediction), low), high):.3f}"
