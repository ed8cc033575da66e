"""Figures as SVG: text stays text, colours are told apart by colour-blind readers, dark pages keep dark backgrounds."""

import html
import io
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from hype.reproduction.statistics import DDOF, GridPoint, PaperTable, protocol

# Okabe and Ito (2008), the order chosen so that neighbours differ in lightness; the pale yellow is left out.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":")
INK = "#010203"  # Stands for the page's text colour until the SVG is written.
LAYER_LABELS = {"probing": "dev score x 100", "similarity": "mean cosine of token pairs x 100"}
NOTE_SIZE = 9  # px, of a figure 500 px wide
LETTER_WIDTH = 0.6  # of its size, at most, on the average of a line; sans-serif is whatever font the reader has
LINE_HEIGHT = 1.3
POINTS_PER_INCH = 72
STYLE = {
    "svg.fonttype": "none", "text.parse_math": False, "font.family": "sans-serif",
    "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": INK,
    "axes.labelcolor": INK, "axes.titlecolor": INK, "axes.titlesize": 10, "text.color": INK, "xtick.color": INK,
    "ytick.color": INK, "legend.frameon": False, "axes.grid": True, "grid.color": INK, "grid.alpha": 0.15,
    "axes.axisbelow": True,
}  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """One figure. svg: an <svg> element, to be set into a page or saved as a file; caption: plain text."""

    name: str
    svg: str
    caption: str

    @property
    def file_name(self) -> str:
        """A name of a whitelist of characters: a model's name may hold any."""
        return re.sub("[^A-Za-z0-9._-]+", "_", self.name) + ".svg"

    @property
    def standalone(self) -> str:
        """The figure as a file, on white: it does not know the page around it."""
        return self.svg.replace("<svg ", '<svg style="background: #fff; color: #1a1a1a" ', 1) + "\n"


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
            f"protocol selects on the dev set; hollow: all others. {_seeds_text(counts)} per grid point."
        )
        return _figure(f"{table.name}_seeds_{model}", canvas, caption, _label(table))


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
            f"{table.title}: {model}. Mean over {_seeds_text(sorted({p.n for p in best.values()}))}, error bars one "
            f"standard deviation (ddof {DDOF}), selected on the dev set. The axes do not start at 0."
        )
        return _figure(f"{table.name}_bars_{model}", canvas, caption, _label(table))


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
    rows = {"share": ("predictions that differ, %", 100), "gain": ("score difference, points", 1)}
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(3.5 * max(2, len(tasks)), 5.0), layout="constrained")
        panels = canvas.subplots(2, len(tasks), squeeze=False, sharex=True, sharey="row")
        for (value, (label, factor)), of_row in zip(rows.items(), panels, strict=True):
            for axes, task in zip(of_row, tasks, strict=True):
                for place, (kind, group) in enumerate(changes[changes["task"] == task].groupby("hype_type")):
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
        panels[0][0].legend()
        caption = (
            f"{table.title}: {model}. Each run with noise beside the run of the same seed without noise, neither with "
            f"dropout. Line: mean over {_runs_text(changes)}; small marks: the runs."
        )
        return _figure(f"{table.name}_dose_{model}", canvas, caption, _label(table))


def _runs_text(changes: pd.DataFrame) -> str:
    """Count the seeds behind each point of a line, and its runs where a seed has several (learning rates)."""
    points = changes.groupby(["task", "hype_type", "hype_eps"])["seed"].agg(["nunique", "size"])
    seeds, runs = (sorted(set(points[name])) for name in ("nunique", "size"))
    return _seeds_text(seeds) + ("" if (points["nunique"] == points["size"]).all() else f" ({_range_text(runs)} runs)")


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


def layer_plot(data: pd.DataFrame, name: str, title: str, score_label: str, note: str = "") -> Figure:
    """Draw a score over the layers, a line per method: mean and range over seeds (figures 3 and 4).

    Args:
        data: columns layer (0: embeddings), score, method, seed.
        score_label: the vertical axis with its unit.
        note: model, narrowing and data, below the plot and in the caption.
    """
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(6.4, 3.6), layout="constrained")
        axes = canvas.subplots()
        for place, (method, group) in enumerate(data.groupby("method", sort=False)):
            layers = group.groupby("layer")["score"].agg(["mean", "min", "max"])
            colour = PALETTE[place % len(PALETTE)]
            look = {"linestyle": LINES[place % len(LINES)], "marker": MARKERS[place % len(MARKERS)], "markersize": 4}
            axes.plot(layers.index, layers["mean"], color=colour, label=str(method), **look)
            axes.fill_between(layers.index, layers["min"], layers["max"], color=colour, alpha=0.2, linewidth=0)
        axes.set(title=title, xlabel="layer (0: embeddings)", ylabel=score_label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend()
        counts = sorted(set(data.groupby(["method", "layer"])["seed"].nunique()))
        caption = f"{title}. Line: mean over {_seeds_text(counts)}; band: smallest to largest."
        return _figure(name, canvas, caption, note)


def _panels(count: int, height: float, **options) -> tuple[Canvas, list]:
    """Make a canvas with two panels a row, `height` inches each."""
    columns = min(2, count)
    rows = -(-count // columns)
    canvas = Canvas(figsize=(7.0, height * rows + 0.4), layout="constrained")
    panels = list(canvas.subplots(rows, columns, squeeze=False, **options).flat)
    for spare in panels[count:]:
        spare.set_axis_off()
    return canvas, panels[:count]


def _seeds_text(counts: Sequence[int]) -> str:
    shown = _range_text(counts)
    return f"n = {shown} seed{'' if shown == '1' else 's'}"


def _range_text(counts: Sequence[int]) -> str:
    return f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"


def _label(table: PaperTable) -> str:
    """Say what the numbers are where they are not the paper's experiment."""
    return " ".join(f"{text.rstrip('.')}." for text in (table.narrowing_text, table.data_text) if text)


def _figure(name: str, canvas: Canvas, caption: str, note: str) -> Figure:
    """Finish a figure. The note is part of the picture, too, which may be shown without its caption."""
    if note:
        _write_below(canvas, note)
    described = f"{caption} {note}".strip()
    return Figure(name, _svg(canvas, described), described)


def _write_below(canvas: Canvas, note: str) -> None:
    """Make the canvas higher by the lines of a note, whose letters are NOTE_SIZE where the figure is 500 px wide."""
    width, height = canvas.get_size_inches()
    size = NOTE_SIZE * width * POINTS_PER_INCH / 500
    lines = textwrap.wrap(note, int(500 / (NOTE_SIZE * LETTER_WIDTH)), break_on_hyphens=False)
    canvas.set_size_inches(width, height + len(lines) * LINE_HEIGHT * size / POINTS_PER_INCH)
    canvas.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=size, linespacing=LINE_HEIGHT)


def _svg(canvas: Canvas, description: str) -> str:
    """Write the canvas as an <svg> element without fixed size, own background or ids that meet those of others."""
    target = io.StringIO()
    # The salt makes ids repeatable, and those of one figure differ from another's.
    with matplotlib.rc_context({"svg.hashsalt": description}):
        canvas.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = target.getvalue()
    svg = re.sub(r'<g id="[^"]*"', "<g", svg[svg.index("<svg") :]).replace(INK, "currentColor")
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    label = html.escape(description).replace("\\", r"\\")
    return re.sub(r'(<svg[^>]*?) height="[^"]*"', rf'\1 role="img" aria-label="{label}"', svg, count=1)
