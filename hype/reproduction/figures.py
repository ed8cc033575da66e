"""The figures of a report."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from hype.analysis.layer_plot import LAYER_LABELS, layer_plot
from hype.drawing import INK, LINES, MARKERS, PALETTE, STYLE, Figure, finished, range_text, seeds_text
from hype.reproduction.statistics import DDOF, GridPoint, PaperTable, protocol


def seed_plots(points: list[GridPoint], table: PaperTable) -> list[Figure]:
    """Draw, per model, each run's score by method and task: the protocol's choice filled, all other runs hollow."""
    cells = protocol(points)
    return [
        _seed_plot([p for p in points if p.model == model], cells, table, model)
        for model in table.models
        if any(p.scores for p in points if p.model == model)
    ]


def _seed_plot(points: list[GridPoint], cells: dict, table: PaperTable, model: str) -> Figure:
    methods = [m for m in table.methods if any(p.method == m for p in points)]
    with matplotlib.rc_context(STYLE):
        canvas, panels = _panels(len(table.tasks), 0.28 * len(methods) + 1.0, sharey=True)
        for axes, task in zip(panels, table.tasks, strict=True):
            for row, method in enumerate(methods):
                colour = PALETTE[row % len(PALETTE)]
                cell = cells.get((model, method, task))
                for point in cell.points if cell else ():
                    is_best = point is cell.best
                    look = {"facecolor": colour} if is_best else {"facecolor": "none", "alpha": 0.45}
                    heights = row + (0 if is_best else 0.16) + np.linspace(-0.06, 0.06, point.n)
                    marker = MARKERS[row % len(MARKERS)]
                    axes.scatter(list(point.scores.values()), heights, 28, edgecolor=colour, marker=marker, **look)
            axes.set(title=task, xlabel="dev score x 100", yticks=range(len(methods)), yticklabels=methods)
            axes.set_ylim(len(methods) - 0.5, -0.5)
        counts = sorted({p.n for p in points})
        caption = (
            f"{table.title}: {model}. One mark per run; filled: the learning rate and variant that the paper's "
            f"protocol selects on the dev set; hollow: all others. {seeds_text(counts)} per grid point."
        )
        return finished(f"{table.name}_seeds_{model}", canvas, caption, _label(table))


def combination_plots(points: list[GridPoint], table: PaperTable) -> list[Figure]:
    """Draw figure 2: per model, bars of each technique alone and with HyPe-N, error bars of one standard deviation."""
    cells = protocol(points)
    drawn = [_combination_plot(cells, table, model) for model in table.models]
    return [figure for figure in drawn if figure]


def _combination_plot(cells: dict, table: PaperTable, model: str) -> Figure | None:
    best = {key: cell.best for key, cell in cells.items() if key[0] == model and cell.best}
    if not best or not table.combinations:
        return None
    with matplotlib.rc_context(STYLE):
        canvas, panels = _panels(len(table.tasks), 2.4)
        for axes, task in zip(panels, table.tasks, strict=True):
            bars = [best.get((model, m, task)) for _, *pair in table.combinations for m in pair]
            for place, point in enumerate(bars):
                x, side = place // 2 + (0.2 if place % 2 else -0.2), place % 2
                if point is None:
                    axes.annotate("-", (x, 0.02), xycoords=("data", "axes fraction"), ha="center")
                    continue
                look = {"color": PALETTE[side], "edgecolor": INK, "hatch": "" if side else "//"}
                label = ("alone", "with HyPe-N")[side]
                axes.bar(x, point.mean, 0.38, yerr=point.std(), ecolor=INK, capsize=3, label=label, **look)
            _start_near([p for p in bars if p], axes)
            names = [name for name, *_ in table.combinations]
            axes.set(title=task, ylabel="dev score x 100", xticks=range(len(names)))
            axes.set_xticklabels(names, rotation=30, ha="right")
        entries = {label: bar for axes in panels for bar, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        canvas.legend(entries.values(), entries.keys(), loc="outside upper center", ncols=2)
        caption = (
            f"{table.title}: {model}. Mean over {seeds_text(sorted({p.n for p in best.values()}))}, error bars one "
            f"standard deviation (ddof {DDOF}), selected on the dev set. The axes do not start at 0."
        )
        return finished(f"{table.name}_bars_{model}", canvas, caption, _label(table))


def _start_near(points: list[GridPoint], axes) -> None:
    """Let the axis begin shortly below the lowest bar, where differences of a point are visible."""
    if points:
        lows = [p.mean - (p.std() or 0.0) for p in points]
        highs = [p.mean + (p.std() or 0.0) for p in points]
        margin = 0.15 * (max(highs) - min(lows)) or 1.0
        axes.set_ylim(min(lows) - 2 * margin, max(highs) + margin)


def dose_plots(changes: pd.DataFrame, table: PaperTable) -> list[Figure]:
    """Draw, per model, what noise changes against its scale; nothing where a table has fewer than three scales.

    changes: see `changes.changes_table`.
    """
    if changes.empty or changes["hype_eps"].nunique() < 3:
        return []
    changes = changes[changes["hype_eps"].notna()]  # another seed has no scale
    return [_dose_plot(group, table, str(model)) for model, group in changes.groupby("model", sort=False)]


def _dose_plot(changes: pd.DataFrame, table: PaperTable, model: str) -> Figure:
    tasks = [task for task in table.tasks if task in set(changes["task"])]
    kinds = sorted(set(changes["hype_type"]))
    rows = {"share": ("predictions that differ, %", 100), "gain": ("score difference, points", 1)}
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(3.5 * max(2, len(tasks)), 5.0), layout="constrained")
        panels = canvas.subplots(2, len(tasks), squeeze=False, sharex=True, sharey="row")
        for (value, (label, factor)), of_row in zip(rows.items(), panels, strict=True):
            for axes, task in zip(of_row, tasks, strict=True):
                for kind, group in changes[changes["task"] == task].groupby("hype_type"):
                    place = kinds.index(kind)
                    by_eps = group.groupby("hype_eps")[value].mean() * factor
                    look = {"color": PALETTE[place], "marker": MARKERS[place]}
                    axes.plot(by_eps.index, by_eps, linestyle=LINES[place], label=f"HyPe-{kind[0].upper()}", **look)
                    axes.scatter(group["hype_eps"], group[value] * factor, 14, alpha=0.5, **look)
                axes.axhline(0, color=INK, linewidth=0.8)
                axes.set(xscale="log", title=task if value == "share" else "")
            of_row[0].set_ylabel(label)
        for axes in panels[1]:
            axes.set_xlabel("scale of the noise (eps)")
            axes.xaxis.set_major_formatter("{x:g}")  # the default writes powers of ten as formulas
        drawn = {line.get_label(): line for axes in panels[0] for line in axes.get_legend_handles_labels()[0]}
        panels[0][0].legend(drawn.values(), drawn)  # a task may lack a form so far
        caption = (
            f"{table.title}: {model}. Each run with noise beside the run of the same seed without noise, neither with "
            f"dropout. Line: mean over {_runs_text(changes)}; small marks: the runs."
        )
        return finished(f"{table.name}_dose_{model}", canvas, caption, _label(table))


def _runs_text(changes: pd.DataFrame) -> str:
    """Count the seeds behind each point of a line, and its runs where a seed has several (learning rates)."""
    points = changes.groupby(["task", "hype_type", "hype_eps"])["seed"].agg(["nunique", "size"])
    seeds, runs = (sorted(set(points[name])) for name in ("nunique", "size"))
    return seeds_text(seeds) + ("" if (points["nunique"] == points["size"]).all() else f" ({range_text(runs)} runs)")


def layer_plots(layers: pd.DataFrame, table: PaperTable) -> list[Figure]:
    """Draw figures 3 and 4: per model and set, the selected runs' values by layer. layers: values x 100."""
    groups = [] if layers.empty else layers.groupby(["model", "analysis", "target"], sort=False)
    return [
        layer_plot(
            group,
            f"{table.name}_{target}_{model}",
            f"{table.name.replace('_', ' ').capitalize()}: {analysis}, {target}",
            LAYER_LABELS[analysis],
            f"Model: {model}. {_label(table)}".strip(),
        )
        for (model, analysis, target), group in groups
    ]


def _panels(count: int, height: float, **options) -> tuple[Canvas, list]:
    """Make a canvas with two panels a row, `height` inches each."""
    columns = min(2, count)
    rows = -(-count // columns)
    canvas = Canvas(figsize=(7.0, height * rows + 0.4), layout="constrained")
    panels = list(canvas.subplots(rows, columns, squeeze=False, **options).flat)
    for spare in panels[count:]:
        spare.set_axis_off()
    return canvas, panels[:count]


def _label(table: PaperTable) -> str:
    """Say what the numbers are where they are not the paper's experiment."""
    return " ".join(f"{text.rstrip('.')}." for text in (table.narrowing_text, table.data_text) if text)
