"""What a report needs: an experiment's printed numbers as a `PaperTable`, its runs as rows."""

from pathlib import Path

import pandas as pd

from hype.data import SAMPLE_MARKER
from hype.reproduction.expansion import Cell, Narrowing, narrowing_text
from hype.reproduction.experiments import CONTROL, Experiment, reported
from hype.reproduction.state import DAMAGED, DIVERGED, FAILED, FINISHED, State
from hype.reproduction.statistics import RUN_COLUMNS, PaperTable

# Of a state, as a report counts it. What is open is missing; a finished run without its model still has its score.
STATUS_OF = {FINISHED: FINISHED, "model missing": FINISHED, DIVERGED: DIVERGED, FAILED: FAILED, DAMAGED: FAILED}


def paper_table(experiment: Experiment, cells: list[Cell], narrowing: Narrowing) -> PaperTable:
    """Describe the table: what these runs compare, and what the paper prints."""
    named = {name: tuple(dict.fromkeys(getattr(cell, name) for cell in cells)) for name in ("model", "task", "method")}
    title = f"{experiment.name.replace('_', ' ').capitalize()}: {experiment.title}"
    if experiment.analysis:
        title += f" (dev scores of the runs that go into it; the numbers themselves come from {experiment.analysis})"
    printed, averages, gains = ({}, {}, {}) if experiment.analysis else _printed(experiment)
    return PaperTable(
        name=experiment.name,
        title=title,
        paper_reference=experiment.paper,
        models=named["model"],
        tasks=named["task"],
        methods=named["method"],
        control=CONTROL,
        printed=printed,
        printed_averages=averages,
        printed_gains=gains,
        narrowing_text=narrowing_text(experiment, narrowing),
        data_text=_data_text(narrowing.data_dir),
        notes=experiment.notes,
        combinations=experiment.combinations,
    )


def runs_table(cells: list[Cell], states: list[State]) -> pd.DataFrame:
    """Return one row for each run (see `statistics.RUN_COLUMNS`), without failed ones' scores."""
    rows = []
    for cell, state in zip(cells, states, strict=True):
        status = STATUS_OF.get(state.status, "missing")
        record = state.record if status == FINISHED else {}
        names = [cell.model, cell.task, cell.method, cell.variant, cell.learning_rate, cell.seed, status]
        numbers = [record.get("score"), record.get("majority_score"), record.get("timings", {}).get("train_s")]
        floats = [float("nan") if number is None else number for number in numbers]
        rows.append([*names, *floats, record.get("run_id", ""), str(cell.folder), cell.command])
    return pd.DataFrame(rows, columns=RUN_COLUMNS)


def _printed(experiment: Experiment) -> tuple[dict, dict, dict]:
    """Return the printed scores, averages and gains, by (model, method, task) and (model, method)."""
    printed, averages, gains = {}, {}, {}
    if experiment.printed is None:
        return printed, averages, gains
    rows = reported(experiment.printed)["rows"]
    for model in experiment.models:
        # Tables of one model leave its name out.
        of_model = rows.get(model.name, rows)
        for method in experiment.methods:
            row = of_model.get(method.name)
            if row is None:
                continue
            for task in experiment.tasks:
                printed[model.name, method.name, task] = (row["score"][task], row.get("std", {}).get(task))
            if "avg" in row:
                averages[model.name, method.name] = row["avg"]
            if gain := experiment.printed_gains.get(method.name):
                gains[model.name, method.name] = of_model[gain] if isinstance(gain, str) else gain
    return printed, averages, gains


def _data_text(data_dir: str | None) -> str:
    marker = Path(data_dir or "") / SAMPLE_MARKER
    return marker.read_text(encoding="utf-8").strip() if data_dir and marker.is_file() else ""
