"""Our step against a bare PyTorch loop that does the same work: same batches, padding, noise and optimiser."""

import copy

from hype.benchmark.baseline import bare_steps, loader
from hype.benchmark.figures import figure
from hype.benchmark.pairs import interleaved, ratios, timed
from hype.benchmark.settings import BATCH_SIZE, Settings, like_the_whole, random_batches, rows_of
from hype.benchmark.stepping import Stepper
from hype.training.length_order import lengths_of

TASK, STEPS = "mrpc", 4
FLAGS = "--do_train --hype_type normal --all_dropout_rate 0 --train_sampling_strategy sequential --num_train_epochs 1"


def measure(settings: Settings, bounds: dict) -> tuple[list[dict], dict]:
    """Return the ratio of the step times."""
    trainer, bare = sides(settings)
    with Stepper(trainer) as ours:
        turns = {"bare": lambda: timed(settings.device, lambda: next(bare)), "ours": ours.step}
        seconds = interleaved(turns, settings.repeats, STEPS)
    found = ratios(seconds["ours"], seconds["bare"])
    return [figure("step time", found, bounds["step time"])], {"task": TASK, "seconds per repeat": seconds}


def sides(settings: Settings):
    """Make our Trainer and the bare loop, an iterator over its losses, of equal models on equal batches."""
    job = settings.job(TASK, FLAGS)
    tokens, count = job.trainer.train_dataset, settings.repeats * STEPS
    lengths = lengths_of(tokens)
    batches = like_the_whole(random_batches(len(tokens)), lengths, count, settings.repeats)
    chosen = tokens.select(rows_of(batches, lengths))
    job.trainer.train_dataset = chosen
    model = copy.deepcopy(job.model)
    batches = loader(chosen, job.trainer.data_collator, BATCH_SIZE)
    return job.trainer, bare_steps(model, job.arguments.training, batches, job.arguments.hype_options())
