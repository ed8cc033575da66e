"""HyPeTrainer stops at the step of the first loss or gradient that is not finite."""

import functools
import math
import tempfile

import pytest
import torch

from hype.errors import DivergedError
from hype.training.trainer import HyPeTrainer
from tests.by_hand import hooks_of
from tests.small_training import arguments, assert_equal_weights, rows, weights
from tests.tiny import tiny_model


class DivergingTrainer(HyPeTrainer):
    """Multiply the loss of a single forward, counted from 1."""

    def __init__(self, *args, at=0, factor=1.0, **kwargs):
        super().__init__(*args, hype_options={"hype_type": "normal", "hype_eps": 0.1}, **kwargs)
        self.at, self.factor, self.forward_count = at, factor, 0

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
        self.forward_count += 1
        loss = loss * (self.factor if self.forward_count == self.at else 1.0)
        return (loss, outputs) if return_outputs else loss


def trainer_of(folder, at=0, factor=1.0, **changes):
    args, data = arguments(folder, **changes), rows(20)
    return DivergingTrainer(
        tiny_model("bert"), args, train_dataset=data, eval_dataset=data.select(range(4)), at=at, factor=factor
    )


@functools.cache
def weights_after(steps, **changes):
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_of(folder, max_steps=steps, **changes)
        trainer.train()
    return weights(trainer.model)


@pytest.mark.parametrize("factor", [math.nan, -math.inf])
def test_a_loss_that_is_not_finite_ends_the_training_at_its_step(factor, tmp_path):
    trainer = trainer_of(tmp_path, at=3, factor=factor)
    with pytest.raises(DivergedError, match=f"the loss is -?{abs(factor)} at step 3"):
        trainer.train()
    assert trainer.state.global_step == 2
    assert hooks_of(trainer.model) == []
    assert_equal_weights(weights(trainer.model), weights_after(2))
    assert all(math.isfinite(entry["loss"]) and entry["loss"] > 0 for entry in trainer.state.log_history)


def test_a_loss_that_is_not_finite_in_one_of_the_accumulated_batches_ends_the_training(tmp_path):
    trainer = trainer_of(tmp_path, at=5, factor=math.nan, gradient_accumulation_steps=3)
    with pytest.raises(DivergedError, match="the loss is nan at step 2"):
        trainer.train()
    assert_equal_weights(weights(trainer.model), weights_after(1, gradient_accumulation_steps=3))


@pytest.mark.parametrize("max_grad_norm", [0.0, 1.0])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_ends_the_training_before_its_step(value, max_grad_norm, tmp_path):
    trainer = trainer_of(tmp_path, max_grad_norm=max_grad_norm)
    backwards = []

    def spoil(gradient):
        backwards.append(1)
        return gradient * value if len(backwards) == 3 else gradient

    trainer.model.get_parameter("bert.encoder.layer.1.output.dense.weight").register_hook(spoil)
    with pytest.raises(DivergedError, match=r"gradient.*not finite at step 3"):
        trainer.train()
    assert trainer.state.global_step == 2 and hooks_of(trainer.model) == []
    assert_equal_weights(weights(trainer.model), weights_after(2, max_grad_norm=max_grad_norm))


def test_an_evaluation_loss_that_is_not_finite_does_not_end_the_training(tmp_path):
    trainer = trainer_of(tmp_path, at=2, factor=math.nan, eval_strategy="steps", eval_steps=1, max_steps=2)
    trainer.train()
    assert math.isnan(trainer.state.log_history[1]["eval_loss"])
    assert all(torch.isfinite(value).all() for value in trainer.model.state_dict().values())
