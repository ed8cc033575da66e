"""The figures of a report. A method has the same colour and mark in all of them."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from hype.analysis.layer_plot import LAYER_LABELS, layer_plot
from hype.drawing import INK, LINES, STYLE, Figure, draw_estimate, draw_marks, finished, look_of, seeds_text
from hype.reproduction.experiments import CONTROL, written
from hype.reproduction.sections import Section
from hype.reproduction.statistics import GRID_POINT, estimate, paired, selected, summarised

PAPERS_RANGE = (1e-5, 1e-4)
SEED_LABEL = "another seed"
SEED_MARK = {"linestyle": "", "color": INK, "marker": "|", "markersize": 12, "markeredgewidth": 2}


def effects_figure(title: str, found: pd.DataFrame, note: str) -> Figure:
    """Draw the effects of all settings, and what flips predictions.

    Args:
        found: see `report.settings`.
    """
    labels, methods = list(found["label"].unique()), {CONTROL: "leaving dropout out"}
    methods |= {m: f"then adding {written(m)}" for m in found["method"].unique() if m != CONTROL}
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(7.4, 0.42 * len(labels) + 1.3), layout="constrained")
        left, right = canvas.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": [3, 2]})
        for row in found.itertuples():
            look, place, is_noise = look_of(row.method), labels.index(row.label), row.method != CONTROL
            hollow = np.isnan(row.low) or row.is_at_majority
            draw_estimate(left, row.mean, (row.low, row.high), place + 0.16 * (1 if is_noise else -1), look, hollow)
            if is_noise and np.isnan(row.flips):
                right.annotate("regression: no labels", (1, place), va="center", alpha=0.7, fontsize=8)
            elif is_noise:
                right.plot([100 * row.flips, 100 * row.seed_flips], [place] * 2, color=INK, alpha=0.3, linewidth=1)
                right.plot([100 * row.seed_flips], [place], **SEED_MARK)
                draw_marks(right, [100 * row.flips], [place], look, size=36, alpha=1)
        left.axvline(0, color=INK, linewidth=0.8)
        left.set_yticks(range(len(labels)), [label.replace(", ", "\n") for label in labels])
        left.set(ylim=(len(labels) - 0.5, -0.5), xlabel="score difference, points")
        right.set(xlim=(-0.5, None), xlabel="predictions that change, %")
        entries = [left.plot([], [], markersize=6, **look_of(method))[0] for method in methods]
        entries += left.plot([], [], **SEED_MARK)
        canvas.legend(entries, [*methods.values(), SEED_LABEL], loc="outside lower center", ncols=3)
        canvas.suptitle(f"{title}\n{note}", fontsize=11)
        caption = (
            f"{title}. Bars: 95 % t interval over seeds; hollow marks: fewer than three seeds, or no better than the "
            f"majority class. {note}"
        )
        return finished("effects", canvas, caption, "")


def dose_figure(title: str, pairs: pd.DataFrame, seeds: pd.DataFrame, note: str) -> Figure:
    """Draw, per task, what the noise changes against its scale.

    Args:
        pairs: of noise and no noise, for one model and one choice of training examples; see `statistics.paired`.
        seeds: see `statistics.another_seed`, of the controls.
    """
    tasks, scales = list(pairs["task"].unique()), pairs["hype_eps"].unique()
    levels = 100 * seeds.groupby("task")["flips"].mean()
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(max(2, len(tasks)) * 1.8 + 1, 5.2), layout="constrained")
        panels = canvas.subplots(2, len(tasks), squeeze=False, sharex=True, sharey="row")
        for task, (above, below) in zip(tasks, panels.T, strict=True):
            of_task = pairs[pairs["task"] == task]
            _draw_doses(above, of_task, 100 * of_task["flips"])
            _draw_doses(below, of_task, of_task["difference"])
            if of_task["flips"].isna().all():
                above.annotate("regression:\nno labels", (0.1, 0.4), xycoords="axes fraction", alpha=0.7, fontsize=8)
            above.axhline(levels.get(task, np.nan), color=INK, linestyle="--", linewidth=1, label=SEED_LABEL)
            above.set_title(written(task))
            below.axhline(0, color=INK, linewidth=0.8)
            below.set(xscale="log", xlabel="noise (eps)")
            for axes in (above, below):
                axes.axvspan(*PAPERS_RANGE, color=INK, alpha=0.08, linewidth=0, label="the paper's scales")
        decades = 10.0 ** np.arange(round(np.log10(scales.min())), round(np.log10(scales.max())) + 1, 2)
        panels[1][0].set_xticks(decades, [f"{decade:g}" for decade in decades])
        panels[1][0].minorticks_off()
        panels[0][0].set_ylabel("predictions that change, %")
        panels[0][0].set_ylim(bottom=-1)  # where an interval of shares goes below 0
        panels[1][0].set_ylabel("score difference, points")
        marks = {}
        for axes in panels[0]:
            handles, labels = axes.get_legend_handles_labels()
            marks |= dict(zip(labels, handles, strict=True))
        canvas.legend(marks.values(), marks, loc="outside lower center", ncols=4)
        canvas.suptitle(f"{title}\n{note}", fontsize=11)
        counts = pairs.groupby(["task", "method"])["seed"].nunique()
        caption = (
            f"{title}. Each run with noise beside the run of the same seed without noise, neither with dropout. Line: "
            f"mean over {seeds_text(counts)}; bars: 95 % t interval from three seeds; small marks: the runs, hollow "
            f"where one predicts a single class. Dashed: what another seed changes. {note}"
        )
        return finished("dose", canvas, caption, "")


def _draw_doses(axes, pairs: pd.DataFrame, values: pd.Series) -> None:
    for place, (kind, found) in enumerate(pairs.assign(value=values).dropna(subset="value").groupby("hype_type")):
        look = look_of(f"hype-{kind[0]}")
        found["x"] = found["hype_eps"] * (1 + 0.1 * place)  # side by side
        draw_marks(axes, found["x"], found["value"], look, found["is_collapsed"])
        doses = {x: estimate([group]) for x, group in found.groupby("x")["value"]}
        for x, dose in doses.items():
            axes.vlines(x, *dose.interval(), color=look["color"], linewidth=1)
        means, label = [dose.mean for dose in doses.values()], written(f"hype-{kind[0]}")
        axes.plot(list(doses), means, linestyle=LINES[place], markersize=5, label=label, **look)


def seeds_figures(section: Section, title: str, note: str) -> list[Figure]:
    """Draw, per model, each selected run by method and task, beside mean and interval; runs of one seed are joined."""
    runs = section.runs.dropna(subset="score")
    if runs.empty:
        return []
    runs = runs.merge(selected(summarised(section.runs))[GRID_POINT])
    return [
        _seeds_figure(section, of_model, model, title, note) for model, of_model in runs.groupby("model", sort=False)
    ]


def _seeds_figure(section: Section, runs: pd.DataFrame, model: str, title: str, note: str) -> Figure:
    methods = [m for m in section.methods if m in set(runs["method"])]
    tasks = [t for t in section.tasks if t in set(runs["task"])]
    pairs = paired(runs, [(method, section.counterpart(method)) for method in methods]).dropna(subset="difference")
    columns = min(2, len(tasks))
    rows = -(-len(tasks) // columns)
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(7.0, (0.3 * len(methods) + 1.0) * rows + 0.6), layout="constrained")
        panels = list(canvas.subplots(rows, columns, squeeze=False, sharey=True).flat)
        for spare in panels[len(tasks) :]:
            spare.set_axis_off()
        for axes, task in zip(panels, tasks, strict=False):
            of_task = runs[runs["task"] == task]
            for method, scores in of_task.groupby("method")["score"]:
                place, found = methods.index(method), estimate([scores])
                draw_marks(axes, scores, [place] * len(scores), look_of(method))
                draw_estimate(axes, found.mean, found.interval(), place + 0.22, look_of(method))
            for pair in pairs[pairs["task"] == task].itertuples():
                ends = [methods.index(pair.method), methods.index(pair.reference)]
                axes.plot([pair.score, pair.score_reference], ends, color=INK, alpha=0.15, linewidth=0.8)
            axes.axvline(of_task["majority"].max(), color=INK, linestyle=":", linewidth=1)
            axes.set(title=written(task), xlabel="dev score x 100", ylim=(len(methods) - 0.5, -0.5))
            axes.set_yticks(range(len(methods)), map(written, methods))
        canvas.suptitle(title, fontsize=11)
        caption = (
            f"{title}. {model}: each run of the grid point that the paper's protocol selects (small), mean and 95 % t "
            f"interval, {seeds_text(runs.groupby(['task', 'method'])['seed'].nunique())}; runs of one seed are joined; "
            "dotted: the majority class."
        )
        return finished(f"{section.name}_runs_{model}", canvas, caption, note)


def layer_figures(section: Section, note: str) -> list[Figure]:
    """Draw figures 3 and 4: per model and set, the selected runs' values by layer."""
    if section.layers.empty:
        return []
    return [
        layer_plot(
            group.assign(method=[written(m) for m in group["method"]], look=group["method"]),
            f"{section.name}_{target}_{model}",
            f"{analysis.capitalize()} on {written(target)}",
            LAYER_LABELS[analysis],
            f"Model: {model}. {note}".strip(),
        )
        for (model, analysis, target), group in section.layers.groupby(["model", "analysis", "target"], sort=False)
    ]
