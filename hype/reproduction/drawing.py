"""SVG figures: text stays text, colours are safe for colour-blind readers, backgrounds follow dark pages."""

import html
import io
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure as Canvas

from hype.reproduction.statistics import estimate

# Each method's colour and marker, the same in every figure. The first colours are Okabe and Ito's (2008).
LOOKS = {
    "vanilla": ("#777777", "D"), "vanilla, no dropout": ("#D55E00", "s"), "hype-n": ("#0072B2", "o"),
    "hype-u": ("#009E73", "^"), "top-k*": ("#CC79A7", "v"), "mixout*": ("#E69F00", "P"), "recadam*": ("#56B4E9", "X"),
    "lnsr*": ("#999933", "<"), "child-tuning-f": ("#882255", ">"), "child-tuning-d": ("#AA4499", "p"),
    "r-drop": ("#117733", "h"), "r3f": ("#332288", "*"), "noisytune": ("#AA7744", "d"), "hype": ("#0072B2", "o"),
}  # fmt: skip
LINES = ("-", "--", "-.", ":")
INK = "#010203"  # Placeholder, replaced by the page's text colour when the SVG is written.
STYLE = {
    "svg.fonttype": "none", "text.parse_math": False, "font.family": "sans-serif",
    "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": INK,
    "axes.labelcolor": INK, "axes.titlecolor": INK, "axes.titlesize": 10, "text.color": INK, "xtick.color": INK,
    "ytick.color": INK, "legend.frameon": False, "axes.grid": True, "grid.color": INK, "grid.alpha": 0.15,
    "axes.axisbelow": True, "figure.titlesize": 11, "figure.constrained_layout.use": True,
}  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """One figure. svg: an <svg> element to embed in a page or save as a file; caption: plain text."""

    name: str
    svg: str
    caption: str

    @property
    def file_name(self) -> str:
        """A file name of safe characters only; a model's name may contain any."""
        return re.sub("[^A-Za-z0-9._-]+", "_", self.name) + ".svg"

    @property
    def standalone(self) -> str:
        """The figure as a file, on a white background because the surrounding page is unknown."""
        return self.svg.replace("<svg ", '<svg style="background: #fff; color: #1a1a1a" ', 1) + "\n"


def look_of(method: str) -> dict[str, str]:
    """Return a method's colour and marker; a scale of noise (hype-n 1e-2) has those of its family."""
    others = [*LOOKS.values()][4:-1]  # for combinations, such as HyPe-N + R-Drop
    look = LOOKS.get(method) or LOOKS.get(re.split("[ ,]", method)[0]) or others[sum(map(ord, method)) % len(others)]
    return dict(zip(("color", "marker"), look, strict=True))


def render(canvas: Canvas, name: str, title: str, caption: str, note: str = "") -> Figure:
    """Add title and note to the picture and to the caption, as each may be shown alone, and render the figure."""
    width = int(12 * canvas.get_figwidth())  # maximum characters per line
    canvas.suptitle("\n".join(textwrap.fill(text, width) for text in (title, note) if text))
    caption = f"{title}. {caption} {note}".strip()
    target = io.StringIO()
    # The salt makes ids reproducible and different from those of other figures.
    with matplotlib.rc_context({"svg.hashsalt": caption}):
        canvas.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = target.getvalue()
    # Remove the fixed size and group ids, which may clash with those of other figures.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg[svg.index("<svg") :]).replace(INK, "currentColor")
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    label = html.escape(caption).replace("\\", r"\\")
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', rf'\1 role="img" aria-label="{label}"', svg, count=1)
    return Figure(name, svg, caption)


def draw_marks(axes: Axes, x: Sequence[float], y: Sequence[float], look: dict, hollow=False, size=12, alpha=0.5):
    """Draw markers in a method's look. hollow: one bool for all markers, or one for each."""
    colour = to_rgba(look["color"], alpha)
    faces = [(0, 0, 0, 0) if is_hollow else colour for is_hollow in np.broadcast_to(hollow, len(x))]
    axes.scatter(x, y, size, marker=look["marker"], facecolor=faces, edgecolor=[colour] * len(faces), zorder=3)


def draw_estimate(axes: Axes, mean: float, interval: tuple[float, float], place: float, look: dict, hollow=False):
    """Draw a mean with its interval (NaN: none) horizontally, at the vertical position `place`."""
    axes.hlines(place, *interval, color=look["color"], linewidth=2)
    draw_marks(axes, [mean], [place], look, hollow, 36, 1)


def draw_scores(axes: Axes, rows: Sequence[tuple[str, dict, Sequence[float]]]) -> None:
    """Draw a row of scores for each (method, look, scores), with their mean and its interval beside them."""
    for place, (_, look, scores) in enumerate(rows):
        found = estimate([scores])
        draw_marks(axes, scores, [place] * len(scores), look)
        draw_estimate(axes, found.mean, found.interval(), place + 0.22, look)
    axes.set_yticks(range(len(rows)), [method for method, _, _ in rows])
    axes.set(xlabel="dev score x 100", ylim=(len(rows) - 0.5, -0.5))


def draw_legend(canvas: Canvas, panels: Iterable[Axes]) -> None:
    """Draw one legend below the panels, with each label once."""
    drawn = {}
    for axes in panels:
        marks, labels = axes.get_legend_handles_labels()
        drawn |= dict(zip(labels, marks, strict=True))
    canvas.legend(drawn.values(), drawn, loc="outside lower center", ncols=4)


def seeds_text(counts: Iterable[int]) -> str:
    """Format the smallest and largest number of seeds."""
    least, most = min(counts), max(counts)
    shown = f"{least}" if least == most else f"{least} to {most}"
    return f"n = {shown} seed{'' if shown == '1' else 's'}"
