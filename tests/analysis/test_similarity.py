"""The mean cosine of token pairs equals the formula of appendix G.1, computed in a double loop."""

import math

import pytest
import torch
from datasets import Dataset

from hype.analysis.similarity import mean_cosine, similarity
from tests.analysis.finished_runs import FAMILIES

TEXTS = ["a b c d e f", "g h", "i j k l m n o p q", "r"]


def double_loop(states):
    """Return S of one text, computed only from the states of its real tokens."""
    rows = states.double().tolist()
    total = 0.0
    for a in range(len(rows)):
        for b in range(a + 1, len(rows)):
            dot = sum(x * y for x, y in zip(rows[a], rows[b], strict=True))
            total += dot / math.sqrt(sum(x * x for x in rows[a]) * sum(y * y for y in rows[b]))
    return 2 / (len(rows) * (len(rows) - 1)) * total


@pytest.mark.parametrize("side", ["left", "right"])
def test_it_is_the_double_loop_over_real_tokens(side):
    states = torch.randn(3, 9, 16, generator=torch.Generator().manual_seed(0)) + 0.3
    mask = torch.zeros(3, 9, dtype=torch.bool)
    for row, count in enumerate((9, 5, 2)):
        mask[row, slice(None, count) if side == "right" else slice(9 - count, None)] = True
    expected = [double_loop(states[row][mask[row]]) for row in range(3)]
    assert mean_cosine(states, mask).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_every_layer_of_a_model_is_the_mean_over_texts(model_type, make_run):
    run = make_run(model_type=model_type)
    tokens = Dataset.from_dict(dict(run.tokenizer(TEXTS)))
    result = similarity(run, tokens, 3, "texts")
    expected = []
    for row in (row for row in tokens if len(row["input_ids"]) > 1):
        with torch.no_grad():
            layers = run.hidden_states({name: torch.tensor([values]) for name, values in row.items()})
        expected.append([double_loop(layer[0]) for layer in layers])
    means = [sum(column) / len(expected) for column in zip(*expected, strict=True)]
    assert result["layers"] == pytest.approx(means, abs=1e-5)
    # GPT-2's tokenizer adds no special tokens, so a text of one word has no pair.
    skipped = 1 if model_type == "gpt2" else 0
    assert (result["texts"], result["skipped"]) == (4 - skipped, skipped)
