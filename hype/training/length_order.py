"""Lengths of tokenized examples, and evaluation in their order: batches of like length hold little padding."""

import numpy as np
import pyarrow.compute
from datasets import Dataset


def lengths_of(dataset: Dataset) -> np.ndarray:
    """Return the number of tokens of each row."""
    token_ids = dataset.select_columns("input_ids").with_format("arrow")[:]["input_ids"]
    return pyarrow.compute.list_value_length(token_ids).to_numpy()


def longest_first(dataset) -> np.ndarray | None:
    """Return the positions of a tokenized data set, the longest input first; None: its lengths are not known.

    The longest first, since too little memory then shows at once.
    """
    if not isinstance(dataset, Dataset) or "input_ids" not in dataset.column_names:
        return None
    return np.argsort(-lengths_of(dataset), kind="stable")


def in_given_order(values, order: np.ndarray):
    """Bring arrays (or tuples of arrays, or None) whose row i is example order[i] back into the examples' order."""
    if values is None:
        return None
    if isinstance(values, tuple | list):
        return type(values)(in_given_order(value, order) for value in values)
    restored = np.empty_like(values)
    restored[order] = values
    return restored
