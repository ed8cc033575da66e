"""Human-readable output of a run: its first log line and its final summary."""

import logging
import math
from pathlib import Path

from transformers import PretrainedConfig

from hype.architectures import ARCHITECTURES
from hype.training.arguments import Arguments, RunArguments
from hype.training.record import RECORD

logger = logging.getLogger(__name__)


def announce(arguments: Arguments, record: dict, config: PretrainedConfig) -> None:
    """Log one line that describes the run, from method to device, and then notes on its model and data."""
    training, rows = arguments.training, record["data"]["rows"]
    architecture = ARCHITECTURES.get(config.model_type)
    rates = {getattr(config, name) for name in (architecture.hidden_dropouts if architecture else ())}
    dropout = " and ".join(f"{rate:g}" for rate in sorted(rates)) or "of the checkpoint"
    is_vanilla = training.do_train and arguments.hype.hype_type == "none"
    method = record["label"].rpartition(", ")[0] + " (--hype_type normal adds HyPe)" * is_vanilla
    labels = record["label_names"]
    kind = "regression" if labels is None else f"{len(labels)} classes"
    examples = ", ".join(f"{count:,} {split}" for split, count in rows.items())
    count = step_count(training, rows["train"]) if training.do_train else 0
    steps = "no training" if not count else "1 step" if count == 1 else f"{count} steps"
    logger.info(
        f"{method}, hidden dropout {dropout}, {Path(record['model']['name']).name}, "
        f"{record['task']} ({kind}, {examples} examples), {steps}, {record['machine']['device']['type']}"
    )
    if record["model"]["untrained"]:
        logger.warning("%s", untrained_text(record["model"]))
    for note in record["data"]["notes"]:
        logger.warning("%s", note)


def step_count(training: RunArguments, row_count: int) -> int:
    """Return the number of optimiser steps, as Trainer counts them."""
    if training.max_steps > 0:
        return training.max_steps
    count = row_count / (training.train_batch_size * training.world_size)
    batches = math.floor(count) if training.dataloader_drop_last else math.ceil(count)
    return math.ceil(training.num_train_epochs * max(math.ceil(batches / training.gradient_accumulation_steps), 1))


def summary(record: dict) -> str:
    """Format a record as text: what was run, its scores, and where its files are."""
    lines = [f"{record['task']}: {record['label']}, seed {record['seed']}, {record['model']['name']}"]
    if record["score_name"] is not None:
        score = "undefined" if record["score"] is None else f"{100 * record['score']:.2f}"
        line = f"  {record['score_name']} {score} on {record['data']['rows']['validation']} validation examples"
        majority = record["majority_score"]
        lines.append(line if majority is None else f"{line} (majority class {100 * majority:.2f})")
    for name, value in record["metrics"].get("test", {}).items():
        if name != "test_samples":
            shown = "undefined" if value is None else f"{100 * value:.2f}"
            lines.append(f"  {name} {shown} on {record['data']['rows']['test']} test examples")
    if record["sample"]:
        lines.append(f"  {record['sample']}")
    if record["model"]["untrained"]:
        lines.append(f"  {untrained_text(record['model'])}")
    lines += [f"  {path}" for path in record["submissions"] or ()]
    lines.append(f"  {Path(record['settings']['output_dir']) / RECORD}")
    return "\n".join(lines)


def untrained_text(model: dict) -> str:
    """Explain that the model (of a record) has parameters that were never trained."""
    return (
        f"{model['name']} has no {', '.join(model['untrained'])}: random and not trained, so scores and predictions "
        "are meaningless; pass --do_train, or the folder of a fine-tuned model"
    )
