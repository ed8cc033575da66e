"""Lengths of tokenized examples, and evaluation in their order: batches of like length hold little padding."""

import numpy as np
import pyarrow.compute
from datasets import Dataset


def lengths_of(dataset: Dataset) -> np.ndarray:
    """Return the number of tokens of each row."""
    token_ids = dataset.select_columns("input_ids").with_format("arrow")[:]["input_ids"]
    return pyarrow.compute.list_value_length(token_ids).to_numpy()


def longest_first(dataset: Dataset) -> tuple[Dataset, np.ndarray]:
    """Sort a tokenized data set, the longest first, so that too little memory shows at once.

    Returns:
        The sorted rows and their order: row i was row order[i].
    """
    order = np.argsort(-lengths_of(dataset), kind="stable")
    return dataset.select(order), order


def in_given_order(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Undo `longest_first` for values of the sorted rows."""
    restored = np.empty_like(values)
    restored[order] = values
    return restored
