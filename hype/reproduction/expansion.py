"""From an experiment to its runs: a `Cell` is one run, with its command line and its folder."""

import hashlib
import itertools
import json
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from hype.reproduction.experiments import Experiment, Method, Model
from hype.reproduction.fingerprints import (
    PREDICTED,
    data_fingerprint,
    file_fingerprint,
    model_fingerprint,
    tokenizer_fingerprint,
)
from hype.reproduction.narrowing import (
    LAYER_COUNTS,
    Narrowing,
    chosen,
    chosen_models,
    points_of,
    scaled_number,
    variant_text,
    with_scale,
)

MAIN = Path(__file__).resolve().parent.parent.parent / "main.py"
# These cannot change a result. Data and models are hashed by content, not by place.
WITHOUT_EFFECT = (
    "model_name_or_path", "data_dir", "output_dir", "save_model", "save_strategy", "save_steps", "save_total_limit",
    "report_to", "disable_tqdm",
)  # fmt: skip


@dataclass(frozen=True)
class Analysis:
    """What is computed from a finished run's model: a record for each target. options: see `hype.analysis.record`."""

    name: str
    targets: tuple[str, ...]
    folder: Path
    options: tuple[tuple[str, str | int | None], ...]
    digests: tuple[str, ...]  # of the data of each target

    def path(self, target: str) -> Path:
        """Name the record of a target, by its data too. It lies apart from the run, which may be made anew."""
        count = dict(self.options).get("max_eval_samples")
        digest = self.digests[self.targets.index(target)][:8]
        return self.folder / f"{self.name}-{target}{f'-first_{count}' if count else ''}-{digest}.json"


@dataclass(frozen=True)
class Cell:
    """One run. model: as a report names it; variant: the grid point for people; argv: for main.py.

    folder: named by what determines the result.
    keeps_model: asked for; an analysis needs the model, too, until it is made.
    """

    model: str
    task: str
    method: str
    variant: str
    learning_rate: float
    seed: int
    argv: tuple[str, ...]
    folder: Path
    keeps_model: bool = False
    analysis: Analysis | None = None

    @property
    def command(self) -> str:
        """Return the run as one line for a shell, from the root of the project."""
        return shlex.join(["python", "main.py", *self.argv])

    @property
    def absolute_command(self) -> str:
        """Return the same for any shell on this machine: from this folder, with this interpreter.

        The paths among the flags stay as they are: the record of a run holds them, and names no machine.
        """
        return f"cd {shlex.quote(str(Path.cwd()))} && {shlex.join([sys.executable, str(MAIN), *self.argv])}"

    @property
    def log_path(self) -> Path:
        """Return the file of the run's log, which all attempts are appended to."""
        return self.folder.parent.parent / "logs" / f"{self.folder.name}.log"

    @property
    def kept_record_path(self) -> Path:
        """Return where the record of a finished run lies while the run is done anew for its model."""
        return self.folder.parent.parent / "kept" / f"{self.folder.name}.json"

    @property
    def failure_path(self) -> Path:
        """Return the file that a failed attempt leaves."""
        return self.folder.parent.parent / "failures" / f"{self.folder.name}.json"


def expand(
    experiment: Experiment, narrowing: Narrowing | None = None, results_dir: Path = Path("results"), keep_models=False
) -> list[Cell]:
    """List the runs of an experiment. Runs that several experiments share have the same folder.

    Raises:
        InputError: a model, task, method or variant that the experiment does not have.
    """
    narrowing = narrowing or Narrowing()
    models = chosen_models(experiment, narrowing.models)
    tasks = chosen("--tasks", experiment.tasks, narrowing.tasks)
    method_names = chosen("--methods", [m.name for m in experiment.methods], narrowing.methods)
    methods = [with_scale(method, narrowing) for method in experiment.methods if method.name in method_names]
    chosen("--variants", dict.fromkeys(variant_text(p) for m in methods for p in points_of(m) if p), narrowing.variants)
    cells = []
    for model, task, method in itertools.product(models, tasks, methods):
        full = tuple(sorted((*experiment.learning_rates, *model.more_learning_rates)))
        rates = narrowing.learning_rates_of(task) or full
        seeds = narrowing.seeds or experiment.seeds
        for point, rate, seed in itertools.product(points_of(method, narrowing.variants), rates, seeds):
            flags = _flags(experiment, narrowing, model, task, method, point)
            flags |= {"learning_rate": rate, "seed": seed, "save_model": keep_models or bool(experiment.targets)}
            flags["output_dir"] = str(folder := results_dir / "runs" / _folder_name(flags, method, point, narrowing))
            names = (narrowing.model_label(model.name), task, method.name, variant_text(point))
            analysis = _analysis(experiment, narrowing, task, folder)
            cells.append(Cell(*names, rate, seed, _argv(flags), folder, keep_models, analysis))
    return cells


def _analysis(experiment: Experiment, narrowing: Narrowing, task: str, run_folder: Path) -> Analysis | None:
    if not experiment.targets:
        return None
    options = {name: getattr(narrowing, name) for name in ("data_dir", "nli_dir", "adv_file")}
    options["max_eval_samples"] = narrowing.max_analysis_samples
    folder = run_folder.parent.parent / "analyses" / run_folder.name
    targets = tuple(experiment.targets[task])
    digests = tuple(_digest_of_target(experiment.analysis, target, narrowing) for target in targets)
    return Analysis(experiment.analysis, targets, folder, tuple(options.items()), digests)


def _digest_of_target(analysis: str, target: str, narrowing: Narrowing) -> str:
    known = narrowing.fingerprints
    if analysis == "adversarial":
        return (known.file_of if known else file_fingerprint)(narrowing.adv_file)
    task = target.removesuffix("-mm")  # both dev sets of MNLI
    return (known.data_of if known else data_fingerprint)(narrowing.data_dir_of(task), task)


def _flags(experiment: Experiment, narrowing: Narrowing, model: Model, task: str, method: Method, point: dict) -> dict:
    """Return the flags of a run but for learning rate, seed and folder; those set to null are left out."""
    flags = {"model_name_or_path": model.checkpoints[model.checkpoint_name(task)], "task_name": task}
    flags |= experiment.default_flags | experiment.task_flags.get(task, {}) | experiment.flags
    flags |= experiment.family_flags.get(model.family, {}).get(task, {}) | method.flags | point
    if model.checkpoint_name(task) != model.name:
        flags["ignore_mismatched_sizes"] = True
    depth = narrowing.layer_count(flags["model_name_or_path"]) if narrowing.models else None
    for name in LAYER_COUNTS if depth else ():
        if name in flags:
            flags[name] = scaled_number(experiment, flags[name], depth)
    if narrowing.max_train_samples is not None:
        flags["max_train_samples"] = min(narrowing.max_train_samples, flags.get("max_train_samples", sys.maxsize))
    if (data_dir := narrowing.data_dir_of(task)) is not None:
        flags["data_dir"] = data_dir
    return {name: value for name, value in flags.items() if value is not None}


def _argv(flags: dict) -> tuple[str, ...]:
    return tuple(text for name, value in flags.items() for text in (f"--{name}", _written(value)))


def _written(value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)


def _folder_name(flags: dict, method: Method, point: dict, narrowing: Narrowing) -> str:
    """Name a run's folder for people (a whitelist of characters), and by the hash of all that determines its result."""
    content = {name: _written(value) for name, value in flags.items() if name not in WITHOUT_EFFECT}
    known = narrowing.fingerprints
    model, data = flags["model_name_or_path"], (flags.get("data_dir"), flags["task_name"])
    content["model"] = (known.model_of if known else model_fingerprint)(model)
    content["tokenizer"] = (known.tokenizer_of if known else tokenizer_fingerprint)(model)
    content["data"] = known.data_of(*data) if known else data_fingerprint(*data)
    if flags.get("do_predict"):
        content["test_data"] = data_fingerprint(*data, PREDICTED)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    # Sorted: two experiments may order the flags of one run differently.
    told = {
        **{name: flags[name] for name in sorted(method.flags | point)},
        "lr": flags["learning_rate"],
        "seed": flags["seed"],
    }
    slug = "-".join([flags["task_name"], *(f"{name}_{_written(value)}" for name, value in told.items())])
    return f"{re.sub('[^A-Za-z0-9._-]', '_', slug)[:120]}-{digest}"
