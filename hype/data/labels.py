"""From the labels that files hold to label ids, and from one order of the labels to another."""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas

from hype.data.tables import refuse_any
from hype.data.tasks import Task
from hype.errors import InputError

WHOLE, DECIMAL, WORD = "whole numbers", "numbers with a decimal point or an exponent", "words"
MISSING, UNFIT = "missing", "unfit"
NUMBERS = (WHOLE, DECIMAL)
WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
NUMBER = re.compile(r"[+-]?([0-9]{1,18}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
CONTROL = re.compile(r"[\t\r\n]")  # would break the rows of a predictions file
# Numbers with a fraction among whole ones: scores if they are this common, else probably mistakes.
COMMON = 0.05
SHOWN_CLASSES = 10


def folder_labels(path, values: pandas.Series, task: Task) -> list[int] | list[float]:
    """Return label ids, or scores, of a task's published file. Raises InputError that shows unknown labels."""
    if task.is_regression:
        return scores(path, values, task.label_range)
    ids = {word: i for i, word in enumerate(task.label_words)}
    ids |= {spelling: task.label_names.index(name) for spelling, name in task.spellings.items()}
    return _ids_of(path, values, ids, f"give one of {', '.join(task.label_words)}, not")


def scores(path, values: pandas.Series, limits: tuple[float, float] | None = None) -> list[float]:
    """Return labels as numbers. Raises InputError for anything but finite numbers within the limits."""
    refuse_any(path, values[~values.map(kind_of).isin(NUMBERS)], "give a number, not")
    numbers = values.map(float)
    refuse_any(path, values[~np.isfinite(numbers)], "give a number, not")
    if limits is not None:
        low, high = limits
        refuse_any(path, values[~numbers.between(low, high)], f"give a number from {low:g} to {high:g}, not")
    return numbers.tolist()


def require_labels(path, values: pandas.Series) -> None:
    """Raise InputError for missing labels of an own file and for those that are neither words nor numbers."""
    kinds = values.map(kind_of)
    refuse_any(path, values[kinds == UNFIT], "give words or numbers as labels, not")
    refuse_any(path, values[kinds == MISSING], "the label is missing")


def are_scores(path, values: pandas.Series) -> bool:
    """Return whether the labels of an own file are scores (regression), not classes.

    They are if all are numbers, of which some have a decimal point or an exponent. Raises InputError for a mixture of
    words and numbers, and for one of 0, 1 and 1.0, which could be either.
    """
    kinds = values.map(kind_of)
    is_number = kinds.isin(NUMBERS)
    if not is_number.all():
        mostly_numbers = is_number.mean() >= 0.5
        common = "numbers" if mostly_numbers else "words"
        refuse_any(path, values[is_number != mostly_numbers], f"labels are {common} in other rows, not")
        return False
    fraction_count = (values.map(float) % 1 != 0).sum()
    if set(kinds) == {WHOLE, DECIMAL} and fraction_count < max(1, COMMON * len(values)):
        common = WHOLE if (kinds == WHOLE).mean() >= 0.5 else DECIMAL
        remedy = "write all alike, or pass --do_regression true (scores) or false (classes)"
        refuse_any(path, values[kinds != common], f"labels are {common} in other rows; {remedy}")
    return DECIMAL in set(kinds)


def class_names(path, values: pandas.Series) -> tuple[str, ...]:
    """Return the classes of an own file in the order of their ids: sorted, numbers by value."""
    words, kinds = values.map(str), set(values.map(kind_of))
    if kinds == {WHOLE}:
        numbers = values.map(int)
        problem = "-1 marks a row without a label; remove the row or write labels as words"
        refuse_any(path, values[numbers == -1], problem)
        first = words.groupby(numbers).transform("first")
        refuse_any(path, values[words != first], "the same number is written in another way in other rows than")
    names = sorted(set(words), key=float if kinds <= set(NUMBERS) else str)
    if len(names) < 2:
        raise InputError(f"{path}, column {values.name!r}: all labels are {names[0]!r}; give two or more classes")
    return tuple(names)


def class_notes(values: pandas.Series, names: Sequence[str]) -> list[str]:
    """Say which classes there are, and what suggests that the column holds something else."""
    has_spaces = any(name != name.strip() for name in names)
    shown = [repr(name) if has_spaces else name for name in names]
    notes = [f"{len(names)} classes: {', '.join(shown[:SHOWN_CLASSES])}{' ...' if len(names) > SHOWN_CLASSES else ''}"]
    if set(values.map(kind_of)) == {WHOLE}:
        notes[0] += " (whole numbers are taken for classes; for scores pass --do_regression true)"
    alike: dict[str, list[str]] = {}
    for name, text in zip(names, shown, strict=True):
        alike.setdefault(name.strip().casefold(), []).append(text)
    groups = [" and ".join(group) for group in alike.values() if len(group) > 1]
    if groups:
        notes.append(f"classes that differ only in case or spaces: {', '.join(groups[:SHOWN_CLASSES])}")
    if len(names) > 2 and len(names) > len(values) / 2:
        notes.append(f"{len(names)} classes in {len(values)} rows: is {values.name!r} the column of the labels?")
    return notes


def own_labels(path, values: pandas.Series, names: Sequence[str]) -> list[int]:
    """Return the label ids of an own file. Raises InputError for a label that is not one of `names`."""
    ids = {name: i for i, name in enumerate(names)}
    return _ids_of(path, values, ids, f"the labels of the training data are {', '.join(names)}, not")


def _ids_of(path, values, ids, problem) -> list[int]:
    words = values.map(str)
    refuse_any(path, values[~words.isin(list(ids))], problem)
    return words.map(ids).tolist()


def checkpoint_order(task_labels: Sequence[str], label2id: Mapping[str, int]) -> list[str] | None:
    """Return the task's labels in the order of a checkpoint, or None if it does not name exactly these (in any case).

    label2id: the checkpoint's `config.label2id`. Its default names, LABEL_0 and so on, say nothing about order, unless
    the labels are the numbers 0, 1 ... themselves.
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
    if sorted(order) != sorted(names):
        raise InputError(f"--label_order {text}: give each of {','.join(task_labels)} once, in the checkpoint's order")
    return [names[label] for label in order]


def checkpoint_labels(label2id: Mapping[str, int]) -> list[str] | None:
    """Return a checkpoint's labels in the order of their ids, or None if they are the default LABEL_0 and so on."""
    if all(re.fullmatch(r"LABEL_\d+", name) for name in label2id):
        return None
    return sorted(label2id, key=lambda name: int(label2id[name]))


def convert_label_ids(label_ids: Iterable[int], source: Sequence[str], target: Sequence[str]) -> np.ndarray:
    """Return label ids that number `source` as ids that number `target`, the same labels in another order."""
    positions = np.array([list(target).index(label) for label in source])
    return positions[np.asarray(label_ids, dtype=np.int64)]


def one_digit_each(ids, class_count: int) -> str | list[int]:
    """Write label ids as one string; ids of more than ten classes have no digit each and stay a list."""
    return "".join(map(str, ids)) if class_count <= 10 else [int(i) for i in ids]


KINDS_OF_TYPES = {bool: WORD, float: DECIMAL, type(None): MISSING}


def kind_of(value) -> str:
    """Return WHOLE, DECIMAL, WORD, MISSING or UNFIT for a label."""
    if type(value) is int:
        value = str(value)
    if not isinstance(value, str):
        if value != value:  # the NaN by which pandas marks a missing value in parquet
            return MISSING
        return KINDS_OF_TYPES.get(type(value), UNFIT)
    if value == "":
        return MISSING
    if CONTROL.search(value):
        return UNFIT
    if WHOLE_NUMBER.fullmatch(value):
        return WHOLE
    return DECIMAL if NUMBER.fullmatch(value) else WORD
