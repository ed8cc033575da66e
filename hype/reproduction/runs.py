"""From an experiment to its runs: a `RunSpec` is one run, with its command line and its folder."""

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
from hype.training.arguments import ModelArguments, RunArguments, parse
from hype.training.record import identity, model_fingerprints, run_id

MAIN = Path(__file__).resolve().parents[2] / "main.py"
KEY_LENGTH = 16  # of a run_id
HUB, UNREADABLE = "hub", "unreadable"  # fingerprints of data that are not on this machine, or damaged
GPU_FLAGS = ("tf32",)  # transformers refuses them where there is no such GPU, such as on a login node
DEFAULTS = {name: RunArguments.__dataclass_fields__[name].default for name in ("seed", "learning_rate")}


@dataclass(frozen=True)
class Known:
    """The model and the data of a study, so that its records are found where neither is at hand.

    data: name (see `data_name`) -> split -> hash.
    """

    model: StudyModel
    data: dict[str, dict[str, str]]

    def check(self, what: str, expected: dict[str, str], found: dict[str, str]) -> dict[str, str]:
        """Return the expected hashes.

        Raises:
            InputError: what is at hand has others.
        """
        for name, digest in found.items():
            if expected.get(name) != digest:
                raise InputError(
                    f"{what}, {name}: not what the study was made with (sha256 {digest[:12]}, not "
                    f"{expected.get(name, 'known')[:12]}); reproduce its experiments one by one instead"
                )
        return expected


@dataclass(frozen=True)
class Overrides:
    """What is asked for in the place of an experiment's own settings. None: as in the experiment.

    Attributes:
        models: name -> a path or hub name in the place of its checkpoint, or None for its own. Names of a model's
            other starts (base-mnli) may be given, too.
        variants: grid points by their text ("hype_eps 1e-05"), of the methods that have a grid.
        learning_rates: of every task, or task -> its own.
        hype_eps: the scale of all noise.
        method_flags: method -> flags in the place of its own, such as numbers of layers for a model of another depth.
        flags: further flags of every run.
        known: of a study.
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

    def learning_rates_of(self, task: str) -> tuple[float, ...] | None:
        """Return the learning rates of a task's runs; None: the experiment's."""
        rates = self.learning_rates
        return rates.get(task) if isinstance(rates, dict) else rates

    def data_dir_of(self, task: str) -> str | None:
        """Return the folder of a task's data; None: the hub."""
        return nli_folder(self.nli_dir, self.data_dir) if task in NLI_NAMES else self.data_dir

    def model_label(self, name: str) -> str:
        """Name a row's model as what it is: the one that is read in the place of the experiment's."""
        if self.known:
            return self.known.model.name
        path = (self.models or {}).get(name)
        return f"{_short(path)} for {written(name)}" if path else written(name)


def _short(path: str) -> str:
    """Shorten the path of a folder to its last two parts; a hub name stays."""
    return "/".join(Path(path).resolve().parts[-2:]) if Path(path).is_dir() else path


def overrides_text(experiment: Experiment, overrides: Overrides) -> str:
    """Say what is asked for in the place of the experiment's own settings; "" where it is the paper's."""
    models = chosen_models(experiment, overrides.models)
    full = {
        "tasks": experiment.tasks, "methods": [method.name for method in experiment.methods],
        "seeds": experiment.seeds, "variants": None, "learning_rates": None,
    }  # fmt: skip
    parts = []
    if overrides.models and (any(overrides.models.values()) or len(models) < len(experiment.models)):
        parts.append(f"model {', '.join(map(overrides.model_label, overrides.models))}")
    for name, values in full.items():
        kept = getattr(overrides, name)
        if kept is not None and (values is None or set(kept) != set(values)):
            parts.append(f"{name.replace('_', ' ')} {_listed(kept)}")
    for name, flags in overrides.method_flags.items():
        parts.append(f"{written(name)} with {_flags_text(flags)}")
    if overrides.hype_eps is not None:
        parts.append(f"noise of {overrides.hype_eps:g}")
    if overrides.max_train_samples is not None and not experiment.flags.get("low_resource"):
        parts.append(f"at most the first {overrides.max_train_samples:,} training examples")
    if overrides.max_analysis_samples is not None:
        parts.append(f"analysed on the first {overrides.max_analysis_samples:,} examples of each set")
    return "; ".join(parts + ([_flags_text(overrides.flags)] if overrides.flags else []))


def _flags_text(flags: dict) -> str:
    return ", ".join(f"--{name} {_text_of(value)}" for name, value in flags.items())


def _listed(values) -> str:
    """Write 42, 43, 44 as 42-44, and a task's own values after its name."""
    if isinstance(values, dict):
        return ", ".join(f"{written(name)} {_listed(own)}" for name, own in values.items())
    if len(values) > 2 and isinstance(values[0], int) and list(values) == [*range(values[0], values[-1] + 1)]:
        return f"{values[0]}-{values[-1]}"
    return ", ".join(written(value) if isinstance(value, str) else f"{value:g}" for value in values)


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


def _changed(method: Method, overrides: Overrides) -> Method:
    """Give a method its other flags, and the noise of one that has any another scale."""
    flags, grid = method.flags | overrides.method_flags.get(method.name, {}), dict(method.grid)
    if overrides.hype_eps is not None and "hype_type" in flags:
        flags["hype_eps"] = overrides.hype_eps
        grid.pop("hype_eps", None)
    return replace(method, flags=flags, grid=grid)


def points_of(method: Method, wanted: tuple[str, ...] | None = None) -> list[dict]:
    """List a method's grid, a dict of flags for each point, or what of it is wanted; without a grid: one empty dict."""
    points = [dict(zip(method.grid, values, strict=True)) for values in itertools.product(*method.grid.values())]
    return [p for p in points if wanted is None or not p or variant_text(p) in wanted]


def variant_text(point: dict) -> str:
    """Name a grid point for people."""
    return ", ".join(f"{name} {value:g}" for name, value in point.items())


@dataclass(frozen=True)
class Analysis:
    """What is computed from a finished run's model: a record for each target. options: see `hype.analysis.record`."""

    name: str
    targets: tuple[str, ...]
    folder: Path
    options: tuple[tuple[str, str | int | None], ...]
    digests: tuple[str, ...]  # of the dev set of each target

    def key(self, target: str) -> str:
        """Name the record of a target, by its data too."""
        count = dict(self.options).get("max_eval_samples")
        digest = self.digests[self.targets.index(target)][:8]
        return f"{self.name}-{target}{f'-first_{count}' if count else ''}-{digest}"

    def path(self, target: str) -> Path:
        """Return the file of a target's record. It lies apart from the run, which may be done again."""
        return self.folder / f"{self.key(target)}.json"


@dataclass(frozen=True)
class RunSpec:
    """One run.

    Attributes:
        model, task, method: as an experiment names them, `model` as a report does.
        variant: the grid point for people.
        data: which training examples: "all", "first 1,000" or "random 1,000".
        argv: for main.py.
        folder: its name ends in the run_id of the run's record.
        keeps_model: asked for; an analysis needs the model, too, until it is made.
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
    keeps_model: bool = False
    analysis: Analysis | None = None

    @property
    def key(self) -> str:
        """Return what names the run among published ones: the end of its folder's name, the run_id."""
        return self.folder.name[-KEY_LENGTH:]

    @property
    def command(self) -> str:
        """Return the run as one line for a shell, from the root of the project."""
        return shlex.join(["python", "main.py", *self.argv])

    @property
    def absolute_command(self) -> str:
        """Return the same for any shell on this machine: from this folder, with this interpreter."""
        program = [str(MAIN)] if MAIN.is_file() else ["-m", "hype"]  # the latter where the project is installed
        return f"cd {shlex.quote(str(Path.cwd()))} && {shlex.join([sys.executable, *program, *self.argv])}"

    @property
    def flags(self) -> dict[str, str]:
        """Return the run's flags by name."""
        return {name.removeprefix("--"): value for name, value in zip(self.argv[::2], self.argv[1::2], strict=True)}

    def _beside(self, kind: str, suffix: str) -> Path:
        return self.folder.parent.parent / kind / f"{self.folder.name}{suffix}"

    @property
    def log_path(self) -> Path:
        """Return the file of the run's log, to which all attempts are appended."""
        return self._beside("logs", ".log")

    @property
    def failure_path(self) -> Path:
        """Return the file that a failed attempt leaves."""
        return self._beside("failures", ".json")


def expand(
    experiment: Experiment, overrides: Overrides | None = None, folder: Path = Path("outputs"), keep_models=False
) -> list[RunSpec]:
    """List the runs of an experiment. Runs that several experiments share have the same folder.

    Raises:
        InputError: a model, task, method or variant that the experiment does not have.
    """
    overrides = overrides or Overrides()
    models = chosen_models(experiment, overrides.models)
    tasks = chosen("--tasks", experiment.tasks, overrides.tasks)
    method_names = chosen("--methods", [m.name for m in experiment.methods], overrides.methods)
    methods = [_changed(m, overrides) for m in experiment.methods if m.name in method_names]
    chosen("--variants", dict.fromkeys(variant_text(p) for m in methods for p in points_of(m) if p), overrides.variants)
    specs = []
    for model, task, method in itertools.product(models, tasks, methods):
        full = tuple(sorted((*experiment.learning_rates, *model.more_learning_rates)))
        runs = list(itertools.product(overrides.learning_rates_of(task) or full, overrides.seeds or experiment.seeds))
        for point in points_of(method, overrides.variants):
            shared = _flags(experiment, overrides, model, task, method, point)
            shared["save_model"] = keep_models or bool(experiment.targets)
            content = _identity(shared, overrides.known)
            told = {name: shared[name] for name in sorted(method.flags | point)}
            names = (overrides.model_label(model.name), task, method.name, variant_text(point))
            for rate, seed in runs:
                own = {"learning_rate": rate, "seed": seed}
                end = run_id(content | {name: value for name, value in own.items() if value != DEFAULTS[name]})
                name = _folder_name(task, told | {"lr": rate, "seed": seed}, end)
                flags = shared | own | {"output_dir": str(folder / "runs" / name)}
                analysis = _analysis(experiment, overrides, task, folder / "analyses" / name)
                specs.append(
                    RunSpec(
                        *names,
                        rate,
                        seed,
                        _data_text(flags),
                        _argv(flags),
                        folder / "runs" / name,
                        keep_models,
                        analysis,
                    )
                )
    return specs


def _flags(experiment: Experiment, overrides: Overrides, model: Model, task: str, method: Method, point: dict) -> dict:
    """Return the flags of a run without learning rate, seed and folder; those set to null are left out."""
    flags = {"model_name_or_path": model.checkpoints[model.checkpoint_name(task)], "task_name": task}
    flags |= experiment.default_flags | experiment.task_flags.get(task, {}) | experiment.flags
    flags |= experiment.family_flags.get(model.family, {}).get(task, {}) | method.flags | point
    if model.checkpoint_name(task) != model.name:
        flags["ignore_mismatched_sizes"] = True
    if overrides.max_train_samples is not None:
        flags["max_train_samples"] = min(overrides.max_train_samples, flags.get("max_train_samples", sys.maxsize))
    if (data_dir := overrides.data_dir_of(task)) is not None:
        flags["data_dir"] = data_dir
    flags |= overrides.flags
    return {name: value for name, value in flags.items() if value is not None}


def _argv(flags: dict) -> tuple[str, ...]:
    return tuple(text for name, value in flags.items() for text in (f"--{name}", _text_of(value)))


def _text_of(value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)


def _data_text(flags: dict) -> str:
    limit = flags.get("max_train_samples")
    if flags.get("low_resource"):
        return f"random {min(1000, limit or 1000):,}"
    return "all" if limit is None else f"first {limit:,}"


def _folder_name(task: str, told: dict, end: str) -> str:
    """Name a run's folder for people (a whitelist of characters), and by the run_id that its record will have."""
    slug = "-".join([task, *(f"{name}_{_text_of(value)}" for name, value in told.items())])
    return f"{re.sub('[^A-Za-z0-9._-]', '_', slug)[:120]}-{end}"


def _identity(flags: dict, known: Known | None) -> dict:
    """Return the identity of a grid point's runs, without the seed and learning rate in which they differ."""
    argv = _argv({name: value for name, value in flags.items() if name not in GPU_FLAGS})
    arguments = parse([*argv, "--output_dir", "unset"])
    splits = ["train", "validation", "validation_mismatched"]
    splits += ["test", "test_mismatched"] if arguments.training.do_predict else []
    data = _hashes_of_splits(arguments.data, splits, known)
    hashes = {f"data.{split}": digest for split, digest in data.items()}
    hashes |= _model_hashes(arguments.model.model_name_or_path, known)
    on_gpus = {name: _text_of(flags[name]) == "true" for name in GPU_FLAGS if name in flags}
    return identity(arguments, hashes) | on_gpus


def _model_hashes(name: str, known: Known | None) -> dict[str, str]:
    if known is None:
        return _hashes_of_model(name)
    expected = {"model": known.model.model, "tokenizer": known.model.tokenizer}
    path = Path(name).expanduser()
    return known.check(str(path), expected, _hashes_of_model(str(path)) if path.is_dir() else {})


@cache
def _hashes_of_model(name: str) -> dict[str, str]:
    return model_fingerprints(ModelArguments(model_name_or_path=name))


def data_name(data: DataArguments) -> str:
    """Name the examples of a run: "cola", "cola, first 1000", "cola, random 1000"; and so the first of a dev set."""
    drawn = min(1000, data.max_train_samples or 1000) if data.low_resource else None
    first = None if data.low_resource else data.max_train_samples
    parts = [
        data.task_name, drawn and f"random {drawn}", first and f"first {first}",
        data.max_eval_samples and f"dev first {data.max_eval_samples}",
    ]  # fmt: skip
    return ", ".join(filter(None, parts))


def _hashes_of_splits(data: DataArguments, splits: list[str], known: Known | None) -> dict[str, str]:
    """Return the hash of each of these splits that a task has; a study's, whether its data are at hand or not."""
    is_here = data.data_dir is not None and Path(data.data_dir).is_dir()
    if known is None:
        return _read_hashes(json.dumps(asdict(data)), tuple(splits)) if is_here else dict.fromkeys(splits[:2], HUB)
    name = data_name(data)
    if name not in known.data:
        raise InputError(f"{name}: the study has no such data; it has {'; '.join(known.data)}")
    expected = {split: digest for split, digest in known.data[name].items() if split in splits}
    found = _read_hashes(json.dumps(asdict(data)), tuple(expected)) if is_here else {}
    return known.check(f"{data.data_dir}, {name}", expected, found)


@cache
def _read_hashes(data: str, splits: tuple[str, ...]) -> dict[str, str]:
    try:
        return load_splits(DataArguments(**json.loads(data)), splits).fingerprint
    except InputError:  # the run will say what is wrong; those of other tasks are none the worse
        return dict.fromkeys(splits, UNREADABLE)


def _analysis(experiment: Experiment, overrides: Overrides, task: str, folder: Path) -> Analysis | None:
    if not experiment.targets:
        return None
    options = {name: getattr(overrides, name) for name in ("data_dir", "nli_dir", "adv_file")}
    options["max_eval_samples"] = overrides.max_analysis_samples
    targets = tuple(experiment.targets[task])
    digests = tuple(_digest_of_target(experiment.analysis, target, overrides) for target in targets)
    return Analysis(experiment.analysis, targets, folder, tuple(options.items()), digests)


def _digest_of_target(analysis: str, target: str, overrides: Overrides) -> str:
    """Return the hash of the dev set of an analysis."""
    known = overrides.known
    if analysis == "adversarial":
        path = overrides.adv_file
        is_here = path is not None and Path(path).is_file()
        found = {"validation": _hash_of_adversarial(path, target, overrides.max_analysis_samples)} if is_here else {}
        if known is None:
            return found.get("validation", HUB)
        return known.check(str(path), known.data[f"advglue {target}"], found)["validation"]
    split = "validation_mismatched" if target.endswith("-mm") else "validation"
    task = target.removesuffix("-mm")
    data = DataArguments(task, overrides.data_dir_of(task), max_eval_samples=overrides.max_analysis_samples)
    return _hashes_of_splits(data, [split], known)[split]


@cache
def _hash_of_adversarial(path: str, target: str, limit: int | None) -> str:
    splits, _ = adversarial.read(target, Options(adv_file=path, max_eval_samples=limit))
    return splits.fingerprint["validation"]
