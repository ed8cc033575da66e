"""Effects, their intervals and what they support: against scipy and formulas of their own."""

import math

import numpy as np
import pytest
from scipy import stats

from hype.reproduction.experiments import CONTROL
from hype.reproduction.statistics import (
    ALL_TASKS,
    another_seed,
    best_rates,
    effects,
    estimate,
    flip_share,
    is_at_majority,
    mean_effect,
    paired,
    scale_text,
    selected,
    summarised,
)
from tests.reproduction.made_up_runs import run, runs_of, seeds

VALUES = [0.5, 1.5, -0.25, 2.0, 0.75, 1.0]


def effect(runs, task="rte"):
    """Return the effect of HyPe-N over no dropout, a row of `effects`."""
    found = effects(paired(runs, [("hype-n", CONTROL)]))
    return next(found[found["task"] == task].itertuples())


@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize("groups", [[VALUES], [[1.0, 2.0, 4.0, 3.0], [10.0, 12.0, 9.0, 17.0]]])
def test_the_interval_is_scipys_of_the_means_of_the_seeds(groups, level):
    expected = stats.ttest_1samp(np.mean(groups, axis=0), 0).confidence_interval(level)
    assert estimate(groups).interval(level) == pytest.approx((expected.low, expected.high))


def test_a_paired_effect_is_that_of_scipys_related_t_test():
    ours, theirs = [61.0, 64.0, 60.5, 66.0, 62.0], [60.0, 62.0, 61.0, 63.0, 61.5]
    found = effect(runs_of(*seeds("hype-n", ours), *seeds(CONTROL, theirs)))
    expected = stats.ttest_rel(ours, theirs).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.mean == pytest.approx(np.mean(ours) - np.mean(theirs)) and found.n == 5
    assert found.text == f"{found.mean:+.2f} ({expected.low:+.2f} to {expected.high:+.2f}, n 5)"


def test_groups_with_other_seeds_have_equal_weight_and_the_cluster_robust_variance():
    """Seeds 1 to 4 and 1, 2: by hand, each seed's share in the error of the mean of means, squared and summed."""
    found = estimate([[1.0, 2.0, 4.0, 3.0], [10.0, 12.0]])
    shares = [(-1.5 / 4 - 1 / 2) / 2, (-0.5 / 4 + 1 / 2) / 2, 1.5 / 4 / 2, 0.5 / 4 / 2]
    assert found.mean == pytest.approx((2.5 + 11) / 2) and found.df == 3
    assert found.se == pytest.approx(math.sqrt(4 / 3 * sum(share**2 for share in shares)))
    missing = estimate([[1.0, 2.0, 4.0, 3.0], [10.0, 12.0, math.nan, math.nan]])
    assert missing.se == found.se and missing.text().endswith("n 4, incomplete)")


def test_interval_and_verdict_cannot_contradict():
    random = np.random.default_rng(0)
    for _ in range(200):
        values = random.normal(random.normal(), 1, random.integers(3, 9))
        found = estimate([values])
        excludes = stats.ttest_1samp(values, 0).pvalue < 0.05
        assert found.excludes_zero == excludes == found.verdict.startswith(("raises", "lowers"))


def test_no_effect_is_two_one_sided_tests_at_5_percent():
    """TOST within a margin holds exactly where both one-sided t tests reject."""
    random = np.random.default_rng(1)
    seen = set()
    for _ in range(200):
        values = random.normal(0, 0.8, 5)
        both = max(
            stats.ttest_1samp(values, -1, alternative="greater").pvalue,
            stats.ttest_1samp(values, 1, alternative="less").pvalue,
        )
        found = estimate([values])
        assert found.is_within_margin == (both < 0.05)
        seen.add(found.is_within_margin)
    assert seen == {False, True}


def test_the_detectable_effect_is_found_in_four_of_five_studies():
    found, n, sd = estimate([VALUES]), len(VALUES), np.std(VALUES, ddof=1)
    noncentral = found.detectable / (sd / math.sqrt(n))
    power = 1 - stats.nct.cdf(stats.t.ppf(0.975, n - 1), n - 1, noncentral)
    assert power == pytest.approx(0.8, abs=0.03), "the usual approximation, within 3 points"


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0], [1.0, 2.0, math.nan]])
def test_fewer_than_three_values_have_no_interval_and_no_verdict(values):
    found = estimate([values])
    assert np.isnan(found.interval()).all() and not found.is_within_margin and not found.excludes_zero
    assert found.verdict == f"too few seeds to say (n {found.n})"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], "-"),
        ([1.0], "+1.00 (n 1)"),
        ([1.0, math.nan], "+1.00 (n 1 of 2)"),
        ([1.0] * 3, "+1.00 (+1.00 to +1.00, n 3)"),
        ([-0.001] * 3, "+0.00 (+0.00 to +0.00, n 3)"),
    ],
)
def test_an_estimate_is_written_with_its_interval_and_n_of_how_many(values, text):
    assert estimate([values]).text() == text


@pytest.mark.parametrize(
    ("level", "text"), [(0.9, "90 % interval +0.31 to +3.69"), (0.95, "95 % interval -0.48 to +4.48")]
)
def test_the_level_of_an_interval_is_named_on_request(level, text):
    assert text in estimate([[1.0, 2.0, 3.0]]).text(level)


def test_an_inconclusive_effect_shows_what_could_have_been_detected():
    found = estimate([[3.0, -2.0, 1.0]])
    assert found.verdict == f"inconclusive (could detect {found.detectable:.1f} points)"


def test_identical_predictions_are_said_as_such():
    labels = {"predictions": "0110"}
    runs = runs_of(*seeds("hype-n", [50.0] * 3, **labels), *seeds(CONTROL, [50.0] * 3, **labels))
    assert effect(runs).verdict == "identical predictions"
    other = runs_of(*seeds("hype-n", [50.0] * 3, predictions="0111"), *seeds(CONTROL, [50.0] * 3, **labels))
    assert effect(other).verdict == "no effect beyond ±1 point" and effect(other).flips == 0.25


@pytest.mark.parametrize(
    ("ours", "theirs", "share"),
    [("0110", "0101", 0.5), ([11, 1, 0, 1], [1, 1, 0, 11], 0.5), (None, None, math.nan)],
    ids=["up to ten classes", "more", "regression"],
)
def test_flips_are_the_share_of_labels_that_differ(ours, theirs, share):
    assert flip_share(ours, theirs) == pytest.approx(share, nan_ok=True)


def test_collapsed_runs_stay_in_and_a_second_number_leaves_them_out():
    ours = seeds("hype-n", [60.0, 62.0, 64.0, 61.0], predictions="0110")
    theirs = seeds(CONTROL, [59.0, 60.0, 61.0, 25.0], predictions="0111")
    theirs[3] |= {"collapsed": True, "predictions": "1111"}
    found = effect(runs_of(*ours, *theirs))
    assert (found.collapsed, found.n, found.mean) == (1, 4, pytest.approx((1 + 2 + 3 + 36) / 4))
    assert found.without_collapsed.startswith("+2.00 (") and found.without_collapsed.endswith("n 3)")
    assert found.flips == 0.25, "a control of one class could not be changed by noise"


def test_a_setting_at_majority_level_proves_nothing():
    assert is_at_majority([25.5, 24.9, 25.2], 25.0) and not is_at_majority([40.0, 41.0, 42.0], 25.0)
    assert not is_at_majority([25.0, 25.0], 25.0), "two runs tell nothing"
    assert not is_at_majority([25.0] * 5, float("nan"))
    found = effect(runs_of(*seeds("hype-n", [25.1, 24.9, 25.2]), *seeds(CONTROL, [25.0, 25.1, 24.8])))
    assert found.is_at_majority and found.verdict.startswith("at majority level, proves nothing")


@pytest.mark.parametrize("cola", [25.0, 60.0])
def test_tasks_that_all_prove_nothing_prove_nothing_together(cola):
    rows = [*seeds("hype-n", [25.1, 25.2, 25.3]), *seeds(CONTROL, [24.9, 25.0, 25.1])]
    rows += [*seeds("hype-n", [cola] * 3, task="cola"), *seeds(CONTROL, [cola] * 3, task="cola")]
    found = effect(runs_of(*rows), ALL_TASKS)
    assert found.low > 0 and found.is_at_majority == (cola == 25.0) != found.excludes_zero


@pytest.mark.parametrize("other", [{"task": "cola"}, {"data": "first 1,000"}, {"model": "RoBERTa"}], ids=str)
def test_all_settings_have_equal_weight_however_many_seeds_each_has(other):
    rows = [*seeds("hype-n", [51.0, 52.0, 53.0]), *seeds(CONTROL, [50.0] * 3)]
    rows += [*seeds("hype-n", [58.0, 60.0], **other), *seeds(CONTROL, [50.0] * 2, **other)]
    found = mean_effect(paired(runs_of(*rows), [("hype-n", CONTROL)]))
    assert found.mean == pytest.approx((2 + 9) / 2) and found.n == 3


def test_the_flips_of_all_tasks_have_equal_weight_however_many_seeds_each_has():
    rows = [*seeds("hype-n", [50.0] * 3, predictions="0111"), *seeds(CONTROL, [50.0] * 3, predictions="0110")]
    for method, labels in (("hype-n", "1001"), (CONTROL, "0110")):
        rows.append(run(method, 50.0, task="cola", predictions=labels))
    assert effect(runs_of(*rows), ALL_TASKS).flips == pytest.approx((0.25 + 1) / 2)


def test_several_sets_of_one_run_are_one_piece_of_evidence():
    rows = [*seeds("hype-n", [60.0, 50.0, 70.0], task="snli"), *seeds("hype-n", [80.0, 70.0, 90.0], task="sick")]
    rows += [row for task in ("snli", "sick") for row in seeds(CONTROL, [50.0, 40.0, 60.0], task=task)]
    found = effect(runs_of(*rows), ALL_TASKS)
    assert (found.n, found.mean) == (3, pytest.approx(20))


def test_learning_rates_of_one_seed_are_one_value():
    rates = (1e-5, 2e-5)
    rows = [row for rate in rates for row in seeds("hype-n", [52.0, 53.0, 54.0], learning_rate=rate)]
    rows += [row for rate in rates for row in seeds(CONTROL, [50.0] * 3, learning_rate=rate)]
    found = effect(runs_of(*rows))
    assert (found.n, found.mean) == (3, pytest.approx(3))


def test_more_learning_rates_are_no_more_evidence_of_the_majority_level():
    def is_low(*rates: float) -> bool:
        scores = [(method, [25.0, 26.0, 27.0], rate) for method in ("hype-n", CONTROL) for rate in rates]
        rows = [row for method, values, rate in scores for row in seeds(method, values, learning_rate=rate)]
        return effect(runs_of(*rows)).is_at_majority

    assert is_low(1e-5) and is_low(1e-5, 2e-5, 3e-5, 4e-5)


def test_runs_without_a_partner_are_no_pair():
    rows = [*seeds("hype-n", [52.0, None, 54.0]), run(CONTROL, 50.0, 1), run(CONTROL, 50.0, 2), run(CONTROL, 50.0, 9)]
    assert effect(runs_of(*rows)).text == "+2.00 (n 1 of 3)"


def test_another_seed_compares_each_two_runs_once_without_those_of_one_class():
    rows = [run(CONTROL, 50.0, seed, predictions=labels) for seed, labels in enumerate(("0011", "0010", "1100"), 1)]
    rows.append(run(CONTROL, 25.0, 4, predictions="1111", collapsed=True))
    found = another_seed(runs_of(*rows))
    assert sorted(found["flips"]) == [0.25, 0.75, 1.0]


def test_the_protocol_selects_complete_grid_points_by_the_dev_score():
    rows = seeds("vanilla", [90.0, 90.0], learning_rate=1e-5, dev_score=50.0)
    rows += seeds("vanilla", [40.0, 40.0], learning_rate=2e-5, dev_score=60.0)
    rows += seeds("vanilla", [99.0, None], learning_rate=3e-5, dev_score=99.0)
    best = selected(summarised(runs_of(*rows)))
    assert best["learning_rate"].tolist() == [2e-5] and best["mean"].tolist() == [40.0]
    only = selected(summarised(runs_of(*seeds("vanilla", [90.0, None]))))
    assert only["n"].tolist() == [1], "of one grid point nothing is selected"


def test_one_seed_has_a_mean_and_no_deviation():
    (row,) = summarised(runs_of(run())).itertuples()
    assert row.mean == 50.0 and math.isnan(row.sd) and (row.n, row.planned) == (1, 1)


def test_learning_rates_are_chosen_by_the_mean_of_the_methods_and_edges_named():
    def grid(last=58.0):
        scores = {1e-5: (50.0, 52.0), 2e-5: (60.0, 61.0), 4e-5: (last, last)}
        methods = ("vanilla", CONTROL)
        return [run(methods[i], pair[i], 7, learning_rate=rate) for rate, pair in scores.items() for i in (0, 1)]

    assert best_rates(runs_of(*grid())) == {"rte": (2e-5, False)}
    assert best_rates(runs_of(*grid(last=70.0))) == {"rte": (4e-5, True)}
    assert best_rates(runs_of(*grid(), run("vanilla", None, 8))) is None, "a run is missing"
    assert best_rates(runs_of(*grid(), run("vanilla", None, 8, status="damaged"))) is None
    failed = run("vanilla", None, 8, learning_rate=2e-5, status="diverged")
    assert best_rates(runs_of(*grid(), failed))["rte"][0] == 4e-5, "a rate at which a run diverges is out"


def test_a_scale_is_written_by_its_power_of_ten_without_rounding_errors():
    noisy = 10.0 ** np.arange(-5, 1)  # 9.999999999999999e-06 ...
    assert [scale_text(eps) for eps in noisy] == ["1e-5", "1e-4", "1e-3", "1e-2", "1e-1", "1"]
    assert scale_text(2.5e-5) == "2.5e-5"
