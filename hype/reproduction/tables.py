"""What a report needs: an experiment's printed numbers as a `PaperTable`, its runs as rows."""

import itertools

import pandas as pd

from hype.analysis.layers import layer_table
from hype.data.tasks import sample_text
from hype.errors import InputError
from hype.reproduction.expansion import Cell
from hype.reproduction.experiments import CONTROL, VANILLA, Experiment, reported
from hype.reproduction.narrowing import Narrowing, narrowing_text
from hype.reproduction.state import DAMAGED, DIVERGED, FAILED, FINISHED, NEEDED_OF_ANALYSIS, State, read_whole
from hype.reproduction.statistics import RUN_COLUMNS, PaperTable

# The analyses whose numbers are accuracies; the others give a value for each layer.
ACCURACIES = ("adversarial", "transfer")
# Of a run without a score, as a report counts it; what is open is missing.
STATUS_OF = {DIVERGED: DIVERGED, FAILED: FAILED, DAMAGED: FAILED}


def paper_table(experiment: Experiment, cells: list[Cell], narrowing: Narrowing) -> PaperTable:
    """Describe the table: what these runs compare, and what the paper prints."""
    places = [place for cell in cells for place in _places(experiment, cell)]
    title = f"{experiment.name.replace('_', ' ').capitalize()}: {experiment.title}"
    if experiment.analysis and experiment.analysis not in ACCURACIES:
        where = (
            f"{experiment.analysis} of their models, by layer, follows"
            if experiment.targets
            else (f"the numbers themselves come from {experiment.analysis}")
        )
        title += f" (scores: the runs on their dev sets; {where})"
        printed, averages, gains = {}, {}, {}
    else:
        printed, averages, gains = _printed(experiment, narrowing)
    flags = {method.name: method.flags for method in experiment.methods}
    return PaperTable(
        name=experiment.name,
        title=title,
        paper_reference=experiment.paper,
        models=tuple(dict.fromkeys(model for model, _, _ in places)),
        tasks=tuple(dict.fromkeys(task for _, task, _ in places)),
        methods=tuple(dict.fromkeys(cell.method for cell in cells)),
        control=CONTROL,
        printed=printed,
        printed_averages=averages,
        printed_gains=gains,
        narrowing_text=narrowing_text(experiment, narrowing),
        data_text=_data_text(experiment, narrowing),
        notes=experiment.notes,
        with_dropout=tuple(m for m in flags if flags[m].get("dropout_rate") == flags[VANILLA]["dropout_rate"]),
        combinations=experiment.combinations,
        is_selected_elsewhere=experiment.analysis in ACCURACIES,
    )


def runs_table(experiment: Experiment, cells: list[Cell], states: list[State]) -> pd.DataFrame:
    """Return one row for each run (see `statistics.RUN_COLUMNS`), without failed ones' scores.

    Where the experiment's numbers are accuracies on other sets, one row for each run and set.
    """
    rows = []
    for cell, state in zip(cells, states, strict=True):
        for model, task, target in _places(experiment, cell):
            record, score = state.record, _scores(cell, state, target)
            if score is None:
                record, score = {}, [None, None]
            status = FINISHED if record else STATUS_OF.get(state.status, "missing")
            names = [model, task, cell.method, cell.variant, cell.learning_rate, cell.seed, status]
            timings = record.get("timings", {})
            # That of a resumed run is of its last steps alone.
            train_s = None if "first_step" in timings else timings.get("train_s")
            numbers = [*score, train_s, record.get("score")]
            floats = [float("nan") if number is None else number for number in numbers]
            # On another set a run may predict otherwise.
            constant = _constant_text(record.get("predictions")) if target is None else ""
            rows.append([*names, *floats, constant, record.get("run_id", ""), str(cell.folder), cell.command])
    return pd.DataFrame(rows, columns=RUN_COLUMNS)


def _constant_text(labels: str | None) -> str:
    return "" if not labels else "yes" if len(set(labels)) == 1 else "no"


def layers_table(cells: list[Cell], states: list[State]) -> pd.DataFrame:
    """Return a row for each finished run, analysed set and layer: figures 3 and 4. Values as in `layer_table`."""
    parts = []
    for cell, state in zip(cells, states, strict=True):
        if cell.analysis is None or cell.analysis.name in ACCURACIES or not state.is_run_finished:
            continue
        for target in cell.analysis.targets:
            if (analysis := _analysis_record(cell, target)) is None:
                continue
            part = layer_table([analysis])
            names = {name: getattr(cell, name) for name in ("model", "task", "method", "variant", "learning_rate")}
            parts.append(part.assign(target=target, analysis=cell.analysis.name, **names))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _scores(cell: Cell, state: State, target: str | None) -> list | None:
    """Return score and majority score of a finished run, or its accuracy on the set of an analysis; None: not known."""
    if not state.is_run_finished:
        return None
    if target is None:
        return [state.record.get("score"), state.record.get("majority_score")]
    analysis = _analysis_record(cell, target)
    return analysis and [analysis["results"].get("accuracy"), None]


def _analysis_record(cell: Cell, target: str) -> dict | None:
    """Read the record of an analysis; None where there is none, or a damaged one, which the run's state tells of."""
    try:
        return read_whole(cell.analysis.path(target), NEEDED_OF_ANALYSIS)
    except InputError:
        return None


def _places(experiment: Experiment, cell: Cell) -> list[tuple[str, str, str | None]]:
    """Return where a run stands: model and task of the table, and the set of its analysis that is shown there.

    Table 7 scores models of two training sets on the same sets.
    """
    if experiment.analysis not in ACCURACIES:
        return [(cell.model, cell.task, None)]
    return [(_model_name(experiment, cell.model, cell.task), target, target) for target in cell.analysis.targets]


def _model_name(experiment: Experiment, model: str, task: str) -> str:
    others = [t for other, sets in experiment.targets.items() if other != task for t in sets]
    return f"{model}, trained on {task}" if set(others) & set(experiment.targets[task]) else model


def _printed(experiment: Experiment, narrowing: Narrowing) -> tuple[dict, dict, dict]:
    """Return the printed scores, averages and gains, by (model, method, task) and (model, method)."""
    printed, averages, gains = {}, {}, {}
    if experiment.printed is None or narrowing.hype_eps is not None:  # printed numbers are of the paper's eps
        return printed, averages, gains
    rows = reported(experiment.printed)["rows"]
    for model, task, method in itertools.product(experiment.models, experiment.tasks, experiment.methods):
        name = narrowing.model_label(model.name)
        if experiment.targets:
            name = _model_name(experiment, name, task)
        # Tables of one model leave its name out; table 7 has a part for each training set.
        part = rows.get(model.name, rows.get(f"train={task}", rows))
        row = part.get(method.name)
        if row is None:
            continue
        if experiment.targets:
            printed |= {(name, method.name, target): (row[target], None) for target in experiment.targets[task]}
            continue
        printed[name, method.name, task] = (row["score"][task], row.get("std", {}).get(task))
        if "avg" in row:
            averages[name, method.name] = row["avg"]
        if gain := experiment.printed_gains.get(method.name):
            gains[name, method.name] = part[gain] if isinstance(gain, str) else gain
    return printed, averages, gains


def _data_text(experiment: Experiment, narrowing: Narrowing) -> str:
    """Say what the data are where they are a sample: of the tasks trained on and of the sets analysed."""
    names = {
        *experiment.tasks,
        *(target.removesuffix("-mm") for sets in experiment.targets.values() for target in sets),
    }
    folders = sorted(filter(None, {narrowing.data_dir_of(name) for name in names}))
    return " ".join(dict.fromkeys(filter(None, map(sample_text, folders))))
