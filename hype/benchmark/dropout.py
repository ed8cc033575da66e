"""A training step with HyPe and no hidden dropout against vanilla's with 0.1; attention's dropout is 0.1 in both."""

from hype.benchmark import geometry
from hype.benchmark.figures import figure
from hype.benchmark.pairs import interleaved, ratios
from hype.benchmark.settings import Settings

STEPS = 2  # of each side in each repeat


def measure(settings: Settings, bounds: dict) -> tuple[list[dict], dict]:
    """Return the ratio of the step times; BERT-base, HyPe-N."""
    size, sizes = next(iter(geometry.SIZES.items()))
    noised, dropped = (geometry.Training(sizes, settings.device, rate, attention_dropout=0.1) for rate in (0.0, 0.1))
    sides = {"hidden dropout 0.1": dropped.step, "HyPe-N": lambda: noised.step("normal")}
    seconds = interleaved(sides, settings.repeats, STEPS)
    found = ratios(seconds["HyPe-N"], seconds["hidden dropout 0.1"])
    return [figure(f"{size}, HyPe-N: step time", found, bounds["step time"])], {
        "seconds per repeat": seconds,
        "steps per repeat": STEPS,
    }
