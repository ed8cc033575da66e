"""Statistics of a report against computations by hand and second implementations."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest

from hype.errors import InputError
from hype.reproduction.printed_averages import unsupported_averages
from hype.reproduction.statistics import (
    ALL_TASKS,
    average,
    checked,
    grid_points,
    holm,
    mean_interval_p,
    paired_differences,
    protocol,
)
from tests.reproduction.made_up_runs import CONTROL, paper_table, run, runs_of, seeds

REPORTED = Path(__file__).parents[2] / "hype" / "reproduction" / "reported.json"


def cells_of(*rows, **changes):
    table = paper_table(**changes)
    return protocol(grid_points(checked(runs_of(*rows)), table))


def sign_flip_p(differences):
    """Enumerate all sign flips: twice the smaller tail, as for a symmetric null distribution."""
    observed = sum(differences)
    flipped = [
        sum(s * d for s, d in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    above = sum(f >= observed - 1e-9 for f in flipped) / len(flipped)
    below = sum(f <= observed + 1e-9 for f in flipped) / len(flipped)
    return min(1.0, 2 * min(above, below))


def test_mean_and_both_standard_deviations_are_those_computed_by_hand():
    best = cells_of(*seeds("vanilla", [0.70, 0.72, 0.77]))["bert", "vanilla", "rte"].best
    assert best.mean == pytest.approx(73.0)
    # Deviations -3, -1, 4: squares add up to 26.
    assert best.std() == pytest.approx(math.sqrt(26 / 2))
    assert best.std(ddof=0) == pytest.approx(math.sqrt(26 / 3))


def test_one_seed_has_a_mean_and_no_standard_deviation():
    best = cells_of(*seeds("vanilla", [0.7]))["bert", "vanilla", "rte"].best
    assert (best.n, best.mean, best.std()) == (1, pytest.approx(70.0), None)


def test_protocol_takes_the_best_mean_not_the_best_single_run():
    rows = seeds("hype-n", [0.60, 0.62]) + seeds("hype-n", [0.10, 0.99], learning_rate=2e-5, variant="eps 0.0001")
    best = cells_of(*rows)["bert", "hype-n", "rte"].best
    assert (best.learning_rate, best.variant, best.mean) == (1e-5, "", pytest.approx(61.0))


def test_grid_point_without_all_its_seeds_does_not_compete():
    rows = seeds("vanilla", [0.6, 0.6]) + seeds("vanilla", [0.9, None], learning_rate=2e-5)
    cell = cells_of(*rows)["bert", "vanilla", "rte"]
    assert (cell.best.learning_rate, cell.complete_count, len(cell.points)) == (1e-5, 1, 2)


@pytest.mark.parametrize("status", ["diverged", "failed", "missing"])
def test_cell_without_complete_grid_point_has_no_best_and_says_how_many_seeds_it_has(status):
    rows = [*seeds("vanilla", [0.9, 0.8]), run("vanilla", math.nan, 3, status=status)]
    cell = cells_of(*rows)["bert", "vanilla", "rte"]
    assert cell.best is None
    assert (cell.most_finished.n, cell.most_finished.planned, cell.most_finished.statuses[status]) == (2, 3, 1)


def test_smallest_learning_rate_wins_among_equals():
    rows = seeds("vanilla", [0.5], learning_rate=2e-5) + seeds("vanilla", [0.5], learning_rate=1e-5)
    assert cells_of(*rows)["bert", "vanilla", "rte"].best.learning_rate == 1e-5


def test_a_run_of_mixed_predictions_is_not_collapsed_though_it_scores_as_the_majority_does():
    rows = [run(score=0.25, seed=seed, is_constant=told) for seed, told in enumerate(("no", "yes", "no"), 1)]
    (point,) = grid_points(runs_of(*rows, run(score=0.4, seed=4, is_constant="yes")), paper_table())
    assert point.collapsed == 2


def test_collapsed_runs_without_recorded_predictions_score_the_majority_or_nothing():
    rows = [
        *seeds("vanilla", [0.25, 0.26, 0.25]),
        *seeds("vanilla", [0.0, 0.1], task="cola", majority_score=0.0),
        run("vanilla", math.nan, 1, task="stsb", majority_score=math.nan, status="finished"),
        run("vanilla", 0.25, 4, status="diverged"),
    ]
    table = paper_table(tasks=["rte", "cola", "stsb"])
    points = grid_points(runs_of(*rows), table)
    assert {p.task: p.collapsed for p in points} == {"rte": 2, "cola": 1, "stsb": 1}
    assert points[2].n == 0 and not points[2].is_complete


def test_average_needs_every_task():
    tasks = {"tasks": ["rte", "mrpc"]}
    full = seeds("vanilla", [0.6, 0.8]) + seeds("vanilla", [0.9, 0.9], task="mrpc")
    assert average(cells_of(*full, **tasks), paper_table(**tasks), "bert", "vanilla") == pytest.approx(80.0)
    partial = seeds("vanilla", [0.6, 0.8]) + seeds("vanilla", [0.9, None], task="mrpc")
    assert average(cells_of(*partial, **tasks), paper_table(**tasks), "bert", "vanilla") is None
    assert average(cells_of(*full[:2], **tasks), paper_table(**tasks), "bert", "vanilla") is None


def test_differences_pair_equal_seed_and_learning_rate_and_count_seeds():
    vanilla = seeds("vanilla", [0.50, 0.60, 0.70]) + seeds("vanilla", [0.52, None, 0.72], learning_rate=2e-5)
    hype = seeds("hype-n", [0.51, 0.63, 0.75]) + seeds("hype-n", [0.55, 0.90, 0.73], learning_rate=2e-5)
    (found,) = paired_differences(checked(runs_of(*vanilla, *hype)), paper_table(methods=["vanilla", "hype-n"]))[:1]
    # Seed 1: (1 + 3) / 2 = 2. Seed 2: 3, its other pair has no vanilla. Seed 3: (5 + 1) / 2 = 3.
    assert (found.n, found.pairs, found.planned) == (3, 5, 6)
    assert found.mean == pytest.approx((2 + 3 + 3) / 3)
    assert (found.p, found.p_holm) == (None, None)
    assert 2 - 1e-9 <= found.low <= found.mean <= found.high <= 3 + 1e-9


def test_variants_are_compared_one_by_one_never_the_best_of_them():
    rows = seeds("vanilla", [0.5, 0.5]) + seeds("hype-n", [0.6, 0.6], variant="eps 1e-05")
    rows += seeds("hype-n", [0.3, 0.3], variant="eps 0.0001")
    found = paired_differences(runs_of(*rows), paper_table(methods=["vanilla", "hype-n"]))
    to_vanilla = {d.variant: d.mean for d in found if d.reference == "vanilla"}
    assert to_vanilla == {"eps 1e-05": pytest.approx(10.0), "eps 0.0001": pytest.approx(-20.0)}


def test_control_is_compared_with_vanilla_and_every_method_with_both():
    rows = [row for m, s in (("vanilla", 0.5), (CONTROL, 0.6), ("hype-n", 0.65)) for row in seeds(m, [s, s])]
    found = paired_differences(runs_of(*rows), paper_table())
    means = {(d.method, d.reference): pytest.approx(d.mean) for d in found}
    assert means == {(CONTROL, "vanilla"): 10.0, ("hype-n", "vanilla"): 15.0, ("hype-n", CONTROL): 5.0}


def test_all_tasks_take_one_value_per_task_and_seed():
    rows = [r for t in ("rte", "mrpc") for r in seeds("vanilla", [0.5] * 3, task=t)]
    rows += seeds("hype-n", [0.51, 0.52, 0.53]) + seeds("hype-n", [0.54, 0.55, 0.56], task="mrpc")
    table = paper_table(tasks=["rte", "mrpc"], methods=["vanilla", "hype-n"])
    found = [d for d in paired_differences(runs_of(*rows), table) if d.task == ALL_TASKS and d.reference == "vanilla"]
    assert [(d.n, d.pairs) for d in found] == [(6, 6)]
    assert found[0].mean == pytest.approx(3.5)
    assert found[0].p == pytest.approx(2 / 64)
    assert found[0].p_holm == pytest.approx(2 / 64)  # the only one with n >= 5


def test_too_few_seeds_give_neither_interval_nor_p():
    assert mean_interval_p(np.array([])) == (None, None, None, None)
    assert mean_interval_p(np.array([1.0, 2.0])) == (1.5, None, None, None)
    mean, low, high, p = mean_interval_p(np.array([1.0, 2.0, 3.0, 4.0]))
    assert mean == 2.5 and low < mean < high and p is None


@pytest.mark.parametrize(
    "differences",
    [[1.0, 2.0, 3.0, 4.0, 5.0], [1.0, -2.0, 0.5, 3.0, -0.25, 4.0], [0.0] * 5, [2.0, 2.0, 2.0, -1.0, 2.0, 2.0, 0.0]],
)
def test_sign_flip_p_equals_full_enumeration(differences):
    assert mean_interval_p(np.array(differences))[3] == pytest.approx(sign_flip_p(differences), abs=1e-12)


def test_interval_agrees_with_a_bootstrap_written_out_and_is_repeatable():
    differences = np.random.default_rng(3).normal(1.0, 2.0, size=12)
    _, low, high, _ = mean_interval_p(differences)
    drawn = np.random.default_rng(9).choice(differences, size=(40_000, 12)).mean(axis=1)
    assert [low, high] == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.06)
    assert mean_interval_p(differences) == mean_interval_p(differences)


def test_interval_of_equal_differences_is_that_difference():
    assert mean_interval_p(np.array([1.5] * 6))[1:3] == (1.5, 1.5)


def test_holm_equals_the_steps_by_hand():
    # Sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.04 x 1; never falling: 0.04, 0.06, 0.06, 0.06.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_repeated_row_counts_once_and_contradicting_rows_are_refused():
    assert len(checked(runs_of(run(), run()))) == 1
    with pytest.raises(InputError, match="runs/a and runs/b hold different results"):
        checked(runs_of(run(score=0.5), run(score=0.6, folder="runs/b")))


def test_absent_column_and_unknown_status_are_named():
    with pytest.raises(InputError, match="no column score"):
        checked(runs_of(run()).drop(columns="score"))
    with pytest.raises(InputError, match="'crashed'"):
        checked(runs_of(run(status="crashed")))


def bert_printed(method, scores):
    return {("bert", method, t): (s, None) for t, s in zip(("stsb", "cola", "mrpc", "rte"), scores, strict=True)}


def test_printed_average_of_vanilla_in_tables_5_and_18_does_not_follow():
    printed = bert_printed("vanilla", (90.07, 63.63, 90.67, 72.24)) | bert_printed("all", (90.37, 66.26, 91.14, 74.37))
    averages = {("bert", "vanilla"): 79.31, ("bert", "all"): 80.54}
    (found,) = unsupported_averages(paper_table(printed=printed, printed_averages=averages))
    # 90.07 + 63.63 + 90.67 + 72.24 = 316.61
    assert (found.method, found.printed, found.recomputed) == ("vanilla", 79.31, pytest.approx(316.61 / 4))


def test_gain_with_an_illegible_score_names_the_score_it_would_need():
    printed = bert_printed("vanilla", (80, 60, 80, 60)) | bert_printed("hype-n", (81, 61, 81, None))
    (found,) = unsupported_averages(paper_table(printed=printed, printed_gains={("bert", "hype-n"): 2.0}))
    # A mean gain of 2 over 4 tasks is 8 points, of which 3 are legible: 60 + 5.
    assert (found.recomputed, found.implied) == (None, ("rte", pytest.approx(65.0)))


def tables_with_averages():
    """Read (key, model, method, scores, printed average) of every printed row that has an average."""
    for key, content in json.loads(REPORTED.read_text(encoding="utf-8")).items():
        rows = content.get("rows", {}) if isinstance(content, dict) else {}
        by_model = rows if any("score" not in row for row in rows.values()) else {"bert-large": rows}
        for model, methods in by_model.items():
            for method, row in methods.items() if isinstance(methods, dict) else ():
                if isinstance(row, dict) and "avg" in row:
                    yield key, model, method, row["score"], row["avg"]


def test_of_all_printed_averages_only_79_31_does_not_follow():
    found, count = [], 0
    for key, model, method, scores, printed_average in tables_with_averages():
        printed = {(model, method, task): (score, None) for task, score in scores.items()}
        averages = {(model, method): printed_average}
        count += 1
        found += [(key, u.method, u.printed) for u in unsupported_averages(
            paper_table(printed=printed, printed_averages=averages))]  # fmt: skip
    assert found == [("table5", "vanilla", 79.31), ("table18", "vanilla", 79.31)]
    assert count == 12 + 3 + 12 + 3 + 16 + 3 + 6  # tables 1, 2, 5, 9, 16, 17, 18


def test_gains_in_the_text_of_table_3_do_not_follow():
    rows = json.loads(REPORTED.read_text(encoding="utf-8"))["table3"]["rows"]["roberta-large"]
    printed = {("roberta", m, t): (s, None) for m, row in rows.items() for t, s in row["score"].items()}
    gains = {("roberta", "hype-n"): 7.37, ("roberta", "hype-u"): 7.96}
    by_n, by_u = unsupported_averages(paper_table(printed=printed, printed_gains=gains))
    # 0.05 + 12.14 + 1.72 + 13 + 0.5 + 0.45 + 1.05 + 19 = 47.91 over 8 tasks
    assert by_n.recomputed == pytest.approx(47.91 / 8)
    # 8 x 7.96 = 63.68, of which the seven legible gains are 33.49; vanilla has 60.9.
    assert (by_u.recomputed, by_u.implied) == (None, ("mnli", pytest.approx(60.9 + 63.68 - 33.49)))
