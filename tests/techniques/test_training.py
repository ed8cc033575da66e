"""Techniques inside a training: what they leave alone, what they leave behind, and how they combine."""

import itertools
import logging

import pytest
import torch
from transformers import TrainerCallback

from hype.errors import InputError
from hype.techniques import TECHNIQUES, TechniqueArguments, child_tuning, selected
from tests.techniques.runs import FLAGS, HYPE, assert_equal_weights, fixed_differences, trainer_of, weights_of
from tests.tiny import CHECKPOINTING, tiny_model

WITHOUT_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
NOTHING_SAVED = {"save_strategy": "no"}


def trained(folder, flags, **options):
    trainer = trainer_of(folder, flags, **{**NOTHING_SAVED, **options})
    trainer.train()
    return trainer


@pytest.mark.parametrize("flags", [{"mode": mode, "reserve_p": 1.0} for mode in ("ChildTuning-F", "ChildTuning-D")])
@pytest.mark.parametrize("hype", [None, HYPE], ids=["alone", "with HyPe"])
def test_child_tuning_that_keeps_everything_is_vanilla_bit_for_bit(tmp_path, flags, hype):
    assert_equal_weights(weights_of(trained(tmp_path, flags, hype=hype)), weights_of(trained(tmp_path, {}, hype=hype)))


def test_recadam_at_the_end_of_its_schedule_is_legacy_adamw(tmp_path):
    recadam = trained(tmp_path, {"recadam": True, "recadam_anneal_k": 100.0, "recadam_anneal_t0": 0})
    legacy = trainer_of(tmp_path, {}, **NOTHING_SAVED)
    legacy.optimizer_semantics = "release"
    legacy.train()
    assert_equal_weights(weights_of(recadam), weights_of(legacy))


def test_recadam_early_in_its_schedule_moves_the_head_and_keeps_the_body(tmp_path):
    flags = {"recadam": True, "recadam_anneal_t0": 1000, "recadam_gamma": 1.0}
    trainer = trained(tmp_path, flags, weight_decay=0.0)
    start = tiny_model("bert").state_dict()
    for name, weight in weights_of(trainer).items():
        assert torch.equal(weight, start[name]) != name.startswith("classifier."), name


def test_frozen_layers_stay_and_trained_ones_move(tmp_path):
    trainer = trained(tmp_path, FLAGS["Top-K Tuning"])
    start = tiny_model("bert").state_dict()
    top = ("bert.encoder.layer.2.", "bert.pooler.", "classifier.")
    for name, weight in weights_of(trainer).items():
        assert torch.equal(weight, start[name]) != name.startswith(top), name


def test_masked_weights_of_child_tuning_d_move_by_decay_alone(tmp_path, monkeypatch):
    made = []
    select = child_tuning.masks_of_largest
    monkeypatch.setattr(child_tuning, "masks_of_largest", lambda *args: made.append(select(*args)) or made[0])
    trainer = trained(tmp_path, FLAGS["Child-Tuning D"], weight_decay=0.0)
    start, masks = tiny_model("bert").state_dict(), made[0]
    for name, weight in weights_of(trainer).items():
        if name in masks:
            assert torch.equal(weight[~masks[name]], start[name][~masks[name]])
    moved = sum((weights_of(trainer)[n] != start[n]).sum().item() for n in masks)
    assert moved == pytest.approx(sum(mask.sum().item() for mask in masks.values()), rel=0.02)


def test_resumed_mixout_has_the_pretrained_target(tmp_path):
    trainer_of(tmp_path, FLAGS["Mixout"]).train()
    resumed = trainer_of(tmp_path, FLAGS["Mixout"])
    seen = {}

    class Recorder(TrainerCallback):
        def on_step_begin(self, args, state, control, model=None, **kwargs):
            linear = model.bert.encoder.layer[0].output.dense
            seen["target"], seen["weight"] = linear.targets["weight"].clone(), linear.weight.detach().clone()

    resumed.add_callback(Recorder())
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    pretrained = tiny_model("bert").bert.encoder.layer[0].output.dense.weight
    assert torch.equal(seen["target"], pretrained)
    assert not torch.equal(seen["weight"], pretrained)


class Interrupt(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        raise KeyboardInterrupt


@pytest.mark.parametrize("name", FLAGS)
def test_an_interrupted_training_leaves_a_plain_model(tmp_path, name):
    trainer = trainer_of(tmp_path, FLAGS[name], hype=HYPE, **NOTHING_SAVED)
    trainer.add_callback(Interrupt())
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    plain = tiny_model("bert")
    assert [type(module) for module in trainer.model.modules()] == [type(module) for module in plain.modules()]
    for module in trainer.model.modules():
        hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
        # transformers leaves its own, which record hidden states.
        assert not any(hook.__module__.startswith("hype") for hook in hooks)
        assert not {"mixout", "targets"} & module.__dict__.keys()
    assert all(parameter.requires_grad for parameter in trainer.model.parameters())


@pytest.mark.parametrize("name", FLAGS)
def test_evaluation_costs_one_forward_per_batch_and_is_the_plain_models(tmp_path, name):
    trainer = trainer_of(tmp_path, FLAGS[name], hype=HYPE, per_device_eval_batch_size=2, **NOTHING_SAVED)
    counts = {"training": 0, "evaluation": 0}
    losses = {}

    def count(module, args, output):
        counts["training" if module.training else "evaluation"] += 1

    class EvaluateInside(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 2:
                losses["inside"] = trainer.evaluate()["eval_loss"]
                losses["weights"] = {k: v.clone() for k, v in trainer.model.state_dict().items()}

    trainer.model.register_forward_hook(count)
    trainer.add_callback(EvaluateInside())
    trainer.train()
    assert counts["evaluation"] == 4
    plain = trainer_of(tmp_path, {}, per_device_eval_batch_size=2, **NOTHING_SAVED)
    plain.model.load_state_dict(losses["weights"])
    assert plain.evaluate()["eval_loss"] == losses["inside"]


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("hype", [None, {**HYPE, "hype_eps": 0.1}], ids=["alone", "with HyPe"])
def test_bfloat16_autocast_trains(tmp_path, name, hype):
    trainer = trained(tmp_path, FLAGS[name], hype=hype, bf16=True)
    assert all(
        torch.isfinite(weight).all() and weight.dtype == torch.float32 for weight in weights_of(trainer).values()
    )


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("hype", [None, HYPE], ids=["alone", "with HyPe"])
def test_activation_checkpointing_changes_nothing(tmp_path, name, hype):
    plain = trained(tmp_path / "plain", FLAGS[name], hype=hype)
    checkpointed = trained(tmp_path / "checkpointed", FLAGS[name], hype=hype, **{CHECKPOINTING: True})
    for weight, other in zip(weights_of(plain).values(), weights_of(checkpointed).values(), strict=True):
        torch.testing.assert_close(weight, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["Top-K Tuning", "Child-Tuning F", "RecAdam", "NoisyTune", "R-Drop", "R3F", "LNSR"])
@pytest.mark.parametrize("is_regression", [False, True], ids=["classification", "regression"])
def test_accumulated_batches_give_the_update_of_one_big_batch(tmp_path, name, is_regression):
    """Without draws per batch both ways must agree, regularisers included; epsilon 1 calms Adam's signs."""
    flags, weights, regularisers = {**FLAGS[name], **({"r3f_eps": 0.0} if name == "R3F" else {})}, [], []
    for size, accumulation in ((4, 1), (1, 4)):
        model = tiny_model("bert", num_labels=1 if is_regression else 3, **WITHOUT_DROPOUT)
        with fixed_differences(model, flags):
            trainer = trained(
                tmp_path / str(size), flags, model=model, is_regression=is_regression, adam_epsilon=1.0,
                per_device_train_batch_size=size, gradient_accumulation_steps=accumulation,
            )  # fmt: skip
        weights.append(weights_of(trainer))
        regularisers.append(trainer.techniques[0].facts().get("mean_regulariser"))
    if name in ("R-Drop", "R3F", "LNSR"):
        assert regularisers[0] > 1e-3 and regularisers[1] == pytest.approx(regularisers[0], rel=1e-4)
    for key in weights[0]:
        torch.testing.assert_close(weights[0][key], weights[1][key], rtol=1e-5, atol=1e-6)


def flags_of(first, second):
    return {**FLAGS[first], **FLAGS[second]}


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(FLAGS, 2)))
def test_every_pair_trains_and_resumes_or_is_refused(tmp_path, first, second):
    two_losses = {first, second} <= {"R-Drop", "R3F", "LNSR"}
    if two_losses:
        with pytest.raises(InputError, match=r"--\w+ and --\w+ exclude each other.*loss"):
            selected(TechniqueArguments(**flags_of(first, second)), hype_is_on=True)
        return
    if {first, second} == {"Child-Tuning F", "Child-Tuning D"}:
        return  # one flag, two values
    straight = trainer_of(tmp_path, flags_of(first, second), hype=HYPE)
    assert {technique.name for technique in straight.techniques} == {first, second}
    straight.train()
    resumed = trainer_of(tmp_path, flags_of(first, second), hype=HYPE, **NOTHING_SAVED)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert_equal_weights(weights_of(straight), weights_of(resumed))


@pytest.mark.parametrize("name", ["R-Drop", "R3F"])
def test_a_numerically_empty_regulariser_is_said_once_and_recorded(tmp_path, name, caplog):
    model = tiny_model("bert", **WITHOUT_DROPOUT)
    with caplog.at_level(logging.WARNING, logger="hype.techniques"):
        trainer = trained(tmp_path, FLAGS[name], hype={"hype_type": "normal", "hype_eps": 1e-5}, model=model)
    assert caplog.text.count("numerically empty") == 1
    facts = trainer.techniques[0].facts()
    assert abs(facts["mean_regulariser"]) < 1e-8
    assert facts["forwards"] == 4


@pytest.mark.parametrize("name", ["R-Drop", "R3F", "LNSR"])
def test_a_regulariser_that_acts_raises_no_warning(tmp_path, name, caplog):
    with caplog.at_level(logging.WARNING, logger="hype.techniques"):
        trainer = trained(tmp_path, FLAGS[name])
    assert "numerically empty" not in caplog.text
    assert trainer.techniques[0].facts()["mean_regulariser"] > 1e-6


@pytest.mark.parametrize("name", ["R-Drop", "R3F", "LNSR"])
def test_a_resumed_run_records_the_regulariser_of_all_its_steps(tmp_path, name):
    straight = trainer_of(tmp_path, FLAGS[name])
    straight.train()
    for step in (2, 4):  # after the last checkpoint there is no step left
        resumed = trainer_of(tmp_path, FLAGS[name])
        resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
        assert resumed.techniques[0].facts() == straight.techniques[0].facts()


@pytest.mark.parametrize("name", ["R-Drop", "R3F", "LNSR"])
def test_label_smoothing_beside_a_loss_of_its_own_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="label_smoothing"):
        trained(tmp_path, FLAGS[name], label_smoothing_factor=0.1)


def test_every_technique_of_the_table_is_exercised_here():
    assert {technique.name for technique in TECHNIQUES} == set(FLAGS)
