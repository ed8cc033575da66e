"""Cost of runs: updates and floating-point operations, computed from the settings rather than measured."""

import math

from hype.data.tasks import TASKS
from hype.reproduction.experiments import NAMES, load
from hype.reproduction.runs import RunSpec, expand
from hype.text_tables import markdown_table

# Model -> layers and hidden size, from the published configurations.
MODELS = {
    "BERT-large": (24, 1024), "RoBERTa-large": (24, 1024), "ELECTRA-large": (24, 1024), "XLNet-large": (24, 1024),
    "DeBERTa-base": (12, 768), "DeBERTa-large": (24, 1024), "DeBERTa-v2-xlarge": (24, 1536),
    "DeBERTa-v2-xxlarge": (48, 1536), "all-MiniLM-L6-v2": (6, 384), "all-mpnet-base-v2": (12, 768),
}  # fmt: skip
LENGTH = 128  # tokens per example: the maximum
TWICE = {"rdrop_alpha", "r3f_lambda", "lnsr_lambda"}  # two forward and backward passes per step
# Assumed sustained floating-point operations per second: 60 % of a V100's float32, 40 % of an A100's TF32.
SPEEDS = {"V100, float32": 9e12, "A100, TF32": 60e12}
SECONDS_PER_HOUR = 3600


def updates_and_examples(spec: RunSpec) -> tuple[int, int]:
    """Return a run's optimiser updates and the number of training examples processed over all epochs."""
    flags = spec.flags
    batch = int(flags["per_device_train_batch_size"])
    if "max_steps" in flags:
        return int(flags["max_steps"]), int(flags["max_steps"]) * batch
    rows = TASKS[spec.task].sources["train"].row_count
    limits = [flags.get("max_train_samples"), "1000" if flags.get("low_resource") == "true" else None]
    rows = min([rows, *(int(limit) for limit in limits if limit)])
    epochs = float(flags["num_train_epochs"])
    return math.ceil(epochs * math.ceil(rows / batch)), round(epochs * rows)


def operations(spec: RunSpec) -> float:
    """Return a run's floating-point operations: 6 per parameter and training token, 2 in evaluation and prediction.

    L layers of width h have 12 L h^2 parameters: each has four h x h matrices for attention and two h x 4h matrices for
    the feed-forward part. The products of attention itself, a few per cent at 128 tokens, are left out.
    """
    layers, hidden = MODELS[spec.model]
    _, examples = updates_and_examples(spec)
    if "ChildTuning-D" in spec.argv:  # one pass over the training data before the first update
        examples += examples / float(spec.flags["num_train_epochs"])
    kinds = ("validation", "test") if "--do_predict" in spec.argv else ("validation",)
    rows = sum(source.row_count for split, source in TASKS[spec.task].sources.items() if split.startswith(kinds))
    passes = 2 if TWICE & set(spec.flags) else 1
    return 12 * layers * hidden**2 * LENGTH * (6.0 * passes * examples + 2.0 * rows)


def _hours(specs: list[RunSpec]) -> dict[str, float]:
    total = sum(map(operations, specs))
    return {name: total / speed / SECONDS_PER_HOUR for name, speed in SPEEDS.items()}


def hours_text(specs: list[RunSpec]) -> str:
    """Estimate the GPU hours of runs; "" if a model is not in `MODELS`."""
    if not specs or any(spec.model not in MODELS for spec in specs):
        return ""
    counts = {name: f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}" for name, hours in _hours(specs).items()}
    hours = "; ".join(f"{name} {count} h" for name, count in counts.items())
    return f"computed, not measured (docs/reproduction.md): {hours}"


def table() -> str:
    """Return a Markdown table with a row for each experiment at full scale."""
    columns = ["experiment", "runs", "updates", "10^18 operations", *(f"hours, {name}" for name in SPEEDS)]
    rows = []
    for name in NAMES:
        specs = expand(load(name))
        updates = sum(updates_and_examples(spec)[0] for spec in specs)
        total = sum(map(operations, specs)) / 1e18
        hours = [f"{count:,.0f}" for count in _hours(specs).values()]
        rows.append([f"`{name}`", f"{len(specs):,}", f"{updates:,}", f"{total:,.0f}", *hours])
    return markdown_table(columns, rows)
