"""Training examples per second against run_glue.py's way: same model, task, batch size and optimiser."""

import copy
from contextlib import ExitStack

from hype.benchmark.baseline import padded_to_the_maximum, run_glue_trainer
from hype.benchmark.figures import figure
from hype.benchmark.pairs import geometric_means, interleaved, ratios
from hype.benchmark.settings import BATCH_SIZE, TASKS, Settings, like_the_whole, random_batches, rows_of
from hype.benchmark.stepping import Stepper
from hype.training.length_order import lengths_of

STEPS = 4  # of each side in each repeat
OURS = ("default", "group_by_length")


def measure(settings: Settings, bounds: dict) -> tuple[list[dict], dict]:
    """Return, for the default and for --group_by_length, the ratio of examples per second: geometric mean and tasks."""
    found, details = {ours: [] for ours in OURS}, {}
    for task in TASKS:
        seconds = _task(task, settings)
        details[task] = seconds
        for ours in OURS:
            # As many examples on either side: the ratio of speeds is that of times, the other way round.
            found[ours].append(ratios(seconds["run_glue.py"], seconds[ours]))
    figures = []
    for ours in OURS:
        figures.append(
            figure(f"{ours}: examples/s, geometric mean", geometric_means(found[ours]), at_least=bounds[ours])
        )
        figures += [figure(f"{ours}: examples/s, {task}", found[ours][i]) for i, task in enumerate(TASKS)]
    return figures, {"seconds per repeat": details, "examples per repeat": STEPS * BATCH_SIZE}


def _task(task: str, settings: Settings) -> dict[str, list[float]]:
    with ExitStack() as stack:
        steppers = {name: stack.enter_context(Stepper(trainer)) for name, trainer in trainers(task, settings).items()}
        return interleaved({name: stepper.step for name, stepper in steppers.items()}, settings.repeats, STEPS)


def trainers(task: str, settings: Settings) -> dict:
    """Make the three Trainers. Their batches are a sample of an epoch's; the first two sides train on the same ones.

    run_glue.py's batches cost the same whatever is in them; ours cost what their longest example does, so that the
    sample is spread over the padded lengths of all batches.
    """
    job = settings.job(task, "--do_train --train_sampling_strategy sequential --num_train_epochs 1")
    grouped = settings.job(task, "--do_train --group_by_length")
    tokens, lengths = job.tokens["train"], lengths_of(job.tokens["train"])
    count = settings.repeats * STEPS
    by_length = list(grouped.trainer._get_train_sampler(grouped.trainer.train_dataset))
    batches = {
        "default": random_batches(len(tokens)),
        "group_by_length": [by_length[i : i + BATCH_SIZE] for i in range(0, len(tokens), BATCH_SIZE)],
    }
    rows = {
        name: rows_of(like_the_whole(chosen, lengths, count, settings.repeats), lengths)
        for name, chosen in batches.items()
    }
    grouped.trainer.args.train_sampling_strategy = "sequential"  # of batches that are grouped already
    tokenizer = job.trainer.processing_class
    padded = padded_to_the_maximum(job.splits.splits["train"].select(rows["default"]), tokenizer)
    baseline = run_glue_trainer(copy.deepcopy(job.model), tokenizer, settings.folder / "run_glue", train=padded)
    job.trainer.train_dataset = job.trainer.train_dataset.select(rows["default"])
    grouped.trainer.train_dataset = grouped.trainer.train_dataset.select(rows["group_by_length"])
    return {"run_glue.py": baseline, "default": job.trainer, "group_by_length": grouped.trainer}
