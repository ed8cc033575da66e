"""Does runs: one after another in this process, each recorded, whatever becomes of it. Never one that is finished."""

import contextlib
import gc
import logging
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from tqdm import tqdm

from hype.errors import DivergedError, LockedError, RunError
from hype.files import write_json
from hype.reproduction.analyses import analyse_run, remove_damaged
from hype.reproduction.expansion import Cell
from hype.reproduction.state import DAMAGED, DIVERGED, FAILED, FINISHED, State, state_of, write_failure
from hype.training.arguments import parse
from hype.training.checkpoints import locked
from hype.training.finetune import finetune

logger = logging.getLogger(__name__)
LOCKED = "locked"
# Of the whole attempt: the lock of the run itself is free again before its analyses.
ATTEMPT_LOCK = ".attempt"
LOG_TAIL_LINES = 20
POLL_S = 2.0
# Loggers that have handlers of their own, beside the root logger.
LOGGERS = ("", "transformers", "datasets")


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended. status: finished, failed, diverged, damaged or, if another process is at it, locked."""

    status: str
    error: str | None = None


def execute(cell: Cell, retry: bool = False) -> Outcome:
    """Do one run, unless it is finished or, without `retry`, known to fail. Errors end the run, not the caller.

    Written beside the run's folder: its log and, if it fails, a file that says why.
    """
    if outcome := _known(state_of(cell), retry):
        return outcome
    # Trainer collects garbage at every start: half a second, unless what was imported is set aside.
    gc.freeze()
    try:
        with locked(cell.folder, ATTEMPT_LOCK):
            state = state_of(cell)  # another driver may have been at it since
            if outcome := _known(state, retry):
                return outcome
            # Asked before anything is logged: a driver that waits for another asks often.
            with locked(cell.folder):
                pass
            with _logged_to(cell):
                outcome = _attempt(cell, state)
                logger.info("ended: %s", outcome.status)
            _settle(cell, outcome)
    except LockedError as error:
        return Outcome(LOCKED, str(error))
    except OSError as error:
        # The disk holds neither log nor failure file: the caller's line is all that is left.
        outcome = Outcome(FAILED, f"{type(error).__name__}: {error}")
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return outcome


def _known(state: State, retry: bool) -> Outcome | None:
    """Return how a run that is not to be done ended, else None."""
    is_to_be_done = state.status != FINISHED and (state.is_open or retry)
    return None if is_to_be_done else Outcome(state.status, state.error)


def _attempt(cell: Cell, state: State) -> Outcome:
    argv = [*cell.argv, *(["--overwrite_output_dir", "true"] if state.is_anew else [])]
    try:
        cell.failure_path.unlink(missing_ok=True)
        if state.is_anew and state.is_run_finished:
            cell.kept_record_path.parent.mkdir(parents=True, exist_ok=True)
            write_json(cell.kept_record_path, state.record)
        finetune(parse(argv))
        remove_damaged(cell)
        analyse_run(cell)
        return Outcome(FINISHED)
    except LockedError as error:
        return Outcome(LOCKED, str(error))
    except RunError as error:
        status = DIVERGED if isinstance(error, DivergedError) else FAILED
        logger.error("%s: %s", status, error)
        return Outcome(status, f"{type(error).__name__}: {error}")
    except Exception as error:
        logger.exception("failed")
        return Outcome(FAILED, f"{type(error).__name__}: {error}")


def _settle(cell: Cell, outcome: Outcome) -> None:
    if outcome.status == FINISHED:
        cell.kept_record_path.unlink(missing_ok=True)
        for checkpoint in cell.folder.glob("checkpoint-*"):
            shutil.rmtree(checkpoint, ignore_errors=True)
    elif outcome.status != LOCKED:
        lines = cell.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        write_failure(cell, outcome.status, outcome.error, lines[-LOG_TAIL_LINES:])


@contextlib.contextmanager
def _logged_to(cell: Cell) -> Iterator[None]:
    """Send logging, warnings, bars and prints of a run to its log, behind those of earlier attempts."""
    cell.log_path.parent.mkdir(parents=True, exist_ok=True)
    with cell.log_path.open("a", encoding="utf-8", errors="replace") as log:
        handler = logging.StreamHandler(log)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        loggers = [logging.getLogger(name) for name in LOGGERS]
        before = [list(changed.handlers) for changed in loggers]
        own = logging.getLogger("hype")
        level = own.level
        try:
            own.setLevel(logging.INFO)
            for changed in loggers:
                changed.handlers[:] = [handler]
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                print(cell.command)
                yield
        finally:
            own.setLevel(level)
            for changed, handlers in zip(loggers, before, strict=True):
                changed.handlers[:] = handlers


def in_turn(cells: Iterable[Cell], retry: bool = False) -> Iterator[tuple[Cell, Outcome]]:
    """Do runs one after another; those that another process holds come last, as soon as they are free."""
    busy = []
    for cell in cells:
        outcome = execute(cell, retry)
        if outcome.status == LOCKED:
            busy.append(cell)
        else:
            yield cell, outcome
    yield from when_free(busy, execute)


def when_free(busy: list[Cell], attempt) -> Iterator[tuple[Cell, Outcome]]:
    """Wait for runs that other processes hold: take over what they leave, report what they finish."""
    while busy:
        held = []
        for cell in busy:
            outcome = attempt(cell)
            if outcome.status == LOCKED:
                held.append(cell)
            else:
                yield cell, outcome
        if held:
            time.sleep(POLL_S)
        busy = held


def drive(name: str, cells: list[Cell], outcomes: Iterator[tuple[Cell, Outcome]]) -> dict[Cell, Outcome]:
    """Follow runs as they end, with a bar and a line for each that fails, on stderr; return how each ended."""
    ended = {}
    with tqdm(total=len(cells), desc=name, unit="run", file=sys.stderr) as bar:
        for cell, outcome in outcomes:
            ended[cell] = outcome
            if outcome.status != FINISHED:
                bar.write(_line(cell, outcome), file=sys.stderr)
            bar.update()
    return ended


def _line(cell: Cell, outcome: Outcome) -> str:
    return f"{outcome.status}: {cell.folder.name}: {outcome.error} (log: {cell.log_path})"


def summary(name: str, cells: list[Cell], ended: dict[Cell, Outcome]) -> str:
    """Say how all runs stand, and name those that had failed before and were left alone."""
    states = {cell: state_of(cell) for cell in cells}
    statuses = [state.status for state in states.values()]
    counts = ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))
    left = [cell for cell, state in states.items() if state.status != FINISHED and cell not in ended]
    lines = [_line(cell, Outcome(states[cell].status, states[cell].error)) for cell in left]
    advice = "; --retry_failed tries again" if {FAILED, DIVERGED, DAMAGED} & set(statuses) else ""
    return "\n".join([*lines, f"{name}: {len(cells)} runs: {counts}{advice}"])
