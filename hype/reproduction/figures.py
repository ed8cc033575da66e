"""The figures of a report. A method has the same colour and marker in all of them."""

import math

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from hype.reproduction.drawing import (
    INK,
    LINES,
    STYLE,
    Figure,
    draw_estimate,
    draw_legend,
    draw_marks,
    draw_scores,
    look_of,
    render,
    seeds_text,
)
from hype.reproduction.experiments import CONTROL, written
from hype.reproduction.sections import Section
from hype.reproduction.statistics import (
    GRID_POINT,
    MARGIN,
    SETTING,
    another_seed,
    estimate,
    mean_flips,
    paired,
    scale_text,
    selected,
    signed,
)
from hype.reproduction.tables import LAYER_SCORES, comparisons, doses, settings

PAPERS_RANGE = (1e-5, 1e-4)
SEED_LABEL = "another seed"


def study_figures(runs: pd.DataFrame, note: str) -> list[Figure]:
    """Draw a study's effects in all settings and, given enough scales of the noise, the effect of each scale."""
    found, pairs = settings(runs), doses(runs)
    drawn = [effects_figure(found, note)] if len(found) else []
    if len(pairs):
        controls = runs[runs["method"] == CONTROL].merge(pairs[SETTING].drop_duplicates())
        drawn.append(dose_figure(pairs, another_seed(controls), note))
    return drawn


def effects_figure(found: pd.DataFrame, note: str) -> Figure:
    """Draw the effects in all settings, their mean and the share of flips; found: see `tables.settings`."""
    labels = list(found["task"].unique())
    means = found[found["is_mean"] & (found["method"] != CONTROL)]
    findings = [f"{row.task} {signed(row.mean)} points, {row.verdict}" for row in means.itertuples()]
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(7.4, 0.42 * len(labels) + 1.4))
        left, right = canvas.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": [3, 2]})
        left.axvspan(-MARGIN, MARGIN, color=INK, alpha=0.08, linewidth=0, label=f"±{MARGIN:g} point")
        for row in found.itertuples():
            look, place, is_noise = look_of(row.method), labels.index(row.task), row.method != CONTROL
            hollow = math.isnan(row.low) or row.is_at_majority
            draw_estimate(left, row.mean, (row.low, row.high), place + (0.16 if is_noise else -0.16), look, hollow)
            left.plot([], [], label=f"then adding {written(row.method)}" if is_noise else "turning dropout off", **look)
            flips = [100 * row.flips, 100 * row.seed_flips]
            if is_noise and math.isnan(row.flips):
                reason = "a single class" if row.collapsed else "regression: no labels"
                right.annotate(reason, (1, place), va="center", alpha=0.7, fontsize=8)
            elif is_noise:
                right.plot(flips, [place] * 2, color=INK, alpha=0.3, linewidth=1)
                right.scatter(flips[1:], [place], 150, color=INK, marker="|", linewidth=2, label=SEED_LABEL)
                draw_marks(right, flips[:1], [place], look, size=36, alpha=1)
        left.axvline(0, color=INK, linewidth=0.8)
        for place in means["task"].map(labels.index):
            for axes in (left, right):
                axes.axhline(place - 0.5, color=INK, linewidth=0.8)
                axes.axhline(place + 0.5, color=INK, linewidth=0.8)
        left.set_yticks(range(len(labels)), [label.replace(" · ", "\n", 1) for label in labels])
        left.set(ylim=(len(labels) - 0.5, -0.5), xlabel="score difference, points")
        right.set(xlim=(-0.5, None), xlabel="predictions that change, %")
        draw_legend(canvas, (left, right))
        caption = (
            "Bars: 95 % t interval over seeds; hollow markers: fewer than three seeds, or no better than the majority "
            "class."
        )
        title = f"What HyPe-N 1e-5 adds to no dropout: {'; '.join(findings) or 'one setting so far'}"
        return render(canvas, "effects", title, caption, _setting_text(found, note))


def dose_figure(pairs: pd.DataFrame, seeds: pd.DataFrame, note: str) -> Figure:
    """Draw, for each task, flips and score differences against the scale of the noise.

    Args:
        pairs: see `tables.doses`.
        seeds: `statistics.another_seed` of the controls.
    """
    tasks, levels = list(pairs["task"].unique()), 100 * seeds.groupby("task")["flips"].mean()
    normal = pairs[pairs["hype_type"] == "normal"]
    shares = pd.Series({eps: mean_flips(of_scale) for eps, of_scale in normal.groupby("hype_eps")})
    strong = shares[shares >= mean_flips(seeds) / 2]
    than_seed = "half as many predictions as another seed does"
    if seeds["flips"].isna().all():
        title = "Effect of each scale of the noise; no other seed to compare with yet"
    elif strong.empty:
        title = f"No scale of the noise changes {than_seed}"
    elif strong.index[0] == shares.index[0]:
        title = f"Noise of {scale_text(strong.index[0])} changes at least {than_seed}"
    else:
        title = f"Noise below {scale_text(strong.index[0])} changes less than {than_seed}"
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(max(2, len(tasks)) * 1.8 + 1, 5.2))
        panels = canvas.subplots(2, len(tasks), squeeze=False, sharex=True, sharey="row")
        for task, (above, below) in zip(tasks, panels.T, strict=True):
            of_task = pairs[pairs["task"] == task]
            _draw_doses(above, of_task.assign(value=100 * of_task["flips"]).dropna(subset="value"))
            _draw_doses(below, of_task.assign(value=of_task["difference"]))
            if of_task["flips"].isna().all():
                reason = "a single class" if of_task["is_collapsed"].any() else "regression:\nno labels"
                above.annotate(reason, (0.1, 0.4), xycoords="axes fraction", alpha=0.7, fontsize=8)
            above.axhline(levels.get(task, math.nan), color=INK, linestyle="--", linewidth=1, label=SEED_LABEL)
            above.set_title(written(task))
            below.axhline(0, color=INK, linewidth=0.8)
            below.set(xscale="log", xlabel="noise (eps)")
            for axes in (above, below):
                axes.axvspan(*PAPERS_RANGE, color=INK, alpha=0.08, linewidth=0, label="the paper's scales")
        first, last = np.log10([pairs["hype_eps"].min(), pairs["hype_eps"].max()]).round()
        decades = 10.0 ** np.arange(first, last + 1, 2)
        below.set_xticks(decades, list(map(scale_text, decades)))
        below.minorticks_off()
        panels[0][0].set(ylabel="predictions that change, %", ylim=(-1, None))  # hides the part of an interval below 0
        panels[1][0].set_ylabel("score difference, points")
        draw_legend(canvas, panels[0])
        caption = (
            "Each run with noise against the run of the same seed without noise, both without dropout. Line: mean over "
            f"{seeds_text(pairs.groupby(['task', 'method'])['seed'].nunique())}; bars: 95 % t interval, if three "
            "seeds; small markers: single pairs, hollow if a run predicts a single class. Dashed: another seed."
        )
        return render(canvas, "dose", title, caption, _setting_text(pairs, note))


def _setting_text(rows: pd.DataFrame, note: str) -> str:
    """Name the model and the training examples, unless the rows of the figure do."""
    models, data = rows["model"].unique(), rows["data"].unique()
    model = f"{models[0]}; training" if len(models) == 1 else "Training"
    return f"{model} examples: {data[0] if len(data) == 1 else 'in parentheses'}. {note}".strip(" .")


def _draw_doses(axes: Axes, pairs: pd.DataFrame) -> None:
    for place, (kind, found) in enumerate(pairs.groupby("hype_type")):
        look = look_of(f"hype-{kind[0]}")
        x = found["hype_eps"] * (1 + 0.1 * place)  # side by side
        draw_marks(axes, x, found["value"], look, found["is_collapsed"])
        doses = found.groupby(x)["value"].agg(lambda values: estimate([values]))
        for at, dose in doses.items():
            axes.vlines(at, *dose.interval(), color=look["color"], linewidth=1)
        means, label = [dose.mean for dose in doses], written(f"hype-{kind[0]}")
        axes.plot(doses.index, means, linestyle=LINES[place], markersize=5, label=label, **look)


def seeds_figures(section: Section, title: str, note: str) -> list[Figure]:
    """Draw, per model, each selected run by method and task with mean and interval; lines join runs of one seed."""
    runs = section.runs.dropna(subset="score").merge(selected(section.summary)[GRID_POINT])
    return [
        _seeds_figure(section, of_model, model, title, note) for model, of_model in runs.groupby("model", sort=False)
    ]


def _seeds_figure(section: Section, runs: pd.DataFrame, model: str, title: str, note: str) -> Figure:
    methods = [m for m in section.methods if m in set(runs["method"])]
    tasks = [t for t in section.tasks if t in set(runs["task"])]
    pairs = paired(runs, comparisons(section)).dropna(subset="difference")
    columns = min(2, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(7.0, (0.3 * len(methods) + 1.0) * rows + 0.6))
        panels = canvas.subplots(rows, columns, squeeze=False, sharey=True).flat
        for axes, task in zip(panels, tasks, strict=False):
            of_task = runs[runs["task"] == task]
            scores = {method: of_task.loc[of_task["method"] == method, "score"] for method in methods}
            draw_scores(axes, [(written(method), look_of(method), scores[method]) for method in methods])
            for pair in pairs[pairs["task"] == task].itertuples():
                ends = [methods.index(pair.method), methods.index(pair.reference)]
                axes.plot([pair.score, pair.score_reference], ends, color=INK, alpha=0.15, linewidth=0.8)
            axes.axvline(of_task["majority"].max(), color=INK, linestyle=":", linewidth=1)
            axes.set_title(written(task))
        for spare in panels:
            spare.set_axis_off()
        caption = (
            f"{model}: each run of the grid point that the paper's protocol selects (small), mean and 95 % t interval, "
            f"{seeds_text(runs.groupby(['task', 'method'])['seed'].nunique())}; lines join runs of one seed; "
            "dotted: the majority class."
        )
        return render(canvas, f"{section.name}_runs_{model}", title, caption, note)


def layer_figures(section: Section, note: str) -> list[Figure]:
    """Draw figures 3 and 4: for each model and set, the selected runs' mean and range over seeds by layer."""
    drawn: list[Figure] = []
    for (model, analysis, target), layers in section.layers.groupby(["model", "analysis", "target"], sort=False):
        with matplotlib.rc_context(STYLE):
            canvas = Canvas(figsize=(6.4, 3.6))
            axes = canvas.subplots()
            for place, (method, group) in enumerate(layers.groupby("method", sort=False)):
                found, look = group.groupby("layer")["score"].agg(["mean", "min", "max"]), look_of(method)
                style = {"linestyle": LINES[place % len(LINES)], "markersize": 4, **look}
                axes.plot(found.index, found["mean"], label=written(method), **style)
                axes.fill_between(found.index, found["min"], found["max"], color=look["color"], alpha=0.2, linewidth=0)
            axes.set(xlabel="layer (0: embeddings)", ylabel=LAYER_SCORES[analysis])
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend()
            counts = layers.groupby(["method", "layer"])["seed"].nunique()
            title = f"{analysis.capitalize()} on {written(target)}"
            caption = f"Line: mean over {seeds_text(counts)}; band: minimum to maximum."
            drawn.append(
                render(canvas, f"{section.name}_{target}_{model}", title, caption, f"{model}. {note}".strip(" ."))
            )
    return drawn
