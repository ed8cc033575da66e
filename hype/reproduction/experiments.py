"""The experiments as data: reads `experiments/*.json` over their defaults. Settings and printed numbers live there."""

import json
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from hype.errors import InputError

TABLES = tuple(f"table_{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 18))
NAMES = (*TABLES, "figure_2", "figure_3", "figure_4", "dose")  # dose is ours: the paper stops where nothing changes
VANILLA, CONTROL = "vanilla", "vanilla, no dropout"


@dataclass(frozen=True)
class Model:
    """A row's model. family: key of the settings of table 11; starts: other checkpoints, for the tasks they name."""

    name: str
    checkpoint: str
    family: str | None = None
    more_learning_rates: tuple[float, ...] = ()
    starts: dict[str, dict] = field(default_factory=dict)
    note: str | None = None

    @property
    def checkpoints(self) -> dict[str, str]:
        """Name each checkpoint: "base", and "base-mnli" for a start of its own."""
        return {self.name: self.checkpoint} | {f"{self.name}-{s}": at["checkpoint"] for s, at in self.starts.items()}

    def checkpoint_name(self, task: str) -> str:
        """Name the checkpoint from which a task's runs start."""
        starts = [f"{self.name}-{start}" for start, at in self.starts.items() if task in at["tasks"]]
        return starts[0] if starts else self.name


@dataclass(frozen=True)
class Method:
    """A compared method: the flags in which it differs from the defaults, and the grid that is searched."""

    name: str
    flags: dict = field(default_factory=dict)
    grid: dict[str, list] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """One table or figure of the paper.

    default_flags, flags: of every run. task_flags: task -> flags. family_flags: family -> task -> flags (table 11).
    layer_count: of the models that the flags' numbers of layers are meant for.
    printed: key in reported.json. analysis: what gives the printed numbers where they are not the runs' own dev scores;
    targets: trained task -> the sets on which it is made here, from the runs' models; none: it is made elsewhere.
    """

    name: str
    title: str
    paper: str
    models: tuple[Model, ...]
    tasks: tuple[str, ...]
    methods: tuple[Method, ...]
    default_flags: dict
    task_flags: dict[str, dict]
    flags: dict
    family_flags: dict[str, dict]
    layer_count: int
    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...]
    notes: tuple[str, ...] = ()
    printed: str | None = None
    printed_gains: dict = field(default_factory=dict)
    analysis: str | None = None
    targets: dict[str, list[str]] = field(default_factory=dict)
    combinations: tuple[tuple[str, str, str], ...] = ()


def load(name: str) -> Experiment:
    """Load an experiment by name, such as table_1.

    Raises:
        InputError: there is none of that name.
    """
    if name not in NAMES:
        raise InputError(f"{name}: no such experiment; give one of {', '.join(NAMES)}")
    defaults, content = _read("experiments/defaults.json"), _read(f"experiments/{name}.json")
    if "runs_of" in content:
        content = _read(f"experiments/{content.pop('runs_of')}.json") | content
    models = tuple(Model(**entry) for entry in _looked_up(content["models"], defaults["models"]))
    return Experiment(
        name=name,
        title=content["title"],
        paper=content["paper"],
        models=models,
        tasks=tuple(content["tasks"]),
        methods=tuple(Method(**entry) for entry in _looked_up(content["methods"], defaults["methods"])),
        default_flags=defaults["flags"],
        task_flags=defaults["task_flags"],
        flags=content.get("flags", {}),
        family_flags=defaults["families"],
        layer_count=defaults["layer_count"],
        learning_rates=tuple(defaults["learning_rates"]),
        seeds=tuple(defaults["seeds"]),
        notes=(*content.get("notes", ()), *(m.note for m in models if m.note), *defaults["notes"]),
        printed=content.get("printed"),
        printed_gains=content.get("printed_gains", {}),
        analysis=content.get("analysis"),
        targets=content.get("targets", {}),
        combinations=tuple(map(tuple, content.get("combinations", ()))),
    )


def reported(key: str) -> dict:
    """Return the paper's printed numbers of one table: key table1 ... table18."""
    return _read("reported.json")[key]


@cache
def _text(path: str) -> str:
    return resources.files("hype.reproduction").joinpath(path).read_text(encoding="utf-8")


def _read(path: str) -> dict:
    return json.loads(_text(path))


def _looked_up(entries: list, library: list[dict]) -> list[dict]:
    """Replace names by their definitions in the defaults."""
    known = {entry["name"]: entry for entry in library}
    return [known[entry] if isinstance(entry, str) else entry for entry in entries]
