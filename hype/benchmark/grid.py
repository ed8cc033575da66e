"""Small runs of a grid, one after another in this process, against training and evaluating each by hand."""

import copy

import torch

from hype.benchmark.baseline import bare_steps, loader
from hype.benchmark.figures import figure
from hype.benchmark.pairs import interleaved, ratios, timed
from hype.benchmark.settings import Settings, built
from hype.errors import EnvironmentFault
from hype.reproduction.executor import execute
from hype.reproduction.expansion import Cell, Narrowing, expand
from hype.reproduction.experiments import load
from hype.reproduction.state import FINISHED
from hype.training.arguments import parse
from hype.training.length_order import longest_first

EXPERIMENT, METHOD, MODEL, TASK = "table_8", "hype-n 1e-5", "bert-large", "cola"
SAMPLES = 160  # 30 steps
RUNS = 2  # of each side in each repeat


def measure(settings: Settings, bounds: dict) -> tuple[list[dict], dict]:
    """Return the ratio of a run's time to that of its training and evaluation by hand, run by run."""
    runs, bare = iter(cells(settings)), BareRun(settings)

    def run() -> None:
        outcome = execute(next(runs))
        if outcome.status != FINISHED:
            raise EnvironmentFault(f"a run of the grid ended as {outcome.status}: {outcome.error}")

    turns = {"runs": lambda: timed(settings.device, run), "bare": bare}
    seconds = interleaved(turns, settings.repeats, RUNS)
    found = ratios(seconds["runs"], seconds["bare"])
    details = {
        "runs per repeat": RUNS,
        "seconds per repeat": seconds,
        "seconds of each bare training": bare.training_s[1:],
    }
    return [figure("time of a run", found, bounds["time"])], details


def cells(settings: Settings) -> list[Cell]:
    """List one run more than is counted, which differ in their seeds."""
    narrowing = Narrowing(
        models={MODEL: settings.model}, tasks=(TASK,), methods=(METHOD,),
        seeds=tuple(range(settings.repeats * RUNS + 1)), learning_rates=(2e-5,), max_train_samples=SAMPLES,
        data_dir=settings.data_dir,
    )  # fmt: skip
    return expand(load(EXPERIMENT), narrowing, settings.folder / "grid")


class BareRun:
    """What a run does, in a bare PyTorch loop: training and evaluation of a copy of the model. Called, it does it once.

    training_s: seconds of every training so far, without its evaluation.
    """

    def __init__(self, settings: Settings):
        folder = settings.folder / "bare"
        folder.mkdir()
        self.job = built(parse([*cells(settings)[0].argv, "--output_dir", str(folder)]), folder)
        validation = self.job.tokens["validation"]
        self.validation = validation.select(longest_first(validation))
        self.training_s = []

    def __call__(self) -> float:
        """Return the seconds, without those of copying the model, which no loop by hand would do."""
        model, device = copy.deepcopy(self.job.model), self.job.arguments.training.device
        self.training_s.append(timed(device, lambda: self._train(model)))
        return self.training_s[-1] + timed(device, lambda: self._evaluate(model))

    def _train(self, model) -> None:
        training = self.job.arguments.training
        train = loader(
            self.job.tokens["train"], self.job.trainer.data_collator, training.train_batch_size, shuffle=True
        )
        epochs = [batch for _ in range(int(training.num_train_epochs)) for batch in train]
        for _ in bare_steps(model, training, epochs, self.job.arguments.hype_options()):
            pass

    def _evaluate(self, model) -> None:
        training = self.job.arguments.training
        model.eval()
        with torch.no_grad():
            for batch in loader(self.validation, self.job.trainer.data_collator, training.eval_batch_size):
                model(**{name: value.to(training.device) for name, value in batch.items()})
