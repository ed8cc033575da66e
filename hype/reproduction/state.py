"""What is known of a run from its files: finished, failed, still to do."""

import json
from dataclasses import dataclass

from hype.checkpoints import write_json
from hype.errors import InputError
from hype.folder import RECORD, read_record
from hype.reproduction.expansion import Cell

# A run that ends by one of these did not fail: it was stopped, and the same command goes on with it.
INTERRUPTIONS = ("KeyboardInterrupt", "SystemExit")
MISSING, INTERRUPTED, FINISHED, FAILED, DIVERGED, DAMAGED, NOT_ANALYSED, MODEL_MISSING = (
    "missing", "interrupted", "finished", "failed", "diverged", "damaged", "not analysed", "model missing",
)  # fmt: skip


@dataclass(frozen=True)
class State:
    """status: one of the above. The last two: the run is finished, but its analysis is not made, and without the model
    of the run cannot be."""

    status: str
    record: dict | None = None
    error: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether the run is to be done, without being asked to retry."""
        return self.status in (MISSING, INTERRUPTED, NOT_ANALYSED, MODEL_MISSING)


def state_of(cell: Cell) -> State:
    """Read what the files of a run say; nothing is changed."""
    failure = _failure(cell)
    if not (cell.folder / RECORD).exists():
        return failure or State(MISSING)
    try:
        record = read_record(cell.folder / RECORD)
    except InputError as error:
        return State(DAMAGED, error=str(error))
    if record["status"] == FINISHED:
        return _state_of_finished(cell, record, failure)
    if failure is not None:
        return State(failure.status, record, failure.error)
    error = record.get("error", "")
    if record["status"] in (FAILED, DIVERGED) and not error.startswith(INTERRUPTIONS):
        return State(record["status"], record, error)
    return State(INTERRUPTED, record)


def _state_of_finished(cell: Cell, record: dict, failure: State | None) -> State:
    is_analysed = cell.analysis is None or cell.analysis.is_done
    has_model = any(cell.folder.glob("model*.safetensors"))
    if is_analysed and (has_model or not cell.keeps_model):
        return State(FINISHED, record)
    if failure is not None:
        return State(failure.status, record, failure.error)
    return State(NOT_ANALYSED if has_model else MODEL_MISSING, record)


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
        if state.status == FINISHED:
            for key in ((cell.model, cell.task), (cell.model, cell.task, cell.method)):
                times.setdefault(key, []).append(state.record["timings"]["total_s"])
    estimates = {}
    for cell, state in zip(cells, states, strict=True):
        if state.is_open:
            known = times.get((cell.model, cell.task, cell.method)) or times.get((cell.model, cell.task))
            estimates[cell] = sum(known) / len(known) if known else None
    return estimates
