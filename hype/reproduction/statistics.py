"""The numbers of a report: means, paired effects with intervals, and the one rule by which an effect is judged.

Scores are points (x 100), as the paper prints them. Intervals are Student's t intervals over seeds, with equal weight
for each task; they say nothing of other dev sets. There is no test beside them that could contradict them: effects are
told apart where the 95 % interval excludes 0, and absent within a margin where the 90 % interval lies inside it (two
one-sided tests at 5 %, Schuirmann 1987).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

ALL_TASKS = "all tasks"
MARGINS = (0.5, 1.0)  # points within which an effect counts as none
LEAST = 3  # values: fewer say nothing
POWER = 0.8
GRID_POINT = ["model", "data", "task", "method", "variant", "learning_rate"]
PAIR = ["model", "data", "task", "seed", "learning_rate"]


@dataclass(frozen=True)
class Estimate:
    """The mean of several groups of values, each group with the same weight. se, df: None where a group has one."""

    n: int
    mean: float
    se: float | None = None
    df: float | None = None

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """Return a two-sided t interval; None from fewer than `LEAST` values."""
        if self.se is None or self.n < LEAST:
            return None
        half = float(stats.t.ppf((1 + level) / 2, self.df)) * self.se
        return self.mean - half, self.mean + half

    @property
    def detectable(self) -> float | None:
        """The smallest effect that so many values with this spread find in 4 of 5 studies."""
        if self.interval() is None:
            return None
        return float(stats.t.ppf(0.975, self.df) + stats.t.ppf(POWER, self.df)) * self.se

    @property
    def margin(self) -> float | None:
        """The smallest of `MARGINS` within which the mean lies (90 % interval); None if outside of all."""
        interval = self.interval(0.9)
        inside = [m for m in MARGINS if interval and -m < interval[0] and interval[1] < m]
        return inside[0] if inside else None

    @property
    def is_told_apart(self) -> bool:
        """Whether the 95 % interval excludes 0."""
        interval = self.interval()
        return interval is not None and (interval[0] > 0 or interval[1] < 0)


def estimate(groups: Iterable[Sequence[float]]) -> Estimate | None:
    """Estimate the mean over groups of equal weight (stratified); of one group it is the usual t interval.

    The degrees of freedom are Welch and Satterthwaite's: groups have variances of their own.
    """
    groups = [np.asarray(group, float) for group in groups if len(group)]
    if not groups:
        return None
    n, mean = sum(map(len, groups)), float(np.mean([group.mean() for group in groups]))
    if min(map(len, groups)) < 2:
        return Estimate(n, mean)
    variances = np.array([group.var(ddof=1) / len(group) for group in groups])
    total = variances.sum()
    freedoms = np.array([len(group) - 1 for group in groups])
    df = float(total**2 / (variances**2 / freedoms).sum()) if total > 0 else float(freedoms.sum())
    return Estimate(n, mean, float(np.sqrt(total)) / len(groups), df)


@dataclass(frozen=True)
class Effect:
    """Method minus reference, over pairs of runs that have all else in common: data, seed, learning rate.

    Each seed of a task gives one value: the mean over its learning rates and, in tables 6 and 7, which score one run on
    several sets, over these.

    Attributes:
        estimate: of the mean difference in points; None without a pair.
        without_collapsed: the same without pairs of which a run predicts a single class; None if there are none such.
        identical, compared: pairs with the same predictions, pairs with predictions.
        flips: the mean share of dev predictions that differ; None without predictions.
        collapsed: pairs of which a run predicts a single class.
        is_at_majority: both sides score no better than the majority class.
        planned: how many pairs there are to be.
    """

    model: str
    data: str
    task: str
    method: str
    variant: str
    reference: str
    estimate: Estimate | None
    without_collapsed: Estimate | None
    pairs: int
    planned: int
    identical: int = 0
    compared: int = 0
    flips: float | None = None
    collapsed: int = 0
    is_at_majority: bool = False

    @property
    def n(self) -> int:
        return self.estimate.n if self.estimate else 0

    @property
    def verdict(self) -> str:
        """Say what follows, by the one rule of this file."""
        if self.estimate is None:
            return "no pair yet"
        prefix = "at majority level, proves nothing; " if self.is_at_majority else ""
        if self.compared and self.identical == self.compared == self.pairs:
            return f"{prefix}identical predictions in {self.identical} of {self.pairs} runs"
        return prefix + judged(self.estimate)


def judged(found: Estimate) -> str:
    """Say what an interval supports."""
    if found.interval() is None:
        return f"too few to say (n {found.n})"
    inside = f"within ±{found.margin:g}" if found.margin else ""
    if found.is_told_apart:
        return ("higher" if found.mean > 0 else "lower") + (f", but {inside}" if inside else "")
    if inside:
        return f"no effect {inside}"
    return f"not told apart (could detect {found.detectable:.1f})"


def interval_text(found: Estimate | None, level: float = 0.95) -> str:
    """Write an estimate with its interval and n."""
    if found is None:
        return "-"
    interval = found.interval(level)
    between = "" if interval is None else f"{interval[0]:+.2f} to {interval[1]:+.2f}, "
    return f"{found.mean:+.2f} ({between}n {found.n})"


def paired(runs: pd.DataFrame, method: str, reference: str, variant: str | None = None) -> pd.DataFrame:
    """Return a row for each pair of finished runs: their scores, difference, share of predictions that differ.

    The share is left out where the reference predicts a single class: it learned nothing that could change.
    """
    scored = runs[runs["score"].notna()]
    ours = scored[(scored["method"] == method) & ((variant is None) | (scored["variant"] == variant))]
    theirs = scored[scored["method"] == reference].drop_duplicates(PAIR)
    pairs = ours.merge(theirs, on=PAIR, suffixes=("", "_reference"))
    pairs["difference"] = pairs["score"] - pairs["score_reference"]
    both = zip(pairs["predictions"], pairs["predictions_reference"], strict=True)
    pairs["flips"] = np.array([flip_share(a, b) for a, b in both], float)
    pairs.loc[pairs["collapsed_reference"].astype(bool), "flips"] = np.nan
    pairs["is_identical"] = (pairs["flips"] == 0) & (pairs["difference"] == 0)
    pairs["is_collapsed"] = (pairs["collapsed"] | pairs["collapsed_reference"]).astype(bool)
    return pairs


def flip_share(ours: str | None, theirs: str | None) -> float:
    """Return the share of predicted labels that differ; NaN without labels (regression)."""
    if not isinstance(ours, str) or not isinstance(theirs, str) or len(ours) != len(theirs):
        return float("nan")
    return float(np.mean(np.frombuffer(ours.encode(), "S1") != np.frombuffer(theirs.encode(), "S1")))


def effects_of(
    runs: pd.DataFrame, method: str, reference: str, tasks: Sequence[str], is_scored_elsewhere: bool = False
) -> list[Effect]:
    """Compare a method's variants with a reference, in each task and, if there are several, over all of them."""
    found = []
    keys = ["model", "data", "variant"]
    planned = runs[runs["method"] == method]
    for (model, data, variant), group in planned.groupby(keys, sort=False):
        of_model = runs[(runs["model"] == model) & (runs["data"] == data)]
        pairs = paired(of_model, method, reference, variant)
        here = [task for task in tasks if task in set(group["task"])]
        for task in [*here, *([ALL_TASKS] if len(here) > 1 else [])]:
            of_task = pairs if task == ALL_TASKS else pairs[pairs["task"] == task]
            count = len(group) if task == ALL_TASKS else int((group["task"] == task).sum())
            names = (model, data, task, method, variant, reference)
            found.append(_effect(names, of_task, count, is_scored_elsewhere and task == ALL_TASKS))
    return found


def _effect(names: tuple, pairs: pd.DataFrame, planned: int, is_one_run: bool = False) -> Effect:
    compared = pairs["flips"].notna()
    collapsed = int(pairs["is_collapsed"].sum())
    return Effect(
        *names,
        estimate=_estimate(pairs, is_one_run),
        without_collapsed=_estimate(pairs[~pairs["is_collapsed"]], is_one_run) if collapsed else None,
        pairs=len(pairs),
        planned=planned,
        identical=int(pairs["is_identical"].sum()),
        compared=int(compared.sum()),
        flips=float(pairs["flips"].mean()) if compared.any() else None,
        collapsed=collapsed,
        is_at_majority=names[2] != ALL_TASKS and _pairs_at_majority(pairs),
    )


def _estimate(pairs: pd.DataFrame, is_one_run: bool = False) -> Estimate | None:
    by_seed = pairs.groupby(["data", "task", "seed"])["difference"].mean()
    if is_one_run:
        return estimate([by_seed.groupby("seed").mean()])
    return estimate(group.to_numpy() for _, group in by_seed.groupby(["data", "task"]))


def pooled(pairs: Sequence[pd.DataFrame]) -> Estimate | None:
    """Estimate the mean difference over the pairs of several settings, each setting and task with equal weight."""
    groups = [group for one in pairs for _, group in one.groupby("task")]
    return estimate(group.groupby("seed")["difference"].mean().to_numpy() for group in groups)


def _pairs_at_majority(pairs: pd.DataFrame) -> bool:
    majority = pairs["majority"]
    if not len(pairs) or majority.isna().any():
        return False
    return all(is_at_majority(pairs[name], float(majority.iloc[0])) for name in ("score", "score_reference"))


def is_at_majority(scores: Sequence[float], majority: float | None) -> bool:
    """Say whether scores are no better than the majority class's: their 95 % interval reaches down to it."""
    if majority is None or np.isnan(majority):
        return False
    found = estimate([scores])
    interval = found and found.interval()
    return interval is not None and interval[0] <= majority


def another_seed(runs: pd.DataFrame) -> pd.DataFrame:
    """Compare every two runs of different seeds: columns model, data, task, flips, difference (without sign).

    The measure of what noise changes. Runs that predict a single class are left out.
    """
    rows = []
    usable = runs[runs["score"].notna() & ~runs["collapsed"]]
    for (model, data, task, *_), group in usable.groupby(GRID_POINT, sort=False):
        records = list(zip(group["predictions"], group["score"], strict=True))
        for place, (ours, score) in enumerate(records):
            for theirs, other in records[:place]:
                rows.append([model, data, task, flip_share(ours, theirs), abs(score - other)])
    return pd.DataFrame(rows, columns=["model", "data", "task", "flips", "difference"])


def summarised(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each grid point: n, planned, mean, sd, majority, collapsed, dev_mean, is_at_majority."""
    rows = []
    for names, group in runs.groupby(GRID_POINT, sort=False, dropna=False):
        scores = group["score"].dropna()
        majority = group["majority"].dropna()
        row = dict(zip(GRID_POINT, names, strict=True)) | {
            "n": len(scores), "planned": len(group), "mean": scores.mean(), "sd": scores.std(ddof=1),
            "majority": majority.iloc[0] if len(majority) else float("nan"),
            "collapsed": int(group["collapsed"].sum()), "dev_mean": group["dev_score"].mean(),
            "failed": int(group["status"].isin(["failed", "diverged", "damaged"]).sum()),
        }  # fmt: skip
        rows.append(row | {"is_at_majority": is_at_majority(scores, row["majority"])})
    return pd.DataFrame(rows)


def selected(summary: pd.DataFrame) -> pd.DataFrame:
    """Apply the paper's protocol: of each model, task and method the grid point with the best mean on the dev set.

    This selects on the set that is reported, except in tables 6 and 7. Grid points without all their seeds do not
    compete. Of equals the first wins (the smallest learning rate of the first variant).
    """
    complete = summary[(summary["n"] == summary["planned"]) & summary["dev_mean"].notna()]
    best = complete.groupby(["model", "data", "task", "method"], sort=False)["dev_mean"].idxmax()
    return summary.loc[best]


def best_rates(runs: pd.DataFrame) -> dict[str, tuple[float, bool]] | None:
    """Choose each task's learning rate: the best mean over the methods' means, each with all its seeds.

    Returns:
        task -> the rate, and whether it is at an edge of the grid; None while runs are missing.
    """
    if runs.empty or runs["status"].isin(["missing", "running", "interrupted"]).any():
        return None
    by_method = runs.groupby(["task", "method", "learning_rate"])["score"].agg(lambda scores: scores.mean(skipna=False))
    means = by_method.unstack("method").mean(axis=1, skipna=False).dropna()  # a rate at which a run fails is out
    chosen = {}
    for task, of_task in means.groupby("task", sort=False):
        rates = of_task.droplevel("task")
        best = rates.idxmax()
        chosen[task] = (best, best in (rates.index.min(), rates.index.max()))
    return chosen
