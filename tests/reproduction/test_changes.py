"""What the noise changes: predictions of paired runs, counted by hand."""

from dataclasses import replace

import pytest

from hype.reproduction.changes import ANOTHER_SEED, changes_sheets, changes_table
from hype.reproduction.expansion import expand
from hype.reproduction.experiments import CONTROL, load
from hype.reproduction.figures import dose_plots
from hype.reproduction.narrowing import Narrowing
from hype.reproduction.state import MISSING, State
from tests.reproduction.made_up_runs import paper_table

NARROWING = Narrowing(tasks=("cola",), seeds=(1, 2), learning_rates=(1e-5,), data_dir=None)
SCALES = {"hype-n 1e-5": 1e-5, "hype-n 1e-3": 1e-3, "hype-n 1e-1": 1e-1}


def record_of(cell, labels, score, **identity):
    noise = {"hype_type": "normal", "hype_eps": SCALES[cell.method]} if cell.method in SCALES else {}
    identity = {"hype_type": "none", "hype_eps": 1e-5, "dropout_rate": 0.0, "seed": cell.seed} | noise | identity
    record = {"status": "finished", "validation_labels": labels, "score": score, "identity": identity}
    return State("finished", record)


def made_up(narrowing=NARROWING, **identity):
    """Controls predict 0001; noise of 1e-5 changes nothing, of 1e-3 one label of seed 2, of 1e-1 all."""
    labels = {"hype-n 1e-5": ("0001", "0001"), "hype-n 1e-3": ("0001", "0011"), "hype-n 1e-1": ("1110", "1110")}
    cells = [c for c in expand(load("dose"), narrowing) if c.method in (*labels, CONTROL)]
    states = []
    for cell in cells:
        if cell.method == CONTROL:
            states.append(record_of(cell, "0001", 0.5))
        else:
            states.append(record_of(cell, labels[cell.method][cell.seed - 1], 0.4 + cell.seed / 10, **identity))
    return cells, states


def test_share_and_gain_are_those_of_the_pairs():
    changes = changes_table(*made_up())
    by_method = changes.groupby("hype_eps")["share"].apply(list)
    assert by_method.to_dict() == {1e-5: [0, 0], 1e-3: [0, 0.25], 1e-1: [1, 1]}
    assert changes["gain"].tolist() == pytest.approx([0, 10] * 3 + [0])
    (sheet,) = changes_sheets(changes)
    texts = [[entry.text for entry in row] for row in sheet.rows]
    assert sheet.title == "What the noise changes: bert-large"
    assert texts[1] == ["cola", "hype-n 1e-3", "-", "2", "12.50 (0.00 to 25.00)", "+5.00 (+0.00 to +10.00)"]


def test_another_seed_is_the_measure_and_counts_each_two_controls_once():
    cells, states = made_up()
    outcomes = {1: ("0001", 0.5), 2: ("0110", 0.3)}
    for place, cell in enumerate(cells):
        if cell.method == CONTROL:
            states[place] = record_of(cell, *outcomes[cell.seed])
    changes = changes_table(cells, states)
    rows = changes[changes["method"] == ANOTHER_SEED]
    assert rows[["share", "gain"]].to_numpy().tolist() == [[0.75, pytest.approx(20)]]
    (sheet,) = changes_sheets(changes)
    last = [entry.text for entry in sheet.rows[-1]]
    assert last == ["cola", ANOTHER_SEED, "-", "1", "75.00 (75.00 to 75.00)", "+20.00 (+20.00 to +20.00)"]
    assert len(dose_plots(changes, paper_table(models=["bert-large"], tasks=["cola"]))) == 1


def test_runs_that_differ_by_more_than_the_noise_are_no_pair():
    assert changes_table(*made_up(dropout_rate=0.1)).empty
    assert changes_sheets(changes_table(*made_up(dropout_rate=0.1))) == []


def test_runs_without_a_finished_control_or_labels_are_left_out():
    cells, states = made_up()
    alone = [State(MISSING) if c.method == CONTROL else s for c, s in zip(cells, states, strict=True)]
    assert changes_table(cells, alone).empty
    older = [replace(s, record=s.record | {"validation_labels": None}) for s in states]
    assert changes_table(cells, older).empty


def test_controls_of_one_label_count_nowhere_and_noise_that_leads_to_one_does():
    cells, states = made_up()
    for place, cell in enumerate(cells):
        if cell.method == "hype-n 1e-1" or (cell.method, cell.seed) == (CONTROL, 2):
            states[place] = record_of(cell, "1111", 0.5)
    changes = changes_table(cells, states)
    assert set(changes["seed"]) == {1} and ANOTHER_SEED not in set(changes["method"])
    assert changes.set_index("hype_eps")["share"].to_dict() == {1e-5: 0, 1e-3: 0, 1e-1: 0.75}


def test_the_dose_figure_names_axes_seeds_and_scale():
    table = paper_table(models=["bert-large"], tasks=["cola"], narrowing_text="narrowed to two seeds")
    (figure,) = dose_plots(changes_table(*made_up()), table)
    for text in (
        "predictions that differ, %",
        "score difference, points",
        "scale of the noise (eps)",
        "HyPe-N",
        "cola",
    ):
        assert text in figure.svg
    assert ">0.001<" in figure.svg and "mathdefault" not in figure.svg
    assert "n = 2 seeds; small marks: the runs." in figure.caption and "narrowed to two seeds" in figure.caption
    few = changes_table(*made_up()).query("hype_eps < 1e-2")
    assert dose_plots(few, table) == []


def test_learning_rates_of_one_seed_are_runs_of_the_dose_figure_not_seeds():
    table = paper_table(models=["bert-large"], tasks=["cola"])
    changes = changes_table(*made_up(replace(NARROWING, learning_rates=(1e-5, 2e-5))))
    (figure,) = dose_plots(changes, table)
    assert "Line: mean over n = 2 seeds (4 runs); small marks: the runs." in figure.caption
    is_missing = (changes["hype_eps"] == 1e-1) & (changes["seed"] == 2)
    (figure,) = dose_plots(changes[~is_missing], table)
    assert "n = 1 to 2 seeds (2 to 4 runs);" in figure.caption
