"""Training runs that must give the same weights: resumed, evaluated, accumulated or not; eps 0 or vanilla."""

import itertools
import random

import numpy as np
import pytest
import torch
from transformers import Trainer, TrainerCallback

from hype import HyPeCallback
from hype.training.trainer import HyPeTrainer
from tests.small_training import arguments, assert_equal_weights, padded, rows, rows_of_lengths, weights
from tests.tiny import tiny_model

DATA = rows(20)  # 5 batches of 4: checkpoints 2 and 6 are in the middle of an epoch
NOISE = {"hype_type": "normal", "hype_eps": 0.1}


def callback_trainer(args, noise, model):
    """Build transformers' own Trainer with HyPeCallback."""
    callbacks = [] if noise is None else [HyPeCallback(**noise)]
    return Trainer(model, args, train_dataset=DATA, callbacks=callbacks)


def hype_trainer(args, noise, model, **options):
    """Build HyPeTrainer."""
    return HyPeTrainer(model, args, train_dataset=DATA, hype_options=noise, **options)


BUILDERS = [callback_trainer, hype_trainer]


def trained(build, folder, noise=NOISE, model=None, resume=None, **changes):
    """Train a model with dropout for 8 steps; return its weights and the logged losses."""
    args = arguments(folder, **{"max_steps": 8, "weight_decay": 0.1, **changes})
    trainer = build(args, noise, model or tiny_model("bert"))
    trainer.train(resume_from_checkpoint=resume)
    return weights(trainer.model), [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize(
    ("options", "changes"),
    [({}, {}), ({"hype_stream": "global"}, {}), ({"hype_intermediate": True}, {"gradient_accumulation_steps": 2})],
    ids=["own stream", "global stream", "after attention, accumulated"],
)
@pytest.mark.parametrize("build", BUILDERS)
def test_a_training_resumed_within_an_epoch_equals_an_uninterrupted_one(build, options, changes, tmp_path):
    noise = {**NOISE, **options}
    saving = {"save_strategy": "steps", "save_steps": 2, "lr_scheduler_type": "linear", "max_grad_norm": 0.1, **changes}
    straight, losses = trained(build, tmp_path, noise, **saving)
    for step in (2, 6):
        torch.manual_seed(step)
        np.random.seed(step)
        random.seed(step)
        other = tiny_model("bert", seed=step)  # all weights must come from the checkpoint
        resumed, again = trained(build, tmp_path, noise, other, str(tmp_path / f"checkpoint-{step}"), **saving)
        assert_equal_weights(resumed, straight)
        assert again == losses


@pytest.mark.parametrize("build", BUILDERS)
def test_noise_of_scale_0_equals_vanilla_through_a_whole_training(build, tmp_path):
    vanilla = trained(build, tmp_path, None)
    assert_equal_weights(trained(build, tmp_path, {**NOISE, "hype_eps": 0.0})[0], vanilla[0])
    noised = trained(build, tmp_path, NOISE)
    assert all(not torch.equal(noised[0][name], vanilla[0][name]) for name in ("classifier.weight", "classifier.bias"))


def spied(build, folder, noise, monkeypatch):
    """Return inputs, dropout masks and losses of a training run, in order."""
    inputs, masks = [], []
    model, dropout = tiny_model("bert", attn_implementation="eager"), torch.nn.functional.dropout
    model.register_forward_pre_hook(lambda module, args, kwargs: inputs.append(kwargs), with_kwargs=True)

    def recording(state, p=0.5, training=True, inplace=False):
        masked = dropout(state, p, training, inplace)
        masks.append((masked != 0) | (state == 0))
        return masked

    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.functional, "dropout", recording)
        _, losses = trained(build, folder, noise, model, max_steps=3)
    return inputs, masks, losses


@pytest.mark.parametrize("build", BUILDERS)
def test_vanilla_and_hype_of_one_seed_have_the_same_batches_and_dropout_masks(build, tmp_path, monkeypatch):
    vanilla, noised = (spied(build, tmp_path, noise, monkeypatch) for noise in (None, NOISE))
    assert len(vanilla[0]) == len(noised[0]) == 3
    for plain, other in zip(vanilla[0], noised[0], strict=True):
        assert plain.keys() == other.keys() and all(torch.equal(plain[key], other[key]) for key in plain)
    assert len(vanilla[1]) == 3 * (1 + 3 * 3 + 1)  # embeddings, per layer attention and two outputs, head
    assert all(torch.equal(a, b) for a, b in zip(vanilla[1], noised[1], strict=True))
    assert 0.85 < torch.cat([mask.flatten() for mask in vanilla[1]]).double().mean() < 0.95
    assert vanilla[2] != noised[2]


def test_evaluation_and_prediction_move_no_random_stream(tmp_path):
    trainer = hype_trainer(arguments(tmp_path), NOISE, tiny_model("bert"), eval_dataset=rows(7, 5))
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    first, second = (trainer.evaluate()["eval_loss"] for _ in range(2))
    trainer.predict(rows(7, 5))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1] and random.getstate() == before[2]
    assert first == second


def test_no_layer_norm_of_deberta_decays(tmp_path):
    """In version 1, it is a class of its own."""
    trainer = hype_trainer(arguments(tmp_path, weight_decay=0.1), None, tiny_model("deberta"))
    groups = [group["params"] for group in trainer.create_optimizer().param_groups if group["weight_decay"] > 0]
    decayed = set(itertools.chain(*groups))
    names = [name for name, parameter in trainer.model.named_parameters() if parameter in decayed]
    assert names and not [name for name in names if "LayerNorm" in name or "bias" in name]


def test_a_trainer_has_its_model_on_its_device_before_training(tmp_path, monkeypatch):
    """Trainer leaves a model on the CPU until training if evaluation casts it."""
    args = arguments(tmp_path, bf16_full_eval=True)
    monkeypatch.setattr(type(args), "device", torch.device("meta"))
    assert hype_trainer(args, NOISE, tiny_model("bert")).model.device.type == "meta"


def test_measuring_the_noise_does_not_change_the_training(tmp_path):
    trainer = hype_trainer(arguments(tmp_path, max_steps=8, weight_decay=0.1), NOISE, tiny_model("bert"))
    assert trainer.measure_noise()["least_changed"] > 0.99
    trainer.train()
    assert_equal_weights(weights(trainer.model), trained(hype_trainer, tmp_path)[0])


def sgd_by_hand(model, data, batch_size, learning_rate):
    """Train for one epoch in the order of the rows; return weights and losses."""
    model, losses = model.train(), []
    for start in range(0, len(data), batch_size):
        batch = {name: torch.tensor(values) for name, values in data[start : start + batch_size].items()}
        model.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(**{**batch, "labels": None}).logits, batch["labels"])
        loss.backward()
        losses.append(loss.item())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= learning_rate * parameter.grad
    return weights(model), losses


@pytest.mark.parametrize(("batch_size", "accumulation"), [(8, 1), (2, 4)])
def test_accumulated_batches_give_the_loss_and_the_step_of_one_big_batch(batch_size, accumulation, tmp_path):
    """21 examples in updates of 8: the last update has 5, and in it the last batch is smaller than the others."""
    data = rows(21)
    expected, expected_losses = sgd_by_hand(tiny_model("bert", dropout=0.0), data, 8, 0.1)
    args = arguments(
        tmp_path, max_steps=-1, num_train_epochs=1, optim="sgd", learning_rate=0.1, max_grad_norm=0.0,
        train_sampling_strategy="sequential", per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=accumulation,
    )  # fmt: skip
    trainer = HyPeTrainer(tiny_model("bert", dropout=0.0), args, train_dataset=data)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses == pytest.approx(expected_losses, abs=1e-6) and len(losses) == 3
    for name, value in weights(trainer.model).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-6)


def test_every_accumulated_batch_gets_noise_of_its_own(tmp_path):
    noises = []

    class ObservingCallback(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            trainer.hype.observer = lambda clean, noised: noises.append((noised - clean).detach())

    args = arguments(tmp_path, max_steps=2, gradient_accumulation_steps=2)
    trainer = hype_trainer(args, NOISE, tiny_model("bert"), callbacks=[ObservingCallback()])
    trainer.train()
    assert len(noises) == 2 * 2 * 3
    for a, b in itertools.combinations(noises, 2):
        assert abs(np.corrcoef(a.flatten(), b.flatten())[0, 1]) < 5 / a.numel() ** 0.5


def batches_seen(folder, noise, dropout, resume=None) -> list[int]:
    """Train for two epochs grouped by length; return the sum of each batch's token ids."""
    seen = []

    def collate(examples):
        seen.append(sum(map(sum, (example["input_ids"] for example in examples))))
        return padded(examples)

    args = arguments(
        folder, max_steps=10, save_strategy="steps", save_steps=3, train_sampling_strategy="group_by_length"
    )
    data = rows_of_lengths([3, 9, 4, 7, 5, 8, 6, 3, 9, 4] * 2)
    options = {"train_dataset": data, "data_collator": collate, "hype_options": noise}
    HyPeTrainer(tiny_model("bert", dropout=dropout), args, **options).train(resume_from_checkpoint=resume)
    return seen


def test_batches_grouped_by_length_are_those_of_the_seed_and_the_epoch(tmp_path):
    """transformers draws them from dropout's generator, and on resuming does so before restoring it."""
    straight = batches_seen(tmp_path, None, 0.1)
    assert len(straight) == 10 and straight[:5] != straight[5:]
    assert batches_seen(tmp_path / "noised", NOISE, 0.0) == straight
    resumed = batches_seen(tmp_path, None, 0.1, str(tmp_path / "checkpoint-6"))
    assert resumed[-4:] == straight[6:]
