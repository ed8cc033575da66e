"""The sides of the comparisons: this project's runs, transformers' run_glue.py, and a bare PyTorch loop."""

import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler

from hype.benchmark.measure import now, peak_mebibytes, take_turns, timed
from hype.perturbation import HyPe
from hype.techniques import selected
from hype.training.finetune import build_trainer, load_data
from hype.training.length_order import lengths_of
from hype.training.parser import parse
from hype.training.trainer import HyPeTrainer

BATCH_SIZE, LENGTH = 16, 128  # paper, appendix A; the released README
STEPS = 2  # timed steps of a side, in each of its two turns per repeat
SIZES = {
    "BERT-base": {},
    "BERT-large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
}
COMMON = (
    f"--max_seq_length {LENGTH} --per_device_train_batch_size {BATCH_SIZE} --learning_rate 2e-5 --seed 1 "
    "--num_train_epochs 1 --train_sampling_strategy sequential --save_strategy no --save_model false "
    "--report_to none --disable_tqdm true"
)
FULL_LENGTH = "--do_train --pad_to_max_length"


@dataclass(frozen=True)
class Bench:
    """What all benchmarks share, and what they measured.

    Args:
        model: folder or hub name of the model.
        data_dir: a GLUE folder; None: the hub.
        repeats: measurements per figure.
        folder: a temporary folder that runs write to.
        device: where runs are executed.
        raw: the measurements of each comparison.
    """

    model: str
    data_dir: str | None
    repeats: int
    folder: Path
    device: torch.device
    raw: dict[str, dict] = field(default_factory=dict)

    def compare(self, label: str, sides: dict[str, Callable[[int], float]]) -> dict[str, np.ndarray]:
        """Let the sides take turns; return the seconds of each repeat."""
        self.raw[label] = take_turns(sides, self.repeats)
        return self.raw[label]

    def compare_memory(self, label: str, flags: dict[str, str]) -> dict[str, np.ndarray]:
        """Return the peak memory of two-step runs with the flags of each side, each in its own process."""
        short = f"{FULL_LENGTH} --max_train_samples {2 * BATCH_SIZE}"
        lines = {
            name: [self.argv("cola", f"{short} {one}") for _ in range(self.repeats)] for name, one in flags.items()
        }
        self.raw[label] = {name: np.array([peak_mebibytes(argv) for argv in runs]) for name, runs in lines.items()}
        return self.raw[label]

    def argv(self, task: str, flags: str) -> list[str]:
        """Return the command line of a run of this project in its own folder."""
        data = ["--data_dir", self.data_dir] if self.data_dir else []
        places = ["--output_dir", tempfile.mkdtemp(dir=self.folder), "--cache_dir", str(self.folder / "cache"), *data]
        return [*COMMON.split(), "--model_name_or_path", self.model, "--task_name", task, *places, *flags.split()]

    def trainer(self, task: str, flags: str = "--do_train") -> HyPeTrainer:
        """Build the Trainer of a run of this project, ready to train."""
        arguments = parse(self.argv(task, flags))
        techniques = selected(arguments.techniques, hype_is_on=arguments.hype.hype_type != "none")
        return build_trainer(arguments, *load_data(arguments), techniques)[0]

    def run_glue_trainer(self, task: str, flags: str = "--do_train") -> Trainer:
        """Build the Trainer of transformers' run_glue.py: inputs padded to the maximum, evaluation batch size 8."""
        padded = self.trainer(task, f"{flags} --pad_to_max_length --per_device_eval_batch_size 8")
        names = ("model", "args", "train_dataset", "eval_dataset", "data_collator")
        return Trainer(**{name: getattr(padded, name) for name in names})

    def with_random_bert(self, size: str) -> "Bench":
        """Replace the model with a BERT of that size with random weights and the same tokenizer."""
        folder = self.folder / size
        if not folder.exists():
            tokenizer = AutoTokenizer.from_pretrained(self.model)
            tokenizer.save_pretrained(folder)
            config = BertConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **SIZES[size])
            BertForSequenceClassification(config).save_pretrained(folder)
        return replace(self, model=str(folder))


class StepClock(transformers.TrainerCallback):
    """Times training from the end of its first step, a warm-up, to the end of its last."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 1:
            self.started = now(args.device)
        if state.global_step == state.max_steps:
            self.seconds = now(args.device) - self.started


def training(trainer: Trainer, rows: list[list[int]], **attributes) -> Callable[[int], float]:
    """Return a side that trains on the rows of the repeat, in their order; its first step is an untimed warm-up.

    attributes: set on the Trainer before each training.
    """
    clock, dataset = StepClock(), trainer.train_dataset
    trainer.add_callback(clock)

    def side(repeat: int) -> float:
        vars(trainer).update(attributes, train_dataset=dataset.select(rows[repeat]))
        trainer.train()
        return clock.seconds

    return side


def evaluating(trainer: Trainer) -> Callable[[int], float]:
    """Return a side that evaluates 128 examples and gathers predictions, but computes no metric."""
    # Ours are sorted by length, so these rows cover all lengths; run_glue.py's are all padded to the same length.
    rows = np.linspace(0, len(trainer.eval_dataset) - 1, 128).round().astype(int)
    trainer.eval_dataset, trainer.compute_metrics = trainer.eval_dataset.select(rows), lambda output: {}
    return lambda repeat: timed(trainer.args.device, trainer.evaluate)


def representative_rows(dataset, repeats: int, is_grouped: bool = False) -> list[list[int]]:
    """List the rows of each repeat: its longest batch as a warm-up, then all its batches.

    All rows are shuffled, or grouped by length, into full batches. From these, `STEPS` for each repeat are chosen so
    that their padded lengths are distributed like those of all.
    """
    lengths = lengths_of(dataset).tolist()
    order = random.Random(1).sample(range(len(lengths)), len(lengths))
    if is_grouped:
        order = list(LengthGroupedSampler(BATCH_SIZE, lengths=lengths, generator=torch.Generator().manual_seed(1)))
    batches = [order[end - BATCH_SIZE : end] for end in range(BATCH_SIZE, len(order) + 1, BATCH_SIZE)]
    batches.sort(key=lambda batch: max(lengths[row] for row in batch))
    count = repeats * STEPS
    chosen = [batches[(2 * i + 1) * len(batches) // (2 * count)] for i in range(count)]
    dealt = [chosen[repeat::repeats] for repeat in range(repeats)]
    return [[*part[-1], *chain(*part)] for part in dealt]


def bare_steps(model, args: TrainingArguments, batches, hype_options: dict) -> Iterator[float]:
    """Train on `batches` with noise, AdamW, a linear schedule and clipping; yield the loss of each step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate, weight_decay=0.0, fused=True)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, 0, len(batches))
    model.train()
    with HyPe(model, seed=args.seed, **hype_options) as hype:
        for step, batch in enumerate(batches):
            hype.set_step(step)
            loss = model(**batch.to(args.device)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), args.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            yield loss.item()
