"""The sides of the comparisons: this project's runs, run_glue.py's way, and a bare PyTorch loop."""

import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainingArguments,
    default_data_collator,
)  # fmt: skip

from hype.benchmark.measure import StepClock
from hype.perturbation import HyPe
from hype.techniques import selected
from hype.training.arguments import parse
from hype.training.finetune import build_trainer, load_data

BATCH_SIZE, LENGTH = 16, 128  # paper, appendix A; the released README
SIZES = {
    "BERT-base": {},
    "BERT-large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
}
COMMON = (
    f"--max_seq_length {LENGTH} --per_device_train_batch_size {BATCH_SIZE} --learning_rate 2e-5 --seed 1 "
    "--num_train_epochs 1 --save_strategy no --save_model false --report_to none --disable_tqdm true"
)


@dataclass(frozen=True)
class Settings:
    """What all benchmarks share.

    Args:
        model: folder or hub name of the model.
        data_dir: a GLUE folder; None: from the hub.
        repeats: measurements per figure.
        folder: a temporary folder that runs write to.
        device: what runs are done on.
    """

    model: str
    data_dir: str | None
    repeats: int
    folder: Path
    device: torch.device

    def argv(self, task: str, flags: str) -> list[str]:
        """Return the command line of a run of this project in its own folder."""
        data = ["--data_dir", self.data_dir] if self.data_dir else []
        places = ["--output_dir", tempfile.mkdtemp(dir=self.folder), "--cache_dir", str(self.folder / "cache"), *data]
        return [*COMMON.split(), "--model_name_or_path", self.model, "--task_name", task, *places, *flags.split()]

    def trainer(self, task: str, flags: str):
        """Build the Trainer of a run of this project, ready to train."""
        arguments = parse(self.argv(task, flags))
        techniques = selected(arguments.techniques, hype_is_on=arguments.hype.hype_type != "none")
        splits, config, label_names = load_data(arguments)
        trainer, _, _ = build_trainer(arguments, splits, config, label_names, techniques)
        return trainer


def with_random_bert(settings: Settings, size: str) -> Settings:
    """Replace the model by a BERT of that size with random weights and the tokenizer of the model."""
    folder = settings.folder / size
    if not folder.exists():
        tokenizer = AutoTokenizer.from_pretrained(settings.model)
        tokenizer.save_pretrained(folder)
        config = BertConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **SIZES[size])
        BertForSequenceClassification(config).save_pretrained(folder)
    return replace(settings, model=str(folder))


def run_glue_trainer(settings: Settings, task: str) -> Trainer:
    """Make the Trainer of transformers' run_glue.py: every input padded to the maximum, 8 examples in evaluation."""
    padded = settings.trainer(task, "--do_train --do_eval --pad_to_max_length")
    args = TrainingArguments(
        output_dir=str(settings.folder / "run_glue"), per_device_train_batch_size=BATCH_SIZE, learning_rate=2e-5,
        num_train_epochs=1, train_sampling_strategy="sequential", save_strategy="no", report_to="none",
        disable_tqdm=True, use_cpu=settings.device.type == "cpu",
    )  # fmt: skip
    return Trainer(
        model=padded.model, args=args, train_dataset=padded.train_dataset, eval_dataset=padded.eval_dataset,
        processing_class=padded.processing_class, data_collator=default_data_collator,
    )  # fmt: skip


def random_batches(count: int) -> list[list[int]]:
    """Shuffle `count` positions into batches."""
    positions = random.Random(1).sample(range(count), count)
    return [positions[start : start + BATCH_SIZE] for start in range(0, count, BATCH_SIZE)]


def representative(batches: list[list[int]], lengths, repeats: int, steps: int) -> list[list[int]]:
    """List the rows of each repeat: the widest of its batches to warm up, then all of them.

    Chosen are `repeats` x `steps` full batches whose padded lengths are spread as those of all, dealt to the repeats.
    """
    full = [batch for batch in batches if len(batch) == len(batches[0])]
    ordered = sorted(full, key=lambda batch: max(lengths[row] for row in batch))
    count = repeats * steps
    chosen = [ordered[(2 * i + 1) * len(ordered) // (2 * count)] for i in range(count)]
    dealt = [chosen[repeat::repeats] for repeat in range(repeats)]
    return [[row for batch in (part[-1], *part) for row in batch] for part in dealt]


def training_side(trainer: Trainer, rows: list[list[int]], **attributes) -> Callable[[int], float]:
    """Make a side that trains on the rows of the repeat, in their order; its first step warms up and does not count.

    attributes: of the Trainer, set before each training.
    """
    clock, dataset = StepClock(), trainer.train_dataset
    trainer.add_callback(clock)

    def side(repeat: int) -> float:
        vars(trainer).update(attributes, train_dataset=dataset.select(rows[repeat]))
        trainer.train()
        return clock.seconds

    return side


def plain(dataset):
    """Keep the columns that the model takes."""
    names = ("input_ids", "attention_mask", "token_type_ids", "label")
    return dataset.select_columns([name for name in names if name in dataset.column_names])


def bare_steps(model, args: TrainingArguments, batches, hype_options: dict | None) -> Iterator[float]:
    """Train on `batches` with AdamW, a linear schedule and clipping, as `args` say; yield the loss of each step.

    As in Trainer, neither biases nor norms decay.
    """
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": args.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    betas, total = (args.adam_beta1, args.adam_beta2), len(batches)
    optimizer = torch.optim.AdamW(groups, lr=args.learning_rate, betas=betas, eps=args.adam_epsilon, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / total))
    model.train()
    with HyPe(model, seed=args.seed, **hype_options) if hype_options else nullcontext() as hype:
        for step, batch in enumerate(batches):
            if hype is not None:
                hype.set_step(step)
            loss = model(**{name: value.to(args.device) for name, value in batch.items()}).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), args.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            yield loss.item()
