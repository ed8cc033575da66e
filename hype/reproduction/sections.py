"""What a command line requests: an experiment, or the sections of a study, with their runs as a table."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from hype.data.tasks import nli_folder, sample_text
from hype.errors import InputError
from hype.packaged import packaged_model
from hype.reproduction.experiments import CONTROL, VANILLA, Experiment, Study, StudySection, load, written
from hype.reproduction.hashes import Known
from hype.reproduction.overrides import Overrides
from hype.reproduction.runs import RunSpec, expand
from hype.reproduction.statistics import GRID_POINT, best_rates, scale_text, selected, summarised
from hype.reproduction.status import FINISHED, State, state_of

# Placeholders for the data of a study that is shown but not run, so that reports contain no local paths.
PLACES = {"data_dir": "path/to/glue_data", "nli_dir": "path/to/nli_data", "adv_file": "path/to/adv_glue/dev.json"}
PLACE_OF = {"transfer": "nli_dir", "adversarial": "adv_file"}  # analysis -> the path it needs besides data_dir
RUN_COLUMNS = [
    "model", "data", "task", "method", "variant", "learning_rate", "seed", "status", "score", "majority", "dev_score",
    "collapsed", "predictions", "hype_type", "hype_eps", "device", "train_s", "key", "command",
]  # fmt: skip


@dataclass(frozen=True)
class Section:
    """One experiment with its overrides, its runs and their states.

    Attributes:
        name: of a study's section, or of the experiment.
        states: the runs with the state of each; empty while the section waits.
        waits_for: what must finish before the learning rates are known; "" if they are known.
        planned: the waiting runs, with placeholders for the learning rates to be chosen.
    """

    name: str
    title: str
    experiment: Experiment
    overrides: Overrides
    states: dict[RunSpec, State]
    text: str = ""
    waits_for: str = ""
    planned: tuple[RunSpec, ...] = ()

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row for each run (see RUN_COLUMNS), scores x 100; in tables 6 and 7, one for each run and set."""
        rows = []
        for spec, state in self.states.items():
            targets = spec.analysis.targets if self.experiment.is_scored_elsewhere else (None,)
            rows += [_row(self.experiment, spec, state, target) for target in targets]
        runs = pd.DataFrame(rows, columns=RUN_COLUMNS)
        return runs.assign(**{name: 100 * runs[name].astype(float) for name in ("score", "majority", "dev_score")})

    @cached_property
    def summary(self) -> pd.DataFrame:
        """A row for each grid point, see `statistics.summarised`."""
        return summarised(self.runs)

    @property
    def tasks(self) -> list[str]:
        return list(self.runs["task"].unique())

    @property
    def methods(self) -> list[str]:
        return [m.name for m in self.experiment.methods if m.name in set(self.runs["method"])]

    def counterpart(self, method: str) -> str:
        """Return a method's reference: vanilla or, if it runs without hidden dropout, the control without dropout."""
        flags = {m.name: m.flags for m in self.experiment.methods}
        has_dropout = flags[method].get("dropout_rate") == flags[VANILLA]["dropout_rate"]
        return VANILLA if has_dropout or CONTROL not in self.methods else CONTROL

    @property
    def notes(self) -> list[str]:
        """The notes on the experiment and on those of its models that are not replaced."""
        replaced = {name for name, path in (self.overrides.models or {}).items() if path}
        models = [m.note for m in self.experiment.models if m.note and m.name not in replaced]
        return [*self.experiment.notes, *models]

    @property
    def differences(self) -> str:
        """How the section differs from the paper's experiment; "" if it does not."""
        return self.overrides.text(self.experiment)

    @property
    def sample(self) -> str:
        """A description of the training and analysis data if they are samples rather than the benchmarks."""
        sets = [target.removesuffix("-mm") for of_task in self.experiment.targets.values() for target in of_task]
        folders = {self.overrides.data_dir_of(name) for name in (*self.experiment.tasks, *sets)}
        return " ".join(dict.fromkeys(filter(None, map(sample_text, sorted(filter(None, folders))))))

    @cached_property
    def layers(self) -> pd.DataFrame:
        """A row for each finished run of a selected grid point, analysed set and layer (figures 3 and 4), x 100."""
        best = set(selected(self.summary)[GRID_POINT].itertuples(index=False, name=None))
        rows = [
            (*point, spec.seed, self.experiment.analysis, target, layer, score)
            for spec, state in self.states.items()
            if (point := tuple(getattr(spec, name) for name in GRID_POINT)) in best
            for target, record in state.analyses.items()
            for layer, score in enumerate(record["results"].get("layers", ()))
        ]
        layers = pd.DataFrame(rows, columns=[*GRID_POINT, "seed", "analysis", "target", "layer", "score"])
        return layers.assign(score=100 * layers["score"].astype(float))


def _row(experiment: Experiment, spec: RunSpec, state: State, target: str | None) -> list:
    record = state.record or {}
    model, task, status = spec.model, spec.task, FINISHED if record else state.status
    score, majority, predictions = (record.get(name) for name in ("score", "majority_score", "predictions"))
    # A regression that predicts a single value has no score.
    is_collapsed = len(set(predictions)) == 1 if predictions else bool(record) and score is None
    dev_score = score
    if target is not None:
        model, task = _model_name(experiment, spec), target
        analysis = state.analyses.get(target)
        score = analysis and analysis["results"]["accuracy"]
        status = FINISHED if analysis else state.status
        majority = predictions = None
    flags, timings = spec.flags, record.get("timings", {})
    is_noisy = "hype_type" in flags
    return [
        model, spec.data, task, spec.method, spec.variant, spec.learning_rate, spec.seed,
        status, score, majority, dev_score, is_collapsed, predictions,
        flags.get("hype_type", "none"), float(flags.get("hype_eps", 1e-5)) if is_noisy else float("nan"),
        str(record.get("machine", {}).get("device")), None if "first_step" in timings else timings.get("train_s"),
        spec.key, spec.command,
    ]  # fmt: skip


def _model_name(experiment: Experiment, spec: RunSpec) -> str:
    """Return the model's name, with the training set if models of several are scored on one set (table 7)."""
    others = [t for other, sets in experiment.targets.items() if other != spec.task for t in sets]
    is_ambiguous = set(others) & set(experiment.targets[spec.task])
    return f"{spec.model}, trained on {written(spec.task)}" if is_ambiguous else spec.model


def section_of(
    experiment: Experiment, overrides: Overrides, folder: Path, published: dict | None = None, **more
) -> Section:
    """Expand an experiment and read the states of its runs.

    Args:
        more: fields of `Section` that replace the experiment's.

    Raises:
        InputError: unknown names, or methods or grid points that would share a run.
    """
    count = overrides.max_analysis_samples
    if count is not None and not experiment.targets:
        raise InputError(f"--max_analysis_samples {count}: {experiment.name} has no analysis; leave it out")
    specs = expand(experiment, overrides, folder)
    points: dict[tuple, list[str]] = {}
    for spec in specs:
        points.setdefault((spec.model, spec.folder), []).append(f"{spec.method} {spec.variant}".strip())
    same = next((names for names in points.values() if len(names) > 1), None)
    if same:
        cause = f"--hype_eps {overrides.hype_eps:g}" if overrides.hype_eps else "this set of flags"
        remedy = "keep one of them with --methods or --variants"
        raise InputError(f"{cause} makes {', '.join(map(repr, same))} identical; {remedy}")
    title = f"{experiment.name.replace('_', ' ').capitalize()}: {experiment.title}"
    fields = {"name": experiment.name, "title": title} | more
    states = {spec: state_of(spec, published) for spec in specs}
    return Section(experiment=experiment, overrides=overrides, states=states, **fields)


def study_sections(
    study: Study,
    folder: Path,
    published: dict[str, dict],
    wanted: list[str] | None = None,
    places: dict[str, str | None] | None = None,
    models: dict[str, str] | None = None,
    flags: dict | None = None,
) -> list[Section]:
    """Return the sections of a study with their runs.

    Args:
        wanted: names of sections; None: all.
        places: data_dir, nli_dir and adv_file (each may be None); None: nothing will be run.
        models: key of the study's models -> its folder; others are fetched if a section needs them to run.
        flags: further flags of every run.

    Raises:
        InputError: an unknown section, data or a model other than the study's, or no path to data that a run needs.
    """
    names = [entry.name for entry in study.sections]
    unknown = [name for name in wanted or () if name not in names]
    if unknown:
        raise InputError(f"--sections {unknown[0]}: {study.name} has {', '.join(names)}")
    given = {**PLACES}
    if places is not None:
        if places["data_dir"] is None:
            raise InputError(
                f"--data_dir: {study.name} needs the GLUE folder that it was run with; give it, or set GLUE_DIR"
            )
        places = places | {"nli_dir": nli_folder(places["nli_dir"], places["data_dir"])}
        given |= {name: place for name, place in places.items() if place}
    found = []
    for entry in study.sections:
        if wanted and entry.name not in wanted:
            continue
        rates, waits_for = {}, ""
        if entry.rates_of:
            (base,) = study_sections(study, folder, published, [entry.rates_of], None, models, flags=flags)
            rates, waits_for = _chosen_rates(entry, base)
        model = study.models[entry.model]
        path = (models or {}).get(entry.model)
        if path is None:
            path = packaged_model(model.name) if places is not None and not waits_for else f"path/to/{model.name}"
        overrides = _overrides(entry, Known(model, study.data), path, given, rates, flags)
        experiment = load(entry.experiment)
        more = {"name": entry.name, "title": entry.title, "text": entry.text, "waits_for": waits_for}
        if waits_for:
            planned = tuple(expand(experiment, overrides, folder))
            overrides = replace(overrides, learning_rates=None)
            found.append(Section(experiment=experiment, overrides=overrides, states={}, planned=planned, **more))
        else:
            found.append(section_of(experiment, overrides, folder, published, **more))
        place, statuses = PLACE_OF.get(experiment.analysis), {state.status for state in found[-1].states.values()}
        if places is not None and place and not places[place] and statuses - {FINISHED}:
            raise InputError(f"--{place}: section {entry.name} needs it; give it, or leave that out with --sections")
    return found


def _chosen_rates(entry: StudySection, base: Section) -> tuple[dict[str, tuple[float, ...]], str]:
    """Return each task's learning rate, and what is missing to determine them."""
    chosen, tasks = best_rates(base.runs), entry.overrides.get("tasks", base.tasks)
    if chosen is None or not set(tasks) <= set(chosen):
        return dict.fromkeys(base.tasks, (1e-4,)), f"the runs of {base.name}"
    edges = [f"{written(task)} {chosen[task][0]:g}" for task in tasks if chosen[task][1]]
    reason = f"{base.name} with further learning rates: the best is at the edge of its grid ({', '.join(edges)})"
    return {task: (rate,) for task, (rate, _) in chosen.items()}, reason if edges else ""


def _overrides(entry: StudySection, known: Known, model: str, places: dict, rates: dict, flags: dict | None):
    """Build a section's overrides from its JSON; the model replaces the experiment's first one."""
    content = entry.overrides | {"flags": entry.overrides.get("flags", {}) | (flags or {})}
    if rates:
        content["learning_rates"] = {task: rates[task] for task in content.get("tasks", rates)}
    models = {load(entry.experiment).models[0].name: model}
    return Overrides(models=models, known=known, **content, **places)


def runs_of(sections: list[Section]) -> list[tuple[RunSpec, State]]:
    """List every run once with its state, or once per analysis if its model is analysed."""
    found = {
        (spec.folder, spec.analysis): (spec, state) for section in sections for spec, state in section.states.items()
    }
    analysed = {folder for folder, analysis in found if analysis is not None}
    return [pair for (folder, analysis), pair in found.items() if analysis is not None or folder not in analysed]


def all_runs(sections: Sequence[Section]) -> pd.DataFrame:
    """Merge the runs of several sections into one table, each run once; name plain HyPe by its noise and scale."""
    tables = [s.runs for s in sections if s.states and not s.experiment.is_scored_elsewhere]
    if not tables:
        return pd.DataFrame(columns=RUN_COLUMNS)
    runs = pd.concat(tables, ignore_index=True).drop_duplicates("key")
    is_plain = runs["method"].str.fullmatch(r"hype-[nu]( \S+)?")
    named = "hype-" + runs["hype_type"].str[0] + " " + runs["hype_eps"].map(scale_text)
    return runs.assign(method=runs["method"].where(~is_plain, named), variant="")
