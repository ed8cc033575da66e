"""From an experiment to its runs: a `Cell` is one run, with its command line and its folder."""

import hashlib
import itertools
import json
import os
import re
import shlex
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from hype.checkpoints import file_sha256
from hype.errors import InputError
from hype.reproduction.experiments import Experiment, Method, Model
from hype.tasks import TASKS, SplitSource

MAIN = Path(__file__).resolve().parent.parent.parent / "main.py"
# These cannot change a result. Data and models are hashed by content, not by place.
WITHOUT_EFFECT = (
    "model_name_or_path", "data_dir", "output_dir", "save_model", "save_strategy", "save_steps", "save_total_limit",
    "report_to", "disable_tqdm",
)  # fmt: skip
# Numbers of layers, which mean another share of a model of another depth.
LAYER_COUNTS = ("hype_low_layers", "hype_top_layers", "top_k_layers")
TRAINED_ON = ("train", "validation", "validation_mismatched")


@dataclass(frozen=True)
class Narrowing:
    """What the command line leaves of an experiment. None: all of it.

    models: name -> a path or hub name in the place of its checkpoint, or None for its own. Names of a model's other
    starts (base-mnli) may be given, too. variants: grid points by their text ("hype_eps 1e-05"), of the methods that
    have a grid. hype_eps: the scale of all noise, in the place of the experiment's.
    """

    models: dict[str, str | None] | None = None
    tasks: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    variants: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    learning_rates: tuple[float, ...] | None = None
    hype_eps: float | None = None
    max_train_samples: int | None = None
    data_dir: str | None = field(default_factory=lambda: os.environ.get("GLUE_DIR"))


@dataclass(frozen=True)
class Cell:
    """One run. variant: the grid point for people; argv: for main.py; folder: named by what determines the result."""

    model: str
    task: str
    method: str
    variant: str
    learning_rate: float
    seed: int
    argv: tuple[str, ...]
    folder: Path
    needs_model: bool = False

    @property
    def command(self) -> str:
        """Return the run as one line for a shell, from the root of the project."""
        return shlex.join(["python", "main.py", *self.argv])

    @property
    def absolute_command(self) -> str:
        """Return the same for any shell on this machine: with this interpreter and the path of main.py."""
        return shlex.join([sys.executable, str(MAIN), *self.argv])

    @property
    def log_path(self) -> Path:
        """Return the file of the run's log, which all attempts are appended to."""
        return self.folder.parent.parent / "logs" / f"{self.folder.name}.log"

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
    models = _chosen_models(experiment, narrowing.models)
    tasks = _chosen("--tasks", experiment.tasks, narrowing.tasks)
    method_names = _chosen("--methods", [m.name for m in experiment.methods], narrowing.methods)
    methods = [_narrowed(method, narrowing) for method in experiment.methods if method.name in method_names]
    _chosen("--variants", dict.fromkeys(variant_text(p) for m in methods for p in _points(m) if p), narrowing.variants)
    needs_model = keep_models or experiment.needs_models
    cells = []
    for model, task, method in itertools.product(models, tasks, methods):
        rates = narrowing.learning_rates or tuple(sorted((*experiment.learning_rates, *model.more_learning_rates)))
        seeds = narrowing.seeds or experiment.seeds
        for point, rate, seed in itertools.product(_points(method, narrowing.variants), rates, seeds):
            flags = _flags(experiment, narrowing, model, task, method, point)
            flags |= {"learning_rate": rate, "seed": seed, "save_model": needs_model}
            flags["output_dir"] = str(folder := results_dir / "runs" / _folder_name(flags, method, point))
            variant = variant_text(point)
            cells.append(
                Cell(model.name, task, method.name, variant, rate, seed, _argv(flags), folder, needs_model)
            )  # fmt: skip
    return cells


def narrowing_text(experiment: Experiment, narrowing: Narrowing) -> str:
    """Say how the runs differ from the experiment at full scale; "" where they do not."""
    parts = []
    full = {"tasks": experiment.tasks, "methods": [m.name for m in experiment.methods], "seeds": experiment.seeds}
    full["learning_rates"] = experiment.learning_rates
    if narrowing.models is not None:
        names = [
            name + ("" if path is None else f" read from {_short(path)}") for name, path in narrowing.models.items()
        ]
        if any(narrowing.models.values()) or set(narrowing.models) != {m.name for m in experiment.models}:
            parts.append(f"models: {', '.join(names)}")
    for name, values in full.items():
        kept = getattr(narrowing, name)
        if kept is not None and set(kept) != set(values):
            shown = (f"{value:g}" if isinstance(value, float) else str(value) for value in kept)
            parts.append(f"{name.replace('_', ' ')}: {'; '.join(shown)} (full: {len(values)})")
    if narrowing.variants is not None:
        parts.append(f"of the grids: {'; '.join(narrowing.variants)}")
    if narrowing.hype_eps is not None:
        parts.append(f"hype_eps {narrowing.hype_eps:g} in all noise")
    layer_counts = {name: _layer_count(path) for name, path in (narrowing.models or {}).items() if path}
    for name, count in layer_counts.items():
        if count not in (None, experiment.layer_count) and _has_layer_counts(experiment, narrowing.methods):
            parts.append(f"numbers of layers scaled from {experiment.layer_count} to the {count} of {name}'s model")
    if narrowing.max_train_samples is not None:
        parts.append(f"at most {narrowing.max_train_samples} training examples")
    return f"narrowed, not the paper's experiment: {'. '.join(parts)}" if parts else ""


def _short(path: str) -> str:
    """Shorten the path of a folder to its last two parts; a hub name stays."""
    return "/".join(Path(path).resolve().parts[-2:]) if Path(path).is_dir() else path


def _chosen(flag: str, known, wanted) -> list:
    known = list(known)
    unknown = [name for name in wanted or () if name not in known]
    if unknown:
        raise InputError(f"{flag} {unknown[0]}: not in this experiment; give {', '.join(map(repr, known))}")
    return [name for name in known if wanted is None or name in wanted]


def _chosen_models(experiment: Experiment, wanted: dict[str, str | None] | None) -> list[Model]:
    """Return the models wanted, with their checkpoints replaced."""
    if wanted is None:
        return list(experiment.models)
    _chosen("--models", [name for model in experiment.models for name in model.checkpoints], wanted)
    chosen = []
    for model in experiment.models:
        given = {name: wanted[name] for name in model.checkpoints if name in wanted}
        if not given:
            continue
        # Without a checkpoint of its own, another start begins from the one given for the model.
        paths = {name: given.get(name) or given.get(model.name) or old for name, old in model.checkpoints.items()}
        starts = {
            start: {**at, "checkpoint": paths[f"{model.name}-{start}"]} for start, at in model.starts.items()
        }  # fmt: skip
        chosen.append(
            Model(
                model.name, paths[model.name], model.family, model.more_learning_rates, starts, model.note
            )
        )  # fmt: skip
    return chosen


def _narrowed(method: Method, narrowing: Narrowing) -> Method:
    """Give the noise of a method that has any the scale asked for."""
    if narrowing.hype_eps is None or "hype_type" not in method.flags:
        return method
    grid = {name: values for name, values in method.grid.items() if name != "hype_eps"}
    return Method(method.name, method.flags | {"hype_eps": narrowing.hype_eps}, grid)


def _points(method: Method, wanted: tuple[str, ...] | None = None) -> list[dict]:
    """List a method's grid, a dict of flags for each point, or what of it is wanted; without a grid: one empty dict."""
    points = [dict(zip(method.grid, values, strict=True)) for values in itertools.product(*method.grid.values())]
    return [p for p in points if wanted is None or not p or variant_text(p) in wanted]


def variant_text(point: dict) -> str:
    """Name a grid point for people."""
    return ", ".join(f"{name} {value:g}" for name, value in point.items())


def _flags(experiment: Experiment, narrowing: Narrowing, model: Model, task: str, method: Method, point: dict) -> dict:
    """Return the flags of a run but for learning rate, seed and folder; those set to null are left out."""
    flags = {"model_name_or_path": model.checkpoints[model.checkpoint_name(task)], "task_name": task}
    flags |= experiment.default_flags | experiment.task_flags.get(task, {}) | experiment.flags
    flags |= experiment.family_flags.get(model.family, {}).get(task, {}) | method.flags | point
    if model.checkpoint_name(task) != model.name:
        flags["ignore_mismatched_sizes"] = True
    layer_count = _layer_count(flags["model_name_or_path"]) if model.name in (narrowing.models or {}) else None
    for name in LAYER_COUNTS if layer_count else ():
        if name in flags:
            flags[name] = max(1, round(flags[name] * layer_count / experiment.layer_count))
    if narrowing.max_train_samples is not None:
        flags["max_train_samples"] = min(narrowing.max_train_samples, flags.get("max_train_samples", sys.maxsize))
    if narrowing.data_dir is not None:
        flags["data_dir"] = narrowing.data_dir
    return {name: value for name, value in flags.items() if value is not None}


def _argv(flags: dict) -> tuple[str, ...]:
    return tuple(text for name, value in flags.items() for text in (f"--{name}", _written(value)))


def _written(value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _folder_name(flags: dict, method: Method, point: dict) -> str:
    """Name a run's folder for people (a whitelist of characters), and by the hash of all that determines its result."""
    content = {name: _written(value) for name, value in flags.items() if name not in WITHOUT_EFFECT}
    content["model"] = _model_content(flags["model_name_or_path"])
    content["data"] = _data_content(flags.get("data_dir"), flags["task_name"])
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    # Sorted: two experiments may order the flags of one run differently.
    told = {
        **{name: flags[name] for name in sorted(method.flags | point)},
        "lr": flags["learning_rate"],
        "seed": flags["seed"],
    }
    slug = "-".join([flags["task_name"], *(f"{name}_{_written(value)}" for name, value in told.items())])
    return f"{re.sub('[^A-Za-z0-9._-]', '_', slug)[:120]}-{digest}"


def _has_layer_counts(experiment: Experiment, methods: tuple[str, ...] | None) -> bool:
    kept = [m for m in experiment.methods if methods is None or m.name in methods]
    return any(name in method.flags for method in kept for name in LAYER_COUNTS)


@cache
def _layer_count(model: str) -> int | None:
    """Read how many layers a model folder has; None for a hub name."""
    path = Path(model).expanduser() / "config.json"
    try:
        return json.loads(path.read_text(encoding="utf-8")).get("num_hidden_layers")
    except (OSError, ValueError):
        return None


@cache
def _model_content(name: str) -> str:
    """Hash the weights and the configuration of a model folder; a hub name stands for itself."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return name
    patterns = ("config.json", "*.safetensors", "pytorch_model*.bin")
    files = sorted(path for pattern in patterns for path in folder.glob(pattern))
    return hashlib.sha256("".join(map(file_sha256, files)).encode()).hexdigest()


@cache
def _data_content(folder: str | None, task: str) -> str:
    """Hash the files of a task that a run trains on or evaluates; without a folder the data is the hub's."""
    if folder is None:
        return "hub"
    sources = [TASKS[task].sources[split] for split in TRAINED_ON if split in TASKS[task].sources]
    paths = [Path(folder) / path for source in sources for path in _paths(source)]
    return hashlib.sha256("".join(file_sha256(path) for path in paths if path.is_file()).encode()).hexdigest()


def _paths(source: SplitSource) -> list[str]:
    return [*source.paths, *(path for form in source.forms for paths in form.paths for path in paths)]
