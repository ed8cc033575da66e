"""The AdamW of transformers 4.7 against numbers computed with its wheel."""

import torch

from hype.optimizers import LegacyAdamW
from tests.techniques.vectors import assert_near, tensor


def test_legacy_adamw_takes_the_steps_of_transformers_4_7(vectors):
    vector = vectors["adamw_legacy_vs_torch"]
    for case in vector["cases"]:
        parameter = torch.nn.Parameter(tensor(vector["theta0"]))
        optimizer = LegacyAdamW([parameter], **case["hyper"])
        for gradient, expected in zip(vector["grads"], case["legacy_transformers_4_7"], strict=True):
            parameter.grad = tensor(gradient)
            optimizer.step()
            assert_near(parameter.detach(), expected)


def test_step_evaluates_the_closure_with_gradients_and_returns_its_loss():
    parameter = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = LegacyAdamW([parameter], lr=0.1)

    def closure():
        loss = (parameter**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    assert parameter.item() < 2.0
