"""The figures of a report. A method has the same colour and mark in all of them."""

from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from hype.analysis.layer_plot import LAYER_LABELS, layer_plot
from hype.drawing import INK, LINES, STYLE, Figure, finished, look_of, seeds_text
from hype.reproduction.experiments import CONTROL, written
from hype.reproduction.sections import Section
from hype.reproduction.statistics import GRID_POINT, PAIR, Effect, estimate, paired, selected, summarised

PAPERS_RANGE = (1e-5, 1e-4)
DROPOUT_LABEL, NOISE_LABEL, SEED_LABEL = "leaving dropout out", "then adding HyPe-N of 1e-5", "another seed"


def effects_figure(name: str, title: str, rows: Sequence[dict], note: str) -> Figure:
    """Draw the effects of all settings, and what flips predictions.

    Args:
        rows: see `report.settings`.
    """
    looks = {DROPOUT_LABEL: look_of(CONTROL), NOISE_LABEL: look_of("hype-n")}
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(7.4, 0.42 * len(rows) + 1.5), layout="constrained")
        left, right = canvas.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": [3, 2]})
        for place, row in enumerate(rows):
            for offset, label, effect in ((-0.16, DROPOUT_LABEL, row["dropout"]), (0.16, NOISE_LABEL, row["noise"])):
                _draw_effect(left, effect, place + offset, looks[label])
            if row["noise"].flips is None:
                right.annotate("regression: no labels", (1, place), va="center", alpha=0.7, fontsize=8)
                continue
            flips, by_seed = 100 * row["noise"].flips, 100 * row["seed_flips"]
            right.plot([flips, by_seed], [place, place], color=INK, alpha=0.3, linewidth=1)
            right.plot([flips], [place], linestyle="", markersize=6, **looks[NOISE_LABEL])
            right.plot([by_seed], [place], linestyle="", color=INK, marker="|", markersize=12, markeredgewidth=2)
        left.axvline(0, color=INK, linewidth=0.8)
        left.set_yticks(range(len(rows)), [row["label"] for row in rows])
        left.set_ylim(len(rows) - 0.5, -0.5)
        left.set_xlabel("difference of the dev score, points")
        right.set_xlabel("dev predictions that change, %")
        right.set_xlim(left=-0.5)
        entries = [left.plot([], [], markersize=6, **look)[0] for look in looks.values()]
        entries.append(left.plot([], [], linestyle="", color=INK, marker="|", markersize=12, markeredgewidth=2)[0])
        canvas.legend(entries, [*looks, SEED_LABEL], loc="outside lower center", ncols=3)
        canvas.suptitle(f"{title}\n{note}".strip(), fontsize=11)
        caption = (
            f"{title}. Bars: 95 % t interval over seeds; hollow marks: fewer than three seeds, or no better than the "
            f"majority class. {note}"
        )
        return finished(name, canvas, caption.strip(), "")


def _draw_effect(axes, effect: Effect, place: float, look: dict) -> None:
    if effect.estimate is None:
        return
    interval = effect.estimate.interval()
    if interval:
        axes.plot(interval, [place, place], color=look["color"], linewidth=2)
    face = "none" if interval is None or effect.is_at_majority else look["color"]
    axes.plot([effect.estimate.mean], [place], linestyle="", markersize=6, markerfacecolor=face, **look)


def dose_figure(name: str, title: str, runs: pd.DataFrame, seeds: pd.DataFrame, note: str) -> Figure | None:
    """Draw, per task, what the noise changes against its scale; None with fewer than three scales.

    Args:
        runs: of one model and one choice of training examples.
        seeds: see `statistics.another_seed`, of the controls.
    """
    scales = sorted(set(runs.loc[runs["hype_type"] != "none", "hype_eps"]))
    if len(scales) < 3:
        return None
    noisy = [m for m in dict.fromkeys(runs["method"]) if m.startswith(("hype-n ", "hype-u "))]
    pairs = pd.concat([paired(runs, method, CONTROL) for method in noisy])
    tasks = [t for t in dict.fromkeys(pairs["task"]) if pairs.loc[pairs["task"] == t, "hype_eps"].nunique() > 2]
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(max(2, len(tasks)) * 2.5 + 0.5, 5.2), layout="constrained")
        panels = canvas.subplots(2, len(tasks), squeeze=False, sharex=True, sharey="row")
        for column, task in enumerate(tasks):
            of_task = pairs[pairs["task"] == task]
            _draw_doses(panels[0][column], of_task, "flips", 100)
            _draw_doses(panels[1][column], of_task, "difference", 1)
            level = 100 * seeds.loc[seeds["task"] == task, "flips"].mean()
            if np.isfinite(level):
                panels[0][column].axhline(level, color=INK, linestyle="--", linewidth=1, label=SEED_LABEL)
            panels[0][column].set_title(written(task))
            panels[1][column].axhline(0, color=INK, linewidth=0.8)
        for axes in panels.flat:
            axes.axvspan(*PAPERS_RANGE, color=INK, alpha=0.08, linewidth=0, label="the paper's scales")
            axes.set_xscale("log")
        decades = range(round(np.log10(scales[0])), round(np.log10(scales[-1])) + 1, 2)
        for axes in panels[1]:
            axes.set_xlabel("scale of the noise (eps)")
            axes.set_xticks([10.0**decade for decade in decades], [f"{10.0**decade:g}" for decade in decades])
            axes.minorticks_off()
        panels[0][0].set_ylabel("predictions that change, %")
        panels[1][0].set_ylabel("score difference, points")
        drawn = {
            label: mark for axes in panels[0] for mark, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        canvas.legend(drawn.values(), drawn, loc="outside lower center", ncols=4)
        canvas.suptitle(f"{title}\n{note}".strip(), fontsize=11)
        counts = sorted(set(pairs.groupby(["task", "method"])["seed"].nunique()))
        caption = (
            f"{title}. Each run with noise beside the run of the same seed without noise, neither with dropout. Line: "
            f"mean over {seeds_text(counts)}; bars: 95 % t interval from three seeds; small marks: the runs, hollow "
            f"where one predicts a single class. Dashed: what another seed changes. {note}"
        )
        return finished(name, canvas, caption.strip(), "")


def _draw_doses(axes, pairs: pd.DataFrame, column: str, factor: float) -> None:
    for place, kind in enumerate(("normal", "uniform")):
        found = pairs[(pairs["hype_type"] == kind) & pairs[column].notna()]
        if found.empty:
            continue
        look = look_of(f"hype-{kind[0]}")
        x, y = found["hype_eps"] * (1 + 0.1 * place), factor * found[column]
        for is_collapsed, face in ((False, look["color"]), (True, "none")):
            here = found["is_collapsed"] == is_collapsed
            axes.scatter(
                x[here], y[here], 10, facecolor=face, edgecolor=look["color"], marker=look["marker"], alpha=0.5
            )
        groups = {eps: factor * of_eps[column] for eps, of_eps in found.groupby("hype_eps")}
        centres = np.array(list(groups)) * (1 + 0.1 * place)
        axes.plot(centres, [g.mean() for g in groups.values()], linestyle=LINES[place], markersize=5,
                  label=written(f"hype-{kind[0]}"), **look)  # fmt: skip
        for centre, group in zip(centres, groups.values(), strict=True):
            interval = estimate([group]).interval()
            if interval:
                low = max(0, interval[0]) if column == "flips" else interval[0]
                axes.plot([centre, centre], [low, interval[1]], color=look["color"], linewidth=1)


def seeds_figures(section: Section, title: str, note: str) -> list[Figure]:
    """Draw, per model, each selected run by method and task, beside mean and interval; runs of one seed are joined."""
    best = selected(summarised(section.runs)) if len(section.runs) else section.runs
    runs = section.runs.merge(best[GRID_POINT]) if len(best) else section.runs
    return [
        _seeds_figure(section, runs[runs["model"] == model], model, title, note)
        for model in section.models
        if runs.loc[runs["model"] == model, "score"].notna().any()
    ]


def _seeds_figure(section: Section, runs: pd.DataFrame, model: str, title: str, note: str) -> Figure:
    methods = [m for m in section.methods if m in set(runs["method"])]
    tasks = [t for t in section.tasks if t in set(runs["task"])]
    with matplotlib.rc_context(STYLE):
        columns = min(2, len(tasks))
        rows = -(-len(tasks) // columns)
        canvas = Canvas(figsize=(7.0, (0.3 * len(methods) + 1.0) * rows + 0.6), layout="constrained")
        panels = list(canvas.subplots(rows, columns, squeeze=False, sharey=True).flat)
        for spare in panels[len(tasks) :]:
            spare.set_axis_off()
        for axes, task in zip(panels, tasks, strict=False):
            of_task = runs[runs["task"] == task]
            for row, method in enumerate(methods):
                _draw_runs(axes, of_task[of_task["method"] == method], row, look_of(method))
                base = of_task[of_task["method"] == section.counterpart(method)]
                joined = of_task[of_task["method"] == method].merge(base, on=PAIR, suffixes=("", "_reference"))
                below = methods.index(section.counterpart(method)) if section.counterpart(method) in methods else row
                for ours, theirs in zip(joined["score"], joined["score_reference"], strict=True):
                    axes.plot([ours, theirs], [row, below], color=INK, alpha=0.15, linewidth=0.8)
            majority = of_task["majority"].dropna()
            if len(majority):
                axes.axvline(majority.iloc[0], color=INK, linestyle=":", linewidth=1)
            axes.set(title=written(task), xlabel="dev score x 100")
            axes.set_yticks(range(len(methods)), [written(method) for method in methods])
            axes.set_ylim(len(methods) - 0.5, -0.5)
        canvas.suptitle(title, fontsize=11)
        counts = sorted(set(runs[runs["score"].notna()].groupby(["task", "method"])["seed"].nunique()))
        caption = (
            f"{title}. {model}: each run of the grid point that the paper's protocol selects (small), mean and 95 % t "
            f"interval, {seeds_text(counts)}; runs of one seed are joined; dotted: the majority class."
        )
        return finished(f"{section.name}_runs_{model}", canvas, caption, note)


def _draw_runs(axes, runs: pd.DataFrame, row: int, look: dict) -> None:
    scores = runs["score"].dropna()
    if scores.empty:
        return
    axes.scatter(scores, [row] * len(scores), 14, alpha=0.5, **look)
    interval = estimate([scores]).interval()
    if interval:
        axes.plot(interval, [row + 0.22] * 2, color=look["color"], linewidth=2)
    axes.scatter([scores.mean()], [row + 0.22], 36, **look)


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
