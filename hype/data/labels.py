"""From the labels that files hold to label ids, and from one order of the labels to another."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas

from hype.data.tables import refuse
from hype.data.tasks import Task
from hype.errors import InputError

WHOLE, DECIMAL, WORD = "whole numbers", "numbers with a decimal point or an exponent", "words"
MISSING, UNFIT = "missing", "unfit"
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
    is_number = [kind in (WHOLE, DECIMAL) for kind in kinds_of(values)]
    bad = [not (number and math.isfinite(float(value))) for value, number in zip(values, is_number, strict=True)]
    if any(bad):
        refuse(path, values[bad], "give a number, not")
    low, high = limits or (-math.inf, math.inf)
    outside = [not low <= float(value) <= high for value in values]
    if any(outside):
        refuse(path, values[outside], f"give a number from {low:g} to {high:g}, not")
    return [float(value) for value in values]


def is_unlabelled(path, values: pandas.Series) -> bool:
    """Return whether no row of an own file has a label. Raises InputError if some have, and for unfit labels."""
    kinds = kinds_of(values)
    if UNFIT in kinds:
        refuse(path, values[_where(kinds, UNFIT)], "give words or numbers as labels, not")
    missing = _where(kinds, MISSING)
    if any(missing) and not all(missing):
        refuse(path, values[missing], "the label is missing")
    return all(missing)


def are_scores(path, values: pandas.Series) -> bool:
    """Return whether the labels of an own file are scores (regression), not classes.

    They are if all are numbers, of which some have a decimal point or an exponent. Raises InputError for a mixture of
    words and numbers, and for one of 0, 1 and 1.0, which could be either.
    """
    kinds = kinds_of(values)
    numbers = [kind in (WHOLE, DECIMAL) for kind in kinds]
    if any(numbers) and not all(numbers):
        mostly_numbers = sum(numbers) * 2 >= len(numbers)
        rare = [is_number != mostly_numbers for is_number in numbers]
        refuse(path, values[rare], f"labels are {'numbers' if mostly_numbers else 'words'} in other rows, not")
    if not all(numbers) or DECIMAL not in kinds:
        return False
    fraction_count = sum(float(value) % 1 != 0 for value in values)
    if WHOLE in kinds and fraction_count < max(1, COMMON * len(values)):
        common = Counter(kinds).most_common(1)[0][0]
        rare = [kind != common for kind in kinds]
        remedy = "write all alike, or pass --do_regression true (scores) or false (classes)"
        refuse(path, values[rare], f"labels are {common} in other rows; {remedy}")
    return True


def class_names(path, values: pandas.Series) -> tuple[str, ...]:
    """Return the classes of an own file in the order of their ids: sorted, numbers by value."""
    kinds = set(kinds_of(values))
    if kinds == {WHOLE}:
        unlabelled = [int(value) == -1 for value in values]
        if any(unlabelled):
            refuse(path, values[unlabelled], "-1 marks a row without a label; remove the row or write labels as words")
        spellings: dict[int, str] = {}
        other = [spellings.setdefault(int(value), str(value)) != str(value) for value in values]
        if any(other):
            refuse(path, values[other], "the same number is written in another way in other rows than")
    names = sorted({str(value) for value in values}, key=float if kinds <= {WHOLE, DECIMAL} else str)
    if len(names) < 2:
        raise InputError(f"{path}, column {values.name!r}: all labels are {names[0]!r}; give two or more classes")
    return tuple(names)


def class_notes(values: pandas.Series, names: Sequence[str]) -> list[str]:
    """Say which classes there are, and what suggests that the column holds something else."""
    has_spaces = any(name != name.strip() for name in names)
    shown = [repr(name) if has_spaces else name for name in names]
    notes = [f"{len(names)} classes: {', '.join(shown[:SHOWN_CLASSES])}{' ...' if len(names) > SHOWN_CLASSES else ''}"]
    if set(kinds_of(values)) == {WHOLE}:
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
    words = [str(value) for value in values]
    bad = [word not in ids for word in words]
    if any(bad):
        refuse(path, values[bad], problem)
    return [ids[word] for word in words]


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


KINDS_OF_TYPES = {bool: WORD, int: WHOLE, float: DECIMAL, type(None): MISSING}


def kinds_of(values: Iterable) -> list[str]:
    """Return WHOLE, DECIMAL, WORD, MISSING or UNFIT for each label."""
    return [_kind(value) for value in values]


def _kind(value) -> str:
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


def _where(kinds, kind) -> list[bool]:
    return [other == kind for other in kinds]
