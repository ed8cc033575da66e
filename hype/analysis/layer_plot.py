"""The picture of what an analysis found by layer."""

import matplotlib
import pandas as pd
from matplotlib.figure import Figure as Canvas

from hype.drawing import LINES, STYLE, Figure, finished, look_of, seeds_text

LAYER_LABELS = {"probing": "dev score x 100", "similarity": "mean cosine of token pairs x 100"}


def layer_plot(data: pd.DataFrame, name: str, title: str, score_label: str, note: str = "") -> Figure:
    """Draw a score over the layers, a line per method: mean and range over seeds (figures 3 and 4).

    Args:
        data: columns layer (0: embeddings), score, method, seed and look (see `drawing.look_of`).
        score_label: the vertical axis with its unit.
        note: model, narrowing and data, below the plot and in the caption.
    """
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(6.4, 3.6), layout="constrained")
        axes = canvas.subplots()
        for place, (method, group) in enumerate(data.groupby("method", sort=False)):
            layers = group.groupby("layer")["score"].agg(["mean", "min", "max"])
            look = look_of(group["look"].iloc[0])
            style = {"linestyle": LINES[place % len(LINES)], "markersize": 4, **look}
            axes.plot(layers.index, layers["mean"], label=str(method), **style)
            axes.fill_between(layers.index, layers["min"], layers["max"], color=look["color"], alpha=0.2, linewidth=0)
        axes.set(title=title, xlabel="layer (0: embeddings)", ylabel=score_label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend()
        counts = sorted(set(data.groupby(["method", "layer"])["seed"].nunique()))
        caption = f"{title}. Line: mean over {seeds_text(counts)}; band: smallest to largest."
        return finished(name, canvas, caption, note)
