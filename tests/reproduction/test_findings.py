"""The sentences under a table say what its numbers say, no more."""

from dataclasses import replace

import pandas as pd

from hype.reproduction.contents import Extras, contents_of
from tests.reproduction.made_up_runs import CONTROL, paper_table, runs_of, seeds

VANILLA = [0.50, 0.52, 0.51]


def sentences(*rows, extras=None, **changes) -> list[str]:
    return contents_of(paper_table(**changes), runs_of(*rows), *([extras] if extras else [])).findings


def test_dropout_and_noise_are_told_apart_with_intervals_and_n():
    control, noise = [s + 0.04 for s in VANILLA], [s + 0.03 for s in VANILLA]
    text = " ".join(sentences(*seeds("vanilla", VANILLA), *seeds(CONTROL, control), *seeds("hype-n", noise)))
    assert f"Dropout's part: {CONTROL} minus vanilla is +4.00 (+4.00 to +4.00, n 3)." in text
    assert f"points over {CONTROL}: lower: hype-n -1.00 (-1.00 to -1.00, n 3)." in text
    assert "higher" not in text and "not told apart" not in text


def test_an_interval_around_zero_tells_nothing_apart():
    noise = [0.49, 0.52, 0.53]
    (text,) = [s for s in sentences(*seeds(CONTROL, VANILLA), *seeds("hype-n", noise)) if s.startswith("Beyond")]
    assert text.startswith(f"Beyond that, points over {CONTROL}: not told apart: hype-n +0.33 (")


def test_two_seeds_say_that_nothing_follows():
    (text,) = sentences(*seeds(CONTROL, VANILLA[:2]), *seeds("hype-n", [0.9, 0.9]))
    assert text.endswith("fewer than 3 values, so nothing follows: hype-n +39.00 (n 2).")


def test_a_narrowed_table_says_what_it_cannot_tell_and_an_empty_one_nothing():
    rows = [*seeds(CONTROL, VANILLA), *seeds("hype-n", VANILLA)]
    assert sentences(*rows, narrowing_text="narrowed: x")[-1].startswith("As narrowed, this says nothing of the paper")
    assert not any("narrowed" in text for text in sentences(*rows))
    assert sentences(*seeds("vanilla", [None] * 3), narrowing_text="narrowed: x") == []


def test_changed_predictions_and_distances_of_layers_are_means_over_seeds():
    changes = pd.DataFrame({"task": ["cola"] * 2, "method": ["n"] * 2, "variant": ["eps 1"] * 2, "share": [0.1, 0.3]})
    names = {"model": "bert", "task": "rte", "variant": "", "learning_rate": 1e-5, "analysis": "probing"}
    values = {
        ("vanilla", 0): (0.1, 0.3),
        ("vanilla", 1): (0.5, 0.5),
        (CONTROL, 0): (0.1, 0.1),
        (CONTROL, 1): (0.9, 0.5),
    }
    rows = [
        {**names, "target": "rte", "method": method, "layer": layer, "seed": seed, "score": score}
        for (method, layer), scores in values.items()
        for seed, score in enumerate(scores, 1)
    ]
    runs = [*seeds("vanilla", VANILLA), *seeds(CONTROL, VANILLA)]
    plain = contents_of(paper_table(), runs_of(*runs), Extras(layers=pd.DataFrame(rows)))
    assert f"Greatest distance of a layer from {CONTROL}, probing on rte: vanilla 20.00." in plain.findings
    shown = replace(plain, changes=changes).findings
    assert "Share of the dev predictions that change, cola: n eps 1 20.00 %." in shown
