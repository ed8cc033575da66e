"""Figures as SVG: text stays text, colours are told apart by colour-blind readers, dark pages keep dark backgrounds."""

import html
import io
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure as Canvas

# The look of each method, the same in every figure. The first colours are Okabe and Ito's (2008).
LOOKS = {
    "vanilla": ("#777777", "D"), "vanilla, no dropout": ("#D55E00", "s"), "hype-n": ("#0072B2", "o"),
    "hype-u": ("#009E73", "^"), "hype": ("#0072B2", "o"), "top-k*": ("#CC79A7", "v"), "mixout*": ("#E69F00", "P"),
    "recadam*": ("#56B4E9", "X"), "lnsr*": ("#999933", "<"), "child-tuning-f": ("#882255", ">"),
    "child-tuning-d": ("#AA4499", "p"), "r-drop": ("#117733", "h"), "r3f": ("#332288", "*"),
    "noisytune": ("#AA7744", "d"),
}  # fmt: skip
LINES = ("-", "--", "-.", ":")
INK = "#010203"  # Stands for the page's text colour until the SVG is written.
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


def look_of(method: str) -> dict[str, str]:
    """Return a method's colour and mark; a scale of noise (hype-n 1e-2) has those of its family."""
    known = LOOKS.get(method) or LOOKS.get(method.split(" ")[0]) or [*LOOKS.values()][len(method) % len(LOOKS)]
    return dict(zip(("color", "marker"), known, strict=True))


def finished(name: str, canvas: Canvas, caption: str, note: str) -> Figure:
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


def draw_marks(axes, x: Sequence[float], y: Sequence[float], look: dict, hollow=False, size=12, alpha=0.5) -> None:
    """Draw marks of a method's look. hollow: whether all of them are, or for each mark."""
    colour = to_rgba(look["color"], alpha)
    faces = [(0, 0, 0, 0) if is_hollow else colour for is_hollow in np.broadcast_to(hollow, len(x))]
    axes.scatter(x, y, size, marker=look["marker"], facecolor=faces, edgecolor=[colour] * len(faces), zorder=3)


def draw_estimate(axes, mean: float, interval: tuple[float, float], place: float, look: dict, hollow=False) -> None:
    """Draw a mean with its interval (NaN: none) along the horizontal axis, at a place of the vertical one."""
    axes.hlines(place, *interval, color=look["color"], linewidth=2)
    draw_marks(axes, [mean], [place], look, hollow, 36, 1)


def seeds_text(counts: Iterable[int]) -> str:
    """Write over how many seeds."""
    least, most = min(counts), max(counts)
    shown = f"{least}" if least == most else f"{least} to {most}"
    return f"n = {shown} seed{'' if shown == '1' else 's'}"
