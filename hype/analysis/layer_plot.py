"""The picture of what an analysis found by layer."""

import matplotlib
import pandas as pd
from matplotlib.figure import Figure as Canvas

from hype.drawing import LINES, MARKERS, PALETTE, STYLE, Figure, finished, seeds_text

LAYER_LABELS = {"probing": "dev score x 100", "similarity": "mean cosine of token pairs x 100"}


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
        caption = f"{title}. Line: mean over {seeds_text(counts)}; band: smallest to largest."
        return finished(name, canvas, caption, note)
