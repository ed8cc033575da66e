"""A report's tables as text, made once for the terminal, Markdown and HTML."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from hype.reproduction.printed_averages import TOLERANCE, follows, recomputed_average, unsupported_averages
from hype.reproduction.statistics import (
    DDOF,
    LEAST_FOR_INTERVAL,
    LEAST_FOR_TEST,
    STATUSES,
    Cell,
    Difference,
    GridPoint,
    PaperTable,
    average,
)

MISSING = "-"


def protocol_note(table: PaperTable) -> str:
    """Say by which protocol the scores are selected, and what that does to them."""
    selected = "The paper's protocol: for each cell the learning rate and variant with the best mean over its seeds on "
    if table.is_selected_elsewhere:
        selected += "the dev set of the task trained on; the sets shown have no say. "
    else:
        selected += (
            "the dev set. This selects on the very set that is reported, so the numbers flatter every method, the more "
            "the larger its grid. "
        )
    return selected + (
        f"Score x 100, mean ± standard deviation over n seeds (ddof {DDOF}; the paper does not name its own). "
        "Grid points without all their seeds do not compete; grid 3/4: so far 3 of 4 have them."
    )


GRID_NOTE = (
    "Every learning rate and variant, nothing left out. Collapsed: a finished run that predicts one label for all "
    "dev examples; where a record has no predictions, one that scores as the majority class does, or has no score."
)
DIFFERENCE_NOTE = (
    "Pairs of runs with the same seed, model, task and learning rate; mean over all learning rates, nothing selected. "
    "n counts seeds, as the learning rates of one seed are no independent evidence; over all tasks it counts tasks x "
    "seeds, but in tables 6 and 7 seeds, as they score one run on several sets. "
    f"95 % percentile bootstrap interval from n = {LEAST_FOR_INTERVAL}, too narrow for few values (of three it is the "
    f"smallest to the largest); two-sided sign-flip permutation test from n = {LEAST_FOR_TEST}, where no p is below "
    f"{2 / 2**LEAST_FOR_TEST:.2g}, corrected after Holm over all tests of this table. Runs without a score drop out "
    "of the pairs. Tables share runs: the same runs in another table are no further evidence."
)
LAYER_NOTE = (
    "Of the learning rate and variant that the protocol selects by the runs' own dev scores; layer 0: embeddings. "
    "Probing: score x 100 of a linear head on the frozen layer. Similarity: mean cosine of token pairs, x 100. "
    "-: undefined, as the predictions are constant."
)
PRINTED_NOTE = f"Recomputed from the printed scores; a deviation of up to {TOLERANCE} may come from rounding."


@dataclass(frozen=True)
class Entry:
    """One cell of a sheet: text, and the anchor of the runs behind it."""

    text: str
    anchor: str = ""


@dataclass(frozen=True)
class Sheet:
    """One table of a report. anchor: where links to it lead."""

    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Entry]]
    anchor: str = ""


def titled(sheet: Sheet) -> Sheet:
    """Take a model that is the same in every row out of the rows, into the title."""
    models = {row[0].text for row in sheet.rows}
    if len(models) != 1:
        return sheet
    title = f"{sheet.title}: {models.pop()}"
    return replace(sheet, title=title, columns=sheet.columns[1:], rows=[row[1:] for row in sheet.rows])


def points_text(value: float | None, sign: bool = False) -> str:
    return MISSING if value is None else f"{value:{'+' if sign else ''}.2f}"


def anchor_of(table: PaperTable, model: str, method: str, task: str) -> str:
    """Name the place of a cell's runs by numbers: names may hold anything."""
    return f"runs-{table.models.index(model)}-{table.methods.index(method)}-{table.tasks.index(task)}"


def cell_text(cell: Cell | None) -> str:
    """Show the selected mean with its n; a cell without a complete grid point as "-" with the n it has."""
    if cell is None:
        return MISSING
    if cell.best is None:
        fullest = cell.most_finished
        return f"{MISSING} (n {fullest.n} of {fullest.planned}{', incomplete' if fullest.n else ''})"
    spread = cell.best.std()
    text = points_text(cell.best.mean) + (f" ± {spread:.2f}" if spread is not None else "")
    count, complete = len(cell.points), cell.complete_count
    share = f", grid {complete}/{count}" if complete < count else ""
    return f"{text} (n {cell.best.n}{share})"


def score_sheets(table: PaperTable, cells: dict) -> list[Sheet]:
    """Set ours, printed and difference under each other, a sheet per model."""
    columns = ["method", "", *table.tasks, f"average of {len(table.tasks)}"]
    return [
        Sheet(model, "", columns, [row for method in table.methods for row in _score_rows(table, cells, model, method)])
        for model in table.models
    ]


def _score_rows(table: PaperTable, cells: dict, model: str, method: str) -> list[list[Entry]]:
    ours, printed, difference = (
        [Entry(method), Entry("ours")],
        [Entry(""), Entry("printed")],
        [Entry(""), Entry("diff.")],
    )
    for task in table.tasks:
        cell = cells.get((model, method, task))
        score, std = table.printed.get((model, method, task), (None, None))
        ours.append(Entry(cell_text(cell), anchor_of(table, model, method, task) if cell else ""))
        printed.append(Entry(points_text(score) + (f" ± {std:.2f}" if std is not None else "")))
        difference.append(Entry(_minus(cell.best.mean if cell and cell.best else None, score)))
    mean = average(cells, table, model, method)
    least = min((cells[model, method, task].best.n for task in table.tasks), default=0) if mean is not None else 0
    ours.append(Entry(points_text(mean) + (f" (n {least})" if mean is not None else "")))
    number, text = _printed_average(table, model, method)
    printed.append(Entry(text))
    difference.append(Entry(_minus(mean, number)))
    is_printed = any(entry.text != MISSING for entry in printed[2:])
    return [ours, printed, difference] if is_printed else [ours]


def _printed_average(table: PaperTable, model: str, method: str) -> tuple[float | None, str]:
    """Return the average to compare with and its text: the printed one if it is of these tasks and follows."""
    recomputed = recomputed_average(table, model, method, table.tasks)
    number = table.printed_averages.get((model, method))
    of_tasks = {t for (m, x, t) in table.printed if (m, x) == (model, method)}
    if number is None or recomputed is None or of_tasks != set(table.tasks):
        return recomputed, points_text(recomputed)
    if follows(recomputed, number):
        return number, points_text(number)
    return recomputed, f"{points_text(recomputed)} (printed: {points_text(number)})"


def _minus(ours: float | None, printed: float | None) -> str:
    return MISSING if ours is None or printed is None else points_text(ours - printed, sign=True)


def grid_sheet(table: PaperTable, points: list[GridPoint], cells: dict) -> Sheet:
    """Show every grid point with the value of every seed."""
    columns = ["model", "task", "method", "variant", "learning rate", "n", "mean", f"std (ddof {DDOF})", "seed:score",
               "collapsed", *STATUSES[1:], "selected"]  # fmt: skip
    rows = []
    for p in points:
        by_seed = ", ".join(f"{seed}:{score:.2f}" for seed, score in p.scores.items()) or MISSING
        is_best = cells[p.model, p.method, p.task].best is p
        texts = [p.model, p.task, p.method, p.variant or MISSING, f"{p.learning_rate:g}", f"{p.n} of {p.planned}",
                 points_text(p.mean), points_text(p.std()), by_seed, str(p.collapsed),
                 *(str(p.statuses[status]) for status in STATUSES[1:]), "yes" if is_best else ""]  # fmt: skip
        entries = [Entry(text) for text in texts]
        entries[8] = Entry(by_seed, anchor_of(table, p.model, p.method, p.task))
        rows.append(entries)
    return titled(Sheet("All learning rates and variants", GRID_NOTE, columns, rows))


def difference_sheets(differences: list[Difference]) -> list[Sheet]:
    """Show the paired differences, a sheet per reference."""
    columns = ["model", "task", "method", "variant", "n", "pairs", "difference", "95 % interval", "p", "p (Holm)"]
    sheets = []
    for reference in dict.fromkeys(d.reference for d in differences):
        rows = [_difference_row(d) for d in differences if d.reference == reference]
        sheets.append(titled(Sheet(f"Paired differences to {reference}", DIFFERENCE_NOTE, columns, rows)))
    return sheets


def _difference_row(d: Difference) -> list[Entry]:
    interval = f"{MISSING} (n < {LEAST_FOR_INTERVAL})" if d.low is None else f"{d.low:+.2f} to {d.high:+.2f}"
    p_values = [f"{MISSING} (n < {LEAST_FOR_TEST})" if p is None else f"{p:.4f}" for p in (d.p, d.p_holm)]
    texts = [d.model, d.task, d.method, d.variant or MISSING, str(d.n), f"{d.pairs} of {d.planned}",
             points_text(d.mean, sign=True), interval, *p_values]  # fmt: skip
    return [Entry(text) for text in texts]


def printed_sheets(table: PaperTable) -> list[Sheet]:
    """Name the printed averages and gains that do not follow from the printed scores; nothing if all do."""
    rows = []
    for u in unsupported_averages(table):
        remark = f"not legible: {u.implied[0]}, which would have to be {u.implied[1]:.2f}" if u.implied else ""
        texts = [u.model, u.method, u.kind, points_text(u.printed), points_text(u.recomputed), remark]
        rows.append([Entry(text) for text in texts])
    columns = ["model", "method", "what", "printed", "recomputed", "remark"]
    return (
        [Sheet("Printed averages that do not follow from the printed scores", PRINTED_NOTE, columns, rows)]
        if rows
        else []
    )


def run_sheets(table: PaperTable, runs: pd.DataFrame) -> list[Sheet]:
    """Show every run with its exact command, a sheet per cell of the table."""
    columns = ["seed", "variant", "learning rate", "status", "score x 100", "seconds", "run", "folder", "command"]
    sheets = []
    for (model, method, task), group in runs.groupby(["model", "method", "task"], sort=False):
        if model in table.models and method in table.methods and task in table.tasks:
            rows = [[Entry(text) for text in _run_texts(run)] for run in group.itertuples()]
            anchor = anchor_of(table, model, method, task)
            sheets.append(Sheet(f"{model}, {method}, {task}", "", columns, rows, anchor))
    return sheets


def _run_texts(run) -> list[str]:
    score = MISSING if pd.isna(run.score) else f"{100 * run.score:.2f}"
    seconds = MISSING if pd.isna(run.train_s) else f"{run.train_s:.1f}"
    texts = [str(run.seed), run.variant, f"{run.learning_rate:g}", run.status, score, seconds, run.run_id, run.folder]
    return [*(text or MISSING for text in texts), run.command]


def layer_sheets(layers: pd.DataFrame) -> list[Sheet]:
    """Show an analysis's value of every layer by method, a sheet per model and set: mean ± standard deviation."""
    sheets = []
    groups = [] if layers.empty else layers.groupby(["model", "analysis", "target"], sort=False)
    for (model, analysis, target), group in groups:
        columns = ["method", "n", *(str(layer) for layer in sorted(group["layer"].unique()))]
        rows = []
        for method, of_method in group.groupby("method", sort=False):
            by_layer = of_method.groupby("layer")["score"]
            spread = by_layer.std(ddof=DDOF)
            means = [(None if pd.isna(mean) else mean, spread[layer]) for layer, mean in by_layer.mean().items()]
            texts = [points_text(mean) + _spread_text(std) for mean, std in means]
            rows.append([Entry(text) for text in (method, str(of_method["seed"].nunique()), *texts)])
        sheets.append(Sheet(f"{model}: {analysis} on {target}, by layer", LAYER_NOTE, columns, rows))
    return sheets


def _spread_text(std: float) -> str:
    return "" if pd.isna(std) else f" ± {std:.2f}"
