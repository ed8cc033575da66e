"""What all benchmarks share: model, data, number of repeats, a folder for what is only of use meanwhile."""

import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from hype.errors import InputError
from hype.training.arguments import Arguments, parse
from hype.training.job import Job
from hype.training.length_order import longest_first

TASKS = ("cola", "stsb", "mrpc", "rte")
BATCH_SIZE, LENGTH = 16, 128  # paper, appendix A; the released README
COMMON = (
    f"--max_seq_length {LENGTH} --per_device_train_batch_size {BATCH_SIZE} --learning_rate 2e-5 --seed 1 "
    "--save_strategy no --save_model false --report_to none --disable_tqdm true"
)


@dataclass(frozen=True)
class Settings:
    """model: of runs; None: none is done. data_dir: a GLUE folder; None: from the hub. folder: where runs write."""

    model: str | None
    data_dir: str | None
    repeats: int
    folder: Path

    @property
    def device(self) -> torch.device:
        """Return the device that runs take."""
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")

    def argv(self, task: str, flags: str = "") -> list[str]:
        """Write the command line of a run of ours, in a folder of its own."""
        data = ["--data_dir", self.data_dir] if self.data_dir else []
        places = ["--output_dir", tempfile.mkdtemp(dir=self.folder), "--cache_dir", str(self.folder / "cache"), *data]
        return [*COMMON.split(), "--model_name_or_path", self.model, "--task_name", task, *places, *flags.split()]

    def job(self, task: str, flags: str = "", row_count: int = BATCH_SIZE) -> Job:
        """Make a run of ours up to its Trainer.

        Raises:
            InputError: it trains on fewer rows than row_count; see `built`.
        """
        arguments = parse(self.argv(task, flags))
        job = built(arguments, Path(arguments.training.output_dir))
        found = len(job.splits.splits.get("train", range(row_count)))
        if found < row_count:
            raise InputError(
                f"{task}: {row_count} training rows are needed, {found} are there: give the whole GLUE folder by "
                "--data_dir, or fewer --repeats"
            )
        return job


def built(arguments: Arguments, folder: Path) -> Job:
    """Make a run up to its Trainer."""
    job = Job(arguments, folder)
    job.plan()
    job.build()
    return job


def like_the_whole(batches: list[list[int]], lengths, count: int, parts: int) -> list[list[int]]:
    """Choose `count` batches whose padded lengths are spread as those of all, each of the `parts` likewise.

    batches: positions of examples; lengths: of all examples; count: an even multiple of parts, since only dealing back
    as often as forth gives no part the longer ones. The parts follow one another in the result.
    """
    ordered = sorted((batch for batch in batches if len(batch) == len(batches[0])), key=lambda b: max(lengths[b]))
    chosen = [ordered[(2 * i + 1) * len(ordered) // (2 * count)] for i in range(count)]
    dealt = [chosen[i : i + parts] for i in range(0, count, parts)]
    dealt[1::2] = [round[::-1] for round in dealt[1::2]]  # back and forth, so that no part gets all the longer ones
    return [batch for part in zip(*dealt, strict=True) for batch in part]


def rows_of(batches: list[list[int]], lengths) -> list[int]:
    """List the rows of the batches; the widest of them goes before them, too, to warm up, and behind, to end the last.

    lengths: of all examples.
    """
    widest = max(batches, key=lambda batch: max(lengths[batch]))
    return [row for batch in (widest, *batches, widest) for row in batch]


def random_batches(count: int, size: int = BATCH_SIZE) -> list[list[int]]:
    """Shuffle `count` positions into batches."""
    positions = random.Random(1).sample(range(count), count)
    return [positions[start : start + size] for start in range(0, count, size)]


def typical_examples(tokens, count: int):
    """Choose `count` rows of a tokenised split whose lengths are spread as those of all; their positions, shuffled."""
    order = longest_first(tokens).tolist()
    count = min(count, len(order))
    chosen = [order[(2 * i + 1) * len(order) // (2 * count)] for i in range(count)]
    return random.Random(1).sample(chosen, count)
