"""Evaluated examples per second against run_glue.py's way: padded to the maximum, eight at once."""

import copy

from hype.benchmark.baseline import padded_to_the_maximum, run_glue_trainer
from hype.benchmark.figures import figure
from hype.benchmark.pairs import geometric_means, interleaved, ratios, timed
from hype.benchmark.settings import TASKS, Settings, typical_examples

EXAMPLES, EVALUATIONS = 128, 2  # of each side in each repeat


def measure(settings: Settings, bounds: dict) -> tuple[list[dict], dict]:
    """Return the ratio of examples per second: geometric mean and tasks."""
    found, details = [], {}
    for task in TASKS:
        turns = {
            name: lambda trainer=trainer: timed(settings.device, trainer.evaluate)
            for name, trainer in trainers(task, settings).items()
        }
        details[task] = interleaved(turns, settings.repeats, EVALUATIONS)
        found.append(ratios(details[task]["run_glue.py"], details[task]["ours"]))
    figures = [figure("examples/s, geometric mean", geometric_means(found), at_least=bounds["examples/s"])]
    figures += [figure(f"examples/s, {task}", found[i]) for i, task in enumerate(TASKS)]
    return figures, {"seconds per repeat": details, "examples per repeat": EVALUATIONS * EXAMPLES}


def trainers(task: str, settings: Settings) -> dict:
    """Make the two Trainers, of equal models, for the same examples, whose lengths are spread as those of all."""
    job = settings.job(task, "--do_eval")
    rows = typical_examples(job.tokens["validation"], EXAMPLES)
    tokenizer = job.trainer.processing_class
    padded = padded_to_the_maximum(job.splits.splits["validation"].select(rows), tokenizer)
    baseline = run_glue_trainer(copy.deepcopy(job.model), tokenizer, settings.folder / "run_glue", validation=padded)
    baseline.compute_metrics = lambda output: {}  # it, too, gathers predictions
    job.trainer.eval_dataset = job.trainer.eval_dataset.select(rows)
    job.trainer.compute_metrics = lambda output: {}
    return {"run_glue.py": baseline, "ours": job.trainer}
