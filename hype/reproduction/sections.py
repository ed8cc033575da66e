"""What one command line asks for: an experiment, or the sections of a study, with their runs."""

import argparse
import dataclasses
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from hype.data.tasks import nli_folder
from hype.errors import InputError
from hype.packaged import packaged_model
from hype.reproduction.expansion import Cell, expand
from hype.reproduction.experiments import Experiment, load
from hype.reproduction.narrowing import Narrowing, narrowing_text
from hype.reproduction.options import narrowing_of, parser
from hype.reproduction.state import FINISHED, state_of
from hype.reproduction.studies import STUDIES, Study, load_study

# A study's narrowing is its own. Where it is to be shown, not run, these stand for its data: a report names no machine.
NARROWING_FLAGS = (
    "models", "tasks", "methods", "variants", "hype_eps", "seeds", "learning_rates", "max_train_samples",
    "max_analysis_samples",
)  # fmt: skip
PLACES = {"data_dir": "path/to/glue_data", "nli_dir": "path/to/nli_data", "adv_file": "path/to/adv_glue/dev.json"}

PLACE_OF = {"transfer": "nli_dir", "adversarial": "adv_file"}  # of an analysis, besides data_dir
WANTED = {
    **dict.fromkeys(("--data_dir", "GLUE_DIR"), "the one that holds CoLA/, RTE/ ..."),
    "--nli_dir": "the one that holds SNLI/, SICK/, SciTail/",
    "--adv_file": "AdvGLUE's dev.json",
}


@dataclass(frozen=True)
class Section:
    """One experiment as it is narrowed, and its runs. name: of its files; title: None for the experiment's."""

    name: str
    title: str | None
    experiment: Experiment
    narrowing: Narrowing
    cells: list[Cell]

    @property
    def narrowing_text(self) -> str:
        return narrowing_text(self.experiment, self.narrowing)


def sections_of(options: argparse.Namespace, is_to_run: bool) -> list[Section]:
    """Return what the options ask for: one section for an experiment, one or more for a study.

    Raises:
        InputError: unknown names, places where nothing is, or flags that do not fit.
    """
    is_study = options.experiment in STUDIES
    # A study is shown by the hashes of its data, wherever these are.
    if not is_study or is_to_run or options.dry_run:
        _require_places(options)
    if is_study:
        return _of_study(load_study(options.experiment), options, is_to_run)
    if options.sections:
        raise InputError("--sections: only a study has sections")
    experiment, narrowing = load(options.experiment), narrowing_of(options)
    return [Section(experiment.name, None, experiment, narrowing, _cells(experiment, narrowing, options))]


def _cells(experiment: Experiment, narrowing: Narrowing, options: argparse.Namespace) -> list[Cell]:
    """List the runs of a section, unless one would stand in its table as several methods."""
    count = narrowing.max_analysis_samples
    if count is not None and not experiment.targets:
        raise InputError(f"--max_analysis_samples {count}: in {experiment.name} nothing is analysed; leave it out")
    cells = expand(experiment, narrowing, results_dir_of(options), options.keep_models)
    methods: dict[tuple, dict[str, None]] = {}
    for cell in cells:
        methods.setdefault((cell.model, cell.folder), {})[cell.method] = None
    same = next((list(names) for names in methods.values() if len(names) > 1), None)
    if same:
        eps = narrowing.hype_eps
        cause = "--models: so few layers make" if eps is None else f"--hype_eps {eps:g} makes"
        raise InputError(f"{cause} one run of {', '.join(map(repr, same))}; keep one of them by --methods")
    return cells


def _require_places(options: argparse.Namespace) -> None:
    """Refuse what is not there: a run is named by what its data hold."""
    places = {f"--{name}": getattr(options, name) for name in PLACES}
    if options.data_dir is None:
        places["GLUE_DIR"] = Narrowing().data_dir
    for flag, place in places.items():
        is_file = flag == "--adv_file"
        if place is None or (os.path.isfile if is_file else os.path.isdir)(place):
            continue
        reason = "a file, not a folder" if os.path.isfile(place) else f"no such {'file' if is_file else 'folder'}"
        raise InputError(f"{flag} {place}: {reason}; give {WANTED[flag]}")


def results_dir_of(options: argparse.Namespace) -> Path:
    """Return where the records lie; those of a study have a folder of their own.

    Raises:
        InputError: it is no folder, or cannot be read.
    """
    own = options.experiment if options.experiment in STUDIES else ""
    folder = options.results_dir or Path("results") / own
    for place in (folder, folder / "runs"):
        try:
            next(place.iterdir(), None)
        except FileNotFoundError:
            pass  # made by the first run
        except OSError as error:
            raise InputError(f"--results_dir {place}: {error.strerror}; name a folder that you can read") from None
    return folder


def _of_study(study: Study, options: argparse.Namespace, is_to_run: bool) -> list[Section]:
    given = [name for name in NARROWING_FLAGS if getattr(options, name) is not None]
    if given:
        raise InputError(f"--{given[0]}: {study.name} has its own; reproduce an experiment to narrow it yourself")
    names = [entry.name for entry in study.entries]
    unknown = [name for name in options.sections or () if name not in names]
    if unknown:
        raise InputError(f"--sections {unknown[0]}: {study.name} has {', '.join(names)}")
    places, model = PLACES, study.model
    if is_to_run:
        places, model = _places(study, options), packaged_model()
    sections = []
    for entry in study.entries:
        if options.sections and entry.name not in options.sections:
            continue
        experiment = load(entry.experiment)
        narrowing = narrowing_of(parser().parse_args([entry.experiment, *shlex.split(entry.flags)]))
        # One model stands in for all of the paper's that the section is about: its first.
        models = {experiment.models[0].name: model}
        narrowing = dataclasses.replace(narrowing, models=models, fingerprints=study.fingerprints, **places)
        cells = _cells(experiment, narrowing, options)
        sections.append(Section(entry.name, entry.title, experiment, narrowing, cells))
        if is_to_run:
            _require_place(study, sections[-1], options)
    return sections


def _require_place(study: Study, section: Section, options: argparse.Namespace) -> None:
    """Refuse a section if what it is still to do, or the lines to be printed, would need a place that is not given."""
    name = PLACE_OF.get(section.experiment.analysis)
    if name is None or getattr(section.narrowing, name) != PLACES[name]:
        return
    states = [state_of(cell) for cell in section.cells] if options.run else []
    is_needed = any(s.is_open or (options.retry_failed and s.status != FINISHED) for s in states)
    if is_needed or (options.commands and any(PLACES[name] in cell.argv for cell in section.cells)):
        remedy = f"give {WANTED[f'--{name}']}, or leave it out by --sections"
        raise InputError(f"--{name}: the section {section.name} of {study.name} needs it; {remedy}")


def _places(study: Study, options: argparse.Namespace) -> dict[str, str]:
    """Return where the data lie. What is not given is only missed by a run that is still to do."""
    given = {name: getattr(options, name) for name in PLACES}
    given["data_dir"] = given["data_dir"] or Narrowing().data_dir
    if given["data_dir"] is None:
        raise InputError(f"--data_dir: {study.name} needs the GLUE folder that it was made with (or variable GLUE_DIR)")
    given["nli_dir"] = nli_folder(given["nli_dir"], given["data_dir"])
    return {name: given[name] or place for name, place in PLACES.items()}


def runs_of(sections: list[Section]) -> list[Cell]:
    """List every run once; one of whose model several analyses are made, once for each of them."""
    cells = {(cell.folder, cell.analysis and cell.analysis.name): cell for s in sections for cell in s.cells}
    analysed = {folder for folder, analysis in cells if analysis is not None}
    return [cell for (folder, analysis), cell in cells.items() if analysis is not None or folder not in analysed]
