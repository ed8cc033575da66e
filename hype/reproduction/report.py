"""Reports: as Markdown, also shown in the terminal, and as one self-contained HTML page."""

import html
from collections.abc import Sequence
from pathlib import Path

import jinja2
import pandas as pd

from hype.files import write_output
from hype.reproduction import figures, tables
from hype.reproduction.drawing import Figure
from hype.reproduction.experiments import Question, Study, written
from hype.reproduction.sections import Section, all_runs, runs_of
from hype.reproduction.statistics import (
    ALL_TASKS,
    SETTING,
    across_text,
    effects,
    mean_effect,
    mean_flips,
    paired,
    percent,
    verdict,
)
from hype.reproduction.status import FINISHED, counts_text
from hype.reproduction.tables import Table
from hype.text_tables import counted, markdown_table

UNANSWERED = "No pair of runs is finished yet."
METHODS = (
    "Scores are dev scores x 100: Matthews correlation for CoLA, F1 for MRPC and QQP, the mean of Pearson and "
    "Spearman correlation for STS-B, accuracy for the others and for every set of tables 6 and 7; mean ± standard "
    "deviation over n seeds. For each model, task and method a score table shows the learning rate and grid point with "
    "the best mean on the dev set, as the paper does. This selects on the set that is reported, which flatters every "
    "method, the more so the larger its grid. Effects involve no selection.",
    "An effect is the mean paired difference of runs that share seed, data and learning rate, averaged over the "
    "finished learning rates of each seed, with its 95 % Student's t interval over seeds; over all tasks, each task "
    "has the same weight, and a seed is one observation. "
    "“Differs from 0” means that this interval excludes 0. “No effect beyond ±1 point” means that the 90 % interval "
    "lies inside it (two one-sided tests at 5 %). An effect is “inconclusive” if neither holds; “could detect” is "
    "then the smallest effect that this many pairs would detect in four of five studies. Intervals are not corrected "
    "for multiple comparisons: of twenty effects that are 0, about one has an interval that excludes 0. They cover "
    "seeds, not other dev sets or training samples.",
    "“At majority level”: the 95 % interval of the mean score reaches down to the score of the majority class, so the "
    "model has not been shown to have learned anything, and a difference there proves nothing. “Collapsed”: runs that "
    "predict a single class; they are included, and a second number excludes them. “Flips”: dev predictions that "
    "differ between the two runs of a pair, without pairs whose reference predicts a single class; regression has "
    "none. “Pairs across devices”: the two runs come from different devices or numbers of threads, which round "
    "differently, and training can amplify that.",
    "“No dropout” is vanilla fine-tuning with hidden dropout 0. The paper lacks this control, although HyPe also runs "
    "without dropout. Attention dropout stays at 0.1 in all of these. HyPe-N adds normal noise, HyPe-U uniform noise.",
)


def answers(study: Study, sections: Sequence[Section]) -> list[tuple[str, str]]:
    """Answer the questions about these sections: a sentence with its interval and, on a second line, more findings."""
    names = {section.name for section in sections}
    return [(asked.text, _answer(asked, sections)) for asked in study.questions if names.issuperset(asked.sections)]


def _answer(question: Question, sections: Sequence[Section]) -> str:
    runs = all_runs([section for section in sections if section.name in question.sections])
    planned = paired(runs, [(question.method, question.reference)])
    pairs = planned.dropna(subset="difference")
    if pairs.empty:
        return UNANSWERED
    found, count, tasks = mean_effect(planned), pairs.groupby(SETTING).ngroups, pairs["task"].unique()
    level = 0.9 if found.is_within_margin and not found.excludes_zero else 0.95  # of the interval that decides
    interim = "" if found.is_complete else ", interim"
    kind = "tasks" if count == len(tasks) else "settings"
    where = f"on {written(tasks[0])}" if count == 1 else f"on average over {count} {kind}"
    says = verdict(pairs, found)
    text = f"{says[0].upper()}{says[1:]}{interim}: {found.text(level, ' points')} {where}{across_text(pairs)}.\n"
    flips = pairs["flips"].dropna()
    if len(flips):
        none = int((flips == 0).sum())
        text += (
            f"In classification, {percent(mean_flips(pairs))} of the dev predictions change; "
            f"{none} of {len(flips)} pairs have identical predictions. "
        )
    if pairs["is_collapsed"].any():
        rest, collapsed = mean_effect(pairs[~pairs["is_collapsed"]]), pairs["is_collapsed"].sum()
        text += f"Without pairs in which a run predicts a single class ({collapsed}): {rest.text(level)}."
    return text.strip()


def headline(section: Section) -> str:
    """Summarise in a few words what the section's effects support."""
    if section.waits_for:
        return f"Waits for {section.waits_for}"
    found = effects(paired(section.runs, tables.comparisons(section)))
    over_all = found[found["task"] == ALL_TASKS]  # where there are several tasks, single ones are only described
    found = found if over_all.empty else over_all
    clear = found[found["excludes_zero"].astype(bool)]
    if len(clear):
        names = [f"{written(e.method)} {e.variant}".strip() for e in clear.itertuples()]
        texts = [f"{n} on {written(e.task)} ({e.verdict})" for n, e in zip(names, clear.itertuples(), strict=True)]
        return f"{len(clear)} of {len(found)} effects differ from 0: {', '.join(dict.fromkeys(texts[:3]))}"
    if found["low"].isna().all():
        return "Too few seeds to compare methods" if len(found) else "No pair of runs yet"
    return f"No effect out of {len(found)} differs from 0"


def _counts(section: Section) -> str:
    return "no runs yet" if section.waits_for else counts_text(section.states.values())


def texts_of(section: Section) -> list[str]:
    """Remarks for the reader of a section: its purpose, settings, data and notes."""
    other = f"Changed from the paper: {section.differences}." if section.differences else ""
    return [text for text in (section.text, other, section.sample, *section.notes) if text]


def progress(sections: Sequence[Section]) -> str:
    """Describe what is missing from a study; "" if it is complete."""
    runs = runs_of(sections)
    finished = pd.Series([s.status == FINISHED for _, s in runs]).groupby([spec.key for spec, _ in runs]).all()
    waiting = sum(bool(section.waits_for) for section in sections)
    if finished.all() and not waiting:
        return ""
    waits = f" {counted(waiting, 'section')} still without learning rates." if waiting else ""
    return f"Interim: {finished.sum()} of {len(finished)} runs and their analyses are finished.{waits}"


def show(sections: Sequence[Section], study: Study | None, is_full: bool, drawn: Sequence[Figure] = ()) -> str:
    """Return the report as Markdown that is readable in a terminal: a summary, or all of it."""
    parts = [f"# {_escaped(study.title if study else sections[0].title)}"]
    if study:
        parts += [f"**{_escaped(question)}** {_escaped(answer)}" for question, answer in answers(study, sections)]
        parts += filter(None, [progress(sections)])
        parts += [f"![{_escaped(figure.caption)}]({figure.file_name})" for figure in drawn]
        found = tables.settings(tables.study_runs(study, sections))
        parts += [] if found.empty else [_markdown(tables.settings_table(found), has_notes=False)]
        rows = [(section.name, _counts(section), headline(section)) for section in sections]
        parts.append(_markdown(Table("Sections", pd.DataFrame(rows, columns=["section", "runs", "finding"])), False))
    for section in sections if is_full or not study else ():
        parts += [f"## {_escaped(section.title)}"] if study else []
        parts += [_escaped(f"{section.experiment.paper}. {_counts(section)}. {headline(section)}.")]
        parts += map(_escaped, texts_of(section))
        parts += map(_markdown, tables.main_tables(section) + (tables.folded_tables(section) if is_full else []))
    if is_full:
        parts += ["## Methods", *map(_escaped, (*METHODS, *sections[0].experiment.common_notes))]
        parts += [_escaped(study.summary)] if study else []
    else:
        parts.append("--show full prints every table.")
    return "\n\n".join(parts)


def _markdown(table: Table, has_notes: bool = True) -> str:
    return f"### {_escaped(table.title)}\n\n{markdown_of(table, has_notes, is_padded=not has_notes)}"


def markdown_of(table: Table, has_notes: bool, is_padded: bool = False) -> str:
    """Format a table as Markdown without its title; notes follow a semicolon."""

    def text(cell: str) -> str:
        return _escaped(cell.removeprefix("-\n").replace("\n", "; ") if has_notes else cell.split("\n")[0])

    rows = [list(map(text, row)) for row in table.frame.values.tolist()]
    return markdown_table(list(map(_escaped, table.frame.columns)), rows, is_padded)


def _escaped(text: str) -> str:
    return html.escape(text, quote=False).replace("|", "\\|").replace("\n", " ")


def write_report(sections: Sequence[Section], study: Study | None, folder: Path) -> list[Path]:
    """Write report.html, report.md and, for a study, the figures shown in README; return their paths.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    runs = tables.study_runs(study, sections) if study else all_runs([])
    found = tables.settings(runs)
    drawn = figures.study_figures(runs, " ".join(dict.fromkeys(section.sample for section in sections)))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "templates"),
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    page = environment.get_template("report.html.j2").render(
        title=study.title if study else sections[0].title,
        study=study,
        answers=answers(study, sections) if study else [],
        progress=progress(sections) if study else "",
        figures=drawn,
        settings=None if found.empty else tables.settings_table(found),
        parts=[_part(section) for section in sections],
        methods=[*METHODS, *sections[0].experiment.common_notes],
    )
    files = {"report.html": page, "report.md": show(sections, study, True, drawn) + "\n"}
    files |= {figure.file_name: figure.standalone for figure in drawn}
    for name, text in files.items():
        write_output(folder / name, text)
    return [folder / name for name in files]


def _part(section: Section) -> dict:
    """Collect what the page shows for one section."""
    title, sample = f"{section.title}: {headline(section)}", section.sample
    return {
        "section": section, "counts": _counts(section), "headline": headline(section), "texts": texts_of(section),
        "tables": tables.main_tables(section),
        "figures": figures.layer_figures(section, sample),
        "runs_figures": figures.seeds_figures(section, title, sample),
        "folded": tables.folded_tables(section), "runs": None if section.runs.empty else tables.runs_table(section),
    }  # fmt: skip
