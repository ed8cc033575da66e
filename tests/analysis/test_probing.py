"""Heads are trained as appendix C.2 says; batched states equal those of single forwards."""

import pytest
import torch
from datasets import Dataset

from hype.analysis.probing import (
    probe,
    special_token,
    special_token_states,
    targets,
    trained_heads,
)
from hype.architectures import find_layers
from hype.data.tasks import TASKS
from hype.errors import InputError
from tests.analysis.finished_runs import FAMILIES

TEXTS = ["a b c d e f", "g h", "i j k l m n o p q", "r s t"]


def examples(task, layer_count=4, count=150, width=8):
    generator = torch.Generator().manual_seed(3)
    states = torch.randn(layer_count, count, width, generator=generator)
    if task.is_regression:
        return states, 5 * torch.rand(count, generator=generator)
    return states, torch.randint(task.label_count, (count,), generator=generator)


@pytest.mark.parametrize("name", ["rte", "mnli", "stsb"])
def test_the_head_of_each_layer_takes_three_steps_of_adam_on_one_batch(name):
    task = TASKS[name]
    states, labels = examples(task, count=16)
    before = torch.get_rng_state()
    heads = trained_heads(states, labels, task, seed=7)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(7)
    for layer, head in zip(states, heads, strict=True):
        start = torch.nn.Linear(8, task.label_count)
        outputs = start(layer)
        loss = (outputs[:, 0] - labels).square() if task.is_regression else -outputs.log_softmax(1)[range(16), labels]
        loss.mean().backward()
        moved = (head.weight - start.weight).detach()
        # Adam moves a parameter whose gradient keeps its sign by the learning rate, 1e-3, in each epoch.
        assert torch.isclose(moved, -3e-3 * start.weight.grad.sign(), atol=3e-4).float().mean() > 0.9


def test_a_layer_that_knows_the_label_is_told_from_one_that_does_not():
    labels = torch.arange(600) % 2
    noise = torch.randn(600, 8, generator=torch.Generator().manual_seed(3))
    layers = torch.stack([noise, noise + 5 * (2 * labels - 1)[:, None]])
    heads = trained_heads(layers, labels, TASKS["rte"], seed=7)
    ignorant, knowing = (
        (head(layer).argmax(1) == labels).float().mean() for head, layer in zip(heads, layers, strict=True)
    )
    assert ignorant < 0.7 and knowing > 0.9


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
    assert len(states) == find_layers(run.model).count + stack_count
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
