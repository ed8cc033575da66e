"""Heads trained together equal heads trained one by one; batched states equal those of single forwards."""

import pytest
import torch
from datasets import Dataset

from hype.analysis.probing import (
    probe,
    special_token,
    special_token_states,
    stacks,
    targets,
    trained_heads,
)
from hype.architectures import find_layers
from hype.data.tasks import TASKS
from hype.errors import InputError
from tests.analysis.finished_runs import FAMILIES

TEXTS = ["a b c d e f", "g h", "i j k l m n o p q", "r s t"]


def one_by_one(states, labels, task, seed):
    """Train an nn.Linear for each layer in a loop, as described in appendix C.2."""
    torch.manual_seed(seed)
    heads = [torch.nn.Linear(states.shape[2], task.label_count) for _ in states]
    loss = torch.nn.MSELoss() if task.is_regression else torch.nn.CrossEntropyLoss()
    for layer, head in zip(states, heads, strict=True):
        optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(3):
            order = torch.randperm(len(labels), generator=generator)
            for start in range(0, len(labels), 16):
                rows = order[start : start + 16]
                optimizer.zero_grad()
                output = head(layer[rows])
                loss(output.squeeze(-1) if task.is_regression else output, labels[rows]).backward()
                optimizer.step()
    return heads


def examples(task, layer_count=4, count=150, width=8):
    generator = torch.Generator().manual_seed(3)
    states = torch.randn(layer_count, count, width, generator=generator)
    if task.is_regression:
        return states, 5 * torch.rand(count, generator=generator)
    return states, torch.randint(task.label_count, (count,), generator=generator)


@pytest.mark.parametrize("name", ["rte", "mnli", "stsb"])
def test_heads_trained_together_are_those_trained_one_by_one_and_use_no_global_randomness(name):
    task = TASKS[name]
    states, labels = examples(task)
    before = torch.get_rng_state()
    weights, biases = trained_heads(states, labels, task, seed=7)
    assert torch.equal(torch.get_rng_state(), before)
    for layer, head in enumerate(one_by_one(states, labels, task, seed=7)):
        torch.testing.assert_close(weights[layer].T, head.weight.detach(), atol=1e-6, rtol=0)
        torch.testing.assert_close(biases[layer, 0], head.bias.detach(), atol=1e-6, rtol=0)


POSITIONS = {
    "bert": ("first", "<cls>"),
    "deberta": ("first", "<cls>"),
    "xlnet": ("last", "<cls>"),
    "gpt2": ("last", None),
    "bart": ("last", "</s>"),
    "t5": ("last", "</s>"),
}


@pytest.mark.parametrize("model_type", FAMILIES)
def test_the_token_is_the_familys_own_whatever_the_padding(model_type, make_run):
    run = make_run(model_type=model_type)
    position, name = POSITIONS[model_type]
    assert special_token(run) == {"position": position, "name": name}
    tokens = Dataset.from_dict(dict(run.tokenizer(TEXTS)))
    states = special_token_states(run, tokens, 3, "texts")
    stack_count = 2 if run.model.config.is_encoder_decoder else 1
    assert len(states) == sum(stacks(run).values()) == find_layers(run.model).count + stack_count
    for i, row in enumerate(tokens):
        with torch.no_grad():
            layers = run.hidden_states({name: torch.tensor([values]) for name, values in row.items()})
        alone = torch.stack([layer[0, 0 if position == "first" else -1] for layer in layers])
        torch.testing.assert_close(states[:, i], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("task", ["rte", "stsb"])
def test_every_layer_of_a_frozen_model_gets_a_score(task, make_run):
    run = make_run()
    before = {name: values.clone() for name, values in run.model.state_dict().items()}
    labels = [0, 1, 1, 0] if task == "rte" else [0.0, 5.0, 1.0, 3.0]
    tokens = Dataset.from_dict({**run.tokenizer(TEXTS), "label": labels})
    result, again = (probe(run, TASKS[task], {"train": tokens, "validation": tokens}, 1, 2) for _ in range(2))
    assert result["layers"] == again["layers"]
    assert len(result["layers"]) == 4
    assert not run.model.training
    assert all(torch.equal(values, before[name]) for name, values in run.model.state_dict().items())
    # BERT's [CLS] embedding is the same in every text, so a head on layer 0 predicts a constant.
    if task == "stsb":
        assert result["layers"][0] is None
        assert "constant" in result["remarks"][0]["pearson"]
        assert None not in result["layers"][1:]


def test_tasks_without_a_dev_set_are_refused(make_run):
    run = make_run()
    assert targets(run, None) == ["mrpc", "stsb", "rte", "cola"]
    for name in ("ax", "nonsense"):
        with pytest.raises(InputError, match=name):
            targets(run, [name])


def test_a_model_that_diverged_is_refused(make_run):
    run = make_run(change=lambda model: model.bert.embeddings.word_embeddings.weight.fill_(float("nan")))
    with pytest.raises(InputError, match="not finite"):
        special_token_states(run, Dataset.from_dict(dict(run.tokenizer(TEXTS))), 2, "texts")
