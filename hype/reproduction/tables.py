"""The tables of a report: a section's scores, effects and runs, and a study's effects in every setting."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pandas as pd

from hype.reproduction.experiments import CONTROL, VANILLA, Study, written
from hype.reproduction.sections import Section, all_runs
from hype.reproduction.statistics import (
    ALL_TASKS,
    GRID_POINT,
    another_seed,
    effects,
    paired,
    percent,
    selected,
    spread_text,
    summarised,
)
from hype.text_tables import counted

PAPERS_NOISE = "hype-n 1e-5"
MEAN_OF_TASKS = "mean of tasks"
LAYER_SCORES = {"probing": "dev score x 100", "similarity": "mean cosine of token pairs x 100"}


class Table(NamedTuple):
    """One table of a report. frame: strings; the second line of a cell is a note in small print."""

    title: str
    frame: pd.DataFrame


def _tables(title: str, cells: pd.DataFrame, order: Iterable[str]) -> list[Table]:
    """Build a table for each `model` of the cells, with a row for each `line` and a column for each `task`."""
    found = []
    for model, part in cells.groupby("model", sort=False):
        wide = part.pivot(index="line", columns="task", values="cell").fillna("-")
        columns = [column for column in dict.fromkeys(order) if column in wide.columns]
        wide = wide.reindex(part["line"].unique(), columns=columns)
        wide = wide.rename(columns=written).rename_axis(None, axis=1).rename_axis("method")
        found.append(Table(f"{title}: {model}", wide.reset_index()))
    return found


def score_tables(section: Section) -> list[Table]:
    """Show each method's selected mean below the score of the majority class, one table per model."""
    summary = section.summary.copy()
    grids = summary.groupby(["model", "task", "method"])
    summary["is_selected"] = summary.index.isin(selected(summary).index)
    summary["is_complete"] = summary["n"] == summary["planned"]
    summary["points"], summary["complete"] = grids["n"].transform("size"), grids["is_complete"].transform("sum")
    summary["failed"] = grids["failed"].transform("sum")
    summary["majority"] = summary.groupby(["model", "task"])["majority"].transform("first")
    # If no grid point is selected, the one with most runs.
    shown = summary.sort_values(["is_selected", "n"], ascending=False, kind="stable")
    shown = shown.drop_duplicates(["model", "task", "method"]).sort_index()
    shown["line"], shown["cell"] = shown["method"].map(written), list(map(_score_cell, shown.itertuples()))
    shown["mean"] = shown["mean"].where(shown["is_selected"] & shown["is_complete"])
    level = shown.drop_duplicates(["model", "task"])
    level = level.assign(line="majority class", mean=level["majority"], cell=level["majority"].map(spread_text))
    cells = pd.concat([level, shown])
    if len(section.tasks) > 1:
        means = cells.groupby(["model", "line"])["mean"].agg(lambda scores: scores.mean(skipna=False)).reset_index()
        cells = pd.concat([cells, means.assign(task=MEAN_OF_TASKS, cell=means["mean"].map(spread_text))])
    return _tables("Scores", cells, [*section.tasks, MEAN_OF_TASKS])


def _score_cell(row) -> str:
    """Format the selected mean or, without one, a dash with the number of runs so far."""
    failed = [f"{row.failed} failed"] * (row.failed > 0)
    if not row.is_selected:
        return "-\n" + ", ".join([f"{row.n} of {counted(row.planned, 'run')}", *failed])
    count = f"n {row.n}" if row.is_complete else f"n {row.n} of {row.planned}"
    grid = [f"grid {row.complete} of {row.points}"] * (row.complete < row.points > 1)
    return f"{spread_text(row.mean, row.sd)}\n{', '.join([count, *_marks(row), *grid, *failed])}"


def _marks(row) -> list[str]:
    return [f"{row.collapsed} collapsed"] * (row.collapsed > 0) + ["at majority level"] * row.is_at_majority


def comparisons(section: Section) -> list[tuple[str, str]]:
    """List (method, reference): first no dropout against vanilla, then each other method against its counterpart."""
    methods = section.methods
    found = [(CONTROL, VANILLA)] if {CONTROL, VANILLA} <= set(methods) else []
    return found + [(m, section.counterpart(m)) for m in methods if m not in (VANILLA, CONTROL)]


def effect_tables(section: Section, pairs: Iterable[tuple[str, str]], title: str = "Paired effects") -> list[Table]:
    """Show effects: a row for each method (and variant), a column for each task, one table per model."""
    found = effects(paired(section.runs, pairs))
    lines = [f"{written(e.method)} minus {written(e.reference)}\n{e.variant}".strip() for e in found.itertuples()]
    cells = [f"{effect.text}\n{_effect_note(effect)}" for effect in found.itertuples()]
    return _tables(title, found.assign(line=lines, cell=cells), [*section.tasks, ALL_TASKS])


def _effect_note(effect) -> str:
    """Format the flips, the verdict and, if runs collapsed, the estimate without them."""
    notes = [] if pd.isna(effect.flips) else [f"flips {percent(effect.flips)}"]
    notes.append(effect.verdict)
    if effect.collapsed:
        rest = "none are left" if effect.without_collapsed == "-" else effect.without_collapsed
        notes.append(f"{effect.collapsed} collapsed; without them {rest}")
    return "; ".join(notes)


def layer_tables(section: Section) -> list[Table]:
    """Show an analysis's values by method and layer: mean ± standard deviation over seeds."""
    found: list[Table] = []
    for (analysis, target), layers in section.layers.groupby(["analysis", "target"], sort=False):
        by_layer = layers.groupby(["model", "method", "layer"], sort=False)
        cells = by_layer.agg(mean=("score", "mean"), sd=("score", "std"), n=("seed", "nunique")).reset_index()
        cells = cells.assign(
            line=[f"{written(method)}\nn {n}" for method, n in zip(cells["method"], cells["n"], strict=True)],
            cell=list(map(spread_text, cells["mean"], cells["sd"])),
            task=cells["layer"].astype(str),
        )
        title = f"{analysis.capitalize()} on {written(target)}, {LAYER_SCORES[analysis]} by layer (0: embeddings)"
        found += _tables(title, cells, map(str, sorted(layers["layer"].unique())))
    return found


def printed_tables(section: Section) -> list[Table]:
    """Show the paper's numbers."""
    experiment = section.experiment
    if not experiment.printed or section.overrides.hype_eps is not None:
        return []
    rows = [
        (
            written(model) + (f", trained on {written(trained)}" if trained else ""), written(method.name), task,
            experiment.printed_score(model, method.name, task, trained),
        )
        for model in experiment.rows
        for trained in (experiment.tasks if experiment.targets else (None,))
        for method in experiment.methods
        for task in (experiment.targets[trained] if trained else experiment.tasks)
    ]  # fmt: skip
    cells = pd.DataFrame(rows, columns=["model", "line", "task", "cell"])
    return _tables("Printed in the paper", cells[cells["cell"] != ""], cells["task"])


def _names(rows: pd.DataFrame) -> pd.DataFrame:
    """Format models, tasks, methods, grid points and learning rates for display."""
    return pd.DataFrame({
        "model": rows["model"], "task": rows["task"].map(written), "method": rows["method"].map(written),
        "grid point": rows["variant"].replace("", "-"), "learning rate": rows["learning_rate"].map("{:g}".format),
    })  # fmt: skip


def grid_table(section: Section) -> Table:
    """Show every grid point with the value of every seed."""
    summary, scored = section.summary, section.runs.dropna(subset="score").sort_values("seed")
    values = {
        point: ", ".join(f"{run.seed}: {run.score:.2f}" for run in group.itertuples())
        for point, group in scored.groupby(GRID_POINT)
    }
    frame = _names(summary).assign(**{
        "n": [f"{row.n} of {row.planned}" for row in summary.itertuples()],
        "mean ± sd": list(map(spread_text, summary["mean"], summary["sd"])),
        "seed: score": [values.get(point, "-") for point in summary[GRID_POINT].itertuples(index=False, name=None)],
        "collapsed": summary["collapsed"], "failed": summary["failed"],
        "selected": ["yes" if chosen else "" for chosen in summary.index.isin(selected(summary).index)],
    })  # fmt: skip
    return Table("Every learning rate and grid point", frame.astype(str))


def runs_table(section: Section) -> Table:
    """Show every run with its exact command."""
    runs = section.runs
    seconds = ["-" if pd.isna(value) else f"{value:.0f}" for value in runs["train_s"]]
    more = {"score": runs["score"].map(spread_text), "seconds": seconds, "run": runs["key"], "command": runs["command"]}
    return Table("Runs", _names(runs).assign(seed=runs["seed"], status=runs["status"], **more).astype(str))


def main_tables(section: Section) -> list[Table]:
    """The tables that a reader sees first: scores, effects, values by layer."""
    return [*score_tables(section), *effect_tables(section, comparisons(section)), *layer_tables(section)]


def folded_tables(section: Section) -> list[Table]:
    """The folded tables: the effect of noise and no dropout together, the paper's numbers, every grid point."""
    if section.runs.empty:
        return []
    others = [m for m, reference in comparisons(section) if reference == CONTROL and VANILLA in section.methods]
    together = effect_tables(section, [(m, VANILLA) for m in others], "No dropout and noise together")
    return [*together, *printed_tables(section), grid_table(section)]


def study_runs(study: Study, sections: Sequence[Section]) -> pd.DataFrame:
    """Return the runs of the sections that a question of the study is about, see `sections.all_runs`."""
    asked = {name for question in study.questions for name in question.sections}
    return all_runs([section for section in sections if section.name in asked])


def settings(runs: pd.DataFrame) -> pd.DataFrame:
    """Compare the effect of turning dropout off with what HyPe-N 1e-5 adds, in every setting (model, data, task).

    Returns:
        Rows of `statistics.effects`, in which task is the setting's name: the task or, last for each model and choice
        of training examples, "mean" (is_mean); with the model before it and the examples after it, where there are
        several. And, from the runs without dropout: majority, control (their score, as text) and seed_flips (the share
        of predictions that another seed flips).
    """
    has_models, has_data = runs["model"].nunique() > 1, runs["data"].nunique() > 1

    def named(rows: pd.DataFrame, task: pd.Series | str) -> pd.Series | str:
        model, data = rows["model"] + " · " if has_models else "", " (" + rows["data"] + ")" if has_data else ""
        return model + task + data

    runs = runs.assign(task=named(runs, runs["task"].map(written)))
    found = effects(paired(runs, [(CONTROL, VANILLA), (PAPERS_NOISE, CONTROL)]))
    controls = runs[runs["method"] == CONTROL]
    summary = summarised(controls).drop_duplicates("task")
    scores = [", ".join([spread_text(row.mean, row.sd), *_marks(row)]) for row in summary.itertuples()]
    summary = summary.assign(control=scores)[["task", "majority", "control"]]
    seeds = another_seed(controls).groupby("task")["flips"].mean().rename("seed_flips")
    is_mean = found["task"] == ALL_TASKS
    found = found.assign(is_mean=is_mean, task=found["task"].where(~is_mean, named(found, "mean")))
    return found.merge(summary, "left", "task").join(seeds, on="task")


def settings_table(found: pd.DataFrame) -> Table:
    """Format `settings` as the table shown in README."""
    by_setting = found.drop_duplicates("task").set_index("task")
    dropout, noise = (found[found["method"] == m].set_index("task") for m in (CONTROL, PAPERS_NOISE))
    frame = pd.DataFrame({
        "majority class": by_setting["majority"].map(spread_text),
        "no dropout": by_setting["control"],
        "effect of turning dropout off": dropout["text"] + "\n" + dropout["verdict"],
        "effect of HyPe-N 1e-5 on top": noise["text"] + "\n" + noise["verdict"],
        "predictions changed by HyPe": noise["flips"].map(percent),
        "by another seed": by_setting["seed_flips"].map(percent),
    }, dtype=object).reindex(by_setting.index).fillna("-")  # fmt: skip
    return Table("Effects in every setting", frame.rename_axis("task").reset_index())


def doses(runs: pd.DataFrame) -> pd.DataFrame:
    """Pair runs with and without noise, for the model and data with most scales and the tasks with several."""
    noisy = runs.loc[runs["method"].str.match("hype-[nu] "), "method"].unique()
    pairs = paired(runs, [(method, CONTROL) for method in noisy]).dropna(subset="difference")
    scales = pairs[pairs["hype_type"] == "normal"].groupby(["model", "data"])["hype_eps"].nunique()
    model, data = scales.idxmax() if len(scales) else ("", "")
    pairs = pairs[(pairs["model"] == model) & (pairs["data"] == data)]
    return pairs[pairs.groupby("task")["hype_eps"].transform("nunique") > 1]
