"""The numbers of a report: the paper's protocol and, beside it, the honest view of the same runs.

Scores come in as fractions and leave as points (x 100), as the paper prints them.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy import stats

from hype.errors import InputError

# One row of `runs` is one cell of an experiment. status: finished, diverged, failed or missing; score: 0..1 or NaN
# (Matthews: -1..1); variant: the grid point for people ("eps 1e-05", or ""); majority_score: NaN where undefined;
# dev_score: by which grid points are selected, the run's own, whatever score is shown; is_constant: "yes" or "no",
# whether all dev examples got one label, "" where the record does not tell.
IDENTITY = ["model", "task", "method", "variant", "learning_rate", "seed"]
RUN_COLUMNS = [*IDENTITY, "status", "score", "majority_score", "train_s", "dev_score", "is_constant", "run_id",
               "folder", "command"]  # fmt: skip
TEXT_COLUMNS = ["variant", "is_constant", "run_id", "folder", "command"]
STATUSES = ("finished", "diverged", "failed", "missing")
ALL_TASKS = "all tasks"
DDOF = 1  # The paper does not name its own. ddof 0 stands beside it in the CSV file.
LEAST_FOR_INTERVAL, LEAST_FOR_TEST = 3, 5
RESAMPLES, FLIPS = 9999, 2**14  # FLIPS: exact up to 14 differences
BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class PaperTable:
    """One table or figure of the paper: what is compared, and what is printed.

    Attributes:
        name: "table_1".
        models, tasks, methods: names as in `runs`, in the order of the report.
        control: the method that is vanilla without dropout; the paper has none.
        printed: (model, method, task) -> (score x 100, its standard deviation), None where not printed or legible.
            Of the whole table, also where the runs are narrowed.
        printed_averages: (model, method) -> the printed average over the tasks of `printed`.
        printed_gains: (model, method) -> the printed mean gain over `vanilla` (tables 3 and 4).
        narrowing_text: how the runs were narrowed, "" at full scale.
        data_text: what the data is where it is not the benchmark's ("sample data written for this project"), else "".
        notes: what a reader must know of this table, a sentence or two each.
        with_dropout: the methods that are trained with vanilla's dropout, so that vanilla is what they add to.
        combinations: (technique, method alone, method with HyPe) of figure 2.
        is_selected_elsewhere: the scores are not the dev scores by which grid points are selected (tables 6 and 7).
    """

    name: str
    title: str
    paper_reference: str
    models: Sequence[str]
    tasks: Sequence[str]
    methods: Sequence[str]
    control: str
    printed: dict[tuple[str, str, str], tuple[float | None, float | None]] = field(default_factory=dict)
    printed_averages: dict[tuple[str, str], float] = field(default_factory=dict)
    printed_gains: dict[tuple[str, str], float] = field(default_factory=dict)
    narrowing_text: str = ""
    data_text: str = ""
    notes: Sequence[str] = ()
    vanilla: str = "vanilla"
    with_dropout: Sequence[str] = ()
    combinations: Sequence[tuple[str, str, str]] = ()
    is_selected_elsewhere: bool = False

    def counterpart(self, method: str) -> str:
        """Return what the method adds to, vanilla or the control: that which has the same hidden dropout."""
        return self.vanilla if method in self.with_dropout else self.control


@dataclass(frozen=True)
class GridPoint:
    """All seeds of one learning rate and variant of a method.

    scores: seed -> points, finished runs alone. dev_mean: what grid points are selected by, in points.
    """

    model: str
    task: str
    method: str
    variant: str
    learning_rate: float
    scores: dict[int, float]
    planned: int
    statuses: Counter
    collapsed: int
    dev_mean: float

    @property
    def n(self) -> int:
        return len(self.scores)

    @property
    def is_complete(self) -> bool:
        return self.n == self.planned

    @property
    def mean(self) -> float | None:
        return float(np.mean(list(self.scores.values()))) if self.scores else None

    def std(self, ddof: int = DDOF) -> float | None:
        """Return the standard deviation over seeds; None for one seed."""
        return float(np.std(list(self.scores.values()), ddof=ddof)) if self.n > 1 else None


@dataclass(frozen=True)
class Cell:
    """The paper's protocol for one model, task and method. best: None while no grid point has all its seeds."""

    points: list[GridPoint]
    best: GridPoint | None

    @property
    def complete_count(self) -> int:
        return sum(point.is_complete for point in self.points)

    @property
    def most_finished(self) -> GridPoint:
        return max(self.points, key=lambda point: point.n)


@dataclass(frozen=True)
class Difference:
    """Method minus reference, in points, over pairs of equal seed and learning rate.

    Pairs of one seed share the head's initialisation and the order of the data, so they are no independent evidence:
    each seed (for `ALL_TASKS` each task and seed; in tables 6 and 7, which score one run on several sets, each seed)
    gives one value, the mean over its learning rates; `n` counts them.
    `pairs` of `planned` pairs had both scores. low, high: None for n < 3; p, p_holm: None for n < 5.
    """

    model: str
    task: str
    method: str
    variant: str
    reference: str
    n: int
    pairs: int
    planned: int
    mean: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None


def checked(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs without repeated rows, absent texts as "".

    Raises:
        InputError: a column is missing, a status unknown, or one cell has two different results.
    """
    absent = [column for column in RUN_COLUMNS if column not in runs.columns]
    if absent:
        raise InputError(f"runs: no column {', '.join(absent)}; expected {', '.join(RUN_COLUMNS)}")
    unknown = sorted(set(runs["status"]) - set(STATUSES))
    if unknown:
        raise InputError(f"runs: unknown status {unknown[0]!r}; expected {', '.join(STATUSES)}")
    runs = runs.drop_duplicates([*IDENTITY, "status", "score"])
    repeated = runs[runs.duplicated(IDENTITY, keep=False)]
    if len(repeated):
        folders = " and ".join(map(str, repeated["folder"].head(2)))
        raise InputError(f"runs: {folders} hold different results of one cell; remove the wrong one")
    return runs.fillna(dict.fromkeys(TEXT_COLUMNS, "")).reset_index(drop=True)


def collapsed(runs: pd.DataFrame) -> pd.Series:
    """Say which finished runs gave every dev example the same label.

    Where a record does not tell (regression, older ones): which score as the majority class does (Matthews: 0), though
    mixed predictions may, too, or have no score (constant output).
    """
    at_majority = np.isclose(runs["score"].astype(float), runs["majority_score"].astype(float), rtol=0, atol=1e-9)
    by_score = (runs["is_constant"] == "") & (at_majority | runs["score"].isna())
    return (runs["status"] == "finished") & ((runs["is_constant"] == "yes") | by_score)


def grid_points(runs: pd.DataFrame, table: PaperTable) -> list[GridPoint]:
    """Return every grid point in the order of the table, learning rates rising."""
    runs = runs.assign(collapsed=collapsed(runs))
    points = [_grid_point(key, group) for key, group in runs.groupby(IDENTITY[:-1], sort=False, dropna=False)]
    variants = list(dict.fromkeys(runs["variant"]))
    order = [list(table.models), list(table.tasks), list(table.methods), variants]
    points = [p for p in points if p.model in order[0] and p.task in order[1] and p.method in order[2]]
    return sorted(
        points,
        key=lambda p: (
            *(known.index(name) for known, name in zip(order, (p.model, p.task, p.method, p.variant), strict=True)),
            p.learning_rate,
        ),
    )


def _grid_point(key: tuple, group: pd.DataFrame) -> GridPoint:
    finished = group[(group["status"] == "finished") & group["score"].notna()].sort_values("seed")
    scores = {int(seed): 100 * float(score) for seed, score in zip(finished["seed"], finished["score"], strict=True)}
    dev_mean = 100 * float(finished["dev_score"].mean())
    return GridPoint(*key, scores, len(group), Counter(group["status"]), int(group["collapsed"].sum()), dev_mean)


def protocol(points: list[GridPoint]) -> dict[tuple[str, str, str], Cell]:
    """Apply the paper's protocol: the grid point with the best mean over all its seeds on the dev set.

    This selects on the set that is reported, except in tables 6 and 7. Grid points without all their seeds do not
    compete. Of equals the first (smallest learning rate of the first variant) wins. Keys: (model, method, task).
    """
    grouped: dict[tuple, list[GridPoint]] = {}
    for point in points:
        grouped.setdefault((point.model, point.method, point.task), []).append(point)
    return {
        key: Cell(group, max((p for p in group if p.is_complete), key=lambda p: p.dev_mean, default=None))
        for key, group in grouped.items()
    }


def average(cells: dict, table: PaperTable, model: str, method: str) -> float | None:
    """Return the mean of a row's best means; None unless every task has one."""
    chosen = [cells[key].best for task in table.tasks if (key := (model, method, task)) in cells]
    if len(chosen) < len(table.tasks) or None in chosen:
        return None
    return float(np.mean([point.mean for point in chosen]))


def paired_differences(runs: pd.DataFrame, table: PaperTable) -> list[Difference]:
    """Compare every method and variant with vanilla and with the control, over all learning rates: never best-of.

    The interval is scipy's percentile bootstrap of the mean (95 %), the p value that of a two-sided sign-flip test,
    corrected after Holm over all p values of the table.
    """
    scored = runs[(runs["status"] == "finished") & runs["score"].notna()]
    found = []
    for reference in dict.fromkeys((table.vanilla, table.control)):
        # The control against vanilla tells what dropout does; the same pairs turned round tell nothing new.
        others = [m for m in table.methods if m not in (reference, table.vanilla)]
        for model in table.models:
            for method in others:
                planned = runs[(runs["model"] == model) & (runs["method"] == method)]
                found += _against(planned, scored, table, model, reference)
    corrected = iter(holm([d.p for d in found if d.p is not None]))
    return [d if d.p is None else replace(d, p_holm=next(corrected)) for d in found]


def _against(planned: pd.DataFrame, scored: pd.DataFrame, table: PaperTable, model: str, reference: str) -> list:
    """Compare all variants of one method of one model with the reference, per task and over the tasks."""
    keys = ["task", "seed", "learning_rate"]
    base = scored[(scored["model"] == model) & (scored["method"] == reference)].groupby(keys)["score"].mean()
    base = base.rename("reference_score")
    compared = []
    for variant, group in planned.groupby("variant", sort=False):
        pairs = group[group.index.isin(scored.index)].join(base, on=keys)
        pairs = pairs[pairs["reference_score"].notna() & pairs["task"].isin(table.tasks)]
        pairs = pairs.assign(points=100 * (pairs["score"] - pairs["reference_score"]))
        units = pairs.groupby(["task", "seed"])["points"].mean()
        summed_up = (ALL_TASKS,) if len(table.tasks) > 1 else ()
        for task in (*table.tasks, *summed_up):
            here = list(table.tasks) if task == ALL_TASKS else [task]
            found = units[units.index.get_level_values("task").isin(here)]
            if table.is_selected_elsewhere:  # one run is scored on several sets
                found = found.groupby("seed").mean()
            values = found.to_numpy()
            pair_count, planned_count = pairs["task"].isin(here).sum(), group["task"].isin(here).sum()
            names = (model, task, group["method"].iloc[0], variant, reference)
            counts = (len(values), int(pair_count), int(planned_count))
            compared.append(Difference(*names, *counts, *mean_interval_p(values)))
    return compared


def mean_interval_p(differences: np.ndarray) -> tuple[float | None, float | None, float | None, float | None]:
    """Return mean, lower and upper end of its 95 % interval, and p; None where there are too few differences."""
    n = len(differences)
    low = high = p = None
    if n >= LEAST_FOR_INTERVAL:
        interval = stats.bootstrap(
            (differences,),
            np.mean,
            n_resamples=RESAMPLES,
            method="percentile",
            rng=np.random.default_rng(BOOTSTRAP_SEED),
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    if n >= LEAST_FOR_TEST:
        rng = np.random.default_rng(BOOTSTRAP_SEED)
        test = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=FLIPS, rng=rng)
        p = float(test.pvalue)
    return (float(np.mean(differences)) if n else None), low, high, p


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for their number after Holm (1979), in the order given."""
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected
