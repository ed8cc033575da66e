"""From the labels that files hold to label ids, and from one order of the labels to another."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from hype.data.readers import Table
from hype.data.tasks import Task
from hype.errors import InputError

WHOLE = "whole numbers"
DECIMAL = "numbers with a decimal point"
WORD = "words"
MISSING = "missing"
UNFIT = "unfit"
PATTERNS = {WHOLE: re.compile(r"[+-]?\d{1,18}"), DECIMAL: re.compile(r"[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?")}
CONTROL = re.compile(r"[\t\r\n]")  # would break the rows of a predictions file


def folder_labels(table: Table, column: str, task: Task) -> list[int] | list[float]:
    """Return label ids, or scores, of a file of the GLUE folder. Raises InputError that shows unknown labels."""
    values = table.column(column)
    if task.is_regression:
        return _scores(table, column, task.label_range or (-math.inf, math.inf))
    ids = {word: i for i, word in enumerate(task.label_words)}
    bad = [i for i, value in enumerate(values) if value not in ids]
    if bad:
        table.refuse(column, bad, f"give one of {', '.join(task.label_words)}, not")
    return [ids[value] for value in values]


def label_kind(table: Table, column: str) -> str:
    """Return WHOLE, DECIMAL or WORD, the one kind of labels of an own file, or MISSING if no row has one.

    Raises InputError for labels of several kinds and for a label that is missing in some rows.
    """
    kinds = [_kind(value) for value in table.column(column)]
    counts = Counter(kinds)
    if UNFIT in counts:
        table.refuse(column, _where(kinds, UNFIT), "give words or numbers as labels, not")
    if MISSING in counts and len(counts) > 1:
        table.refuse(column, _where(kinds, MISSING), "the label is missing")
    common = counts.most_common(1)[0][0]
    rare = [i for i, kind in enumerate(kinds) if kind != common]
    if rare:
        table.refuse(column, rare, f"labels are {common} in other rows, not")
    return common


def class_names(table: Table, column: str, kind: str) -> tuple[str, ...]:
    """Return the classes of an own file in the order of their ids: sorted, whole numbers by value."""
    values = table.column(column)
    if kind == WHOLE:
        unlabelled = [i for i, value in enumerate(values) if int(value) == -1]
        if unlabelled:
            table.refuse(column, unlabelled, "-1 marks a row without a label; leave it out or write labels as words")
        spellings: dict[int, str] = {}
        other = [i for i, value in enumerate(values) if spellings.setdefault(int(value), str(value)) != str(value)]
        if other:
            table.refuse(column, other, "the same number is written in another way in other rows than")
    names = sorted({str(value) for value in values}, key=int if kind == WHOLE else str)
    if len(names) < 2:
        raise InputError(f"{table.path}, column {column!r}: all labels are {names[0]!r}; classes are two or more")
    return tuple(names)


def own_labels(table: Table, column: str, names: Sequence[str] | None) -> list[int] | list[float]:
    """Return the label ids of an own file, or its scores if `names` is None.

    Raises:
        InputError: a label that is none of `names`, or a score that is no finite number.
    """
    if names is None:
        return _scores(table, column)
    ids = {name: i for i, name in enumerate(names)}
    values = [str(value) for value in table.column(column)]
    bad = [i for i, value in enumerate(values) if value not in ids]
    if bad:
        table.refuse(column, bad, f"the labels of the training data are {', '.join(names)}, not")
    return [ids[value] for value in values]


def aligned_labels(task_labels: Sequence[str], label2id: Mapping[str, int]) -> list[str]:
    """Return the labels in the order of a checkpoint if it names them all (whatever the case), else as they are.

    label2id: the checkpoint's `config.label2id`. Its default names, LABEL_0 and so on, say nothing about order.
    """
    ids = {name.lower(): int(i) for name, i in label2id.items()}
    known = {label.lower() for label in task_labels} == ids.keys()
    if known and sorted(ids.values()) == list(range(len(task_labels))):
        return sorted(task_labels, key=lambda label: ids[label.lower()])
    return list(task_labels)


def checkpoint_labels(label2id: Mapping[str, int]) -> list[str] | None:
    """Return a checkpoint's labels in the order of their ids, or None if they are the default LABEL_0 and so on."""
    if all(re.fullmatch(r"LABEL_\d+", name) for name in label2id):
        return None
    return sorted(label2id, key=lambda name: int(label2id[name]))


def convert_label_ids(label_ids: Iterable[int], source: Sequence[str], target: Sequence[str]) -> np.ndarray:
    """Return label ids that number `source` as ids that number `target`, the same labels in another order."""
    positions = np.array([list(target).index(label) for label in source])
    return positions[np.asarray(label_ids, dtype=np.int64)]


KINDS_OF_TYPES = {int: WHOLE, float: DECIMAL, type(None): MISSING}


def _kind(value) -> str:
    if not isinstance(value, str):
        return KINDS_OF_TYPES.get(type(value), UNFIT)
    if value == "":
        return MISSING
    if CONTROL.search(value):
        return UNFIT
    return next((kind for kind, pattern in PATTERNS.items() if pattern.fullmatch(value)), WORD)


def _where(kinds, kind):
    return [i for i, other in enumerate(kinds) if other == kind]


def one_digit_each(ids, class_count: int) -> str | list[int]:
    """Write label ids as one string; ids of more than ten classes have no digit each and stay a list."""
    return "".join(map(str, ids)) if class_count <= 10 else [int(i) for i in ids]


def _scores(table, column, limits=(-math.inf, math.inf)):
    values = table.column(column)
    bad = [i for i, value in enumerate(values) if _kind(value) not in PATTERNS or not math.isfinite(float(value))]
    if bad:
        table.refuse(column, bad, "give a number, not")
    low, high = limits
    outside = [i for i, value in enumerate(values) if not low <= float(value) <= high]
    if outside:
        table.refuse(column, outside, f"give a number from {low:g} to {high:g}, not")
    return [float(value) for value in values]
