"""Figures: what they say, and that a method looks the same in all of them."""

import functools
import itertools
import xml.etree.ElementTree as ElementTree

import pandas as pd
import pytest

from hype.reproduction.drawing import LOOKS, look_of
from hype.reproduction.experiments import CONTROL, load
from hype.reproduction.figures import seeds_figures, study_figures
from hype.reproduction.tables import settings, settings_table
from tests.reproduction.made_up_runs import run, runs_of, section, seeds

NOTE = "sample data written for a test"


def dosed():
    rows = [*seeds("vanilla", [50.0, 51.0, 52.0], predictions="0110")]
    rows += [
        run(CONTROL, 51.0 + seed, seed, predictions=labels) for seed, labels in enumerate(("0110", "0111", "0010"), 1)
    ]
    for scale, labels in (("1e-5", "0110"), ("1e-2", "0100"), ("1", "1001")):
        noise = {"hype_type": "normal", "hype_eps": float(scale), "predictions": labels}
        rows += seeds(f"hype-n {scale}", [51.0, 52.5, 53.0], **noise)
    return runs_of(*rows)


@functools.cache
def drawn() -> dict:
    scores = {"vanilla": [0.5, 0.6, 0.55], CONTROL: [0.52, 0.61, 0.58]}
    effects, doses = study_figures(dosed(), NOTE)
    return {"effects": effects, "dose": doses, "runs": seeds_figures(section(scores), "Each seed", NOTE)[0]}


@pytest.mark.parametrize(
    ("kind", "finding"),
    [
        ("effects", "What HyPe-N 1e-5 adds to no dropout: one setting so far"),
        ("dose", "Noise of 1e-5 changes at least half as many predictions as another seed does"),
        ("runs", "Each seed"),
    ],
)
def test_a_figure_is_whole_names_its_finding_and_what_the_data_are(kind, finding):
    figure = drawn()[kind]
    texts = " ".join("".join(element.itertext()) for element in ElementTree.fromstring(figure.svg).iter())
    assert finding in texts and NOTE in texts.replace("\n", " ")
    assert NOTE in figure.caption and f'aria-label="{figure.caption.split(".")[0]}' in figure.svg
    assert "currentColor" in figure.svg and "background: #fff" in figure.standalone


def test_the_dose_figure_marks_the_papers_scales_and_what_another_seed_changes():
    svg = drawn()["dose"].svg.replace("&#x27;", "'")
    assert all(text in svg for text in ("the paper's scales", "another seed", "noise (eps)"))


def test_a_single_seed_is_compared_with_no_other_in_the_dose_figure():
    runs = dosed()
    _, figure = study_figures(runs[runs["seed"] == 1], NOTE)
    assert "no other seed to compare with yet" in figure.caption and "as another seed does" not in figure.caption


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"predictions": None}, "regression"), ({"predictions": "1111", "collapsed": True}, "a single class")],
)
def test_a_task_without_changed_predictions_names_the_reason(changes, reason):
    for figure in study_figures(dosed().assign(**changes), NOTE):
        texts = [element.text or "" for element in ElementTree.fromstring(figure.svg).iter()]
        named = {text.rstrip(":").partition(":")[0] for text in texts} & {"regression", "a single class"}
        assert named == {reason}


def test_one_scale_is_no_dose_figure():
    runs = dosed()
    few = runs[runs["hype_eps"].isna() | (runs["hype_eps"] < 1e-3)]
    assert [figure.name for figure in study_figures(few, "")] == ["effects"]


def test_the_effects_of_several_settings_end_in_their_mean_which_is_the_finding():
    runs = dosed()
    gain = 1.6647 * runs["method"].eq("hype-n 1e-5")  # the mean of the effects is -0.001
    other = runs.assign(task="cola", score=runs["score"] + runs["method"].eq("vanilla") + gain)
    found = settings(pd.concat([runs, other]))
    assert list(found["task"].unique()) == ["RTE", "CoLA", "mean"]
    dropout, noise = found[found["task"] == "mean"].itertuples()
    assert dropout.mean == pytest.approx((2 + 1) / 2) and dropout.n == 3
    caption = study_figures(pd.concat([runs, other]), "")[0].caption
    assert f"no dropout: mean +0.00 points, {noise.verdict}" in caption
    assert settings_table(found).frame.iloc[-1, 1:3].tolist() == ["-", "-"], "a mean has no score"


def test_a_mean_is_that_of_one_model_and_choice_of_examples():
    tasks = pd.concat([dosed(), dosed().assign(task="cola")])
    first = pd.concat([tasks, dosed().assign(task="cola", data="first 1,000", score=0.0)])
    found = settings(first).set_index(["task", "method"])["mean"].xs(CONTROL, level="method")
    assert list(found.index) == ["RTE (all)", "CoLA (all)", "mean (all)", "CoLA (first 1,000)"]
    assert found["mean (all)"] == pytest.approx(2)
    caption = study_figures(pd.concat([tasks, tasks.assign(model="large")]), "")[0].caption
    assert all(f"{model} · mean -0.83 points, lowers the score" in caption for model in ("BERT", "large"))


def test_settings_set_dropout_beside_noise_and_another_seed():
    dropout, noise = settings(dosed()).itertuples()
    assert (noise.task, noise.majority, noise.control) == ("RTE", 25.0, "53.00 ± 1.00")
    assert dropout.mean == pytest.approx(2) and noise.flips == pytest.approx(0.5 / 3)
    assert noise.seed_flips == pytest.approx((0.25 + 0.25 + 0.5) / 3)


def test_no_two_methods_of_a_table_look_alike_and_a_scale_looks_like_its_family():
    names = [method.name for method in load("table_5").methods]
    looks = [tuple(look_of(name).values()) for name in names]
    assert len(names) == 13 and all(a != b for a, b in itertools.combinations(looks, 2))
    assert look_of("hype-n 1e-2") == look_of("hype-n") and set(names) <= set(LOOKS)
