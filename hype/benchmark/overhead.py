"""A training step, and its memory, with HyPe against the same without dropout and without noise."""

from functools import partial

from hype.benchmark import geometry
from hype.benchmark.figures import figure
from hype.benchmark.pairs import interleaved, ratios
from hype.benchmark.settings import Settings

STEPS = 4  # of each side in each repeat


def measure(settings: Settings, bounds: dict) -> tuple[list[dict], dict]:
    """Return the ratios of each size and noise and, on a CPU, the share of a step that passes in the noise itself.

    The share is that of drawing and adding (`HyPe.noised`) alone, without the hooks that call it: a part of the
    overhead, but found more finely than by a ratio of two steps on a machine whose speed varies.
    """
    figures, details = [], {}
    for size, sizes in geometry.SIZES.items():
        figures += _step_time(size, sizes, settings, bounds, details)
    return figures, {**details, "steps per repeat": STEPS}


def measure_memory(settings: Settings, bounds: dict) -> tuple[list[dict], dict]:
    """Return the ratios of the peak memory, of processes in turn."""
    figures, details = [], {}
    for size, sizes in geometry.SIZES.items():
        peaks = {"vanilla": [], **{noise: [] for noise in geometry.NOISES}}
        for _ in range(settings.repeats):
            for name, found in peaks.items():
                found.append(geometry.peak_memory_bytes(sizes, geometry.NOISES.get(name)) / 2**20)
        details[f"{size}: peak MiB"] = peaks
        for noise in geometry.NOISES:
            found = ratios(peaks[noise], peaks["vanilla"])
            figures.append(figure(f"{size}, {noise}: peak memory", found, bounds["peak memory"]))
    return figures, details


def _step_time(size: str, sizes: dict, settings: Settings, bounds: dict, details: dict) -> list[dict]:
    training = geometry.Training(sizes, settings.device)
    shares = {noise: [] for noise in geometry.NOISES}
    is_observed = settings.device.type == "cpu"  # elsewhere that would wait for the device, and slow the step

    def noised(noise: str) -> float:
        training.shares = shares[noise]
        return training.step(geometry.NOISES[noise], is_observed)

    sides = {"vanilla": training.step, **{noise: partial(noised, noise) for noise in shares}}
    seconds = interleaved(sides, settings.repeats, STEPS)
    details[f"{size}: seconds per repeat"] = seconds
    figures = []
    for noise in shares:
        found = ratios(seconds[noise], seconds["vanilla"])
        figures.append(figure(f"{size}, {noise}: step time", found, bounds["step time"]))
        if is_observed:
            counted = shares[noise][-settings.repeats * STEPS :]  # without the one that warmed up
            figures.append(figure(f"{size}, {noise}: share of the step in the noise", counted))
    return figures
