"""What the noise changes at all: dev predictions that differ from the paired run without it.

Two runs of one seed share the initial head, the order of the data and everything else, so a difference is the noise's.
What another seed changes stands beside it, as the measure of such a difference.
"""

from itertools import combinations

import pandas as pd

from hype.reproduction.expansion import Cell
from hype.reproduction.experiments import CONTROL
from hype.reproduction.sheets import Entry, Sheet, titled
from hype.reproduction.state import State

COLUMNS = ["model", "task", "method", "variant", "learning_rate", "seed", "hype_type", "hype_eps", "share", "gain"]
ANOTHER_SEED = "another seed, no noise"
NOTE = (
    f"Runs with noise, without dropout, against {CONTROL}: pairs of equal model, task, learning rate and seed, which "
    "differ by the noise alone. Share of the dev examples whose predicted label differs; difference of the scores "
    "x 100. Mean over the pairs, smallest to largest. Regression has no labels to compare and is left out, and so are "
    f"runs of {CONTROL} that give all examples one label. "
    f"{ANOTHER_SEED}: the runs of {CONTROL} against each other, the difference of their scores without sign."
)


def changes_table(cells: list[Cell], states: list[State]) -> pd.DataFrame:
    """Return a row for each finished run with noise and no other difference to its finished control: COLUMNS.

    A control that gives all examples one label learned nothing that noise could change, and counts nowhere.

    share: of predicted labels that differ, 0 to 1. gain: score over the control's, in points. Behind them a row of
    `ANOTHER_SEED` for every two of these controls, its gain without sign, its scale of noise NaN.
    """
    records = {cell: state.record for cell, state in zip(cells, states, strict=True) if state.is_run_finished}
    controls = {
        _pair(cell): record
        for cell, record in records.items()
        if cell.method == CONTROL and len(set(record.get("predictions") or "")) > 1
    }
    rows, compared = [], {}
    for cell, record in records.items():
        control = controls.get(_pair(cell))
        if control is None or cell.method == CONTROL or not differ_by_noise(record, control):
            continue
        noise = record["identity"].get("hype_type", "none"), record["identity"].get("hype_eps", 1e-5)
        names = [cell.model, cell.task, cell.method, cell.variant, cell.learning_rate, cell.seed]
        rows.append([*names, *noise, *share_and_gain(record, control)])
        compared[_pair(cell)] = control
    return pd.DataFrame([*rows, *_seed_rows(compared)], columns=COLUMNS)


def _seed_rows(controls: dict[tuple, dict]) -> list[list]:
    rows = []
    for (pair, control), (other_pair, other) in combinations(controls.items(), 2):
        if pair[:-1] == other_pair[:-1]:
            model, task, learning_rate, seed = pair
            share, gain = share_and_gain(other, control)
            rows.append([model, task, ANOTHER_SEED, "", learning_rate, seed, "none", float("nan"), share, abs(gain)])
    return rows


def _pair(cell: Cell) -> tuple:
    return cell.model, cell.task, cell.learning_rate, cell.seed


def share_and_gain(record: dict, control: dict) -> tuple[float, float]:
    """Return the share of predicted labels that differ, and the difference of the scores in points."""
    ours, theirs = record["predictions"], control["predictions"]
    share = sum(a != b for a, b in zip(ours, theirs, strict=True)) / len(ours)
    return share, 100 * (record["score"] - control["score"])


def differ_by_noise(record: dict, control: dict) -> bool:
    """Say whether two records have labels to compare and all that differs between the runs is what noise there is."""
    if not (record.get("predictions") and control.get("predictions")):
        return False
    ours, theirs = record["identity"], control["identity"]
    differing = {name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)}
    return bool(differing) and all(name.startswith("hype_") for name in differing)


def changes_sheets(changes: pd.DataFrame) -> list[Sheet]:
    """Show what the noise changed, a row for each method, variant and task; nothing without a pair."""
    if changes.empty:
        return []
    rows = []
    for names, group in changes.groupby(["model", "task", "method", "variant"], sort=False):
        texts = [*names[:3], names[3] or "-", str(len(group)), spread(100 * group["share"], ".2f")]
        rows.append([Entry(text) for text in [*texts, spread(group["gain"], "+.2f")]])
    columns = ["model", "task", "method", "variant", "pairs", "predictions that differ, %", "score difference"]
    return [titled(Sheet("What the noise changes", NOTE, columns, rows))]


def spread(values: pd.Series, form: str) -> str:
    """Write a mean, with the smallest and the largest value."""
    return f"{values.mean():{form}} ({values.min():{form}} to {values.max():{form}})"
