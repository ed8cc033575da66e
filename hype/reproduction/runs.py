"""Expand experiments into runs: a `RunSpec` is one run with its command line and its folder."""

import itertools
import re
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from transformers.hf_argparser import string_to_bool

from hype.analysis.record import Options
from hype.data.arguments import DataArguments
from hype.errors import InputError
from hype.reproduction.experiments import Experiment, Method, Model
from hype.reproduction.hashes import Known, adversarial_hash, data_hashes, examples_text, model_hashes
from hype.reproduction.overrides import Overrides, text_of
from hype.training.arguments import Arguments, RunArguments
from hype.training.identity import identity, run_id
from hype.training.parser import parse

MAIN = Path(__file__).resolve().parents[2] / "main.py"
KEY_LENGTH = 16  # of a run_id
GPU_FLAGS = ("tf32",)  # transformers refuses them without a suitable GPU, such as on a login node
DEFAULTS = {name: RunArguments.__dataclass_fields__[name].default for name in ("seed", "learning_rate")}


def _argv(flags: dict) -> tuple[str, ...]:
    return tuple(text for name, value in flags.items() for text in (f"--{name}", text_of(value)))


def _chosen(flag: str, known, wanted) -> list:
    """Return the known names that are wanted (None: all), in their order; raise InputError for unknown ones."""
    known = list(dict.fromkeys(known))
    unknown = [name for name in wanted or () if name not in known]
    if unknown:
        raise InputError(f"{flag} {unknown[0]}: not in this experiment; give {', '.join(map(repr, known))}")
    return [name for name in known if wanted is None or name in wanted]


def _chosen_models(models: tuple[Model, ...], wanted: dict[str, str | None] | None) -> list[Model]:
    """Return the wanted models with replaced checkpoints; one given for a row applies to all models in it."""
    _chosen("--models", [model.name for model in models], wanted)
    if wanted is None:
        return list(models)
    paths = {model.name: wanted.get(model.name, wanted.get(model.row)) or model.checkpoint for model in models}
    return [replace(m, checkpoint=paths[m.name]) for m in models if {m.name, m.row} & set(wanted)]


def _changed(method: Method, overrides: Overrides) -> Method:
    """Apply the overrides to a method: its flags and, if it has noise, the scale."""
    flags, grid = method.flags | overrides.method_flags.get(method.name, {}), dict(method.grid)
    if overrides.hype_eps is not None and "hype_type" in flags:
        flags["hype_eps"] = overrides.hype_eps
        grid.pop("hype_eps", None)
    return replace(method, flags=flags, grid=grid)


def _points(method: Method) -> dict[str, dict]:
    """Return a method's grid points as text -> flags; without a grid, a single point with empty text."""
    points = [dict(zip(method.grid, values, strict=True)) for values in itertools.product(*method.grid.values())]
    return {", ".join(f"{name} {value:g}" for name, value in point.items()): point for point in points}


@dataclass(frozen=True)
class Analysis:
    """The analysis of a finished run's model, with a record per target."""

    name: str
    targets: tuple[str, ...]
    folder: Path
    options: Options
    digests: tuple[str, ...]  # of each target's dev set

    def key(self, target: str) -> str:
        """Return the key of a target's record, which depends on the data."""
        count = self.options.max_eval_samples
        digest = self.digests[self.targets.index(target)][:8]
        return f"{self.name}-{target}{f'-first_{count}' if count else ''}-{digest}"

    def path(self, target: str) -> Path:
        """Return the file of a target's record, outside the run's folder because a run may be repeated."""
        return self.folder / f"{self.key(target)}.json"


@dataclass(frozen=True)
class RunSpec:
    """One run.

    Attributes:
        model, task, method: as in the experiment; `model` is the label shown in reports.
        variant: the grid point as text.
        data: which training examples: "all", "first 1,000" or "random 1,000".
        argv: the flags of main.py.
        folder: its name ends in the run_id that the run's record will have or, if its data come from the hub, in that
            hash with "hub" instead of theirs.
    """

    model: str
    task: str
    method: str
    variant: str
    learning_rate: float
    seed: int
    data: str
    argv: tuple[str, ...]
    folder: Path
    analysis: Analysis | None = None

    @property
    def key(self) -> str:
        """Return the end of the folder's name, which identifies the run among published ones."""
        return self.folder.name[-KEY_LENGTH:]

    @property
    def command(self) -> str:
        """Return the run as one shell command, relative to the root of the project."""
        return shlex.join(["python", "main.py", *self.argv])

    @property
    def absolute_command(self) -> str:
        """Return the same for any shell on this machine, with the current folder and this interpreter."""
        program = [str(MAIN)] if MAIN.is_file() else ["-m", "hype"]  # the latter if the project is installed
        return f"cd {shlex.quote(str(Path.cwd()))} && {shlex.join([sys.executable, *program, *self.argv])}"

    @property
    def flags(self) -> dict[str, str]:
        """Return the run's flags by name."""
        return {name.removeprefix("--"): value for name, value in zip(self.argv[::2], self.argv[1::2], strict=True)}

    @property
    def log_path(self) -> Path:
        """Return the file of the run's log, to which all attempts are appended."""
        return self.folder.parent.parent / "logs" / f"{self.folder.name}.log"

    @property
    def failure_path(self) -> Path:
        """Return the file that a failed attempt leaves behind."""
        return self.folder.parent.parent / "failures" / f"{self.folder.name}.json"


def expand(experiment: Experiment, overrides: Overrides | None = None, folder: Path = Path("outputs")) -> list[RunSpec]:
    """List the runs of an experiment. Runs that several experiments share have the same folder.

    Raises:
        InputError: a model, task, method or variant that the experiment does not have.
    """
    overrides = overrides or Overrides()
    models = _chosen_models(experiment.models, overrides.models)
    tasks = _chosen("--tasks", experiment.tasks, overrides.tasks)
    names = _chosen("--methods", [m.name for m in experiment.methods], overrides.methods)
    methods = [_changed(method, overrides) for method in experiment.methods if method.name in names]
    texts = [text for method in methods for text in _points(method) if text]
    variants = {"", *_chosen("--variants", texts, overrides.variants)}
    specs = []
    for task, model, method in itertools.product(tasks, models, methods):
        if model.tasks and task not in model.tasks:
            continue
        rates = overrides.learning_rates
        rates = rates.get(task) if isinstance(rates, dict) else rates
        rates = rates or sorted((*experiment.learning_rates, *model.more_learning_rates))
        for variant, point in _points(method).items():
            if variant not in variants:
                continue
            shared = _flags(experiment, overrides, task, model, method, point)
            arguments = parse(
                [*_argv({n: v for n, v in shared.items() if n not in GPU_FLAGS}), "--output_dir", "unset"]
            )
            content = _identity(arguments, shared, overrides.known)
            named_flags = {name: shared[name] for name in sorted(method.flags | point) if name in shared}
            for rate, seed in itertools.product(rates, overrides.seeds or experiment.seeds):
                own = {"learning_rate": rate, "seed": seed}
                end = run_id(content | {name: value for name, value in own.items() if value != DEFAULTS[name]})
                name = _folder_name(task, named_flags | {"lr": rate, "seed": seed}, end)
                spec = RunSpec(
                    model=overrides.model_label(model.row),
                    task=task,
                    method=method.name,
                    variant=variant,
                    learning_rate=rate,
                    seed=seed,
                    data=examples_text(arguments.data),
                    argv=_argv(shared | own | {"output_dir": str(folder / "runs" / name)}),
                    folder=folder / "runs" / name,
                    analysis=_analysis(experiment, overrides, task, folder / "analyses" / name),
                )
                specs.append(spec)
    return specs


def _flags(experiment: Experiment, overrides: Overrides, task: str, model: Model, method: Method, point: dict) -> dict:
    """Return the flags of a run without learning rate, seed and folder; those set to null are left out."""
    flags = {"model_name_or_path": model.checkpoint, "task_name": task} | experiment.flags[task]
    flags |= model.task_flags.get(task, {}) | method.flags | point | model.flags
    if overrides.max_train_samples is not None:
        flags["max_train_samples"] = min(overrides.max_train_samples, flags.get("max_train_samples", sys.maxsize))
    flags |= {"data_dir": overrides.data_dir_of(task), "save_model": bool(experiment.targets)} | overrides.flags
    return {name: value for name, value in flags.items() if value is not None}


def _folder_name(task: str, named_flags: dict, end: str) -> str:
    """Name a run's folder: the settings in safe characters, then the run_id that its record will have."""
    slug = "-".join([task, *(f"{name}_{text_of(value)}" for name, value in named_flags.items())])
    return f"{re.sub('[^A-Za-z0-9._-]', '_', slug)[:120]}-{end}"


def _identity(arguments: Arguments, flags: dict, known: Known | None) -> dict:
    """Return the identity of a grid point's runs, without the seed and learning rate, in which they differ."""
    splits = ["train", "validation", "validation_mismatched"]
    splits += ["test", "test_mismatched"] if arguments.training.do_predict else []
    hashes = {f"data.{split}": digest for split, digest in data_hashes(arguments.data, splits, known).items()}
    hashes |= model_hashes(arguments.model, known)
    on_gpus = {name: string_to_bool(text_of(flags[name])) for name in GPU_FLAGS if name in flags}
    return identity(arguments, hashes) | on_gpus


def _analysis(experiment: Experiment, overrides: Overrides, task: str, folder: Path) -> Analysis | None:
    if not experiment.targets:
        return None
    limit, targets = overrides.max_analysis_samples, tuple(experiment.targets[task])
    options = Options(overrides.data_dir, overrides.nli_dir, overrides.adv_file, max_eval_samples=limit)
    digests = tuple(_digest(experiment.analysis, target, overrides) for target in targets)
    return Analysis(experiment.analysis, targets, folder, options, digests)


def _digest(analysis: str | None, target: str, overrides: Overrides) -> str:
    """Return the hash of the set on which an analysis is done: AdvGLUE's, or a task's dev set."""
    limit = overrides.max_analysis_samples
    if analysis == "adversarial":
        return adversarial_hash(target, overrides.adv_file, limit, overrides.known)
    task = target.removesuffix("-mm")
    split = "validation" if task == target else "validation_mismatched"
    data = DataArguments(task, overrides.data_dir_of(task), max_eval_samples=limit)
    return data_hashes(data, [split], overrides.known)[split]
