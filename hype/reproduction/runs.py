"""Expand experiments into runs: a `RunSpec` is one run with its command line and its folder."""

import itertools
import json
import re
import shlex
import sys
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path

from hype.analysis import adversarial
from hype.analysis.record import Options
from hype.data.arguments import DataArguments
from hype.data.splits import load_splits
from hype.data.tasks import NLI_NAMES, nli_folder
from hype.errors import InputError
from hype.reproduction.experiments import Experiment, Method, Model, StudyModel, written
from hype.training.arguments import Arguments, ModelArguments, RunArguments, parse
from hype.training.record import identity, model_fingerprints, run_id

MAIN = Path(__file__).resolve().parents[2] / "main.py"
KEY_LENGTH = 16  # of a run_id
HUB, UNREADABLE = "hub", "unreadable"  # stand-in fingerprints for data that are not on this machine, or damaged
GPU_FLAGS = ("tf32",)  # transformers refuses them without a suitable GPU, such as on a login node
HASHED = ("model_name_or_path", "tokenizer_name", "config_name", "checkpoint_dir")  # identified by their content
DEFAULTS = {name: RunArguments.__dataclass_fields__[name].default for name in ("seed", "learning_rate")}


@dataclass(frozen=True)
class Known:
    """Hashes of a study's model and data, so that its records can be found without either.

    data: name (see `data_name`) -> split -> hash.
    """

    model: StudyModel
    data: dict[str, dict[str, str]]


@dataclass(frozen=True)
class Overrides:
    """Settings that replace those of an experiment. None: as in the experiment.

    Attributes:
        models: name -> path or hub name that replaces its checkpoint, or None to keep it.
        variants: grid points as text ("hype_eps 1e-05"), for the methods that have a grid.
        learning_rates: for every task, or task -> rates.
        hype_eps: the scale of all noise.
        method_flags: method -> flags that replace its own, such as layer counts for a model of another depth.
        flags: additional flags for every run.
        known: the model and data of a study.
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
    data_dir: str | None = None
    nli_dir: str | None = None
    adv_file: str | None = None
    method_flags: dict[str, dict] = field(default_factory=dict)
    flags: dict = field(default_factory=dict)
    known: Known | None = None

    def data_dir_of(self, task: str) -> str | None:
        """Return the folder of a task's data; None: the hub."""
        return nli_folder(self.nli_dir, self.data_dir) if task in NLI_NAMES else self.data_dir

    def model_label(self, row: str) -> str:
        """Return the label of a row's model, with the checkpoint that replaces the experiment's."""
        if self.known:
            return self.known.model.name
        path = (self.models or {}).get(row)
        if path and Path(path).is_dir():
            path = "/".join(Path(path).resolve().parts[-2:])
        return f"{path} for {written(row)}" if path else written(row)

    def text(self, experiment: Experiment) -> str:
        """Describe how the runs differ from the experiment's; "" if they do not."""
        parts = []
        if self.models and (any(self.models.values()) or not set(self.models) >= set(experiment.rows)):
            parts.append(f"model {', '.join(map(self.model_label, self.models))}")
        own = {"tasks": experiment.tasks, "methods": [m.name for m in experiment.methods], "seeds": experiment.seeds}
        for name in ("tasks", "methods", "seeds", "variants", "learning_rates"):
            values = getattr(self, name)
            if values is not None and set(values) != set(own.get(name, ())):
                parts.append(f"{name.replace('_', ' ')} {_listed(values)}")
        parts += [f"{written(name)} with {_flags_text(flags)}" for name, flags in self.method_flags.items()]
        if self.hype_eps is not None:
            parts.append(f"noise of {self.hype_eps:g}")
        is_random = any(flags.get("low_resource") for flags in experiment.flags.values())  # 1,000 examples
        if self.max_train_samples is not None and not (is_random and self.max_train_samples >= 1000):
            which = "" if is_random else "the first "
            parts.append(f"at most {which}{self.max_train_samples:,} training examples")
        if self.max_analysis_samples is not None:
            parts.append(f"analysed on the first {self.max_analysis_samples:,} examples of each set")
        return "; ".join(parts + ([_flags_text(self.flags)] if self.flags else []))


def _listed(values) -> str:
    """Format 42, 43, 44 as 42-44, and values per task after the task's name."""
    if isinstance(values, dict):
        return ", ".join(f"{written(name)} {_listed(own)}" for name, own in values.items())
    if len(values) > 2 and isinstance(values[0], int) and list(values) == [*range(values[0], values[-1] + 1)]:
        return f"{values[0]}-{values[-1]}"
    return ", ".join(written(value) if isinstance(value, str) else f"{value:g}" for value in values)


def _flags_text(flags: dict) -> str:
    return ", ".join(f"--{name} {_text_of(value)}" for name, value in flags.items())


def _text_of(value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _argv(flags: dict) -> tuple[str, ...]:
    return tuple(text for name, value in flags.items() for text in (f"--{name}", _text_of(value)))


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
        folder: its name ends in the run_id of the run's record.
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
        """Return the run_id, which identifies the run among published ones: the end of its folder's name."""
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
            told = {name: shared[name] for name in sorted(method.flags | point)}
            for rate, seed in itertools.product(rates, overrides.seeds or experiment.seeds):
                own = {"learning_rate": rate, "seed": seed}
                end = run_id(content | {name: value for name, value in own.items() if value != DEFAULTS[name]})
                name = _folder_name(task, told | {"lr": rate, "seed": seed}, end)
                spec = RunSpec(
                    model=overrides.model_label(model.row),
                    task=task,
                    method=method.name,
                    variant=variant,
                    learning_rate=rate,
                    seed=seed,
                    data=_examples(arguments.data),
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


def _folder_name(task: str, told: dict, end: str) -> str:
    """Name a run's folder: the settings in safe characters, then the run_id that its record will have."""
    slug = "-".join([task, *(f"{name}_{_text_of(value)}" for name, value in told.items())])
    return f"{re.sub('[^A-Za-z0-9._-]', '_', slug)[:120]}-{end}"


def _identity(arguments: Arguments, flags: dict, known: Known | None) -> dict:
    """Return the identity of a grid point's runs, without the seed and learning rate, in which they differ."""
    splits = ["train", "validation", "validation_mismatched"]
    splits += ["test", "test_mismatched"] if arguments.training.do_predict else []
    hashes = {f"data.{split}": digest for split, digest in _data_hashes(arguments.data, splits, known).items()}
    hashes |= _model_hashes(arguments.model, known)
    on_gpus = {name: _text_of(flags[name]) == "true" for name in GPU_FLAGS if name in flags}
    return identity(arguments, hashes) | on_gpus


def _agreed(what: str, found: dict[str, str], stated: dict[str, str] | None) -> dict[str, str]:
    """Return the hashes that a study states or, without a study, those found.

    Raises:
        InputError: those found are not the study's.
    """
    for name, digest in found.items() if stated is not None else ():
        if stated.get(name) != digest:
            raise InputError(
                f"{what}, {name}: not what the study used (sha256 {digest[:12]}, expected "
                f"{stated.get(name, 'none')[:12]}); run its experiments one by one instead"
            )
    return found if stated is None else stated


def _model_hashes(model: ModelArguments, known: Known | None) -> dict[str, str]:
    names = {flag: getattr(model, flag) for flag in HASHED}
    if known is None:
        return _hashes_of_model(**names)
    stated = {"model": known.model.model, "tokenizer": known.model.tokenizer}
    name = model.model_name_or_path
    return _agreed(name, _hashes_of_model(**names) if Path(name).is_dir() else {}, stated)


@cache
def _hashes_of_model(**names: str | None) -> dict[str, str]:
    return model_fingerprints(ModelArguments(**names))


def _examples(data: DataArguments) -> str:
    """Describe which training examples are used."""
    if data.low_resource:
        return f"random {min(1000, data.max_train_samples or 1000):,}"
    return f"first {data.max_train_samples:,}" if data.max_train_samples else "all"


def data_name(data: DataArguments) -> str:
    """Name the examples of a run: "cola", "cola, first 1000", "cola, random 1000", "cola, dev first 100"."""
    parts = [data.task_name, _examples(data).replace(",", "").removeprefix("all")]
    return ", ".join(filter(None, [*parts, data.max_eval_samples and f"dev first {data.max_eval_samples}"]))


def _data_hashes(data: DataArguments, splits: list[str], known: Known | None) -> dict[str, str]:
    """Return the hash of each of these splits that exists; for a study, those it states, even without the data."""
    is_here = data.data_dir is not None and Path(data.data_dir).is_dir()
    name, stated = data_name(data), None
    if known is not None:
        if name not in known.data:
            raise InputError(f"{name}: the study has no such data; it has {'; '.join(known.data)}")
        stated = {split: digest for split, digest in known.data[name].items() if split in splits}
    found = {} if known else dict.fromkeys(splits[:2], HUB)
    if is_here:
        found = _read_hashes(json.dumps(asdict(data)), tuple(stated or splits))
    return _agreed(f"{data.data_dir}, {name}", found, stated)


@cache
def _read_hashes(data: str, splits: tuple[str, ...]) -> dict[str, str]:
    try:
        return load_splits(DataArguments(**json.loads(data)), splits).fingerprint
    except InputError:  # the run will report the error; other tasks are not affected
        return dict.fromkeys(splits, UNREADABLE)


def _analysis(experiment: Experiment, overrides: Overrides, task: str, folder: Path) -> Analysis | None:
    if not experiment.targets:
        return None
    limit, targets = overrides.max_analysis_samples, tuple(experiment.targets[task])
    options = Options(overrides.data_dir, overrides.nli_dir, overrides.adv_file, max_eval_samples=limit)
    digest = _digest_of_adversarial if experiment.analysis == "adversarial" else _digest_of_dev_set
    return Analysis(experiment.analysis, targets, folder, options, tuple(digest(t, overrides) for t in targets))


def _digest_of_dev_set(target: str, overrides: Overrides) -> str:
    task = target.removesuffix("-mm")
    split = "validation" if task == target else "validation_mismatched"
    data = DataArguments(task, overrides.data_dir_of(task), max_eval_samples=overrides.max_analysis_samples)
    return _data_hashes(data, [split], overrides.known)[split]


def _digest_of_adversarial(target: str, overrides: Overrides) -> str:
    path, known = overrides.adv_file, overrides.known
    found = {} if known else {"validation": HUB}
    if path is not None and Path(path).is_file():
        found = _hashes_of_adversarial(path, target, overrides.max_analysis_samples)
    return _agreed(str(path), found, known and known.data[f"advglue {target}"])["validation"]


@cache
def _hashes_of_adversarial(path: str, target: str, limit: int | None) -> dict[str, str]:
    splits, _ = adversarial.read(target, Options(adv_file=path, max_eval_samples=limit))
    return splits.fingerprint
