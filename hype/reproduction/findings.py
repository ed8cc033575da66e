"""What a table supports, in plain sentences made from its numbers: none is written by hand, so none outlives them."""

from collections.abc import Sequence

import pandas as pd

from hype.reproduction.statistics import ALL_TASKS, LEAST_FOR_TEST, Difference, GridPoint, PaperTable

LEVEL = 0.05  # of the p values corrected after Holm; five values never reach it
NOT_TOLD_APART = "not told apart"
TOO_FEW = f"fewer than {LEAST_FOR_TEST} values, so nothing follows"


def findings(
    table: PaperTable,
    differences: list[Difference],
    layers: pd.DataFrame,
    changes: pd.DataFrame,
    points: Sequence[GridPoint] = (),
) -> list[str]:
    """Say what removing dropout does, what each method adds to its like in dropout, and what this cannot tell."""
    sentences = [text for model in table.models for text in _of_model(table, differences, model)]
    sentences += [*_collapse_texts(points, table), *_changes_texts(changes, table), *_layer_texts(layers, table)]
    if sentences and table.narrowing_text:
        sentences.append("As narrowed, this says nothing of the paper's models, data and grids.")
    return sentences


def _of_model(table: PaperTable, differences: list[Difference], model: str) -> list[str]:
    task = ALL_TASKS if len(table.tasks) > 1 else table.tasks[0]
    of_model = [d for d in differences if d.model == model and d.n]
    values = {d: _value_text(d, of_model, table) for d in of_model if d.task == task}
    sentences = [_dropout_text(d, values[d]) for d in values if d.method == table.control]
    for reference in (table.control, table.vanilla):
        others = [d for d in values if d.method != table.control and d.reference == reference]
        own = [d for d in others if _reference_of(d.method, table) == reference]
        is_both = any(table.counterpart(d.method) != reference for d in own)
        both = f" (missing dropout and noise together, without runs of {table.control})" if is_both else ""
        if own:
            sentences.append(f"Points over {reference}{both}: {_grouped(own, values)}.")
    return [_prefixed(table, model, text) for text in sentences]


def _reference_of(method: str, table: PaperTable) -> str:
    """Return what the method is held against: its like in dropout, or vanilla where the control is not planned."""
    like = table.counterpart(method)
    return like if like in table.methods else table.vanilla


def _value_text(d: Difference, of_model: list[Difference], table: PaperTable) -> str:
    """Write a difference; one over the tasks with the number of values of each, since not all may be finished."""
    if d.task != ALL_TASKS or table.is_selected_elsewhere:
        return interval_text(d)
    same = {x.task: x.n for x in of_model if _key(x) == _key(d)}
    return interval_text(d, ": " + ", ".join(f"{task} {same.get(task, 0)}" for task in table.tasks))


def _key(d: Difference) -> tuple:
    return d.method, d.variant, d.reference


def _prefixed(table: PaperTable, model: str, text: str) -> str:
    return f"{model}: {text}" if len(table.models) > 1 else text


def _dropout_text(d: Difference, value: str) -> str:
    is_decided = d.p_holm is not None
    nothing = "" if is_decided and d.p_holm < LEVEL else f", {NOT_TOLD_APART if is_decided else TOO_FEW}"
    return f"Dropout's part: {d.method} minus {d.reference} is {value}{nothing}."


def _grouped(differences: list[Difference], values: dict[Difference, str]) -> str:
    """Name the differences by what the test says: an interval from so few values is too narrow to decide."""
    tested = [d for d in differences if d.p_holm is not None]
    groups = {
        "higher": [d for d in tested if d.p_holm < LEVEL and d.mean > 0],
        "lower": [d for d in tested if d.p_holm < LEVEL and d.mean < 0],
        NOT_TOLD_APART: [d for d in tested if d.p_holm >= LEVEL],
        TOO_FEW: [d for d in differences if d.p_holm is None],
    }
    named = {name: [f"{_name(d.method, d.variant)} {values[d]}" for d in of] for name, of in groups.items()}
    return ". ".join(f"{name}: {'; '.join(texts)}" for name, texts in named.items() if texts)


def _name(method: str, variant: str) -> str:
    return f"{method} ({variant})" if variant else method


def interval_text(d: Difference, counts: str = "") -> str:
    """Write a mean difference with its interval, n and the p value corrected after Holm, so far as there are any.

    counts: of what n consists, behind it.
    """
    interval = "" if d.low is None else f"{d.low:+.2f} to {d.high:+.2f}, "
    return f"{d.mean:+.2f} ({interval}n {d.n}{counts}{'' if d.p_holm is None else f', p {d.p_holm:.2g}'})"


def _collapse_texts(points: Sequence[GridPoint], table: PaperTable) -> list[str]:
    """Name the methods whose score is that of one label for everything."""
    texts = []
    for model in table.models:
        parts = [
            f"{_name(p.method, p.variant)}, {p.task}, {p.learning_rate:g}: {p.collapsed} of {p.statuses['finished']}"
            for p in points
            if p.model == model and p.collapsed
        ]
        if parts:
            texts.append(_prefixed(table, model, f"Runs that give all dev examples one label: {'; '.join(parts)}."))
    return texts


def _changes_texts(changes: pd.DataFrame, table: PaperTable) -> list[str]:
    texts = []
    for (model, task), group in changes.groupby(["model", "task"], sort=False) if len(changes) else ():
        shares = group.groupby(["method", "variant"], sort=False)["share"].mean()
        parts = [f"{' '.join(filter(None, names))} {100 * share:.2f} %" for names, share in shares.items()]
        text = f"Share of the dev predictions that change, {task}: {'; '.join(parts)}."
        texts.append(_prefixed(table, model, text))
    return texts


def _layer_texts(layers: pd.DataFrame, table: PaperTable) -> list[str]:
    """Say how far each method is from the control, seed by seed, in the layer where that is farthest in the mean."""
    if layers.empty or table.control not in set(layers["method"]):
        return []
    keys = ["model", "analysis", "target"]
    scores = layers.pivot_table(index=[*keys, "layer", "seed"], columns="method", values="score", sort=False)
    apart = scores.drop(columns=table.control).sub(scores[table.control], axis=0).abs()
    texts = []
    for (model, analysis, target), group in apart.groupby(level=keys, sort=False):
        parts, counts = [], []
        for method in group.columns[group.notna().any()]:
            by_layer = group[method].groupby(level="layer").agg(["mean", "count"])
            layer = by_layer["mean"].idxmax()
            mean, count = by_layer.loc[layer]
            parts.append(f"{method} {mean:.2f} (layer {layer}, n {count:.0f})")
            counts.append(count)
        if parts:
            few = f", {TOO_FEW}" if min(counts) < LEAST_FOR_TEST else ""
            what = f"Distance from {table.control} by seed, in the layer where it is greatest, {analysis} on {target}"
            texts.append(_prefixed(table, model, f"{what}: {'; '.join(parts)}{few}."))
    return texts
