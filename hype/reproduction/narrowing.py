"""What the command line leaves of an experiment, and how a report says so."""

import itertools
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from hype.data.tasks import NLI_NAMES, nli_folder
from hype.errors import InputError
from hype.reproduction.experiments import Experiment, Method, Model
from hype.reproduction.fingerprints import Fingerprints, layer_count

# Numbers of layers, which mean another share of a model of another depth.
LAYER_COUNTS = ("hype_low_layers", "hype_top_layers", "top_k_layers")


@dataclass(frozen=True)
class Narrowing:
    """What the command line leaves of an experiment. None: all of it.

    models: name -> a path or hub name in the place of its checkpoint, or None for its own. Names of a model's other
    starts (base-mnli) may be given, too. variants: grid points by their text ("hype_eps 1e-05"), of the methods that
    have a grid. learning_rates: of every task, or task -> its own. hype_eps: the scale of all noise, in the place of
    the experiment's. fingerprints: of a study; then neither the model nor the data need be there.
    """

    models: dict[str, str | None] | None = None
    tasks: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    variants: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    learning_rates: tuple[float, ...] | dict[str, tuple[float, ...]] | None = None
    hype_eps: float | None = None
    max_train_samples: int | None = None
    max_analysis_samples: int | None = None
    data_dir: str | None = field(default_factory=lambda: os.environ.get("GLUE_DIR") or None)
    nli_dir: str | None = None
    adv_file: str | None = None
    fingerprints: Fingerprints | None = None

    def learning_rates_of(self, task: str) -> tuple[float, ...] | None:
        """Return the learning rates of a task's runs; None: the experiment's."""
        return self.learning_rates.get(task) if isinstance(self.learning_rates, dict) else self.learning_rates

    def data_dir_of(self, task: str) -> str | None:
        """Return the folder of a task's data; None: the hub."""
        return nli_folder(self.nli_dir, self.data_dir) if task in NLI_NAMES else self.data_dir

    def model_label(self, name: str) -> str:
        """Name a row's model as what it is: the one that is read in the place of the experiment's."""
        path = (self.models or {}).get(name)
        return f"{_short(path)} for {name}" if path else name

    def layer_count(self, model: str) -> int | None:
        """Return how many layers a model has that is read in the place of the experiment's."""
        return self.fingerprints.layer_count if self.fingerprints else layer_count(model)


def narrowing_text(experiment: Experiment, narrowing: Narrowing) -> str:
    """Say how the runs differ from the experiment at full scale; "" where they do not."""
    parts = []
    full = {"tasks": experiment.tasks, "methods": [m.name for m in experiment.methods], "seeds": experiment.seeds}
    if narrowing.models is not None:
        names = [
            name + ("" if path is None else f" read from {_short(path)}") for name, path in narrowing.models.items()
        ]
        if any(narrowing.models.values()) or set(narrowing.models) != {m.name for m in experiment.models}:
            parts.append(f"models: {', '.join(names)}")
    for name, values in full.items():
        kept = getattr(narrowing, name)
        if kept is not None and set(kept) != set(values):
            parts.append(f"{name}: {'; '.join(map(str, kept))} (full: {len(values)})")
    parts += _learning_rates_text(experiment, narrowing)
    if narrowing.variants is not None:
        parts.append(f"of the grids: {'; '.join(narrowing.variants)}")
    if narrowing.hype_eps is not None:
        parts.append(f"hype_eps {narrowing.hype_eps:g} in all noise")
    layer_counts = {name: narrowing.layer_count(path) for name, path in (narrowing.models or {}).items() if path}
    for name, count in layer_counts.items():
        numbers = _numbers_of_layers(experiment, narrowing.methods)
        if numbers and count not in (None, experiment.layer_count):
            scaled = ", ".join(f"{number} are {scaled_number(experiment, number, count)}" for number in numbers)
            depths = f"from {experiment.layer_count} to the {count} of {name}'s model"
            parts.append(f"numbers of layers scaled {depths}: {scaled}")
    if narrowing.max_train_samples is not None:
        is_drawn = experiment.flags.get("low_resource")
        which = "at most" if is_drawn else "at most the first"  # a file may be sorted by source
        parts.append(f"{which} {narrowing.max_train_samples} training examples")
    if narrowing.max_analysis_samples is not None:
        parts.append(f"analysed on the first {narrowing.max_analysis_samples} examples of each set")
    return f"narrowed, not the paper's experiment: {'. '.join(parts)}" if parts else ""


def _learning_rates_text(experiment: Experiment, narrowing: Narrowing) -> list[str]:
    kept = narrowing.learning_rates
    if kept is None:
        return []
    models = chosen_models(experiment, narrowing.models)
    full = {model.name: {*experiment.learning_rates, *model.more_learning_rates} for model in models}
    by_task = list(kept.values()) if isinstance(kept, dict) else [kept]
    if all(set(rates) == of_model for rates in by_task for of_model in full.values()):
        return []
    if isinstance(kept, dict):
        shown = [f"{task} {', '.join(f'{rate:g}' for rate in rates)}" for task, rates in kept.items()]
    else:
        shown = [f"{rate:g}" for rate in kept]
    return [f"learning rates: {'; '.join(shown)} (full: {_counts_text(full)})"]


def _counts_text(full: dict[str, set]) -> str:
    """Count what each model has in full: one number where it is that of all."""
    names: dict[int, list[str]] = {}
    for name, values in full.items():
        names.setdefault(len(values), []).append(name)
    if len(names) == 1:
        return str(next(iter(names)))
    return "; ".join(f"{count} of {', '.join(those)}" for count, those in names.items())


def _short(path: str) -> str:
    """Shorten the path of a folder to its last two parts; a hub name stays."""
    return "/".join(Path(path).resolve().parts[-2:]) if Path(path).is_dir() else path


def chosen(flag: str, known, wanted) -> list:
    """Return what of the known names is wanted (None: all), in their order; unknown ones raise InputError."""
    known = list(known)
    unknown = [name for name in wanted or () if name not in known]
    if unknown:
        raise InputError(f"{flag} {unknown[0]}: not in this experiment; give {', '.join(map(repr, known))}")
    return [name for name in known if wanted is None or name in wanted]


def chosen_models(experiment: Experiment, wanted: dict[str, str | None] | None) -> list[Model]:
    """Return the models wanted, with their checkpoints replaced.

    Raises:
        InputError: the experiment has no model or checkpoint of a name.
    """
    if wanted is None:
        return list(experiment.models)
    chosen("--models", [name for model in experiment.models for name in model.checkpoints], wanted)
    return [_with_checkpoints(model, wanted) for model in experiment.models if set(wanted) & set(model.checkpoints)]


def _with_checkpoints(model: Model, wanted: dict[str, str | None]) -> Model:
    """Replace a model's checkpoints; another start that is not named begins from the one given for the model."""
    old = model.checkpoints
    paths = {name: wanted.get(name, wanted.get(model.name)) or path for name, path in old.items()}
    starts = {start: {**at, "checkpoint": paths[f"{model.name}-{start}"]} for start, at in model.starts.items()}
    return replace(model, checkpoint=paths[model.name], starts=starts)


def with_scale(method: Method, narrowing: Narrowing) -> Method:
    """Give the noise of a method that has any the scale asked for."""
    if narrowing.hype_eps is None or "hype_type" not in method.flags:
        return method
    grid = {name: values for name, values in method.grid.items() if name != "hype_eps"}
    return replace(method, flags=method.flags | {"hype_eps": narrowing.hype_eps}, grid=grid)


def points_of(method: Method, wanted: tuple[str, ...] | None = None) -> list[dict]:
    """List a method's grid, a dict of flags for each point, or what of it is wanted; without a grid: one empty dict."""
    points = [dict(zip(method.grid, values, strict=True)) for values in itertools.product(*method.grid.values())]
    return [p for p in points if wanted is None or not p or variant_text(p) in wanted]


def variant_text(point: dict) -> str:
    """Name a grid point for people."""
    return ", ".join(f"{name} {value:g}" for name, value in point.items())


def _numbers_of_layers(experiment: Experiment, methods: tuple[str, ...] | None) -> list[int]:
    kept = [m for m in experiment.methods if methods is None or m.name in methods]
    return sorted({method.flags[name] for method in kept for name in LAYER_COUNTS if name in method.flags})


def scaled_number(experiment: Experiment, number: int, layer_count: int) -> int:
    """Return the number of layers that is the same share of a model of another depth, at least one."""
    return max(1, round(number * layer_count / experiment.layer_count))
