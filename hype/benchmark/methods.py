"""Time and memory of the compared techniques against vanilla fine-tuning (paper, section 5.2)."""

from contextlib import ExitStack

from hype.benchmark.figures import figure
from hype.benchmark.measured_run import measure_apart
from hype.benchmark.pairs import EXACT_MEMORY, interleaved, ratios
from hype.benchmark.settings import BATCH_SIZE, Settings
from hype.benchmark.stepping import Stepper
from hype.benchmark.techniques import METHODS

TASK, STEPS = "cola", 6
VANILLA, HYPE = "vanilla", "HyPe-N"
COMPARED = (HYPE, "R-Drop", "R3F", "LNSR", "Child-Tuning D")


def measure(settings: Settings, bounds: dict) -> tuple[list[dict], dict]:
    """Return each technique's step time and peak memory over vanilla's; HyPe's bound is the lowest of the others."""
    seconds = _seconds(settings)
    times = {name: ratios(seconds[name], seconds[VANILLA]) for name in COMPARED}
    peaks = _peak_mebibytes(settings)
    memory = {name: ratios(peaks[name], peaks[VANILLA]) for name in COMPARED}
    figures = []
    for quantity, values in (("step time", times), ("peak memory", memory)):
        others = [figure(f"{name}: {quantity}", values[name]) for name in COMPARED if name != HYPE]
        lowest = min(other["median"] for other in others)
        figures += [figure(f"{HYPE}: {quantity}", values[HYPE], at_most=lowest), *others]
    return figures, {"task": TASK, "seconds per repeat": seconds, "peak MiB": peaks}


def _seconds(settings: Settings) -> dict[str, list[float]]:
    count = (settings.repeats * STEPS + 2) * BATCH_SIZE
    flags = f"--do_train --num_train_epochs 1 --max_train_samples {count} "
    with ExitStack() as stack:
        steppers = {
            name: stack.enter_context(Stepper(settings.job(TASK, flags + METHODS[name][0], count).trainer))
            for name in (VANILLA, *COMPARED)
        }
        return interleaved({name: stepper.step for name, stepper in steppers.items()}, settings.repeats, STEPS)


def _peak_mebibytes(settings: Settings) -> dict[str, list[float]]:
    """Measure trainings of three steps at full length, in turns, each in a process of its own."""
    flags = "--do_train --do_eval --max_eval_samples 16 --pad_to_max_length --num_train_epochs 1 "
    flags += f"--max_train_samples {3 * BATCH_SIZE} "
    peaks = {name: [] for name in (VANILLA, *COMPARED)}
    for _ in range(settings.repeats):
        for name, found in peaks.items():
            measured = measure_apart(settings.argv(TASK, flags + METHODS[name][0]), **EXACT_MEMORY)
            found.append(measured["peak_memory_bytes"] / 2**20)
    return peaks
