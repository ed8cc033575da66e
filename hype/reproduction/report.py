"""A report from its runs: as Markdown, which a terminal shows as well, and as one self-contained HTML page."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
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
    Effect,
    another_seed,
    effects_of,
    interval_text,
    paired,
    pooled,
    selected,
    summarised,
)
from hype.text_tables import markdown_table

PAPERS_NOISE = "hype-n 1e-05"
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


@dataclass(frozen=True)
class Entry:
    """One cell of a table. note: smaller, below the text; order: by which the column is sorted."""

    text: str
    note: str = ""
    order: float | str = ""

    @property
    def line(self) -> str:
        return f"{self.text} ({self.note})" if self.note else self.text


@dataclass(frozen=True)
class Table:
    """One table of a report."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Entry]]
    note: str = ""


def score_tables(section: Section) -> list[Table]:
    """Show each method's selected mean, a table per model, under the score of the majority class."""
    if section.runs.empty:
        return []
    summary = summarised(section.runs)
    best = selected(summary).set_index(["model", "task", "method"])
    tables = []
    for model in section.models:
        of_model = summary[summary["model"] == model]
        tasks = [t for t in section.tasks if t in set(of_model["task"])]
        majority = of_model.groupby("task")["majority"].first()
        rows = [[Entry("majority class"), *(_points(majority[task]) for task in tasks)]]
        for method in [m for m in section.methods if m in set(of_model["method"])]:
            row = [Entry(written(method))]
            for task in tasks:
                key = (model, task, method)
                of_cell = of_model[(of_model["task"] == task) & (of_model["method"] == method)]
                row.append(_score_entry(best.loc[key] if key in best.index else None, of_cell))
            rows.append(row)
        if len(tasks) > 1:
            columns = ["method", *map(written, tasks), "mean of tasks"]
            rows = [[*row, _average(row[1:])] for row in rows]
        else:
            columns = ["method", *map(written, tasks)]
        tables.append(Table(f"Scores: {model}", columns, rows))
    return tables


def _score_entry(best: pd.Series | None, grid: pd.DataFrame) -> Entry:
    """Show the selected mean; without a complete grid point a dash with the number of runs so far."""
    failed = int(grid["failed"].sum())
    problems = [f"{failed} failed"] if failed else []
    if best is None:
        fullest = grid.loc[grid["n"].idxmax()] if len(grid) else None
        return Entry("-", ", ".join([f"{fullest['n']} of {fullest['planned']} runs", *problems]) if len(grid) else "")
    spread = "" if np.isnan(best["sd"]) else f" ± {best['sd']:.2f}"
    notes = [f"n {best['n']}"]
    if best["collapsed"]:
        notes.append(f"{best['collapsed']} collapsed")
    if best["is_at_majority"]:
        notes.append("at majority level")
    complete = int((grid["n"] == grid["planned"]).sum())
    notes += [f"grid {complete} of {len(grid)}"] if complete < len(grid) else []
    return Entry(f"{best['mean']:.2f}{spread}", ", ".join(notes + problems), best["mean"])


def _average(entries: Sequence[Entry]) -> Entry:
    numbers = [entry.order for entry in entries]
    return Entry("-") if "" in numbers else _points(float(np.mean(numbers)))


def _points(value: float | None, sign: bool = False) -> Entry:
    if value is None or np.isnan(value):
        return Entry("-")
    return Entry(f"{value:{'+' if sign else ''}.2f}", "", value)


def comparisons(section: Section) -> list[tuple[str, str]]:
    """List the compared methods with their references: dropout's part first, then what each adds to its like."""
    methods = section.methods
    found = [(CONTROL, VANILLA)] if {CONTROL, VANILLA} <= set(methods) else []
    return found + [(m, section.counterpart(m)) for m in methods if m not in (VANILLA, CONTROL)]


def effects(section: Section, pairs: Sequence[tuple[str, str]]) -> list[Effect]:
    """Compare methods of a section with their references."""
    found = []
    for method, reference in pairs:
        is_elsewhere = section.experiment.is_scored_elsewhere
        found += effects_of(section.runs, method, reference, section.tasks, is_elsewhere)
    return [effect for effect in found if effect.estimate is not None]


def effect_tables(section: Section, pairs: Sequence[tuple[str, str]], title: str = "Paired effects") -> list[Table]:
    """Show effects: a row for each method (and variant), a column for each task, a table per model."""
    found = effects(section, pairs)
    tables = []
    for model in dict.fromkeys(effect.model for effect in found):
        of_model = {(e.method, e.variant, e.reference, e.task): e for e in found if e.model == model}
        tasks = [t for t in (*section.tasks, ALL_TASKS) if any(key[3] == t for key in of_model)]
        rows = []
        for method, variant, reference in dict.fromkeys(key[:3] for key in of_model):
            name = f"{written(method)} minus {written(reference)}"
            of_row = [of_model.get((method, variant, reference, task)) for task in tasks]
            rows.append([Entry(name, variant), *map(effect_entry, of_row)])
        columns = ["method minus reference", *(t if t == ALL_TASKS else written(t) for t in tasks)]
        tables.append(Table(f"{title}: {model}", columns, rows))
    return tables


def effect_entry(effect: Effect | None) -> Entry:
    """Write an effect with its interval; below it n, flips, what follows, and the same without collapsed runs."""
    if effect is None or effect.estimate is None:
        return Entry("-")
    interval = effect.estimate.interval()
    between = f" [{interval[0]:+.2f}, {interval[1]:+.2f}]" if interval else ""
    missing = f" of {effect.planned}" if effect.pairs < effect.planned else ""
    notes = [f"{effect.pairs}{missing} pairs" if effect.n != effect.pairs or missing else f"n {effect.n}"]
    notes += [f"flips {100 * effect.flips:.1f} %"] if effect.flips is not None else []
    notes.append(effect.verdict)
    if effect.collapsed:
        rest = effect.without_collapsed
        notes.append(f"{effect.collapsed} collapsed; without them {interval_text(rest)}")
    return Entry(f"{effect.estimate.mean:+.2f}{between}", "; ".join(notes), effect.estimate.mean)


def grid_table(section: Section) -> Table:
    """Show every grid point with the value of every seed."""
    summary = summarised(section.runs)
    best = set(selected(summary).index)
    rows = []
    by_point = {names: group for names, group in section.runs.groupby(GRID_POINT, sort=False)}
    for place, row in summary.iterrows():
        group = by_point[tuple(row[GRID_POINT])]
        scored = group[group["score"].notna()].sort_values("seed")
        seeds = ", ".join(f"{run.seed}: {run.score:.2f}" for run in scored.itertuples())
        sd = "" if np.isnan(row["sd"]) else f" ± {row['sd']:.2f}"
        mean = Entry("-") if np.isnan(row["mean"]) else Entry(f"{row['mean']:.2f}{sd}", "", row["mean"])
        texts = [row["model"], written(row["task"]), written(row["method"]), row["variant"] or "-"]
        rows.append([
            *map(Entry, texts), Entry(f"{row['learning_rate']:g}", "", row["learning_rate"]),
            Entry(f"{row['n']} of {row['planned']}", "", row["n"]), mean, Entry(seeds or "-"),
            Entry(str(row["collapsed"]), "", row["collapsed"]), Entry(str(row["failed"]), "", row["failed"]),
            Entry("yes" if place in best else ""),
        ])  # fmt: skip
    columns = ["model", "task", "method", "grid point", "learning rate", "n", "mean ± sd", "seed: score", "collapsed",
               "failed", "selected"]  # fmt: skip
    return Table("Every learning rate and grid point", columns, rows)


def printed_tables(section: Section) -> list[Table]:
    """Show the paper's numbers."""
    experiment = section.experiment
    if not experiment.printed or section.overrides.hype_eps is not None:
        return []
    tables = []
    for model in experiment.rows:
        for trained in experiment.tasks if experiment.targets else (None,):
            tasks = experiment.targets[trained] if trained else list(experiment.tasks)
            rows = []
            for method in experiment.methods:
                found = [experiment.printed_score(model, method.name, task, trained) for task in tasks]
                if any(found):
                    rows.append([Entry(written(method.name)), *(Entry(score or "-") for score in found)])
            if rows:
                name = written(model) + (f", trained on {written(trained)}" if trained else "")
                tables.append(Table(f"Printed in the paper: {name}", ["method", *map(written, tasks)], rows))
    return tables


def layer_tables(section: Section) -> list[Table]:
    """Show an analysis's value of every layer by method: mean ± standard deviation over seeds."""
    tables = []
    groups = [] if section.layers.empty else section.layers.groupby(["model", "analysis", "target"], sort=False)
    for (model, analysis, target), group in groups:
        columns = ["method", "n", *(str(layer) for layer in sorted(group["layer"].unique()))]
        rows = []
        for method, of_method in group.groupby("method", sort=False):
            by_layer = of_method.groupby("layer")["score"].agg(["mean", "std"])
            row = [Entry(written(method)), Entry(str(of_method["seed"].nunique()))]
            for mean, std in by_layer.itertuples(index=False):
                spread = "" if np.isnan(std) else f" ± {std:.2f}"
                row.append(Entry("-") if np.isnan(mean) else Entry(f"{mean:.2f}{spread}", "", mean))
            rows.append(row)
        what = "score of a linear head" if analysis == "probing" else "mean cosine of token pairs"
        note = f"By layer, 0: embeddings; {what}, x 100."
        tables.append(Table(f"{analysis.capitalize()} on {written(target)}: {model}", columns, rows, note))
    return tables


def runs_table(section: Section) -> Table:
    """Show every run with its exact command."""
    columns = ["method", "task", "grid point", "learning rate", "seed", "status", "score", "seconds", "run", "command"]
    rows = []
    for run in section.runs.itertuples():
        seconds = Entry("-") if pd.isna(run.train_s) else Entry(f"{run.train_s:.0f}", "", run.train_s)
        rows.append([
            Entry(written(run.method)), Entry(written(run.task)), Entry(run.variant or "-"),
            Entry(f"{run.learning_rate:g}", "", run.learning_rate), Entry(str(run.seed), "", run.seed),
            Entry(run.status), _points(run.score), seconds, Entry(run.key), Entry(run.command),
        ])  # fmt: skip
    return Table("Runs", columns, rows)


def settings(runs: pd.DataFrame) -> list[dict]:
    """Set what leaving dropout out does beside what HyPe-N of 1e-5 adds, for every choice of data and task.

    Returns:
        label, data, task, n, majority, control (its score: an `Entry`), dropout and noise (an `Effect` each),
        seed_flips (the share of predictions that another seed changes).
    """
    found = []
    noisy = runs[(runs["method"] == PAPERS_NOISE) & runs["score"].notna()]
    several = noisy["model"].nunique() > 1
    for (model, data, task, rate), _ in noisy.groupby(["model", "data", "task", "learning_rate"], sort=False):
        here = runs[(runs["model"] == model) & (runs["data"] == data) & (runs["task"] == task)]
        here = here[here["learning_rate"] == rate]
        dropout = effects_of(here, CONTROL, VANILLA, [task])
        noise = effects_of(here, PAPERS_NOISE, CONTROL, [task])
        if not dropout or not noise or noise[0].estimate is None:
            continue
        controls = here[here["method"] == CONTROL]
        summary = summarised(controls).iloc[0]
        shares = another_seed(controls)["flips"]
        label = f"{data} · {written(task)}"
        found.append({
            "label": f"{model}, {label}" if several else label, "model": model, "data": data, "task": task,
            "majority": summary["majority"], "control": _score_entry(summary, summarised(controls)),
            "dropout": dropout[0], "noise": noise[0],
            "seed_flips": float(shares.mean()) if shares.notna().any() else float("nan"),
        })  # fmt: skip
    kinds = {"all": 0, "random": 1, "first": 2}
    return sorted(found, key=lambda row: kinds.get(row["data"].split()[0], 3))


def settings_table(rows: Sequence[dict]) -> Table:
    """Write `settings` as the table that README shows."""
    columns = ["training examples · task", "n", "majority class", "no dropout", "effect of leaving dropout out",
               "effect of HyPe-N 1e-5 on top", "predictions that HyPe flips", "that another seed flips"]  # fmt: skip
    written_rows = []
    for row in rows:
        control, noise = row["control"], row["noise"]
        marks = [note for note in control.note.split(", ") if "collapsed" in note or "majority" in note]
        shares = [noise.flips, row["seed_flips"]] if noise.flips is not None else [float("nan")] * 2
        written_rows.append([
            Entry(row["label"]), Entry(str(noise.n), "", noise.n), _points(row["majority"]),
            Entry(", ".join([control.text, *marks]), "", control.order),
            *(Entry(effect_entry(e).text, e.verdict, effect_entry(e).order) for e in (row["dropout"], noise)),
            *(Entry("-") if np.isnan(share) else Entry(f"{100 * share:.1f} %", "", share) for share in shares),
        ])  # fmt: skip
    return Table("Effects in every setting", columns, written_rows)


def answers(study: Study, sections: Sequence[Section]) -> list[tuple[str, str]]:
    """Answer the questions of a study, each in a sentence or two with its interval."""
    return [(question.text, _answer(question, sections)) for question in study.questions]


def _answer(question: Question, sections: Sequence[Section]) -> str:
    here = [section for section in sections if section.name in question.sections]
    pairs = [paired(all_runs([section]), question.method, question.reference) for section in here]
    pairs = [pair for pair in pairs if len(pair)]
    if not pairs:
        return "No pair of runs is finished yet."
    everything = pooled(pairs)
    low, high = everything.interval(0.9) or (-math.inf, math.inf)
    verdict = "Not decided"
    if -question.margin < low and high < question.margin:
        verdict = f"No effect within ±{question.margin:g} point"
    elif everything.is_told_apart:
        verdict = f"Yes, it {'raises' if everything.mean > 0 else 'lowers'} the score"
    together = pd.concat(pairs)
    count = sum(pair["task"].nunique() for pair in pairs)
    number = interval_text(everything, 0.9).replace("(", "(90 % interval " if everything.interval() else "(")
    text = f"{verdict}: on average {number} points over {count} setting{'s' * (count > 1)}."
    flips = together["flips"].dropna()
    if len(flips):
        none = int((flips == 0).sum())
        share = 100 * flips.mean()
        text += f" It flips {share:.1f} % of the dev predictions; {none} of {len(flips)} pairs are identical."
    collapsed = int(together["is_collapsed"].sum())
    if collapsed:
        rest = pooled([pair[~pair["is_collapsed"]] for pair in pairs])
        text += f" Without pairs in which a run predicts a single class ({collapsed}): {interval_text(rest, 0.9)}."
    return text


def headline(section: Section) -> str:
    """Say what the section's effects support, in a few words."""
    if section.waits_for:
        return f"Waits for {section.waits_for}"
    found = [e for e in effects(section, comparisons(section)) if e.task != ALL_TASKS]
    apart = [e for e in found if e.estimate.is_told_apart and not e.is_at_majority]
    if apart:
        names = list(dict.fromkeys(f"{written(e.method)} on {written(e.task)}" for e in apart))
        return f"{len(apart)} of {len(found)} effects told apart from 0: {', '.join(names[:3])}"
    if not any(e.estimate.interval() for e in found):
        return "Too few seeds to tell methods apart" if found else "No pair of runs yet"
    return f"None of {len(found)} effects told apart from 0"


def texts_of(section: Section) -> list[str]:
    """What a reader must know of a section: its settings, what the data are, its own remarks."""
    other = f"Not the paper's experiment: {section.differences}." if section.differences else ""
    return [text for text in (section.text, other, section.sample, *section.notes) if text]


def main_tables(section: Section) -> list[Table]:
    """The tables that a reader sees first: scores, effects, values by layer."""
    return [*score_tables(section), *effect_tables(section, comparisons(section)), *layer_tables(section)]


def further_tables(section: Section) -> list[Table]:
    """The tables that are folded: noise and missing dropout in one, the paper's numbers, every grid point."""
    if not section.specs:
        return []
    others = [m for m, reference in comparisons(section) if reference == CONTROL and VANILLA in section.methods]
    together = effect_tables(section, [(m, VANILLA) for m in others], "Missing dropout and noise together")
    return [*together, *printed_tables(section), grid_table(section)]


def show(sections: Sequence[Section], study: Study | None, is_full: bool, drawn: Sequence[Figure] = ()) -> str:
    """Return the report as Markdown, which a terminal shows as well: a summary, or all of it."""
    parts = [f"# {_escaped(study.title if study else sections[0].title)}"]
    if study:
        parts += [f"**{_escaped(question)}** {_escaped(answer)}" for question, answer in answers(study, sections)]
        parts += [f"![{_escaped(figure.caption)}]({figure.file_name})" for figure in drawn]
        rows = settings(all_runs(sections))
        parts += [_markdown(settings_table(rows), has_notes=False)] if rows else []
        found = [[Entry(s.name), Entry(s.counts), Entry(headline(s))] for s in sections]
        parts.append(_markdown(Table("Sections", ["section", "runs", "finding"], found), has_notes=False))
    for section in sections if is_full or not study else ():
        parts += [f"## {_escaped(section.title)}"] if study else []
        parts += [_escaped(f"{section.experiment.paper}. {section.counts}. {headline(section)}.")]
        parts += map(_escaped, texts_of(section))
        parts += map(_markdown, main_tables(section) + (further_tables(section) if is_full else []))
    if is_full:
        parts += ["## Methods", *map(_escaped, (*METHODS, *sections[0].experiment.common_notes))]
        parts += [_escaped(study.summary)] if study else []
    else:
        parts.append("--show full prints every table.")
    return "\n\n".join(parts)


def _markdown(table: Table, has_notes: bool = True) -> str:
    rows = [[_escaped(entry.line if has_notes else entry.text) for entry in row] for row in table.rows]
    body = markdown_table([_escaped(name) for name in table.columns], rows, is_padded=not has_notes)
    return f"### {_escaped(table.title)}\n\n{body}"


def _escaped(text: str) -> str:
    return html.escape(text, quote=False).replace("|", "\\|").replace("\n", " ")


def write_report(sections: Sequence[Section], study: Study | None, folder: Path) -> list[Path]:
    """Write report.html, report.md and, of a study, the figures that README shows; return their paths.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    rows = settings(all_runs(sections)) if study else []
    drawn = _first_figures(sections, rows) if study else []
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "templates"),
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    page = environment.get_template("report.html.j2").render(
        title=study.title if study else sections[0].title,
        study=study,
        answers=answers(study, sections) if study else [],
        figures=_embedded(drawn),
        settings=settings_table(rows) if rows else None,
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
    drawn = figures.layer_figures(section, sample)
    return {
        "section": section, "headline": headline(section), "texts": texts_of(section), "tables": main_tables(section),
        "figures": _embedded(drawn), "runs_figures": _embedded(figures.seeds_figures(section, title, sample)),
        "folded": further_tables(section), "runs": runs_table(section) if section.specs else None,
    }  # fmt: skip


def _embedded(drawn: Sequence[Figure]) -> list[tuple[Markup, str]]:
    return [(Markup(figure.svg), figure.caption) for figure in drawn]


def _first_figures(sections: Sequence[Section], rows: Sequence[dict]) -> list[Figure]:
    """Draw the effects of all settings, and the dose figure of the model and data with most scales."""
    runs, note = all_runs(sections), " ".join(dict.fromkeys(filter(None, (section.sample for section in sections))))
    drawn = []
    if rows:
        models = ", ".join(dict.fromkeys(row["model"] for row in rows))
        drawn.append(figures.effects_figure("effects", _effects_title(rows), rows, f"{models} {note}".strip()))
    dosed = runs[runs["method"].str.startswith("hype-n ", na=False) & runs["score"].notna()]
    if len(dosed):
        model, data = dosed.groupby(["model", "data"])["hype_eps"].nunique().idxmax()
        here = runs[(runs["model"] == model) & (runs["data"] == data)]
        here = here.merge(here.loc[here["method"] == PAPERS_NOISE, ["task", "learning_rate"]].drop_duplicates())
        seeds = another_seed(here[here["method"] == CONTROL])
        note = f"{model}, {data} training examples. {note}".strip()
        figure = figures.dose_figure("dose", _dose_title(here, seeds), here, seeds, note)
        drawn += [figure] if figure else []
    return drawn


def _effects_title(rows: Sequence[dict]) -> str:
    compared = [row["noise"] for row in rows if row["noise"].estimate.interval()]
    apart = [effect for effect in compared if effect.estimate.is_told_apart and not effect.is_at_majority]
    if not compared:
        return "HyPe-N of 1e-5 beside no dropout: too few seeds so far"
    return f"HyPe-N of 1e-5 beside no dropout: told apart in {len(apart) or 'none'} of {len(compared)} settings"


def _dose_title(runs: pd.DataFrame, seeds: pd.DataFrame) -> str:
    methods = [m for m in dict.fromkeys(runs["method"]) if m.startswith("hype-n ")]
    shares = pd.concat([paired(runs, method, CONTROL) for method in methods]).groupby("hype_eps")["flips"].mean()
    above = shares[shares >= seeds["flips"].mean() / 2]
    if above.empty:
        return "No scale of the noise changes half as many predictions as another seed does"
    return f"Noise below {above.index[0]:g} changes less than half as many predictions as another seed does"
