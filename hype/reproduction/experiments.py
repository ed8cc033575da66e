"""Experiments and studies as data: reads `experiments/*.json` (settings and printed numbers) and `studies/*.json`."""

import json
import re
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from hype.data.tasks import TASKS
from hype.errors import InputError

FOLDER = resources.files("hype.reproduction")
VANILLA, CONTROL = "vanilla", "vanilla, no dropout"


def _names(kind: str) -> tuple[str, ...]:
    """List the files of a kind: tables before figures before others, table_2 before table_12."""
    names = [path.name.removesuffix(".json") for path in FOLDER.joinpath(kind).iterdir()]
    names.sort(key=lambda name: (not name.startswith("table"), not name.startswith("figure"), len(name), name))
    return tuple(name for name in names if name != "defaults")


NAMES = _names("experiments")
STUDIES = _names("studies")


@dataclass(frozen=True)
class Model:
    """A checkpoint. One that is used for some tasks only has `tasks` and is shown in the row of another model.

    Attributes:
        row: the model's name in tables; default: `name`.
        flags: added to all its runs. task_flags: task -> flags (table 11).
        more_learning_rates: tried in addition to the experiment's.
    """

    name: str
    checkpoint: str
    row: str = ""
    tasks: tuple[str, ...] = ()
    flags: dict = field(default_factory=dict)
    task_flags: dict[str, dict] = field(default_factory=dict)
    more_learning_rates: tuple[float, ...] = ()
    note: str | None = None

    def __post_init__(self):
        object.__setattr__(self, "row", self.row or self.name)


@dataclass(frozen=True)
class Method:
    """A compared method: the flags in which it differs from the defaults, and the grid that is searched."""

    name: str
    flags: dict = field(default_factory=dict)
    grid: dict[str, list] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """One table or figure of the paper.

    Attributes:
        flags: task -> flags of its runs; model and method may override them.
        printed: the paper's numbers, by model (if there are several) and method.
        analysis: what yields the printed numbers if they are not the runs' own dev scores.
        targets: trained task -> the sets on which the runs' models are analysed; empty if nothing is analysed here.
    """

    name: str
    title: str
    paper: str
    models: tuple[Model, ...]
    tasks: tuple[str, ...]
    methods: tuple[Method, ...]
    flags: dict[str, dict]
    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...]
    common_notes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    printed: dict = field(default_factory=dict)
    analysis: str | None = None
    targets: dict[str, list[str]] = field(default_factory=dict)

    @property
    def rows(self) -> list[str]:
        """The models named in its tables."""
        return list(dict.fromkeys(model.row for model in self.models))

    @property
    def is_scored_elsewhere(self) -> bool:
        """Whether the scores shown are accuracies on sets other than those used to select grid points."""
        return self.analysis in ("adversarial", "transfer")

    def printed_score(self, model: str, method: str, task: str, trained: str | None = None) -> str:
        """Return a printed score with its standard deviation; "" if there is none, "?" if it is illegible.

        trained: the training set; table 7 has a part for each.
        """
        # A table of a single model omits its name.
        rows = self.printed.get(model, self.printed.get(f"train={trained}", self.printed))
        row = rows.get(method, {})
        scores = row.get("score", row)
        if task not in scores:
            return ""
        score, std = scores[task], row.get("std", {}).get(task)
        return "?" if score is None else f"{score:.2f}" + ("" if std is None else f" ± {std:.2f}")


def load(name: str) -> Experiment:
    """Load an experiment by name, such as table_1.

    Raises:
        InputError: there is no such experiment.
    """
    if name not in NAMES:
        raise InputError(f"{name}: no such experiment; give one of {', '.join((*NAMES, *STUDIES))}")
    defaults, content = _read("experiments", "defaults"), _read("experiments", name)
    if "runs_of" in content:
        content = _read("experiments", content.pop("runs_of")) | content
    if "printed_in" in content:
        content["printed"] = _read("experiments", content.pop("printed_in"))["printed"]
    for kind, made in (("models", Model), ("methods", Method)):
        known = {entry["name"]: entry for entry in defaults[kind]}
        content[kind] = tuple(made(**(known[e] if isinstance(e, str) else e)) for e in content[kind])
    own = content.pop("flags", {})
    flags = {task: defaults["flags"] | defaults["task_flags"].get(task, {}) | own for task in content["tasks"]}
    shared = {key: defaults[key] for key in ("learning_rates", "seeds", "common_notes")}
    return Experiment(name=name, flags=flags, **shared, **content)


@cache
def written(name: str) -> str:
    """Return the display name of a model, task or method: hype-n+r-drop becomes HyPe-N + R-Drop."""
    base = name.removesuffix("-mm")
    if base in TASKS:
        return TASKS[base].title + (" mismatched" if base != name else "")
    titles = _read("experiments", "defaults")["titles"]
    if name in titles:
        return titles[name]
    known = "|".join(sorted(map(re.escape, titles), key=len, reverse=True))
    return re.sub(rf"(?<![\w/.-])({known})(?![\w/-])", lambda m: titles[m[1]], name).replace("+", " + ")


@dataclass(frozen=True)
class StudyModel:
    """A model that stands in for the paper's.

    Attributes:
        name: its display name, also used by `hype.packaged`.
        model, tokenizer: content hashes.
    """

    name: str
    model: str
    tokenizer: str


@dataclass(frozen=True)
class StudySection:
    """One experiment of a study, changed by `overrides` (the fields of `overrides.Overrides`).

    Attributes:
        model: key in the study's `models`.
        rates_of: the section whose finished runs determine each task's learning rate.
        text: remarks for the reader of this section.
    """

    name: str
    title: str
    experiment: str
    model: str
    overrides: dict
    rates_of: str | None = None
    text: str = ""


@dataclass(frozen=True)
class Question:
    """A question that the study answers: the mean effect of `method` over `reference` in the runs of some sections.

    Every setting (model, data, task) has the same weight.
    """

    text: str
    method: str
    reference: str
    sections: tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """Experiments that together answer questions.

    data: hashes of its data, by `hashes.data_name` and split, so that its records can be found without the data or the
    model.
    """

    name: str
    title: str
    summary: str
    models: dict[str, StudyModel]
    data: dict[str, dict[str, str]]
    sections: tuple[StudySection, ...]
    questions: tuple[Question, ...] = ()


def load_study(name: str) -> Study:
    """Load one of `STUDIES`."""
    content = _read("studies", name)
    content["models"] = {key: StudyModel(**entry) for key, entry in content["models"].items()}
    content["sections"] = tuple(StudySection(**entry) for entry in content["sections"])
    content["questions"] = tuple(Question(**entry) for entry in content["questions"])
    return Study(name=name, **content)


def _read(kind: str, name: str) -> dict:
    return json.loads(FOLDER.joinpath(kind, f"{name}.json").read_text(encoding="utf-8"))
