"""Small runs of a grid, one after another in this process, against the bare training of each."""

import copy

import torch

from hype.benchmark.baseline import bare_steps, loader
from hype.benchmark.figures import figure
from hype.benchmark.pairs import interleaved, ratios, timed
from hype.benchmark.settings import Settings
from hype.errors import EnvironmentFault
from hype.job import Job, hype_options
from hype.length_order import longest_first
from hype.parsing import parse
from hype.reproduction.executor import execute
from hype.reproduction.expansion import Cell, Narrowing, expand
from hype.reproduction.experiments import load
from hype.reproduction.state import FINISHED

EXPERIMENT, METHOD, MODEL, TASK = "table_8", "hype-n 1e-5", "bert-large", "cola"
SAMPLES = 160  # 30 steps
RUNS = 2  # of each side in each repeat


def measure(settings: Settings, bounds: dict) -> tuple[list[dict], dict]:
    """Return the ratio of a run's time to that of its training and evaluation by hand, run by run."""
    runs, bare = iter(cells(settings)), bare_training(settings)

    def run() -> None:
        outcome = execute(next(runs))
        if outcome.status != FINISHED:
            raise EnvironmentFault(f"a run of the grid ended as {outcome.status}: {outcome.error}")

    turns = {"runs": lambda: timed(settings.device, run), "bare": lambda: timed(settings.device, bare)}
    seconds = interleaved(turns, settings.repeats, RUNS)
    found = ratios(seconds["runs"], seconds["bare"])
    return [figure("time of a run", found, bounds["time"])], {"runs per repeat": RUNS, "seconds per repeat": seconds}


def cells(settings: Settings) -> list[Cell]:
    """List one run more than is counted, which differ in their seeds."""
    narrowing = Narrowing(
        models={MODEL: settings.model}, tasks=(TASK,), methods=(METHOD,),
        seeds=tuple(range(settings.repeats * RUNS + 1)), learning_rates=(2e-5,), max_train_samples=SAMPLES,
        data_dir=settings.data_dir,
    )  # fmt: skip
    return expand(load(EXPERIMENT), narrowing, settings.folder / "grid")


def bare_training(settings: Settings):
    """Return a function that trains a copy of the model as a run does, and evaluates it, in a bare PyTorch loop."""
    folder = settings.folder / "bare"
    folder.mkdir()
    job = Job(parse([*cells(settings)[0].argv, "--output_dir", str(folder)]), folder)
    job.plan()
    job.build()
    training, collator = job.arguments.training, job.trainer.data_collator
    validation = job.tokens["validation"]
    validation = validation.select(longest_first(validation))

    def train_and_evaluate() -> None:
        model = copy.deepcopy(job.model)
        train = loader(job.tokens["train"], collator, training.train_batch_size, shuffle=True)
        epochs = [batch for _ in range(int(training.num_train_epochs)) for batch in train]
        for _ in bare_steps(model, training, epochs, hype_options(job.arguments)):
            pass
        model.eval()
        with torch.no_grad():
            for batch in loader(validation, collator, training.eval_batch_size):
                model(**{name: value.to(training.device) for name, value in batch.items()})

    return train_and_evaluate
