"""RecAdam's steps match the reference's numbers, and only the right weights are penalised."""

from types import SimpleNamespace

import pytest
import torch

from hype.techniques import TechniqueArguments, selected
from hype.techniques.recadam import RecallingAdamW, anneal
from tests.techniques.runs import FLAGS, trainer_of
from tests.techniques.vectors import assert_near, tensor
from tests.tiny import tiny_model


@pytest.mark.parametrize("number", [0, 1, 4])  # the others use the reference's other schedules
def test_steps_equal_the_reference(vectors, number):
    inputs, case = vectors["recadam"]["inputs"], vectors["recadam"]["cases"][number]
    hyper = case["hyper"]
    parameter = torch.nn.Parameter(tensor(inputs["theta0"]))
    # The reference's weight 0 means a group without penalty: here, a parameter without an anchor.
    anchors = {parameter: tensor(inputs["theta_pretrained"])} if hyper["anneal_w"] > 0 else {}
    options = {name: hyper[name] for name in ("gamma", "betas", "eps", "weight_decay")}
    optimizer = RecallingAdamW([parameter], anchors, schedule={"k": hyper["k"], "t0": hyper["t0"]}, **options)
    steps = zip(
        hyper.get("lrs") or [hyper["lr"]] * 3, inputs["grads_steps_1_2_3"], case["theta_after_steps_1_2_3"], strict=True
    )
    for rate, gradient, expected in steps:
        optimizer.param_groups[0]["lr"] = rate
        parameter.grad = tensor(gradient)
        optimizer.step()
        assert_near(parameter.detach(), expected)
    assert optimizer.state_dict()["state"][0].keys() == {"step", "exp_avg", "exp_avg_sq"}, "no anchors"


def test_the_schedule_equals_the_reference_and_does_not_overflow_long_before_its_middle(vectors):
    for row in vectors["recadam"]["lambda_values"]:
        assert_near(row["w"] * anneal(row["t"], row["k"], row["t0"]), row["value"], atol=1e-20)
    assert anneal(1, k=10.0, t0=10_000) == pytest.approx(0.0, abs=1e-300)


def begun(model, optim="adamw_torch_fused", **flags):
    """Return RecAdam in its state at the start of training."""
    trainer = SimpleNamespace(model=model, args=SimpleNamespace(optim=optim, seed=0))
    techniques = selected(TechniqueArguments(recadam=True, **flags), hype_is_on=False)
    for technique in techniques:
        technique.before_training(trainer)
    return techniques[0]


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
def test_the_whole_body_is_pulled_to_its_pretrained_point_also_beside_noisytune_and_the_head_is_not(model_type, free):
    model, pretrained = tiny_model(model_type), dict(tiny_model(model_type).named_parameters())
    technique = begun(model, noise_lambda=0.2)
    anchors = {name: technique.anchors[p] for name, p in model.named_parameters() if p in technique.anchors}
    assert {name.split(".")[0] for name in pretrained if name not in anchors} == free
    assert all(torch.equal(anchor, pretrained[name]) for name, anchor in anchors.items())


def test_only_decayed_names_decay(tmp_path):
    trainer = trainer_of(tmp_path, FLAGS["RecAdam"], weight_decay=0.1, max_steps=1)
    trainer.train()
    decays = {id(p): group["weight_decay"] for group in trainer.optimizer.param_groups for p in group["params"]}
    for name, parameter in trainer.model.named_parameters():
        assert decays[id(parameter)] == (0.0 if "bias" in name or "LayerNorm" in name else 0.1), name


@pytest.mark.parametrize("optim", ["adafactor", "adamw_torch_8bit"])
def test_another_optimizer_beside_it_is_refused(optim):
    with pytest.raises(ValueError, match=optim):
        begun(tiny_model("bert"), optim=optim)
