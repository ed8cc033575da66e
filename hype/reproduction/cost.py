"""What runs cost: updates, arithmetic and memory, counted from the settings, not measured."""

from hype.data.tasks import TASKS
from hype.reproduction.experiments import NAMES, load
from hype.reproduction.runs import Overrides, RunSpec, expand
from hype.text_tables import markdown_table

# Model -> layers, hidden size, vocabulary, by the published configurations.
MODELS = {
    "BERT-large": (24, 1024, 28996), "RoBERTa-large": (24, 1024, 50265), "ELECTRA-large": (24, 1024, 30522),
    "XLNet-large": (24, 1024, 32000), "DeBERTa-base": (12, 768, 50265), "DeBERTa-large": (24, 1024, 50265),
    "DeBERTa-v2-xlarge": (24, 1536, 128100), "DeBERTa-v2-xxlarge": (48, 1536, 128100),
    "all-MiniLM-L6-v2": (6, 384, 30522), "all-mpnet-base-v2": (12, 768, 30527),
}  # fmt: skip
LENGTH = 128  # tokens: the longest
TWICE = ("rdrop_alpha", "r3f_lambda", "lnsr_lambda")  # two forwards and backwards a step
BYTES_PER_PARAMETER = 16  # weight, gradient, AdamW's two moments, float32
# Sustained float operations per second, assumed: 60 % of a V100's float32, 40 % of an A100's TF32.
SPEEDS = {"V100, float32": 9e12, "A100, TF32": 60e12}
SECONDS_PER_HOUR = 3600


def layer_parameters(model: str) -> int:
    """Return 12 L h^2: four h x h matrices of attention and two h x 4h of the feed-forward part in each layer."""
    layers, hidden, _ = MODELS[model]
    return 12 * layers * hidden**2


def _passes(spec: RunSpec) -> int:
    return 2 if any(name in spec.flags for name in TWICE) else 1


def updates_and_examples(spec: RunSpec) -> tuple[int, int]:
    """Return a run's optimiser updates and the training examples that it passes, repeats counted."""
    flags = spec.flags
    batch = int(flags["per_device_train_batch_size"])
    if "max_steps" in flags:
        return int(flags["max_steps"]), int(flags["max_steps"]) * batch
    rows = TASKS[spec.task].sources["train"].row_count
    limits = [flags.get("max_train_samples"), "1000" if flags.get("low_resource") == "true" else None]
    rows = min([rows, *(int(limit) for limit in limits if limit)])
    epochs = int(flags["num_train_epochs"])
    return epochs * -(-rows // batch), epochs * rows


def operations(spec: RunSpec) -> float:
    """Return a run's float operations: 6 per parameter and token of training, 2 of what it evaluates and predicts.

    Attention's own products, a few per cent at 128 tokens, are left out.
    """
    _, examples = updates_and_examples(spec)
    if "ChildTuning-D" in spec.argv:  # its pass over the training data, before the first update
        examples += examples // int(spec.flags["num_train_epochs"])
    kinds = ("validation", "test") if "--do_predict" in spec.argv else ("validation",)
    rows = sum(source.row_count for split, source in TASKS[spec.task].sources.items() if split.startswith(kinds))
    return layer_parameters(spec.model) * LENGTH * (6.0 * _passes(spec) * examples + 2.0 * rows)


def memory_bytes(model: str, batch: int = 16) -> int:
    """Return weights, gradients and AdamW's moments, and the activations of a batch in float32.

    Activations: 68 bytes per token and hidden unit and 10 per head, token and token of each layer (twice the 34 and 5
    of half precision: Korthikanti et al. 2022, equation 1).
    """
    layers, hidden, vocabulary = MODELS[model]
    parameters = layer_parameters(model) + vocabulary * hidden
    heads = hidden // 64
    activations = layers * batch * LENGTH * (68 * hidden + 10 * heads * LENGTH)
    return BYTES_PER_PARAMETER * parameters + activations


def largest_memory_bytes(specs: list[RunSpec]) -> int:
    """Return the memory of the run that needs most, each with its own batch: XLNet's on CoLA is of 64 texts.

    Two forwards count as twice the batch: their loss is one, so the activations of both wait for its backward.
    """
    batches = [_passes(spec) * int(spec.flags["per_device_train_batch_size"]) for spec in specs]
    return max(memory_bytes(spec.model, batch) for spec, batch in zip(specs, batches, strict=True))


def hours_text(specs: list[RunSpec]) -> str:
    """Estimate the hours of runs of the paper's models by the arithmetic above; "" for other models."""
    if not specs or any(spec.model not in MODELS for spec in specs):
        return ""
    total = sum(map(operations, specs))
    hours = [f"{name} {total / speed / SECONDS_PER_HOUR:,.2g} h" for name, speed in SPEEDS.items()]
    return f"by arithmetic (docs/reproduction.md): {'; '.join(hours)}"


def table() -> str:
    """Return a Markdown table: a line for each experiment at full scale."""
    columns = [
        "experiment", "runs", "updates", "10^18 operations", *(f"hours, {name}" for name in SPEEDS),
        "memory of the largest run",
    ]  # fmt: skip
    rows = []
    for name in NAMES:
        specs = expand(load(name), Overrides(data_dir=None))
        total = sum(operations(spec) for spec in specs)
        hours = [f"{total / speed / SECONDS_PER_HOUR:,.0f}" for speed in SPEEDS.values()]
        updates = sum(updates_and_examples(spec)[0] for spec in specs)
        memory = f"{largest_memory_bytes(specs) / 1e9:.0f} GB"
        rows.append([f"`{name}`", f"{len(specs):,}", f"{updates:,}", f"{total / 1e18:,.0f}", *hours, memory])
    return markdown_table(columns, rows)
