"""Time and memory of the compared techniques against vanilla fine-tuning (paper, section 5.2)."""

from contextlib import ExitStack
from statistics import median

from hype.benchmark.figures import figure
from hype.benchmark.measured_run import measure_apart
from hype.benchmark.pairs import EXACT_MEMORY, interleaved, ratios, timed
from hype.benchmark.settings import BATCH_SIZE, Settings
from hype.benchmark.stepping import Stepper
from hype.benchmark.techniques import METHODS
from hype.training.job import Job

TASK, STEPS = "cola", 6
VANILLA, HYPE, NO_DROPOUT, CHILD_TUNING = "vanilla", "HyPe-N", "no hidden dropout", "Child-Tuning D"
TECHNIQUES = ("R-Drop", "R3F", "LNSR", CHILD_TUNING)
COMPARED = (HYPE, NO_DROPOUT, *TECHNIQUES)
# HyPe's pair in the paper: it has no hidden dropout, whose memory would else be taken for the noise's.
FLAGS = {NO_DROPOUT: "--dropout_rate 0", **{name: METHODS[name][0] for name in (VANILLA, HYPE, *TECHNIQUES)}}


def measure(settings: Settings, bounds: dict) -> tuple[list[dict], dict]:
    """Return each side's step time and peak memory over vanilla's; HyPe's bound is the lowest of the techniques'."""
    seconds, before_training = _seconds(settings)
    times = {name: ratios(seconds[name], seconds[VANILLA]) for name in COMPARED}
    peaks = _peak_mebibytes(settings)
    memory = {name: ratios(peaks[name], peaks[VANILLA]) for name in COMPARED}
    figures = []
    for quantity, values in (("step time", times), ("peak memory", memory)):
        lowest = min(median(values[name]) for name in TECHNIQUES)
        at_most = {HYPE: lowest}
        figures += [figure(f"{name}: {quantity}", values[name], at_most.get(name)) for name in COMPARED]
    details = {"task": TASK, "seconds per repeat": seconds, "steps per repeat": STEPS, **before_training}
    return figures, {**details, "peak MiB": peaks}


def _seconds(settings: Settings) -> tuple[dict[str, list[float]], dict]:
    """Return the seconds of each side's steps, and those of Child-Tuning D before them, in its pass over the data."""
    count = (settings.repeats * STEPS + 2) * BATCH_SIZE
    flags = f"--do_train --num_train_epochs 1 --max_train_samples {count} "
    jobs = {name: settings.job(TASK, flags + FLAGS[name], count) for name in (VANILLA, *COMPARED)}
    fisher_s = _observed_preparation(jobs[CHILD_TUNING], settings)
    with ExitStack() as stack:
        steppers = {name: stack.enter_context(Stepper(job.trainer)) for name, job in jobs.items()}
        seconds = interleaved({name: stepper.step for name, stepper in steppers.items()}, settings.repeats, STEPS)
    return seconds, {f"{CHILD_TUNING}: seconds before training": sum(fisher_s), "training examples": count}


def _observed_preparation(job: Job, settings: Settings) -> list[float]:
    """Have the seconds of what its technique does before training appended to the list that is returned."""
    (technique,), seconds = job.techniques, []
    prepare = technique.before_training
    technique.before_training = lambda trainer: seconds.append(timed(settings.device, lambda: prepare(trainer)))
    return seconds


def _peak_mebibytes(settings: Settings) -> dict[str, list[float]]:
    """Measure trainings of three steps at full length, in turns, each in a process of its own."""
    flags = "--do_train --do_eval --max_eval_samples 16 --pad_to_max_length --num_train_epochs 1 "
    flags += f"--max_train_samples {3 * BATCH_SIZE} "
    peaks = {name: [] for name in (VANILLA, *COMPARED)}
    for _ in range(settings.repeats):
        for name, found in peaks.items():
            measured = measure_apart(settings.argv(TASK, flags + FLAGS[name]), **EXACT_MEMORY)
            found.append(measured["peak_memory_bytes"] / 2**20)
    return peaks
