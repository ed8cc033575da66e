"""Studies as data: several experiments, each narrowed, that together answer one question. Reads `studies/*.json`."""

import json
from dataclasses import dataclass
from importlib import resources

from hype.reproduction.fingerprints import Fingerprints

STUDIES = ("minilm",)


@dataclass(frozen=True)
class Entry:
    """One section of a study.

    name: of its files; title: in the place of the experiment's. flags: narrowing, as one writes it on the command line.
    """

    name: str
    title: str
    experiment: str
    flags: str


@dataclass(frozen=True)
class Study:
    """model: the end of the path of the model that stands in for the paper's. entries: in the order of their runs."""

    name: str
    title: str
    summary: str
    model: str
    fingerprints: Fingerprints
    entries: tuple[Entry, ...]


def load_study(name: str) -> Study:
    """Load one of `STUDIES`."""
    source = resources.files("hype.reproduction").joinpath(f"studies/{name}.json")
    content = json.loads(source.read_text(encoding="utf-8"))
    return Study(
        name=name,
        title=content["title"],
        summary=content["summary"],
        model=content["model"],
        fingerprints=Fingerprints(**content["fingerprints"]),
        entries=tuple(Entry(**entry) for entry in content["sections"]),
    )
