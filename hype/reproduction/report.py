"""A report from its runs: as Markdown, which a terminal shows as well, and as one self-contained HTML page."""

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2
import pandas as pd
from markupsafe import Markup

from hype.drawing import Figure
from hype.errors import EnvironmentFault
from hype.files import write_text
from hype.reproduction import figures
from hype.reproduction.experiments import CONTROL, VANILLA, Question, Study, written
from hype.reproduction.sections import Section, all_runs
from hype.reproduction.statistics import (
    ALL_TASKS,
    GRID_POINT,
    SETTING,
    another_seed,
    effects,
    mean_effect,
    paired,
    selected,
    spread_text,
    summarised,
)
from hype.text_tables import markdown_table

PAPERS_NOISE = "hype-n 1e-05"
MEAN = "mean of tasks"
METHODS = (
    "Scores are dev scores x 100: Matthews correlation for CoLA, F1 for MRPC and QQP, the mean of Pearson and "
    "Spearman correlation for STS-B, accuracy for the others; mean ± standard deviation over n seeds. For each model, "
    "task and method a score table shows the learning rate and grid point with the best mean on the dev set, as the "
    "paper does. This selects on the set that is reported, so it flatters every method, the more the larger its grid. "
    "Effects select nothing.",
    "An effect is the mean difference of runs that share seed, data and learning rate, with its 95 % Student's t "
    "interval over seeds; over all tasks each task has the same weight. “Told apart” means that this interval "
    "excludes 0. “No effect within ±1” means that the 90 % interval lies inside ±1 point (two one-sided tests at 5 "
    "%). “Could detect” is the smallest effect that so many pairs find in four of five studies. Intervals are not "
    "corrected for their number: of twenty effects that are 0, one interval excludes 0. They cover seeds, not other "
    "dev sets or other draws of the training examples.",
    "“At majority level”: the 95 % interval of the mean score reaches down to the score of the majority class, so the "
    "model has not been shown to have learned anything, and a difference there proves nothing. “Collapsed”: runs that "
    "predict a single class; they stay in, and a second number leaves them out. “Flips”: dev predictions that differ "
    "between the two runs of a pair; regression has none.",
    "“No dropout” is vanilla fine-tuning with hidden dropout 0, the control that the paper lacks: HyPe runs without "
    "dropout, too. Attention dropout stays at 0.1 in all of them. HyPe-N adds normal noise, HyPe-U uniform.",
)


class Table(NamedTuple):
    """One table of a report. frame: texts; a second line of a text is a note, written smaller."""

    title: str
    frame: pd.DataFrame
    note: str = ""


def _tables(title: str, cells: pd.DataFrame, order: Iterable[str], heading: str = "method", note="") -> list[Table]:
    """Make a table for each `model` of the cells: a line for each `line`, a column for each `task`, in this order."""
    found = []
    for model, part in cells.groupby("model", sort=False):
        wide = part.pivot(index="line", columns="task", values="cell").fillna("-")
        columns = [column for column in dict.fromkeys(order) if column in wide.columns]
        wide = wide.reindex(part["line"].unique(), columns=columns)
        wide = wide.rename(columns=written).rename_axis(None, axis=1).rename_axis(heading)
        found.append(Table(f"{title}: {model}", wide.reset_index(), note))
    return found


def score_tables(section: Section) -> list[Table]:
    """Show each method's selected mean, a table per model, under the score of the majority class."""
    if section.runs.empty:
        return []
    summary = summarised(section.runs)
    best = selected(summary)
    majority = summary.groupby(["model", "task"], sort=False)["majority"].first().rename("mean").reset_index()
    rows = [majority.assign(line="majority class", cell=majority["mean"].map(_number))]
    for (model, task, method), grid in summary.groupby(["model", "task", "method"], sort=False):
        chosen = best.loc[best.index.isin(grid.index)]
        mean, cell = chosen.loc[chosen["n"] == chosen["planned"], "mean"].max(), _score_cell(chosen, grid)
        rows.append(pd.DataFrame([{"model": model, "task": task, "line": written(method), "mean": mean, "cell": cell}]))
    cells = pd.concat(rows, ignore_index=True)
    if len(section.tasks) > 1:
        means = cells.groupby(["model", "line"])["mean"].agg(lambda scores: scores.mean(skipna=False)).reset_index()
        cells = pd.concat([cells, means.assign(task=MEAN, cell=means["mean"].map(_number))])
    return _tables("Scores", cells, [*section.tasks, MEAN])


def _score_cell(chosen: pd.DataFrame, grid: pd.DataFrame) -> str:
    """Write the selected mean; without one a dash with the number of runs so far."""
    failed = [f"{grid['failed'].sum()} failed"] if grid["failed"].sum() else []
    if chosen.empty:
        fullest = grid.loc[grid["n"].idxmax()]
        return "\n".join(["-", ", ".join([f"{fullest['n']} of {fullest['planned']} runs", *failed])])
    (best,) = chosen.itertuples()
    complete = int((grid["n"] == grid["planned"]).sum())
    notes = [f"n {best.n}" + (f" of {best.planned}" if best.n < best.planned else "")]
    notes += _marks(best)
    notes += [f"grid {complete} of {len(grid)}"] if complete < len(grid) > 1 else []
    return f"{spread_text(best.mean, best.sd)}\n{', '.join(notes + failed)}"


def _marks(row) -> list[str]:
    return [f"{row.collapsed} collapsed"] * (row.collapsed > 0) + ["at majority level"] * row.is_at_majority


def _number(value: float) -> str:
    return spread_text(value, float("nan"))


def _percent(share: float) -> str:
    return "-" if pd.isna(share) else f"{100 * share:.1f} %"


def comparisons(section: Section) -> list[tuple[str, str]]:
    """List the compared methods with their references: dropout's part first, then what each adds to its like."""
    methods = section.methods
    found = [(CONTROL, VANILLA)] if {CONTROL, VANILLA} <= set(methods) else []
    return found + [(m, section.counterpart(m)) for m in methods if m not in (VANILLA, CONTROL)]


def section_effects(section: Section, pairs: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """Compare methods of a section with their references; see `statistics.effects`."""
    return effects(paired(section.runs, pairs), section.experiment.is_scored_elsewhere)


def effect_tables(section: Section, pairs: Iterable[tuple[str, str]], title: str = "Paired effects") -> list[Table]:
    """Show effects: a row for each method (and variant), a column for each task, a table per model."""
    found = section_effects(section, pairs)
    lines = [f"{written(e.method)} minus {written(e.reference)}\n{e.variant}".strip() for e in found.itertuples()]
    cells = [f"{effect.text}\n{_effect_note(effect)}" for effect in found.itertuples()]
    return _tables(title, found.assign(line=lines, cell=cells), [*section.tasks, ALL_TASKS], "method minus reference")


def _effect_note(effect) -> str:
    """Write what flips, what follows, and the same without collapsed runs."""
    notes = [] if pd.isna(effect.flips) else [f"flips {_percent(effect.flips)}"]
    notes.append(effect.verdict)
    if effect.collapsed:
        notes.append(f"{effect.collapsed} collapsed; without them {effect.without_collapsed}")
    return "; ".join(notes)


def layer_tables(section: Section) -> list[Table]:
    """Show an analysis's value of every layer by method: mean ± standard deviation over seeds."""
    found: list[Table] = []
    for (analysis, target), layers in () if section.layers.empty else section.layers.groupby(["analysis", "target"]):
        by_layer = layers.groupby(["model", "method", "layer"], sort=False)
        cells = by_layer.agg(mean=("score", "mean"), sd=("score", "std"), n=("seed", "nunique")).reset_index()
        cells = cells.assign(
            line=[f"{written(method)}\nn {n}" for method, n in zip(cells["method"], cells["n"], strict=True)],
            cell=list(map(spread_text, cells["mean"], cells["sd"])),
            task=cells["layer"].astype(str),
        )
        what = "score of a linear head" if analysis == "probing" else "mean cosine of token pairs"
        order, note = map(str, sorted(layers["layer"].unique())), f"By layer, 0: embeddings; {what}, x 100."
        found += _tables(f"{analysis.capitalize()} on {written(target)}", cells, order, note=note)
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
    """Name models, tasks, methods, grid points and learning rates as people write them."""
    return pd.DataFrame({
        "model": rows["model"], "task": rows["task"].map(written), "method": rows["method"].map(written),
        "grid point": rows["variant"].replace("", "-"), "learning rate": rows["learning_rate"].map("{:g}".format),
    })  # fmt: skip


def grid_table(section: Section) -> Table:
    """Show every grid point with the value of every seed."""
    summary, scored = summarised(section.runs), section.runs.dropna(subset="score").sort_values("seed")
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
    more = {"score": runs["score"].map(_number), "seconds": seconds, "run": runs["key"], "command": runs["command"]}
    return Table("Runs", _names(runs).assign(seed=runs["seed"], status=runs["status"], **more).astype(str))


def study_runs(study: Study, sections: Sequence[Section]) -> pd.DataFrame:
    """Return the runs of a study (see `sections.all_runs`) except those by which learning rates were chosen."""
    chosen_by = {entry.rates_of for entry in study.sections}
    return all_runs([section for section in sections if section.name not in chosen_by])


def settings(runs: pd.DataFrame) -> pd.DataFrame:
    """Set what leaving dropout out does beside what HyPe-N of 1e-5 adds, for every choice of model, data and task.

    Returns:
        Rows of `statistics.effects`, with label, and of the runs without dropout majority, control (their score, as
        text) and seed_flips (the share of predictions that another seed changes).
    """
    noisy = runs[(runs["method"] == PAPERS_NOISE) & runs["score"].notna()]
    runs = runs.merge(noisy[[*SETTING, "learning_rate"]].drop_duplicates())
    found = effects(paired(runs, [(CONTROL, VANILLA), (PAPERS_NOISE, CONTROL)]))
    controls = runs[runs["method"] == CONTROL]
    summary = summarised(controls).drop_duplicates(SETTING)
    scores = [", ".join([spread_text(row.mean, row.sd), *_marks(row)]) for row in summary.itertuples()]
    summary = summary.assign(control=scores)[[*SETTING, "majority", "control"]]
    seeds = another_seed(controls).groupby(SETTING, as_index=False)["flips"].mean()
    found = found.merge(summary).merge(seeds.rename(columns={"flips": "seed_flips"}), "left")
    found["label"] = found["data"] + " · " + found["task"].map(written)
    if found["model"].nunique() > 1:
        found["label"] = found["model"] + ", " + found["label"]
    amount = found["data"].str.split(" ").str[0].map({"all": 0, "random": 1, "first": 2})
    return found.iloc[amount.argsort(kind="stable")].reset_index(drop=True)


def settings_table(found: pd.DataFrame) -> Table:
    """Write `settings` as the table that README shows."""
    by_label = found.drop_duplicates("label").set_index("label")
    dropout, noise = (found[found["method"] == m].set_index("label") for m in (CONTROL, PAPERS_NOISE))
    frame = pd.DataFrame({
        "majority class": by_label["majority"].map(_number),
        "no dropout": by_label["control"],
        "effect of leaving dropout out": dropout["text"] + "\n" + dropout["verdict"],
        "effect of HyPe-N 1e-5 on top": noise["text"] + "\n" + noise["verdict"],
        "predictions that HyPe flips": noise["flips"].map(_percent),
        "that another seed flips": by_label["seed_flips"].map(_percent),
    }).reindex(by_label.index).fillna("-")  # fmt: skip
    return Table("Effects in every setting", frame.rename_axis("training examples · task").reset_index())


def answers(study: Study, sections: Sequence[Section]) -> list[tuple[str, str]]:
    """Answer the questions of a study: a sentence with its interval and, in a second line, what else is known."""
    return [(question.text, _answer(question, sections)) for question in study.questions]


def _answer(question: Question, sections: Sequence[Section]) -> str:
    runs = all_runs([section for section in sections if section.name in question.sections])
    planned = paired(runs, [(question.method, question.reference)])
    pairs = planned.dropna(subset="difference")
    if pairs.empty:
        return "No pair of runs is finished yet."
    found, count = mean_effect(planned), pairs.groupby(SETTING).ngroups
    verdict = "Not decided"
    if found.is_within(question.margin):
        verdict = f"No effect within ±{question.margin:g} point"
    elif found.is_told_apart:
        verdict = f"Yes, it {'raises' if found.mean > 0 else 'lowers'} the score"
    text = f"{verdict}: on average {found.text(0.9)} points over {count} setting{'s' * (count > 1)}.\n"
    flips = pairs["flips"].dropna()
    if len(flips):
        none = int((flips == 0).sum())
        text += (
            f"It flips {_percent(flips.mean())} of the dev predictions; {none} of {len(flips)} pairs are identical. "
        )
    if pairs["is_collapsed"].any():
        rest, collapsed = mean_effect(pairs[~pairs["is_collapsed"]]), pairs["is_collapsed"].sum()
        text += f"Without pairs in which a run predicts a single class ({collapsed}): {rest.text(0.9)}."
    return text.strip()


def headline(section: Section) -> str:
    """Say what the section's effects support, in a few words."""
    if section.waits_for:
        return f"Waits for {section.waits_for}"
    found = section_effects(section, comparisons(section))
    found = found[found["task"] != ALL_TASKS]
    apart = found[found["is_told_apart"] & ~found["is_at_majority"].astype(bool)]
    if len(apart):
        names = list(dict.fromkeys(f"{written(e.method)} on {written(e.task)}" for e in apart.itertuples()))
        return f"{len(apart)} of {len(found)} effects told apart from 0: {', '.join(names[:3])}"
    if found["low"].isna().all():
        return "Too few seeds to tell methods apart" if len(found) else "No pair of runs yet"
    return f"None of {len(found)} effects told apart from 0"


def _counts(section: Section) -> str:
    return "no runs yet" if section.waits_for else section.counts


def texts_of(section: Section) -> list[str]:
    """What a reader must know of a section: its settings, what the data are, its own remarks."""
    other = f"Not the paper's experiment: {section.differences}." if section.differences else ""
    return [text for text in (section.text, other, section.sample, *section.notes) if text]


def main_tables(section: Section) -> list[Table]:
    """The tables that a reader sees first: scores, effects, values by layer."""
    return [*score_tables(section), *effect_tables(section, comparisons(section)), *layer_tables(section)]


def further_tables(section: Section) -> list[Table]:
    """The tables that are folded: noise and missing dropout in one, the paper's numbers, every grid point."""
    if section.runs.empty:
        return []
    others = [m for m, reference in comparisons(section) if reference == CONTROL and VANILLA in section.methods]
    together = effect_tables(section, [(m, VANILLA) for m in others], "Missing dropout and noise together")
    return [*together, *printed_tables(section), grid_table(section)]


def progress(sections: Sequence[Section]) -> str:
    """Say what of a study is missing; "" where nothing is."""
    runs = pd.concat([section.runs for section in sections])
    finished = (runs["status"] == "finished").groupby(runs["key"]).all()
    waiting = sum(bool(section.waits_for) for section in sections)
    if finished.all() and not waiting:
        return ""
    waits = f" {waiting} of {len(sections)} sections wait for others." if waiting else ""
    return f"Interim: {finished.sum()} of {len(finished)} runs are finished.{waits}"


def show(sections: Sequence[Section], study: Study | None, is_full: bool, drawn: Sequence[Figure] = ()) -> str:
    """Return the report as Markdown, which a terminal shows as well: a summary, or all of it."""
    parts = [f"# {_escaped(study.title if study else sections[0].title)}"]
    if study:
        parts += [f"**{_escaped(question)}** {_escaped(answer)}" for question, answer in answers(study, sections)]
        parts += filter(None, [progress(sections)])
        parts += [f"![{_escaped(figure.caption)}]({figure.file_name})" for figure in drawn]
        found = settings(study_runs(study, sections))
        parts += [] if found.empty else [_markdown(settings_table(found), has_notes=False)]
        rows = [(section.name, _counts(section), headline(section)) for section in sections]
        parts.append(_markdown(Table("Sections", pd.DataFrame(rows, columns=["section", "runs", "finding"])), False))
    for section in sections if is_full or not study else ():
        parts += [f"## {_escaped(section.title)}"] if study else []
        parts += [_escaped(f"{section.experiment.paper}. {_counts(section)}. {headline(section)}.")]
        parts += map(_escaped, texts_of(section))
        parts += map(_markdown, main_tables(section) + (further_tables(section) if is_full else []))
    if is_full:
        parts += ["## Methods", *map(_escaped, (*METHODS, *sections[0].experiment.common_notes))]
        parts += [_escaped(study.summary)] if study else []
    else:
        parts.append("--show full prints every table.")
    return "\n\n".join(parts)


def _markdown(table: Table, has_notes: bool = True) -> str:
    return f"### {_escaped(table.title)}\n\n{markdown_of(table, has_notes, is_padded=not has_notes)}"


def markdown_of(table: Table, has_notes: bool, is_padded: bool = False) -> str:
    """Write a table without its title in Markdown; notes: after a semicolon."""
    cells = table.frame.map(
        lambda cell: _escaped(cell.strip().replace("\n", "; ") if has_notes else cell.split("\n")[0])
    )
    return markdown_table(list(map(_escaped, cells.columns)), cells.values.tolist(), is_padded)


def _escaped(text: str) -> str:
    return html.escape(text, quote=False).replace("|", "\\|").replace("\n", " ")


def write_report(sections: Sequence[Section], study: Study | None, folder: Path) -> list[Path]:
    """Write report.html, report.md and, of a study, the figures that README shows; return their paths.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    runs = study_runs(study, sections) if study else all_runs([])
    found = settings(runs)
    drawn = study_figures(runs, " ".join(dict.fromkeys(section.sample for section in sections)))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "templates"),
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    page = environment.get_template("report.html.j2").render(
        title=study.title if study else sections[0].title,
        study=study,
        answers=answers(study, sections) if study else [],
        progress=progress(sections) if study else "",
        figures=_embedded(drawn),
        settings=None if found.empty else settings_table(found),
        parts=[_part(section) for section in sections],
        methods=[*METHODS, *sections[0].experiment.common_notes],
    )
    files = {"report.html": page, "report.md": show(sections, study, True, drawn) + "\n"}
    files |= {figure.file_name: figure.standalone for figure in drawn}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            write_text(folder / name, text)
    except OSError as error:
        raise EnvironmentFault(f"{folder}: {error.strerror}; choose a folder you can write") from error
    return [folder / name for name in files]


def _part(section: Section) -> dict:
    """Collect what the page shows of one section."""
    title, sample = f"{section.title}: {headline(section)}", section.sample
    return {
        "section": section, "counts": _counts(section), "headline": headline(section), "texts": texts_of(section),
        "tables": main_tables(section),
        "figures": _embedded(figures.layer_figures(section, sample)),
        "runs_figures": _embedded(figures.seeds_figures(section, title, sample)),
        "folded": further_tables(section), "runs": None if section.runs.empty else runs_table(section),
    }  # fmt: skip


def _embedded(drawn: Iterable[Figure]) -> list[tuple[Markup, str]]:
    return [(Markup(figure.svg), figure.caption) for figure in drawn]


def doses(runs: pd.DataFrame) -> pd.DataFrame:
    """Pair noise with no noise, for the model and data with most scales of it and the tasks with at least three."""
    runs = runs.merge(runs.loc[runs["method"] == PAPERS_NOISE, [*SETTING, "learning_rate"]].drop_duplicates())
    noisy = runs.loc[runs["method"].str.match("hype-[nu] "), "method"].unique()
    pairs = paired(runs, [(method, CONTROL) for method in noisy]).dropna(subset="difference")
    scales = pairs[pairs["hype_type"] == "normal"].groupby(["model", "data"])["hype_eps"].nunique()
    model, data = scales.idxmax() if len(scales) else ("", "")
    pairs = pairs[(pairs["model"] == model) & (pairs["data"] == data)]
    return pairs[pairs.groupby("task")["hype_eps"].transform("nunique") > 2]


def study_figures(runs: pd.DataFrame, note: str) -> list[Figure]:
    """Draw the effects of all settings and, if there are enough scales of noise, the doses."""
    drawn, found, pairs = [], settings(runs), doses(runs)
    if len(found):
        models = ", ".join(found["model"].unique())
        drawn.append(figures.effects_figure(_effects_title(found), found, f"{models} {note}".strip()))
    if len(pairs):
        controls = runs[runs["method"] == CONTROL].merge(pairs[[*SETTING, "learning_rate"]].drop_duplicates())
        (model,), (data,), seeds = pairs["model"].unique(), pairs["data"].unique(), another_seed(controls)
        note = f"{model}, {data} training examples. {note}".strip()
        drawn.append(figures.dose_figure(_dose_title(pairs, seeds), pairs, seeds, note))
    return drawn


def _effects_title(found: pd.DataFrame) -> str:
    compared = found[(found["method"] == PAPERS_NOISE) & found["low"].notna()]
    apart = compared["is_told_apart"] & ~compared["is_at_majority"].astype(bool)
    if compared.empty:
        return "HyPe-N of 1e-5 beside no dropout: too few seeds so far"
    return f"HyPe-N of 1e-5 beside no dropout: told apart in {apart.sum() or 'none'} of {len(compared)} settings"


def _dose_title(pairs: pd.DataFrame, seeds: pd.DataFrame) -> str:
    shares = pairs[pairs["hype_type"] == "normal"].groupby("hype_eps")["flips"].mean()
    above = shares[shares >= seeds["flips"].mean() / 2]
    if above.empty:
        return "No scale of the noise changes half as many predictions as another seed does"
    return f"Noise below {above.index[0]:g} changes less than half as many predictions as another seed does"
