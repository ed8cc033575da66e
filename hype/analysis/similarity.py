"""Figure 4 (appendix G.1): mean cosine similarity of a text's token states in each layer. Lower means less collapse."""

import torch
from datasets import Dataset
from torch.nn import functional

from hype.analysis.finished import FinishedRun, require_finite
from hype.analysis.record import Options, load_or_compute, require_dev_sets
from hype.errors import InputError

# The paper does not name the split. Special tokens count as tokens, padding does not.
SETTINGS = {"split": "validation", "tokens": "all but padding"}


def targets(run: FinishedRun, names: list[str] | None) -> list[str]:
    """Return the tasks whose texts are used: the requested ones, else the run's own."""
    return require_dev_sets(names or [run.record["task"]])


def analyse(run: FinishedRun, target: str, options: Options) -> dict:
    """Measure the similarity of token states on the validation texts of one task."""
    splits = options.splits(target, ["validation"])

    def compute(tokens):
        return similarity(run, tokens["validation"], options.batch_size, splits.task.title)

    return load_or_compute("similarity", target, run, splits, SETTINGS, compute, options)


@torch.inference_mode()
def similarity(run: FinishedRun, tokens: Dataset, batch_size: int, title: str) -> dict:
    """Return the mean of S over texts, per layer; texts of one token have no pairs, so they are skipped and counted."""
    total, text_count = 0.0, 0
    for _, batch in run.batches(tokens, batch_size, title):
        mask = batch["attention_mask"].bool()
        has_pairs = mask.sum(1) > 1
        if has_pairs.any():
            layers = run.hidden_states(batch)
            values = torch.stack([mean_cosine(layer[has_pairs], mask[has_pairs]) for layer in layers])
            total = total + values.sum(1)
            text_count += int(has_pairs.sum())
    if text_count == 0:
        raise InputError(f"{title}: no text has two tokens, so there are no pairs to compare")
    require_finite(total, run.folder)
    return {"layers": (total / text_count).tolist(), "texts": text_count, "skipped": len(tokens) - text_count}


def mean_cosine(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return S = 2 / (n (n - 1)) sum over a < b of cos(h_a, h_b) for each text, in O(n * hidden) time.

    With unit vectors u, |sum u|^2 = sum |u|^2 + 2 sum over pairs of u_a . u_b. Computed in float64.

    states: (batch, length, hidden). mask: (batch, length), with n >= 2 real tokens per text.
    """
    if states.is_mps:  # has no float64
        states, mask = states.cpu(), mask.cpu()
    units = functional.normalize(states.double(), dim=-1) * mask[..., None]
    count = mask.sum(1)
    pairs = units.sum(1).square().sum(-1) - units.square().sum((1, 2))
    return pairs / (count * (count - 1))
