"""Score and cost of one run. `python -m hype.benchmark.measured_run` with the flags of main.py prints them as JSON."""

import contextlib
import json
import os
import sys
import time
from pathlib import Path

import torch
from transformers import TrainerCallback

from hype.benchmark.apart import last_line_of
from hype.benchmark.pairs import now
from hype.benchmark.settings import built
from hype.errors import InputError, run_command
from hype.training import record as records
from hype.training.arguments import parse

WARM_UP_STEPS = 2


class StepClock(TrainerCallback):
    """Record the duration of every optimiser step."""

    def __init__(self, device: torch.device):
        self.device, self.durations = device, []

    def on_step_begin(self, args, state, control, **kwargs):
        self.started = now(self.device)

    def on_step_end(self, args, state, control, **kwargs):
        self.durations.append(now(self.device) - self.started)


def measure(argv: list[str]) -> dict:
    """Do one run with these flags in this process, in an empty folder; return score, seconds per step, peak memory.

    Raises:
        InputError: the training has no step but those that warm up.
    """
    arguments = parse(argv)
    job = built(arguments, Path(arguments.training.output_dir))
    clock = StepClock(arguments.training.device)
    job.trainer.add_callback(clock)
    started = time.perf_counter()
    job.train(checkpoint=None)
    training_s = time.perf_counter() - started
    peak = records.peak_memory_bytes(arguments.training.device)
    job.evaluate()
    counted = clock.durations[WARM_UP_STEPS:]
    if not counted:
        rows = WARM_UP_STEPS * arguments.training.train_batch_size + 1
        raise InputError(
            f"{job.splits.task.name}: {rows} training rows are needed; {len(job.tokens['train'])} are there"
        )
    return {
        "task": job.splits.task.name,
        "score": job.record["score"],
        "seconds_per_step": sum(counted) / len(counted),
        "steps": len(clock.durations),
        "training_s": training_s,
        "peak_memory_bytes": peak,
        "techniques": job.record["techniques"],
        **{name: job.record[name] for name in ("run_id", "model", "versions", "git", "device")},
    }


def measure_apart(argv: list[str], **variables: str) -> dict:
    """Do `measure` in a process of its own, with one thread unless OMP_NUM_THREADS says otherwise.

    variables, Raises: see `last_line_of`.
    """
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    return json.loads(last_line_of("hype.benchmark.measured_run", argv, OMP_NUM_THREADS=threads, **variables))


def main(argv: list[str]) -> int:
    """Measure a run and return the exit code (see `run_command`)."""
    return run_command(_measure, argv)


def _measure(argv):
    with contextlib.redirect_stdout(sys.stderr):
        measured = measure(argv)
    print(json.dumps(measured))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
