"""What is known of a run from its files: finished, failed, still to do."""

import json
from dataclasses import dataclass
from pathlib import Path

from hype.errors import InputError
from hype.files import write_json
from hype.reproduction.expansion import Cell
from hype.training.checkpoints import has_weights
from hype.training.record import RECORD, read_record

MISSING, INTERRUPTED, FINISHED, FAILED, DIVERGED, DAMAGED, NOT_ANALYSED, MODEL_MISSING = (
    "missing", "interrupted", "finished", "failed", "diverged", "damaged", "not analysed", "model missing",
)  # fmt: skip


# What reports read of a finished run and of an analysis, and what it is.
NUMBER = (int, float, type(None))
NEEDED_OF_RUN = {"run_id": str, "identity": dict, "timings": dict, "score": NUMBER, "majority_score": NUMBER}
NEEDED_OF_ANALYSIS = {"run_id": str, "identity": dict, "results": dict}


@dataclass(frozen=True)
class State:
    """status: one of the above. The last two: the run is finished, but its analysis is not made, and without the model
    of the run cannot be.

    record: the newest that is known, of a finished run the whole one. is_anew: what lies in the folder is overwritten.
    """

    status: str
    record: dict | None = None
    error: str | None = None
    is_anew: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the run is to be done, without being asked to retry."""
        return self.status in (MISSING, INTERRUPTED, NOT_ANALYSED, MODEL_MISSING)

    @property
    def is_run_finished(self) -> bool:
        """Whether the run itself is, so that its score is known, whatever is missing besides."""
        return self.record is not None and self.record["status"] == FINISHED


def state_of(cell: Cell) -> State:
    """Read what the files of a run say; nothing is changed."""
    failure = _failure(cell)
    try:
        record = read_whole(cell.folder / RECORD, NEEDED_OF_RUN)
        is_finished = record is not None and record["status"] == FINISHED
        # Left by a kill just behind the end, it counts no more, whatever is in it.
        kept = None if is_finished else read_whole(cell.kept_record_path, NEEDED_OF_RUN)
    except InputError as error:
        return State(DAMAGED, error=str(error), is_anew=True)
    if record is None:
        # What never came to a record may have left anything.
        is_anew = failure is not None or kept is not None
        status = failure.status if failure else MODEL_MISSING if kept else MISSING
        return State(status, kept, failure and failure.error, is_anew)
    if is_finished:
        return _state_of_finished(cell, record, failure)
    if failure is not None:
        return State(failure.status, kept or record, failure.error)
    error = record.get("error") or ""
    if record["status"] in (FAILED, DIVERGED):
        return State(record["status"], kept or record, error)
    return State(INTERRUPTED, kept or record)


def _state_of_finished(cell: Cell, record: dict, failure: State | None) -> State:
    paths = [] if cell.analysis is None else map(cell.analysis.path, cell.analysis.targets)
    has_model = has_weights(cell.folder)
    try:
        is_analysed = all([read_whole(path, NEEDED_OF_ANALYSIS) for path in paths])
    except InputError as error:
        return State(DAMAGED, record, str(error), is_anew=not has_model)
    if is_analysed and (has_model or not cell.keeps_model):
        return State(FINISHED, record)
    if failure is not None:
        return State(failure.status, record, failure.error, is_anew=not has_model)
    return State(NOT_ANALYSED if has_model else MODEL_MISSING, record, is_anew=not has_model)


def read_whole(path: Path, needed: dict) -> dict | None:
    """Read a record, None without one; a damaged one, or a finished one that lacks something, raises InputError."""
    if not path.exists():
        return None
    record = read_record(path, remedy="--retry_failed makes it anew")
    wrong = [name for name, kind in needed.items() if not isinstance(record.get(name), kind)]
    if record["status"] == FINISHED and wrong:
        raise InputError(f"{path}: damaged ({wrong[0]} is missing or no such value); --retry_failed makes it anew")
    return record


def write_failure(cell: Cell, status: str, error: str, log_tail: list[str]) -> None:
    """Keep what ended an attempt, and the last lines of its log."""
    cell.failure_path.parent.mkdir(parents=True, exist_ok=True)
    write_json(cell.failure_path, {"status": status, "error": error, "command": cell.command, "log_tail": log_tail})


def _failure(cell: Cell) -> State | None:
    try:
        content = json.loads(cell.failure_path.read_text(encoding="utf-8"))
        return State(content["status"], error=content["error"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return State(FAILED, error=f"{cell.failure_path}: damaged; remove it or pass --retry_failed")


def estimated_seconds(cells: list[Cell], states: list[State]) -> dict[Cell, float | None]:
    """Estimate the time of each open run: the mean of finished ones of the same model, task and method, else of the
    same model and task; None without either."""
    times: dict[tuple, list[float]] = {}
    for cell, state in zip(cells, states, strict=True):
        if state.status == FINISHED and "total_s" in state.record["timings"]:
            if "first_step" in state.record["timings"]:  # resumed: its time is of the last steps alone
                continue
            for key in ((cell.model, cell.task), (cell.model, cell.task, cell.method)):
                times.setdefault(key, []).append(state.record["timings"]["total_s"])
    estimates = {}
    for cell, state in zip(cells, states, strict=True):
        if state.is_open:
            known = times.get((cell.model, cell.task, cell.method)) or times.get((cell.model, cell.task))
            estimates[cell] = sum(known) / len(known) if known else None
    return estimates
