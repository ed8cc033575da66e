"""The numbers of a report: means, paired effects with intervals, and the one rule for judging an effect.

Scores are points (x 100), as the paper prints them. Intervals are Student's t intervals over seeds, with equal weight
for each task; they say nothing about other dev sets. There is no separate test that could contradict them: an effect
differs from 0 if the 95 % interval excludes 0, and there is none within a margin if the 90 % interval lies inside it
(two one-sided tests at 5 %, Schuirmann 1987).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from hype.text_tables import counted

ALL_TASKS = "all tasks"
MARGIN = 1.0  # point; smaller effects count as none
LEAST = 3  # values needed for an interval
POWER = 0.8
SETTING = ["model", "data", "task"]
GRID_POINT = [*SETTING, "method", "variant", "learning_rate"]
PAIR = [*SETTING, "seed", "learning_rate"]
EFFECT = [
    "model", "data", "method", "variant", "reference", "task", "mean", "low", "high", "n", "text", "flips", "collapsed",
    "without_collapsed", "is_at_majority", "excludes_zero", "verdict",
]  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """The mean of several groups of values, each group with the same weight.

    Attributes:
        n, planned: the number of seeds with a value, and with those whose values are missing.
        is_complete: no planned value is missing.
        se, df: NaN if a group has only one value.
    """

    n: int
    planned: int
    is_complete: bool
    mean: float
    se: float = math.nan
    df: float = math.nan

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return a two-sided t interval; NaN for fewer than `LEAST` values."""
        half = float(stats.t.ppf((1 + level) / 2, self.df)) * self.se if self.n >= LEAST else math.nan
        return self.mean - half, self.mean + half

    @property
    def detectable(self) -> float:
        """The smallest effect that this many values with this spread detect with 80 % power."""
        return float(stats.t.ppf(0.975, self.df) + stats.t.ppf(POWER, self.df)) * self.se

    @property
    def is_within_margin(self) -> bool:
        """Whether the 90 % interval lies within `MARGIN` around 0."""
        low, high = self.interval(0.9)
        return max(-low, high) < MARGIN

    @property
    def excludes_zero(self) -> bool:
        """Whether the 95 % interval excludes 0."""
        low, high = self.interval()
        return low > 0 or high < 0

    @property
    def verdict(self) -> str:
        """What the interval supports."""
        if math.isnan(self.interval()[0]):
            return f"too few seeds to say (n {self.n})"
        if self.excludes_zero:
            within = f", but within ±{MARGIN:g} point" if self.is_within_margin else ""
            return f"{'raises' if self.mean > 0 else 'lowers'} the score{within}"
        if self.is_within_margin:
            return f"no effect beyond ±{MARGIN:g} point"
        return f"inconclusive (could detect {self.detectable:.1f} points)"

    def text(self, level: float | None = None, unit: str = "") -> str:
        """Format the mean, followed by `unit`, with its interval and n; the level is mentioned unless None (95 %)."""
        if not self.n:
            return "-"
        low, high = self.interval(level or 0.95)
        name = f"{100 * level:g} % interval " if level else ""
        between = "" if math.isnan(low) else f"{name}{signed(low)} to {signed(high)}, "
        missing = f" of {self.planned}" if self.n < self.planned else "" if self.is_complete else ", incomplete"
        return f"{signed(self.mean)}{unit} ({between}n {self.n}{missing})"


def estimate(groups: Iterable[Sequence[float] | pd.Series]) -> Estimate:
    """Estimate the mean over groups of equal weight; one group gives the usual t interval.

    Values with the same index (their seed) may depend on each other: the seeds are the independent observations. If
    every group has every seed, the interval is that of the seeds' means. Otherwise it comes from the cluster-robust
    variance of Liang and Zeger (1986), of which that is a special case. NaN is a planned value that is missing.
    """
    groups = [pd.Series(group, dtype=float) for group in groups]
    values = pd.DataFrame(dict(enumerate(groups)))  # a row for each seed
    planned, is_complete = len(values), all(group.notna().all() for group in groups)
    values = values.dropna(axis="columns", how="all").dropna(how="all")
    n, counts, mean = len(values), values.count(), float(values.mean().mean())
    if n < 2 or counts.min() < 2:
        return Estimate(n, planned, is_complete, mean)
    errors = ((values - values.mean()) / counts).sum(axis="columns") / len(counts)  # each seed's share
    return Estimate(n, planned, is_complete, mean, math.sqrt(n / (n - 1) * (errors**2).sum()), n - 1)


def paired(runs: pd.DataFrame, comparisons: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """Pair each run with the reference's run of the same model, data, task, seed and learning rate.

    Args:
        runs: columns of `PAIR`, method, variant, score, predictions, collapsed and device.
        comparisons: methods with their references.

    Returns:
        A row for each run of these methods, finished or not, with the columns of its reference ("score_reference") and
        difference: of the scores; NaN until both runs are finished.
        flips: the share of dev predictions that differ; NaN without labels, or if the reference predicts a single
        class, as it has learned nothing that could change.
        is_identical: predictions and scores are the same. is_collapsed: one of the runs predicts a single class.
        is_across: the devices differ, and with them the rounding.
    """
    sides = pd.DataFrame(list(comparisons), columns=["method", "reference"])
    theirs = runs[runs["score"].notna()].rename(columns={"method": "reference"})
    pairs = sides.merge(runs, on="method").merge(
        theirs.drop_duplicates([*PAIR, "reference"]), "left", [*PAIR, "reference"], suffixes=("", "_reference")
    )
    collapsed = pairs["collapsed_reference"].eq(True)
    pairs["difference"] = pairs["score"] - pairs["score_reference"]
    shares = map(flip_share, pairs["predictions"], pairs["predictions_reference"])
    flips = pd.Series(list(shares), pairs.index, float)
    pairs["flips"] = flips.where(pairs["difference"].notna() & ~collapsed)
    pairs["is_identical"] = (pairs["flips"] == 0) & (pairs["difference"] == 0)
    pairs["is_collapsed"] = pairs["collapsed"].eq(True) | collapsed
    pairs["is_across"] = pairs["difference"].notna() & (pairs["device"] != pairs["device_reference"])
    return pairs


def flip_share(ours: str | list[int] | None, theirs: str | list[int] | None) -> float:
    """Return the share of predicted labels that differ; NaN without labels (regression)."""
    if not isinstance(ours, str | list) or not isinstance(theirs, str | list) or len(ours) != len(theirs):
        return math.nan
    return float(np.mean(np.array(list(ours)) != np.array(list(theirs))))


def mean_effect(pairs: pd.DataFrame) -> Estimate:
    """Estimate the mean paired difference, with equal weight for each setting, in which a seed gives one value."""
    by_seed = pairs.groupby([*SETTING, "seed"])["difference"].mean()
    return estimate(group.droplevel(SETTING) for _, group in by_seed.groupby(level=SETTING))


def mean_flips(pairs: pd.DataFrame) -> float:
    """Return the mean share of predictions that differ, with equal weight for each setting; NaN without any."""
    return pairs.groupby(SETTING)["flips"].mean().mean()


def effects(pairs: pd.DataFrame) -> pd.DataFrame:
    """Estimate the effect of each method and variant for each task and, if there are several, over all tasks.

    Args:
        pairs: see `paired`.

    Returns:
        The columns of `EFFECT`, a row for each effect with at least one pair:
        mean, low, high, n, text: the estimate in points with its 95 % interval, and the number of pairs across devices.
        flips: the mean share of dev predictions that differ; NaN without predictions.
        collapsed: pairs in which a run predicts a single class. without_collapsed: the estimate without them, as text.
        is_at_majority: both sides score no better than the majority class (over all tasks: in each of them).
        excludes_zero: the interval excludes 0, and the runs are not at majority level.
        verdict: see `verdict`.
    """
    rows = []
    for names, group in pairs.groupby(EFFECT[:5], sort=False):
        by_task = dict(list(group.groupby("task", sort=False)))
        for task in [*by_task, *([ALL_TASKS] if len(by_task) > 1 else [])]:
            planned = by_task.get(task, group)
            found, done = mean_effect(planned), planned.dropna(subset="difference")
            if done.empty:
                continue
            at_majority = are_at_majority(done)
            rows.append([
                *names, task, found.mean, *found.interval(), found.n, found.text() + across_text(done),
                mean_flips(done), int(done["is_collapsed"].sum()), mean_effect(done[~done["is_collapsed"]]).text(),
                at_majority, found.excludes_zero and not at_majority, verdict(done, found),
            ])  # fmt: skip
    return pd.DataFrame(rows, columns=EFFECT)


def verdict(pairs: pd.DataFrame, found: Estimate) -> str:
    """Say what the finished pairs support, whose effect is `found`."""
    prefix = "at majority level, proves nothing; " if are_at_majority(pairs) else ""
    return prefix + ("identical predictions" if pairs["is_identical"].all() else found.verdict)


def across_text(pairs: pd.DataFrame) -> str:
    """Say how many pairs have runs from different devices, or numbers of threads; "" if none."""
    count = int(pairs["is_across"].sum())
    return f", {counted(count, 'pair')} across devices" if count else ""


def is_at_majority(scores: Sequence[float], majority: float) -> bool:
    """Return whether scores are no better than the majority class's: their 95 % interval reaches down to it."""
    return estimate([scores]).interval()[0] <= majority


def are_at_majority(pairs: pd.DataFrame) -> bool:
    """Return whether both sides of finished pairs are no better than the majority class in every setting."""
    return all(
        is_at_majority(scores, group["majority"].iloc[0])
        for _, group in pairs.groupby(SETTING)
        # A seed counts once, whatever the number of its learning rates.
        for _, scores in group.groupby("seed")[["score", "score_reference"]].mean().items()
    )


def another_seed(runs: pd.DataFrame) -> pd.DataFrame:
    """Compare every two runs that differ in the seed only: `SETTING` and flips, to compare those of noise with.

    Runs that predict a single class are excluded.
    """
    usable = runs[runs["score"].notna() & ~runs["collapsed"].astype(bool)]
    pairs = usable.merge(usable, on=GRID_POINT, suffixes=("", "_other"))
    pairs = pairs[pairs["seed"] < pairs["seed_other"]]
    flips = list(map(flip_share, pairs["predictions"], pairs["predictions_other"]))
    return pairs[SETTING].assign(flips=np.array(flips, float))


def summarised(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each grid point: n, planned, mean, sd, majority, collapsed, failed, dev_mean, is_at_majority."""
    runs = runs.assign(failed=runs["status"].isin(["failed", "diverged", "damaged"]))
    points = runs.groupby(GRID_POINT, sort=False, dropna=False)
    summary = points.agg(
        n=("score", "count"), planned=("seed", "size"), mean=("score", "mean"), sd=("score", "std"),
        majority=("majority", "first"), collapsed=("collapsed", "sum"), failed=("failed", "sum"),
        dev_mean=("dev_score", "mean"),
    ).reset_index()  # fmt: skip
    levels = [is_at_majority(group["score"], group["majority"].max()) for _, group in points]
    return summary.assign(is_at_majority=levels)


def selected(summary: pd.DataFrame) -> pd.DataFrame:
    """Apply the paper's protocol: for each model, task and method, the grid point with the best mean on the dev set.

    This selects on the set that is reported, except in tables 6 and 7. Grid points with missing seeds do not compete,
    unless the method has only one. Ties go to the first (the smallest learning rate of the first variant).
    """
    of_method = summary.groupby([*SETTING, "method"], sort=False)
    competes = (summary["n"] == summary["planned"]) | (of_method["n"].transform("size") == 1)
    best = summary[competes & summary["dev_mean"].notna()].groupby([*SETTING, "method"], sort=False)
    return summary.loc[best["dev_mean"].idxmax()]


def best_rates(runs: pd.DataFrame) -> dict[str, tuple[float, bool]] | None:
    """Choose each task's learning rate: the best mean over all methods, each with all its seeds.

    Returns:
        task -> the rate, and whether it is at an edge of the grid; None while runs are missing. A task is left out if
        a run failed at each of its rates.
    """
    if runs.empty or not runs["status"].isin(["finished", "failed", "diverged"]).all():
        return None
    by_method = runs.groupby(["task", "method", "learning_rate"])["score"].agg(lambda scores: scores.mean(skipna=False))
    means = by_method.unstack("method").mean(axis=1, skipna=False).dropna()  # without rates at which a run failed
    chosen = {}
    for task, rates in means.unstack("task").items():
        rates = rates.dropna()
        best = rates.idxmax()
        chosen[task] = (best, best in (rates.index[0], rates.index[-1]))
    return chosen


def signed(points: float) -> str:
    """Format a difference with its sign; -0.001 is +0.00."""
    return f"{round(points, 2) + 0:+.2f}"


def spread_text(mean: float, sd: float = math.nan) -> str:
    """Format a mean with its standard deviation; NaN: a dash."""
    return "-" if math.isnan(mean) else f"{mean:.2f}" + ("" if math.isnan(sd) else f" ± {sd:.2f}")


def scale_text(eps: float) -> str:
    """Format a scale of the noise as in the names of methods: 1e-5, 1e-1, 1."""
    return np.format_float_scientific(eps, precision=6, trim="-", exp_digits=1).removesuffix("e+0")


def percent(share: float) -> str:
    """Format a share in per cent; NaN: a dash."""
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"
