"""HyPeCallback with transformers' own Trainer: noise while it trains, none afterwards, errors at the right time."""

import copy
import logging
from types import SimpleNamespace

import pytest
import torch
from transformers import Trainer, TrainerCallback

from hype import HyPe, HyPeCallback
from tests.by_hand import IDS, Recorded, hooks_of
from tests.small_training import arguments, assert_equal_weights, rows, weights
from tests.tiny import tiny_model

DATA = rows(8)


class FaultError(Exception):
    pass


class Failing:
    """Raise at the given call only."""

    def __init__(self, at=1):
        self.left = at

    def __call__(self, *args, **kwargs):
        self.left -= 1
        if self.left == 0:
            raise FaultError


class At(TrainerCallback):
    """Call `action` once, at the end of step 2."""

    def __init__(self, action):
        self.action = action

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 2:
            self.action()


class ObservingCallback(TrainerCallback):
    """Record the noise of a HyPeCallback; `steps` lists the steps with noise."""

    def __init__(self, callback):
        self.callback, self.recorded, self.steps = callback, Recorded(), []

    def on_step_begin(self, args, state, control, **kwargs):
        if self.callback.hype is not None:
            self.callback.hype.observer = self.recorded.observe

    def on_step_end(self, args, state, control, **kwargs):
        if len(self.recorded.draws) == 3 * (len(self.steps) + 1):
            self.steps.append(state.global_step)


def build(tmp_path, callbacks, **changes):
    """Build a Trainer for two epochs of two batches."""
    args = arguments(tmp_path, save_steps=1, save_only_model=True, **changes)
    return Trainer(tiny_model("bert"), args, train_dataset=DATA, callbacks=callbacks)


def test_noise_is_there_in_training_and_gone_afterwards_and_checkpoints_are_plain(tmp_path):
    callback = HyPeCallback("normal", 0.5)
    observing = ObservingCallback(callback)
    trainer = build(tmp_path, [callback, observing], save_strategy="steps")
    trainer.train()
    assert observing.steps == [1, 2, 3, 4] and len(observing.recorded.draws) == 4 * 3
    assert hooks_of(trainer.model) == []
    loaded = type(trainer.model).from_pretrained(tmp_path / "checkpoint-4")
    assert_equal_weights(weights(loaded), weights(trainer.model))


def test_after_a_training_that_raised_evaluation_is_clean_and_the_next_training_works(tmp_path):
    callback = HyPeCallback("normal", 0.5)
    trainer = build(tmp_path, [callback])
    trainer.model.bert.encoder.layer[1].register_forward_pre_hook(Failing(3))
    with pytest.raises(FaultError):
        trainer.train()
    plain = tiny_model("bert").eval()
    plain.load_state_dict(trainer.model.state_dict())
    assert torch.equal(trainer.model.eval()(IDS).logits, plain(IDS).logits)
    trainer.add_callback(observing := ObservingCallback(callback))
    trainer.train()
    assert observing.steps == [1, 2, 3, 4] and len(observing.recorded.draws) == 4 * 3
    assert [hook for hook in hooks_of(trainer.model) if not isinstance(hook, Failing)] == []


def test_what_a_training_that_raised_left_behind_goes_with_remove_or_the_next_training_of_any_model(tmp_path):
    callback = HyPeCallback("normal", 0.5)
    for clean_up in (lambda: callback.remove() or callback.remove(), build(tmp_path, [callback]).train):
        trainer = build(tmp_path, [callback, At(Failing())])
        with pytest.raises(FaultError):
            trainer.train()
        assert len(hooks_of(trainer.model)) > 0
        clean_up()
        assert hooks_of(trainer.model) == []


@pytest.mark.parametrize(("options", "seed"), [({}, 7), ({"seed": 3}, 3)], ids=["the Trainer's", "its own"])
def test_the_noise_is_that_of_seed_rank_and_step(options, seed, tmp_path):
    callback = HyPeCallback("normal", 0.5, **options)
    observing = ObservingCallback(callback)
    build(tmp_path, [callback, observing], seed=7).train()
    for step in range(4):
        alone, model = Recorded(), tiny_model("bert").train()
        with HyPe(model, "normal", 0.5, seed=seed, rank=0) as hype:
            hype.observer = alone.observe
            hype.set_step(step)
            model(IDS)
        for index in range(3):
            noise = observing.recorded.noise(3 * step + index)
            torch.testing.assert_close(noise, alone.noise(index), rtol=0, atol=1e-6)


def test_noise_on_top_of_noise_is_refused(tmp_path):
    trainer = build(tmp_path, [HyPeCallback("normal")])
    with HyPe(trainer.model), pytest.raises(ValueError, match="has HyPe already"):
        trainer.train()
    with pytest.raises(ValueError, match="has HyPe already"):
        build(tmp_path, [HyPeCallback("normal"), HyPeCallback("uniform")]).train()


@pytest.mark.parametrize(
    ("options", "machine", "message"),
    [
        ({"hype_stream": "global"}, {"n_gpu": 0, "world_size": 2, "process_index": 1}, "hype_stream global.*use own"),
        ({}, {"n_gpu": 2, "world_size": 1, "process_index": 0}, "several GPUs.*torchrun"),
    ],
    ids=["processes seeded alike", "threads"],
)
def test_what_would_give_wrong_noise_on_several_devices_is_refused(options, machine, message):
    with pytest.raises(ValueError, match=message):
        HyPeCallback(**options).on_train_begin(SimpleNamespace(seed=1, **machine), None, None, model=tiny_model("bert"))


def test_noise_that_is_removed_in_a_training_stays_away(tmp_path):
    callback = HyPeCallback("normal", 0.5)
    observing = ObservingCallback(callback)
    trainer = build(tmp_path, [callback, observing, At(callback.remove)])
    trainer.train()
    trainer.remove_callback(At)
    trainer.train()
    assert observing.steps == [1, 2, 1, 2, 3, 4]


def test_a_callback_that_is_added_in_a_training_works_from_the_next_step(tmp_path):
    callback = HyPeCallback("normal", 0.5)
    observing, trainer = ObservingCallback(callback), build(tmp_path, [])
    trainer.add_callback(At(lambda: [trainer.add_callback(added) for added in (callback, observing)]))
    trainer.train()
    assert observing.steps == [3, 4] and hooks_of(trainer.model) == []


@pytest.mark.parametrize(("dropout", "of_part", "word"), [(0.0, 0.0, "off"), (0.1, 0.0, "on"), (0.0, 0.1, "on")])
def test_the_start_of_a_training_tells_the_noise_and_the_hidden_dropout(dropout, of_part, word, tmp_path, caplog):
    """of_part: the rate of a part with its own configuration (encoder-decoders), under wav2vec 2.0's name."""
    trainer = build(tmp_path, [HyPeCallback("uniform", "5e-1", hype_top_layers=2)])  # YAML reads 5e-1 as a string
    trainer.model = tiny_model("bert", hidden_dropout_prob=dropout)
    trainer.model.bert.config = copy.deepcopy(trainer.model.config)
    trainer.model.bert.config.hidden_dropout, trainer.model.bert.config.hidden_dropout_prob = of_part, 0.0
    with caplog.at_level(logging.INFO, logger="hype"):
        trainer.train()
    (line,) = [record.getMessage() for record in caplog.records if record.name == "hype.callback"]
    assert "uniform noise of scale 0.5 to 2 of 3 layers" in line and f"hidden dropout is {word}" in line
