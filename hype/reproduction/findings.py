"""What a table supports, in plain sentences made from its numbers: none is written by hand, so none outlives them."""

import pandas as pd

from hype.reproduction.statistics import ALL_TASKS, LEAST_FOR_TEST, Difference, PaperTable

LEVEL = 0.05  # of the p values corrected after Holm; five values never reach it
NOT_TOLD_APART = "not told apart"
TOO_FEW = f"fewer than {LEAST_FOR_TEST} values, so nothing follows"


def findings(
    table: PaperTable, differences: list[Difference], layers: pd.DataFrame, changes: pd.DataFrame
) -> list[str]:
    """Say what removing dropout does, what each method adds to its like in dropout, and what this cannot tell."""
    sentences = [text for model in table.models for text in _of_model(table, differences, model)]
    sentences += [*_changes_texts(changes, table), *_layer_texts(layers, table)]
    if sentences and table.narrowing_text:
        sentences.append("As narrowed, this says nothing of the paper's models, data and grids.")
    return sentences


def _of_model(table: PaperTable, differences: list[Difference], model: str) -> list[str]:
    task = ALL_TASKS if len(table.tasks) > 1 else table.tasks[0]
    found = [d for d in differences if d.model == model and d.task == task and d.n]
    sentences = [_dropout_text(d) for d in found if d.method == table.control]
    for reference in (table.control, table.vanilla):
        others = [d for d in found if d.method != table.control and d.reference == reference]
        if own := [d for d in others if table.counterpart(d.method) == reference]:
            sentences.append(f"Points over {reference}: {_grouped(own)}.")
    return [_prefixed(table, model, text) for text in sentences]


def _prefixed(table: PaperTable, model: str, text: str) -> str:
    return f"{model}: {text}" if len(table.models) > 1 else text


def _dropout_text(d: Difference) -> str:
    is_decided = d.p_holm is not None
    nothing = "" if is_decided and d.p_holm < LEVEL else f", {NOT_TOLD_APART if is_decided else TOO_FEW}"
    return f"Dropout's part: {d.method} minus {d.reference} is {interval_text(d)}{nothing}."


def _grouped(differences: list[Difference]) -> str:
    """Name the differences by what the test says: an interval from so few values is too narrow to decide."""
    tested = [d for d in differences if d.p_holm is not None]
    groups = {
        "higher": [d for d in tested if d.p_holm < LEVEL and d.mean > 0],
        "lower": [d for d in tested if d.p_holm < LEVEL and d.mean < 0],
        NOT_TOLD_APART: [d for d in tested if d.p_holm >= LEVEL],
        TOO_FEW: [d for d in differences if d.p_holm is None],
    }
    return ". ".join(f"{name}: {'; '.join(map(_named, of))}" for name, of in groups.items() if of)


def _named(d: Difference) -> str:
    return f"{d.method}{f' ({d.variant})' if d.variant else ''} {interval_text(d)}"


def interval_text(d: Difference) -> str:
    """Write a mean difference with its interval, n and the p value corrected after Holm, so far as there are any."""
    interval = "" if d.low is None else f"{d.low:+.2f} to {d.high:+.2f}, "
    return f"{d.mean:+.2f} ({interval}n {d.n}{'' if d.p_holm is None else f', p {d.p_holm:.2g}'})"


def _changes_texts(changes: pd.DataFrame, table: PaperTable) -> list[str]:
    texts = []
    for (model, task), group in changes.groupby(["model", "task"], sort=False) if len(changes) else ():
        shares = group.groupby(["method", "variant"], sort=False)["share"].mean()
        parts = [f"{' '.join(filter(None, names))} {100 * share:.2f} %" for names, share in shares.items()]
        text = f"Share of the dev predictions that change, {task}: {'; '.join(parts)}."
        texts.append(_prefixed(table, model, text))
    return texts


def _layer_texts(layers: pd.DataFrame, table: PaperTable) -> list[str]:
    """Say how far each method's mean over the seeds is from the control's, in the layer where it is farthest."""
    if layers.empty or table.control not in set(layers["method"]):
        return []
    keys = ["model", "analysis", "target"]
    means = layers.groupby([*keys, "method", "layer"])["score"].mean().unstack("method").dropna(subset=[table.control])
    apart = means.drop(columns=table.control).sub(means[table.control], axis=0).abs()
    texts = []
    for (model, analysis, target), group in apart.groupby(level=keys, sort=False):
        parts = [f"{method} {value:.2f}" for method, value in group.max().dropna().items()]
        text = f"Greatest distance of a layer from {table.control}, {analysis} on {target}: {'; '.join(parts)}."
        texts.append(_prefixed(table, model, text))
    return texts
