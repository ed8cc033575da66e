"""The published numbers that the techniques are held against, and a model that returns given logits."""

import gc
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from hype.techniques import TechniqueArguments

VECTORS = Path(__file__).parents[1] / "data" / "technique_vectors.json"


@pytest.fixture(scope="session", autouse=True)
def frozen_heap():
    """Take the imported modules out of the garbage collection that Trainer forces: half the time of a tiny run."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def vectors() -> dict:
    return json.loads(VECTORS.read_text())


def tensor(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def assert_near(actual, expected, rtol=1e-6, atol=1e-9):
    """Compare as the file of numbers asks for: rtol 1e-6, atol 1e-9."""
    actual = torch.as_tensor(actual, dtype=torch.float64)
    torch.testing.assert_close(actual, tensor(expected), rtol=rtol, atol=atol)


class GivenLogits(nn.Module):
    """Return the given logits, one after the other, with the mean loss that transformers' models return."""

    def __init__(self, *logits):
        super().__init__()
        self.logits = nn.ParameterList([nn.Parameter(tensor(values)) for values in logits])
        self.calls = 0

    def forward(self, labels):
        logits = self.logits[self.calls]
        self.calls += 1
        if logits.shape[-1] == 1:
            loss = nn.functional.mse_loss(logits.squeeze(-1), labels)
        else:
            loss = nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def get_input_embeddings(self):
        return nn.Identity()


def loss_of_given_logits(technique_class, first, second, labels, **flags):
    """Run a technique's loss on two given forwards; return the loss and the gradients of both logits."""
    model = GivenLogits(first, second)
    technique = technique_class(TechniqueArguments(**flags))
    trainer = SimpleNamespace(model=model, hype=None)
    loss, outputs = technique.loss(trainer, model, {"labels": torch.tensor(labels)})
    loss.backward()
    assert outputs.logits is model.logits[0]
    return loss.item(), [logits.grad for logits in model.logits]
