"""HyPeCallback with transformers' own Trainer: noise while it trains, and none afterwards, whatever ends it."""

from types import SimpleNamespace

import pytest
import torch
from transformers import Trainer, TrainerCallback

from hype import HyPe, HyPeCallback
from tests.by_hand import IDS, Recorded
from tests.small_training import arguments, assert_equal_weights, rows, weights
from tests.test_perturbation import hooks_of
from tests.tiny import tiny_model

DATA = rows(8)
EVENTS = (
    "on_train_begin", "on_epoch_begin", "on_step_begin", "on_substep_end", "on_pre_optimizer_step", "on_optimizer_step",
    "on_step_end", "on_log", "on_evaluate", "on_save", "on_epoch_end", "on_train_end",
)  # fmt: skip


class FaultError(Exception):
    pass


class Failing:
    """Raise at the given call; never again after that."""

    def __init__(self, at=1, error=FaultError):
        self.left, self.error = at, error

    def __call__(self, *args, **kwargs):
        self.left -= 1
        if self.left == 0:
            raise self.error


class FailingRows(torch.utils.data.Dataset):
    def __init__(self, fault):
        self.fault = fault

    def __len__(self):
        return 8

    def __getitem__(self, index):
        self.fault()
        return DATA[index]


def failing_callback(event, fault):
    def method(self, args, state, control, **kwargs):
        fault()

    return type("FailingCallback", (TrainerCallback,), {event: method})()


def observing(callback, recorded):
    class ObservingCallback(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            callback.hype.observer = recorded.observe

    return ObservingCallback()


def in_forward(trainer):
    trainer.model.bert.encoder.layer[1].register_forward_pre_hook(Failing(3))


def in_backward(trainer):
    trainer.model.classifier.weight.register_hook(Failing(3))


def in_interrupted_backward(trainer):
    trainer.model.classifier.weight.register_hook(Failing(3, KeyboardInterrupt))


def in_data_loader(trainer):
    trainer.train_dataset = FailingRows(Failing(10))


def in_collator(trainer):
    collate, fault = trainer.data_collator, Failing(3)
    trainer.data_collator = lambda examples: fault() or collate(examples)


def in_optimizer(trainer):
    create, fault = trainer.create_optimizer, Failing(3)

    def create_failing_optimizer(*args):
        trainer.create_optimizer = create
        create(*args).register_step_pre_hook(fault)

    trainer.create_optimizer = create_failing_optimizer


def in_saving(trainer):
    trainer.args.save_strategy = "steps"
    trainer.save_model = Failing()


def in_finalisation(trainer):
    trainer.args.logging_strategy = "no"
    trainer.store_flos = Failing()


def in_metrics(trainer):
    trainer.args.eval_strategy = "steps"
    fault = Failing()
    trainer.compute_metrics = lambda predictions: fault() or {}


def in_evaluation_at_start(trainer):
    trainer.args.eval_on_start = True
    in_metrics(trainer)


PLACES = [function for name, function in list(globals().items()) if name.startswith("in_")]


def build(tmp_path, callbacks, **changes):
    """Build a Trainer of two epochs of two batches."""
    args = arguments(tmp_path, eval_steps=1, save_steps=1, save_only_model=True, **changes)
    return Trainer(tiny_model("bert"), args, train_dataset=DATA, eval_dataset=DATA, callbacks=callbacks)


def assert_clean_and_usable(trainer, callback):
    own = [hook for hook in hooks_of(trainer.model) if not isinstance(hook, Failing)]
    assert own == [] and callback.hype is None
    logits = trainer.model.eval()(IDS).logits
    trainer.model.train()
    recorded = Recorded()
    trainer.add_callback(observing(callback, recorded))
    trainer.args.eval_on_start = False
    trainer.args.save_strategy = trainer.args.eval_strategy = "no"
    trainer.train()
    assert len(recorded.draws) == trainer.state.global_step * trainer.args.gradient_accumulation_steps * 3
    assert not torch.equal(trainer.model.eval()(IDS).logits, logits)
    assert [hook for hook in hooks_of(trainer.model) if not isinstance(hook, Failing)] == []


def test_noise_is_there_in_training_and_gone_afterwards(tmp_path):
    callback = HyPeCallback("normal", 0.5)
    trainer = build(tmp_path, [callback])
    seen = []
    trainer.add_callback(failing_callback("on_step_end", lambda: seen.append(len(hooks_of(trainer.model)))))
    trainer.train()
    assert len(seen) == 4 and min(seen) > 0
    assert_clean_and_usable(trainer, callback)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_noise_is_gone_after_an_exception(place, tmp_path):
    callback = HyPeCallback("normal", 0.5)
    trainer = build(tmp_path, [callback])
    place(trainer)
    with pytest.raises((FaultError, KeyboardInterrupt)):
        trainer.train()
    assert_clean_and_usable(trainer, callback)


@pytest.mark.parametrize("is_before", [False, True], ids=["after", "before"])
@pytest.mark.parametrize("event", EVENTS)
def test_noise_is_gone_after_an_exception_in_another_callback(event, is_before, tmp_path):
    callback = HyPeCallback("normal", 0.5)
    other = failing_callback(event, Failing(1 if event in ("on_train_begin", "on_train_end") else 2))
    callbacks = [other, callback] if is_before else [callback, other]
    options = {"on_evaluate": {"eval_strategy": "steps"}, "on_save": {"save_strategy": "steps"}}.get(event, {})
    trainer = build(tmp_path, callbacks, gradient_accumulation_steps=2, **options)
    with pytest.raises(FaultError):
        trainer.train()
    assert_clean_and_usable(trainer, callback)


def test_the_noise_is_that_of_seed_rank_and_step(tmp_path):
    callback, recorded = HyPeCallback("normal", 0.5), Recorded()
    trainer = build(tmp_path, [callback, observing(callback, recorded)], seed=7)
    trainer.train()
    for step in range(4):
        alone, model = Recorded(), tiny_model("bert").train()
        with HyPe(model, "normal", 0.5, seed=7, rank=0) as hype:
            hype.observer = alone.observe
            hype.set_step(step)
            model(IDS)
        for index in range(3):
            torch.testing.assert_close(recorded.noise(3 * step + index), alone.noise(index), rtol=0, atol=1e-6)


def test_what_cannot_be_perturbed_is_refused_before_the_first_step(tmp_path):
    trainer = build(tmp_path, [HyPeCallback("normal", hype_top_layers=9)])
    before = weights(trainer.model)
    with pytest.raises(ValueError, match="hype_top_layers 9"):
        trainer.train()
    assert hooks_of(trainer.model) == []
    assert_equal_weights(weights(trainer.model), before)


def test_a_model_that_is_perturbed_already_is_refused(tmp_path):
    trainer = build(tmp_path, [HyPeCallback("normal")])
    with HyPe(trainer.model), pytest.raises(ValueError, match="has HyPe already"):
        trainer.train()


def test_the_global_stream_is_refused_where_trainer_seeds_several_processes_alike(tmp_path):
    callback = HyPeCallback(hype_stream="global")
    several = SimpleNamespace(n_gpu=0, world_size=2, seed=1, process_index=1)
    with pytest.raises(ValueError, match="all processes would add the same noise"):
        callback.on_train_begin(several, None, None, model=tiny_model("bert"))


def test_two_callbacks_on_one_trainer_are_refused(tmp_path):
    trainer = build(tmp_path, [HyPeCallback("normal"), HyPeCallback("uniform")])
    with pytest.raises(ValueError, match="has HyPe already"):
        trainer.train()
    assert hooks_of(trainer.model) == []


def test_saved_checkpoints_are_plain(tmp_path):
    trainer = build(tmp_path, [HyPeCallback("normal", 0.5)], save_strategy="steps")
    trainer.train()
    loaded = type(trainer.model).from_pretrained(tmp_path / "checkpoint-4")
    assert_equal_weights(weights(loaded), weights(trainer.model))


class At(TrainerCallback):
    """Call `action` once, at the end of step 2."""

    def __init__(self, action):
        self.action = action

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 2:
            self.action()


def test_noise_that_is_removed_in_training_stays_away(tmp_path):
    callback, recorded = HyPeCallback("normal", 0.5), Recorded()
    trainer = build(tmp_path, [callback, At(callback.remove)])
    trainer.model.bert.encoder.layer[0].register_forward_pre_hook(
        lambda module, args: recorded.states.append(len(hooks_of(trainer.model)) > 1) if module.training else None
    )
    trainer.train()
    assert recorded.states == [True, True, False, False]  # two epochs of two steps
    assert "_run_epoch" not in vars(trainer)


def test_a_callback_that_is_taken_from_its_trainer_leaves_nothing_behind(tmp_path):
    callback = HyPeCallback("normal", 0.5)
    trainer = build(tmp_path, [callback])
    trainer.add_callback(At(lambda: trainer.remove_callback(callback)))
    trainer.train()
    assert hooks_of(trainer.model) == [] and not {"_run_epoch", "_finalize_training"} & vars(trainer).keys()


def test_a_seed_of_ones_own_is_taken(tmp_path):
    callback, recorded = HyPeCallback("normal", 0.5, seed=3), Recorded()
    build(tmp_path, [callback, observing(callback, recorded)], seed=7, max_steps=1).train()
    model, alone = tiny_model("bert").train(), Recorded()
    with HyPe(model, "normal", 0.5, seed=3, rank=0) as hype:
        hype.observer = alone.observe
        model(IDS)
    torch.testing.assert_close(recorded.noise(0), alone.noise(0), rtol=0, atol=1e-6)


def test_several_gpus_in_one_process_are_refused():
    several = SimpleNamespace(n_gpu=2, world_size=1, seed=1, process_index=0)
    with pytest.raises(ValueError, match="several GPUs"):
        HyPeCallback().on_train_begin(several, None, None, model=tiny_model("bert"))
