"""Techniques in training runs: they resume exactly, change only their own part, and combine."""

import itertools
import json
import logging

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, TrainerCallback

from hype.errors import InputError
from hype.optimizers import LegacyAdamW
from hype.techniques import TECHNIQUES, TechniqueArguments, child_tuning, selected
from tests.by_hand import hooks_of
from tests.small_training import assert_equal_weights, weights
from tests.techniques.runs import FLAGS, HYPE, TWO_FORWARDS, fixed_differences, trainer_of
from tests.tiny import CHECKPOINTING, tiny_model

alone_and_with_hype = pytest.mark.parametrize("hype", [None, HYPE], ids=["alone", "with HyPe"])


def trained(folder, flags, **options):
    trainer = trainer_of(folder, flags, **{"save_strategy": "no", **options})
    trainer.train()
    return trainer


def resumed(folder, flags, step=2, **options):
    trainer = trainer_of(folder, flags, **{"save_strategy": "no", **options})
    trainer.train(resume_from_checkpoint=str(folder / f"checkpoint-{step}"))
    return trainer


# Every model with either, two of them with both.
ALONE, REGRESSION = ("bert", "xlnet", "electra"), ("bert", "xlnet", "roberta", "deberta")


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize(
    ("model_type", "is_regression"), [*((m, False) for m in ALONE), *((m, True) for m in REGRESSION)]
)
def test_technique_trains_resumes_exactly_saves_loads_and_evaluates(tmp_path, model_type, name, is_regression):
    options = {"model_type": model_type, "hype": HYPE if is_regression else None, "is_regression": is_regression}
    plain = tiny_model(model_type, num_labels=1 if is_regression else 3)
    straight = trained(tmp_path, FLAGS[name], save_strategy="steps", **options)
    facts, found, start = straight.techniques[0].facts(), weights(straight.model), weights(plain)
    assert json.loads(json.dumps(facts)) == facts
    assert any(not torch.equal(start[key], found[key]) for key in start)
    assert all(torch.isfinite(weight).all() for weight in found.values())
    assert_equal_weights(weights(resumed(tmp_path, FLAGS[name], **options).model), found)

    plain.save_pretrained(tmp_path / "plain")
    saved = load_file(tmp_path / "checkpoint-4" / "model.safetensors")
    assert saved.keys() == load_file(tmp_path / "plain" / "model.safetensors").keys()
    loaded, report = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "checkpoint-4", output_loading_info=True
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    batch = straight.data_collator([straight.eval_dataset[i] for i in range(8)])
    with torch.no_grad():
        expected = loaded.eval()(**batch).loss.item()
    assert straight.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("mode", ["ChildTuning-F", "ChildTuning-D"])
@alone_and_with_hype
def test_child_tuning_that_keeps_everything_is_vanilla_bit_for_bit(tmp_path, mode, hype):
    kept, vanilla = (trained(tmp_path, flags, hype=hype) for flags in ({"mode": mode, "reserve_p": 1.0}, {}))
    assert_equal_weights(weights(kept.model), weights(vanilla.model))


def test_recadam_at_the_end_of_its_schedule_is_legacy_adamw(tmp_path):
    recadam = trained(tmp_path, {"recadam": True, "recadam_anneal_k": 100.0, "recadam_anneal_t0": 0})
    legacy = trainer_of(tmp_path, {}, save_strategy="no")
    args = legacy.args
    options = {"lr": args.learning_rate, "betas": (args.adam_beta1, args.adam_beta2), "eps": args.adam_epsilon}
    legacy.optimizer_cls_and_kwargs = LegacyAdamW, options
    legacy.train()
    assert_equal_weights(weights(recadam.model), weights(legacy.model))


@pytest.mark.parametrize(
    ("flags", "moved"),
    [
        ({"recadam": True, "recadam_anneal_t0": 1000, "recadam_gamma": 1.0}, ("classifier.",)),  # early in its schedule
        (FLAGS["Top-K Tuning"], ("bert.encoder.layer.2.", "bert.pooler.", "classifier.")),
    ],
)
def test_a_part_of_the_weights_moves_and_the_others_stay(tmp_path, flags, moved):
    start = tiny_model("bert").state_dict()
    for name, weight in weights(trained(tmp_path, flags, weight_decay=0.0).model).items():
        assert torch.equal(weight, start[name]) != name.startswith(moved), name


def test_masked_weights_of_child_tuning_d_move_by_decay_alone(tmp_path, monkeypatch):
    made, select = {}, child_tuning.masks_of_largest
    monkeypatch.setattr(child_tuning, "masks_of_largest", lambda *args: made.update(select(*args)) or made)
    found = weights(trained(tmp_path, FLAGS["Child-Tuning D"], weight_decay=0.0).model)
    start = tiny_model("bert").state_dict()
    assert made and all(torch.equal(found[name][~mask], start[name][~mask]) for name, mask in made.items())
    moved = sum((found[name] != start[name]).sum().item() for name in made)
    assert moved == pytest.approx(sum(mask.sum().item() for mask in made.values()), rel=0.02)


class Interrupt(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        raise KeyboardInterrupt


@pytest.mark.parametrize("name", FLAGS)
def test_an_interrupted_training_leaves_a_plain_model(tmp_path, name):
    trainer = trainer_of(tmp_path, FLAGS[name], hype=HYPE, save_strategy="no")
    trainer.add_callback(Interrupt())
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    for module, plain in zip(trainer.model.modules(), tiny_model("bert").modules(), strict=True):
        assert type(module) is type(plain)
        assert not module._parameters.keys() & vars(module).keys(), "nothing hides a parameter"
    # transformers leaves its own, which record hidden states.
    assert not any(hook.__module__.startswith("hype") for hook in hooks_of(trainer.model))
    assert all(parameter.requires_grad for parameter in trainer.model.parameters())


@pytest.mark.parametrize("name", FLAGS)
def test_evaluation_costs_one_forward_per_batch_and_is_the_plain_models(tmp_path, name):
    trainer = trainer_of(tmp_path, FLAGS[name], hype=HYPE, per_device_eval_batch_size=2, save_strategy="no")
    modes, inside = [], {}

    class EvaluateInside(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 2:
                inside.update(loss=trainer.evaluate()["eval_loss"], weights=weights(trainer.model))

    trainer.model.register_forward_hook(lambda module, args, output: modes.append(module.training))
    trainer.add_callback(EvaluateInside())
    trainer.train()
    assert modes.count(False) == 4
    plain = trainer_of(tmp_path, {}, per_device_eval_batch_size=2, save_strategy="no")
    plain.model.load_state_dict(inside["weights"])
    assert plain.evaluate()["eval_loss"] == inside["loss"]


@pytest.mark.parametrize("name", FLAGS)
def test_bfloat16_autocast_trains(tmp_path, name):
    found = weights(trained(tmp_path, FLAGS[name], hype=HYPE, bf16=True).model)
    assert all(torch.isfinite(weight).all() for weight in found.values())


@pytest.mark.parametrize("name", FLAGS)
@alone_and_with_hype
def test_activation_checkpointing_changes_nothing(tmp_path, name, hype):
    plain, checkpointed = (
        weights(trained(tmp_path, FLAGS[name], hype=hype, **{CHECKPOINTING: is_on}).model) for is_on in (False, True)
    )
    for key, weight in plain.items():
        torch.testing.assert_close(checkpointed[key], weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["Top-K Tuning", "Child-Tuning F", "RecAdam", "NoisyTune", "R-Drop", "R3F", "LNSR"])
@pytest.mark.parametrize("is_regression", [False, True], ids=["classification", "regression"])
def test_accumulated_batches_give_the_update_of_one_big_batch(tmp_path, name, is_regression):
    """Without draws per batch both must agree, including regularisers; epsilon 1 keeps Adam from acting on signs."""
    flags, found, regularisers = {**FLAGS[name], **({"r3f_eps": 0.0} if name == "R3F" else {})}, [], []
    for size, accumulation in ((4, 1), (1, 4)):
        model = tiny_model("bert", dropout=0.0, num_labels=1 if is_regression else 3)
        with fixed_differences(model, flags):
            trainer = trained(
                tmp_path, flags, model=model, is_regression=is_regression, adam_epsilon=1.0,
                per_device_train_batch_size=size, gradient_accumulation_steps=accumulation,
            )  # fmt: skip
        found.append(weights(trainer.model))
        regularisers.append(trainer.techniques[0].facts().get("mean_regulariser"))
    if name in TWO_FORWARDS:
        assert regularisers[0] > 1e-3 and regularisers[1] == pytest.approx(regularisers[0], rel=1e-4)
    for key in found[0]:
        torch.testing.assert_close(found[0][key], found[1][key], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("first", "second"),
    [pair for pair in itertools.combinations(FLAGS, 2) if pair != ("Child-Tuning F", "Child-Tuning D")],  # share a flag
)
def test_every_pair_trains_and_resumes_or_is_refused(tmp_path, first, second):
    flags = {**FLAGS[first], **FLAGS[second]}
    if {first, second} <= set(TWO_FORWARDS):
        with pytest.raises(InputError, match=r"--\w+ and --\w+ exclude each other.*loss"):
            selected(TechniqueArguments(**flags), hype_is_on=True)
        return
    straight = trained(tmp_path, flags, hype=HYPE, save_strategy="steps")
    assert {technique.name for technique in straight.techniques} == {first, second}
    assert_equal_weights(weights(straight.model), weights(resumed(tmp_path, flags, hype=HYPE).model))


@pytest.mark.parametrize(
    ("name", "is_empty"), [("R-Drop", True), ("R3F", True), ("R-Drop", False), ("R3F", False), ("LNSR", False)]
)
def test_a_numerically_empty_regulariser_is_said_once_and_recorded(tmp_path, name, is_empty, caplog):
    model = tiny_model("bert", dropout=0.0) if is_empty else None
    hype = {"hype_type": "normal", "hype_eps": 1e-5} if is_empty else None
    with caplog.at_level(logging.WARNING, logger="hype.techniques"):
        facts = trained(tmp_path, FLAGS[name], hype=hype, model=model).techniques[0].facts()
    assert caplog.text.count("below the resolution") == is_empty
    assert abs(facts["mean_regulariser"]) < 1e-8 if is_empty else facts["mean_regulariser"] > 1e-6
    assert facts["forwards"] == 4


@pytest.mark.parametrize("name", TWO_FORWARDS)
def test_a_resumed_run_records_the_regulariser_of_all_its_steps(tmp_path, name):
    straight = trained(tmp_path, FLAGS[name], save_strategy="steps")
    for step in (2, 4):  # no step is left after the last checkpoint
        assert resumed(tmp_path, FLAGS[name], step).techniques[0].facts() == straight.techniques[0].facts()


@pytest.mark.parametrize("name", TWO_FORWARDS)
def test_label_smoothing_beside_a_loss_of_its_own_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="label_smoothing"):
        trained(tmp_path, FLAGS[name], label_smoothing_factor=0.1)


def test_every_technique_of_the_table_is_exercised_here():
    assert {technique.name for technique in TECHNIQUES} == set(FLAGS)
