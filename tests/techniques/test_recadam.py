"""RecAdam's steps against the reference's numbers, and what it penalises."""

from types import SimpleNamespace

import pytest
import torch

from hype.techniques import TechniqueArguments
from hype.techniques.noisy_tune import NoisyTune
from hype.techniques.recadam import RecAdam, RecallingAdamW, anneal
from tests.techniques.conftest import assert_near, tensor
from tests.techniques.runs import FLAGS, trainer_of
from tests.tiny import tiny_model


@pytest.mark.parametrize("number", [0, 1, 4])  # the others are the reference's other schedules
def test_steps_equal_the_reference(vectors, number):
    inputs, case = vectors["recadam"]["inputs"], vectors["recadam"]["cases"][number]
    hyper = case["hyper"]
    parameter = torch.nn.Parameter(tensor(inputs["theta0"]))
    # The reference's weight 0 is a group without penalty: here, a parameter without an anchor.
    anchors = {parameter: tensor(inputs["theta_pretrained"])} if hyper["anneal_w"] > 0 else {}
    optimizer = RecallingAdamW(
        [parameter],
        anchors,
        schedule={"k": hyper["k"], "t0": hyper["t0"]},
        gamma=hyper["gamma"],
        betas=hyper["betas"],
        eps=hyper["eps"],
        weight_decay=hyper["weight_decay"],
    )
    rates = hyper.get("lrs") or [hyper["lr"]] * 3
    for rate, gradient, expected in zip(
        rates, inputs["grads_steps_1_2_3"], case["theta_after_steps_1_2_3"], strict=True
    ):
        optimizer.param_groups[0]["lr"] = rate
        parameter.grad = tensor(gradient)
        optimizer.step()
        assert_near(parameter.detach(), expected)


def test_schedule_equals_the_reference(vectors):
    for row in vectors["recadam"]["lambda_values"]:
        value = row["w"] * anneal(row["t"], row["k"], row["t0"])
        assert_near(value, row["value"], atol=1e-20)


def test_schedule_does_not_overflow_long_before_its_middle():
    assert anneal(1, k=10.0, t0=10_000) == pytest.approx(0.0, abs=1e-300)


def fake_trainer(model):
    args = SimpleNamespace(
        optim="adamw_torch_fused", learning_rate=1e-2, adam_beta1=0.9, adam_beta2=0.99, adam_epsilon=1e-8, seed=0,
    )  # fmt: skip
    return SimpleNamespace(model=model, args=args)


@pytest.mark.parametrize(
    ("model_type", "free"),
    [
        ("bert", {"classifier"}),
        ("roberta", {"classifier"}),
        ("electra", {"classifier"}),
        ("xlnet", {"sequence_summary", "logits_proj"}),
        ("deberta", {"pooler", "classifier"}),
    ],
)
def test_the_whole_body_is_penalised_and_the_head_is_not(model_type, free):
    trainer = fake_trainer(tiny_model(model_type))
    technique = RecAdam(TechniqueArguments(recadam=True))
    technique.before_training(trainer)
    penalised = {name for name, p in trainer.model.named_parameters() if p in technique.anchors}
    assert {name.split(".")[0] for name, _ in trainer.model.named_parameters() if name not in penalised} == free


def test_only_decayed_names_decay(tmp_path):
    trainer = trainer_of(tmp_path, FLAGS["RecAdam"], weight_decay=0.1, max_steps=1)
    trainer.train()
    decays = {id(p): group["weight_decay"] for group in trainer.optimizer.param_groups for p in group["params"]}
    for name, parameter in trainer.model.named_parameters():
        assert decays[id(parameter)] == (0.0 if "bias" in name or "LayerNorm" in name else 0.1), name


def test_the_anchor_is_the_pretrained_point_beside_noisytune():
    trainer = fake_trainer(tiny_model("bert"))
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    arguments = TechniqueArguments(recadam=True, noise_lambda=0.2)
    recadam = RecAdam(arguments)
    for technique in (recadam, NoisyTune(arguments)):
        technique.before_training(trainer)
    for name, parameter in trainer.model.named_parameters():
        if parameter in recadam.anchors:
            assert torch.equal(recadam.anchors[parameter], before[name])


def test_anchors_are_not_in_the_optimizers_state():
    trainer = fake_trainer(tiny_model("bert"))
    technique = RecAdam(TechniqueArguments(recadam=True))
    technique.before_training(trainer)
    optimizer_class, options = technique.optimizer(trainer)
    optimizer = optimizer_class(trainer.model.parameters(), **options)
    for parameter in trainer.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert all(state.keys() == {"step", "exp_avg", "exp_avg_sq"} for state in optimizer.state_dict()["state"].values())


def test_another_optimizer_beside_it_is_refused():
    trainer = fake_trainer(tiny_model("bert"))
    trainer.args.optim = "adafactor"
    with pytest.raises(ValueError, match="adafactor"):
        RecAdam(TechniqueArguments(recadam=True)).before_training(trainer)
