"""Convert the labels in files to label ids, and ids from one label order to another."""

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import numpy as np
import pandas

from hype.data.tables import refuse_any
from hype.data.tasks import Task
from hype.flags import require

WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
NUMBER = re.compile(r"[+-]?([0-9]{1,18}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
CONTROL = re.compile(r"[\t\r\n]")  # would break the rows of a predictions file
# Minimum share of numbers with a fraction, among whole ones, to be scores; rarer ones are probably mistakes.
MIN_SCORE_SHARE = 0.05
SHOWN_CLASSES = 10
LARGEST_SCORE = float(np.finfo(np.float32).max)


def encode_labels(path, values: pandas.Series, task: Task) -> list[int] | list[float]:
    """Return label ids, or scores for regression. Raises InputError that shows unknown labels.

    Labels may be spelled as in the task's files, as its label names, or as one of its `spellings`.
    """
    texts = values.map(str)
    if task.is_regression:
        return scores(path, texts, task.label_range)
    ids = {word: i for words in (task.label_words, task.label_names) for i, word in enumerate(words)}
    ids |= {spelling: ids[name] for spelling, name in task.spellings.items()}
    found = texts.map(ids)
    refuse_any(path, texts[found.isna()], f"expected one of {', '.join(task.label_words)}; found")
    return found.astype(int).tolist()


def scores(path, texts: pandas.Series, limits: tuple[float, float] | None = None) -> list[float]:
    """Return labels as numbers. Raises InputError for anything but finite numbers within the limits."""
    numbers = texts.where(texts.map(NUMBER.fullmatch).notna(), "nan").map(float)
    low, high = limits or (-LARGEST_SCORE, LARGEST_SCORE)
    within = f" from {low:g} to {high:g}" if limits else ""
    refuse_any(path, texts[~numbers.between(low, high)], f"expected a number{within}; found")
    return numbers.tolist()


def label_texts(path, values: pandas.Series) -> pandas.Series:
    """Return the labels of a user's own file as strings.

    Raises:
        InputError: some labels are missing, or are neither words nor numbers.
    """
    refuse_any(path, values[values.isna() | (values == "")], "the label is missing")
    unfit = [not isinstance(value, str | int | float) or bool(CONTROL.search(str(value))) for value in values]
    refuse_any(path, values[unfit], "expected words or numbers as labels; found")
    return values.map(str)


def own_classes(path, texts: pandas.Series, do_regression: bool | None, notes: list[str]) -> tuple[str, ...]:
    """Return the classes of a user's file in the order of their ids: sorted, numbers by value; empty for scores.

    Labels are scores (regression) if all are numbers and some have a decimal point or an exponent, unless
    `do_regression` decides. The interpretation, and anything odd about the labels, is added to `notes`.

    Raises:
        InputError: words and numbers are mixed; or 0, 1 and 1.0, which is ambiguous; or there is only one class.
    """
    if do_regression or (do_regression is None and _are_scores(path, texts)):
        numbers = scores(path, texts)
        hint = "" if do_regression else " (for classes pass --do_regression false)"
        notes.append(f"regression: labels are scores from {min(numbers):g} to {max(numbers):g}{hint}")
        return ()
    names = sorted(set(texts))
    if texts.map(NUMBER.fullmatch).notna().all():
        numbers = texts.map(Decimal)
        problem = "-1 marks a row without a label; remove the row or write labels as words"
        refuse_any(path, texts[numbers == -1], problem)
        first = texts.groupby(numbers).transform("first")
        refuse_any(path, texts[texts != first], "the same number is written differently in other rows")
        names.sort(key=Decimal)
    count = len(names)
    require(count > 1, f"{path}, column {texts.name!r}: all labels are {names[0]!r}; give two or more classes")
    shown = names if all(name == name.strip() for name in names) else list(map(repr, names))
    note = f"{count} classes: {', '.join(shown[:SHOWN_CLASSES])}{' ...' if count > SHOWN_CLASSES else ''}"
    if all(map(WHOLE_NUMBER.fullmatch, names)):
        note += " (whole numbers are taken for classes; for scores pass --do_regression true)"
    notes.append(note)
    alike = pandas.Series(shown).groupby([name.strip().casefold() for name in names], sort=False).agg(list)
    if groups := [" and ".join(group) for group in alike if len(group) > 1]:
        notes.append(f"classes that differ only in case or spaces: {', '.join(groups[:SHOWN_CLASSES])}")
    if count > 2 and count > len(texts) / 2:
        notes.append(f"{count} classes in {len(texts)} rows: is {texts.name!r} the column of the labels?")
    return tuple(names)


def _are_scores(path, texts: pandas.Series) -> bool:
    if texts.str.replace(",", ".").map(NUMBER.fullmatch).notna().all():
        problem = "a number with a comma; write a decimal point, or pass --do_regression false (classes)"
        refuse_any(path, texts[texts.str.contains(",")], problem)
    is_number, is_whole = texts.map(NUMBER.fullmatch).notna(), texts.map(WHOLE_NUMBER.fullmatch).notna()
    if not is_number.all():
        _refuse_rarer(path, texts, is_number, "numbers", "words", " but not here")
        return False
    if is_whole.any() and (texts.map(float) % 1 != 0).mean() < MIN_SCORE_SHARE:
        remedy = "; use one form for all, or pass --do_regression true (scores) or false (classes)"
        decimal = "numbers with a decimal point or an exponent"
        _refuse_rarer(path, texts, is_whole, "whole numbers", decimal, remedy)
    return not is_whole.all()


def _refuse_rarer(path, texts, is_first, first, second, remedy) -> None:
    """Raise InputError for the labels of the rarer of two kinds, if both occur."""
    is_common = is_first.mean() >= 0.5
    common = first if is_common else second
    refuse_any(path, texts[is_first != is_common], f"labels are {common} in other rows{remedy}")


def checkpoint_order(task_labels: Sequence[str], label2id: Mapping[str, int]) -> list[str] | None:
    """Return the task's labels in a checkpoint's order, or None unless it names exactly these (ignoring case).

    label2id: the checkpoint's `config.label2id`. Its default names, LABEL_0 and so on, tell nothing about the order
    unless the labels are the numbers 0, 1, ... themselves.
    """
    ids = {name.lower().removeprefix("label_"): int(i) for name, i in label2id.items()}
    is_named = {label.lower() for label in task_labels} == ids.keys()
    if is_named and sorted(ids.values()) == list(range(len(task_labels))):
        return sorted(task_labels, key=lambda label: ids[label.lower()])
    return None


def stated_order(task_labels: Sequence[str], text: str) -> list[str]:
    """Return the task's labels in the order of --label_order. Raises InputError unless it names each of them once."""
    names = {label.lower(): label for label in task_labels}
    order = [part.strip().lower() for part in text.split(",")]
    problem = f"--label_order {text}: give each of {','.join(task_labels)} once, in the checkpoint's order"
    require(sorted(order) == sorted(names), problem)
    return [names[label] for label in order]


def checkpoint_labels(label2id: Mapping[str, int]) -> list[str] | None:
    """Return a checkpoint's labels in the order of their ids, or None if they are the default LABEL_0 and so on."""
    if all(re.fullmatch(r"LABEL_\d+", name) for name in label2id):
        return None
    return sorted(label2id, key=lambda name: int(label2id[name]))


def convert_label_ids(label_ids: Iterable[int], source: Sequence[str], target: Sequence[str]) -> np.ndarray:
    """Convert ids of the labels in `source` to their ids in `target`, the same labels in another order."""
    positions = np.array([list(target).index(label) for label in source])
    return positions[np.asarray(label_ids, dtype=np.int64)]


def one_digit_each(ids, class_count: int) -> str | list[int]:
    """Join label ids to a string of one digit each; with more than ten classes, return them as a list."""
    return "".join(map(str, ids)) if class_count <= 10 else [int(i) for i in ids]
