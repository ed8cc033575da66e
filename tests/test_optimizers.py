"""The AdamW of transformers 4.7 against numbers computed with its wheel."""

import copy

import torch

from hype.optimizers import LegacyAdamW
from tests.techniques.conftest import assert_near, tensor, vectors  # noqa: F401


def test_legacy_adamw_takes_the_steps_of_transformers_4_7(vectors):  # noqa: F811
    vector = vectors["adamw_legacy_vs_torch"]
    for case in vector["cases"]:
        parameter = torch.nn.Parameter(tensor(vector["theta0"]))
        optimizer = LegacyAdamW([parameter], **case["hyper"])
        for gradient, expected in zip(vector["grads"], case["legacy_transformers_4_7"], strict=True):
            parameter.grad = tensor(gradient)
            optimizer.step()
            assert_near(parameter.detach(), expected)


def test_a_reloaded_optimizer_goes_on_bit_for_bit():
    torch.manual_seed(0)
    gradients = torch.randn(6, 5)
    start = torch.randn(5)

    def run(parameter, optimizer, rows):
        for row in rows:
            parameter.grad = row.clone()
            optimizer.step()

    straight = torch.nn.Parameter(start.clone())
    optimizer = LegacyAdamW([straight], lr=1e-2, weight_decay=0.1)
    run(straight, optimizer, gradients[:3])
    resumed = torch.nn.Parameter(straight.detach().clone())
    other = LegacyAdamW([resumed], lr=1e-2, weight_decay=0.1)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    run(straight, optimizer, gradients[3:])
    run(resumed, other, gradients[3:])
    assert torch.equal(straight, resumed)


def test_step_evaluates_the_closure_with_gradients_and_returns_its_loss():
    parameter = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = LegacyAdamW([parameter], lr=0.1)

    def closure():
        loss = (parameter**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    assert parameter.item() < 2.0
