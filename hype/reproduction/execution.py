"""Execute one run; it leaves a record or the reason for its failure."""

import contextlib
import gc
import io
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from hype.analysis import adversarial, probing, similarity, transfer
from hype.analysis.finished import FinishedRun
from hype.errors import DivergedError, LockedError, RunError
from hype.files import weight_files
from hype.reproduction.runs import RunSpec
from hype.reproduction.status import (
    DAMAGED,
    DIVERGED,
    FAILED,
    FINISHED,
    NEEDED_OF_ANALYSIS,
    State,
    read_whole,
    state_of,
    write_failure,
)
from hype.training.checkpoints import numbered
from hype.training.faults import is_environment
from hype.training.finetune import finetune
from hype.training.parser import parse
from hype.training.record import DamagedRecordError
from hype.training.run_folder import locked

logger = logging.getLogger(__name__)
ANALYSES = {"adversarial": adversarial, "probing": probing, "similarity": similarity, "transfer": transfer}
LOCKED = "locked"
# Held for the whole attempt; the run's own lock is released before its analyses.
ATTEMPT_LOCK = ".attempt"
# The root logger and those that have their own handlers.
LOGGERS = ("", "transformers", "datasets")


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended. status: as in a record, or "locked" if another process holds the run.

    is_environment: disk, hub or device failed, so the next run would fail too.
    """

    status: str
    error: str | None = None
    is_environment: bool = False


class _Log(io.TextIOBase):
    """A run's log; lines redrawn by progress bars go to `on_progress` instead."""

    def __init__(self, file, on_progress: Callable[[str], None]):
        self._file, self._on_progress = file, on_progress

    def write(self, text: str) -> int:
        if text.startswith("\r"):
            self._on_progress(text.strip())
        else:
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        self._file.flush()


def execute(spec: RunSpec, retry: bool = False, on_progress: Callable[[str], None] | None = None) -> Outcome:
    """Do one run, unless it is finished or, without `retry`, known to fail. Errors end the run, not the caller.

    The run's log and, if it fails, a file with the reason are written outside its folder.

    Args:
        on_progress: called with the text of the progress bar whenever it changes.
    """
    # Trainer collects garbage at every start, which takes half a second unless imported objects are frozen.
    gc.freeze()
    try:
        with locked(spec.folder, ATTEMPT_LOCK):
            state = state_of(spec)  # another driver may have changed it
            if not state.is_to_do(retry):
                return Outcome(state.status, state.error)
            # Checked before anything is logged, because a waiting driver checks often.
            with locked(spec.folder):
                pass
            with _logged_to(spec, on_progress or (lambda text: None)):
                outcome = _attempt(spec, state)
                logger.info("ended: %s", outcome.status)
            _settle(spec, outcome)
    except LockedError as error:
        return Outcome(LOCKED, str(error))
    except OSError as error:
        # Neither log nor failure file can be written, so only the caller can report this.
        outcome = Outcome(FAILED, str(error), is_environment=True)
    gc.collect()
    torch.cuda.empty_cache()
    return outcome


def _attempt(spec: RunSpec, state: State) -> Outcome:
    try:
        spec.failure_path.unlink(missing_ok=True)
        if state.record is None or not weight_files(spec.folder):
            is_anew = state.record is not None or state.status == DAMAGED
            finetune(parse([*spec.argv, *(["--overwrite_output_dir", "true"] if is_anew else [])]))
        analyse(spec)
        return Outcome(FINISHED)
    except LockedError as error:
        return Outcome(LOCKED, str(error))
    except RunError as error:
        status = DIVERGED if isinstance(error, DivergedError) else FAILED
        logger.error("%s: %s", status, error)
        return Outcome(status, str(error), is_environment(error))
    except Exception as error:
        logger.exception("failed")
        return Outcome(FAILED, f"{type(error).__name__}: {error}", is_environment(error))


def analyse(spec: RunSpec) -> None:
    """Write the missing or damaged analyses of a finished run; do nothing if the experiment has none.

    Raises:
        RunError: see `hype.analysis`.
    """
    run = None
    for target in spec.analysis.targets if spec.analysis else ():
        path = spec.analysis.path(target)
        try:
            if read_whole(path, NEEDED_OF_ANALYSIS) is not None:
                continue
        except DamagedRecordError:
            path.unlink()
        run = run or FinishedRun(spec.folder)
        ANALYSES[spec.analysis.name].analyse(run, target, replace(spec.analysis.options, output=path))


def _settle(spec: RunSpec, outcome: Outcome) -> None:
    if outcome.status == FINISHED:
        for checkpoint in numbered(spec.folder).values():
            shutil.rmtree(checkpoint, ignore_errors=True)
    elif outcome.status != LOCKED and not outcome.is_environment:
        write_failure(spec, outcome.status, outcome.error)


@contextlib.contextmanager
def _logged_to(spec: RunSpec, on_progress: Callable[[str], None]) -> Iterator[None]:
    """Append a run's logging, warnings and printed output to its log."""
    spec.log_path.parent.mkdir(parents=True, exist_ok=True)
    with spec.log_path.open("a", encoding="utf-8", errors="replace") as file:
        log = _Log(file, on_progress)
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
                print(spec.command)
                yield
        finally:
            own.setLevel(level)
            for changed, handlers in zip(loggers, before, strict=True):
                changed.handlers[:] = handlers
