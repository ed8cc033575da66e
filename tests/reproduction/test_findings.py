"""The sentences under a table say what its numbers say, no more."""

from dataclasses import replace

import pandas as pd

from hype.reproduction.contents import Extras, contents_of
from hype.reproduction.findings import findings
from tests.reproduction.made_up_runs import CONTROL, paper_table, runs_of, seeds

VANILLA = [0.50, 0.52, 0.51]


def sentences(*rows, extras=None, **changes) -> list[str]:
    return contents_of(paper_table(**changes), runs_of(*rows), *([extras] if extras else [])).findings


def changes_of(model, *shares):
    names = {"model": model, "task": "cola", "method": "n", "variant": "eps 1"}
    return pd.DataFrame([{**names, "share": share} for share in shares])


def test_dropout_and_noise_are_told_apart_with_intervals_n_and_p():
    vanilla = [0.50 + seed / 100 for seed in range(8)]
    control, noise = [s + 0.04 for s in vanilla], [s + 0.03 for s in vanilla]
    text = " ".join(sentences(*seeds("vanilla", vanilla), *seeds(CONTROL, control), *seeds("hype-n", noise)))
    # Of 2^8 signs two are as extreme; three tests are made: 3 * 2 / 256.
    assert f"Dropout's part: {CONTROL} minus vanilla is +4.00 (+4.00 to +4.00, n 8, p 0.023)." in text
    assert f"Points over {CONTROL}: lower: hype-n -1.00 (-1.00 to -1.00, n 8, p 0.023)." in text
    assert "higher" not in text and "not told apart" not in text


def test_five_equal_differences_are_no_finding_whatever_their_interval():
    control = [0.50, 0.52, 0.51, 0.53, 0.50]
    texts = sentences(*seeds(CONTROL, control), *seeds("hype-n", [score + 0.03 for score in control]))
    assert texts == [f"Points over {CONTROL}: not told apart: hype-n +3.00 (+3.00 to +3.00, n 5, p 0.062)."]


def test_four_seeds_say_that_nothing_follows():
    (text,) = sentences(*seeds(CONTROL, [0.5] * 4), *seeds("hype-n", [0.9] * 4))
    assert text.endswith("fewer than 5 values, so nothing follows: hype-n +40.00 (+40.00 to +40.00, n 4).")


def test_a_method_with_dropout_is_held_against_vanilla_which_has_it_too():
    rows = [*seeds("vanilla", [0.5] * 3), *seeds(CONTROL, [0.6] * 3), *seeds("r-drop", [0.52] * 3)]
    methods = ["vanilla", CONTROL, "r-drop"]
    texts = sentences(*rows, methods=methods, with_dropout=["vanilla", "r-drop"])
    assert [text.partition(":")[0] for text in texts] == ["Dropout's part", "Points over vanilla"]
    assert "nothing follows: r-drop +2.00 (" in texts[1] and texts[0].endswith(
        "n 3), fewer than 5 values, so nothing follows."
    )


def test_a_narrowed_table_says_what_it_cannot_tell_and_an_empty_one_nothing():
    rows = [*seeds(CONTROL, VANILLA), *seeds("hype-n", VANILLA)]
    assert sentences(*rows, narrowing_text="narrowed: x")[-1].startswith("As narrowed, this says nothing of the paper")
    assert not any("narrowed" in text for text in sentences(*rows))
    assert sentences(*seeds("vanilla", [None] * 3), narrowing_text="narrowed: x") == []


def test_changed_predictions_and_distances_of_layers_are_means_over_seeds():
    changes = changes_of("bert", 0.1, 0.3)
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
    # Layer 0: 0 and 20 points; layer 1: 40 lower for seed 1, equal for seed 2.
    what = f"Distance from {CONTROL} by seed, in the layer where it is greatest, probing on rte"
    assert f"{what}: vanilla 20.00 (layer 1, n 2), fewer than 5 values, so nothing follows." in plain.findings
    shown = replace(plain, changes=changes).findings
    assert "Share of the dev predictions that change, cola: n eps 1 20.00 %." in shown


def test_changes_and_distances_of_several_models_are_never_averaged_and_name_the_model():
    table = paper_table(models=["bert", "roberta"])
    changes = pd.concat([changes_of("bert", 0.1, 0.3), changes_of("roberta", 0.5)])
    of_model = pd.DataFrame({"analysis": "probing", "target": "rte", "layer": 0, "seed": 1}, index=range(2))
    of_model = of_model.assign(method=["vanilla", CONTROL])
    layers = [of_model.assign(model=m, score=s) for m, s in {"bert": [70.0, 60.0], "roberta": [95.0, 90.0]}.items()]
    distance = f"Distance from {CONTROL} by seed, in the layer where it is greatest, probing on rte"
    assert findings(table, [], pd.concat(layers), changes) == [
        "bert: Share of the dev predictions that change, cola: n eps 1 20.00 %.",
        "roberta: Share of the dev predictions that change, cola: n eps 1 50.00 %.",
        f"bert: {distance}: vanilla 10.00 (layer 0, n 1), fewer than 5 values, so nothing follows.",
        f"roberta: {distance}: vanilla 5.00 (layer 0, n 1), fewer than 5 values, so nothing follows.",
    ]


def test_a_model_without_its_control_yet_has_no_distances_of_layers():
    rows = [("bert", "vanilla", 70.0), ("roberta", "vanilla", 95.0), ("roberta", CONTROL, 90.0)]
    layers = pd.DataFrame(rows, columns=["model", "method", "score"])
    layers = layers.assign(analysis="probing", target="rte", layer=0, seed=1)
    (text,) = findings(paper_table(models=["bert", "roberta"]), [], layers, pd.DataFrame())
    assert text.startswith("roberta: ")


def test_distances_of_layers_are_taken_seed_by_seed_so_that_signs_do_not_cancel():
    names = {"model": "bert", "analysis": "similarity", "target": "rte"}
    scores = {("vanilla", 0): (0.4, 0.6, 0.1), (CONTROL, 0): (0.5, 0.5), ("vanilla", 1): (0.55, 0.55),
              (CONTROL, 1): (0.5, 0.5)}  # fmt: skip
    rows = [
        {**names, "method": method, "layer": layer, "seed": seed, "score": 100 * score}
        for (method, layer), of_seeds in scores.items()
        for seed, score in enumerate(of_seeds, 1)
    ]
    (text,) = findings(paper_table(), [], pd.DataFrame(rows), pd.DataFrame())
    assert "vanilla 10.00 (layer 0, n 2)" in text, "the third seed has no control"


def test_a_sum_over_tasks_says_of_how_many_values_of_each():
    rows = [*seeds(CONTROL, [0.5] * 3), *seeds("hype-n", [0.6] * 3)]
    rows += [*seeds(CONTROL, [0.5], task="cola"), *seeds("hype-n", [0.4], task="cola")]
    (text,) = sentences(*rows, tasks=["rte", "cola", "mrpc"])
    assert text.endswith("nothing follows: hype-n +5.00 (-5.00 to +10.00, n 4: rte 3, cola 1, mrpc 0).")


def test_without_a_control_dropout_and_noise_are_said_to_be_one():
    rows = [*seeds("vanilla", [0.5]), *seeds("hype-n", [0.6])]
    (text,) = sentences(*rows, methods=["vanilla", "hype-n"])
    assert text.startswith("Points over vanilla (missing dropout and noise together, without runs of ")
    assert text.endswith("nothing follows: hype-n +10.00 (n 1).")


def test_runs_of_one_label_are_named():
    rows = [*seeds(CONTROL, [0.5] * 2, is_constant="no"), *seeds("hype-n", [0.25] * 2, is_constant="yes")]
    assert "Runs that give all dev examples one label: hype-n, rte, 1e-05: 2 of 2." in sentences(*rows)
