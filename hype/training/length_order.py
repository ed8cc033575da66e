"""Evaluation in order of length: batches of examples of similar length need little padding."""

import numpy as np
import pyarrow.compute
from datasets import Dataset


def lengths_of(dataset: Dataset) -> np.ndarray:
    """Return the number of tokens of each row."""
    token_ids = dataset.select_columns("input_ids").with_format("arrow")[:]["input_ids"]
    return pyarrow.compute.list_value_length(token_ids).to_numpy()


def longest_first(dataset: Dataset) -> tuple[Dataset, np.ndarray]:
    """Sort a tokenized data set, longest first, so that a lack of memory shows in the first batch.

    Returns:
        The sorted rows and their order: row i of the result is row order[i] of the data set.
    """
    order = np.argsort(-lengths_of(dataset), kind="stable")
    return dataset.select(order), order


def in_given_order(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Put values of the sorted rows back into the order before `longest_first`."""
    restored = np.empty_like(values)
    restored[order] = values
    return restored
