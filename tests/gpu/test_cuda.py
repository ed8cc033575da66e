"""The method and a run on a CUDA device."""

import json

import pytest
import torch

from hype import HyPe
from hype.diagnostics import measure_noise
from hype.training.finetune import finetune
from hype.training.machine import peak_memory_bytes, reset_peak_memory
from hype.training.parser import parse
from tests import by_hand
from tests.small_training import arguments, assert_equal_weights, rows, weights
from tests.tiny import enable_checkpointing, tiny_batch, tiny_model
from tests.training.test_invariance import BUILDERS, hype_trainer

EPS = 2.0**-10  # exact in float32: noise / EPS cannot exceed its interval by rounding
NOISE = {"hype_type": "normal", "hype_eps": EPS}


def batch_on(device, **options):
    return {name: value.to(device) for name, value in tiny_batch(**options).items()}


def random_states(device):
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if device.type == "cuda" else [])]


def drawn(device, hype_type="normal", step=0, draw=0, **options):
    """Return a million draws of noise."""
    with HyPe(tiny_model("bert").to(device), hype_type, EPS, **{"seed": 1, "rank": 0, **options}) as hype:
        hype.set_step(step)
        return hype.perturb(torch.zeros(1000, 1000, device=device), draw)


# ------------------------------------------------------------------------------------------------ The stream


def test_normal_noise_has_the_paper_s_distribution(device):
    noise = drawn(device).double() / EPS
    assert noise.mean().abs() < 0.005 and (noise.std() - 1).abs() < 0.005
    assert (noise.pow(4).mean() - 3).abs() < 0.05
    assert noise.device.type == device.type


@pytest.mark.parametrize(("hype_type", "low"), [("uniform", -1), ("uniform_positive", 0)])
def test_uniform_noise_fills_its_interval_evenly(device, hype_type, low):
    noise = drawn(device, hype_type).double() / EPS
    counts = torch.histc(noise, bins=10, min=low, max=1)
    assert low <= noise.min() < low + 0.001 and 0.999 < noise.max() <= 1
    assert counts.sum() == 1e6 and (counts - 1e5).abs().max() < 1500  # five standard deviations


def test_equal_keys_draw_equal_noise_and_every_part_of_the_key_matters(device):
    noise = drawn(device)
    assert torch.equal(noise, drawn(device))
    for other in (drawn(device, seed=2), drawn(device, rank=1), drawn(device, step=1), drawn(device, draw=1)):
        assert (noise == other).float().mean() < 0.01
        assert torch.corrcoef(torch.stack([noise.flatten(), other.flatten()]))[0, 1].abs() < 0.005


def test_the_own_stream_leaves_torch_s_generators_alone(device):
    model, batch = tiny_model("bert", dropout=0.0).to(device).train(), batch_on(device)
    states = random_states(device)
    with HyPe(model, **NOISE):
        model(**batch)
    assert all(torch.equal(a, b) for a, b in zip(states, random_states(device), strict=True))


# ------------------------------------------------------------------------------------------------ By hand


@pytest.mark.parametrize("model_type", ["bert", "roberta"])
def test_the_logits_equal_algorithm_1_by_hand(device, model_type):
    model, ids = tiny_model(model_type, dropout=0.0).to(device).train(), batch_on(device)["input_ids"]
    recorded = by_hand.Recorded()
    with torch.no_grad():
        clean = model(ids).logits
        with HyPe(model, **NOISE) as hype:
            hype.observer = recorded.observe
            noised = model(ids).logits
        expected = by_hand.bert(model, ids, recorded.add, lambda state: state)
    torch.testing.assert_close(noised, expected, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(noised, clean, rtol=1e-5, atol=1e-6) and len(recorded.states) == 3


# ------------------------------------------------------------------------------------------------ Training


def trained(build, folder, device, noise=NOISE, resume=None, **changes):
    """Train a model with dropout; return its weights and the batches that it saw."""
    options = {"max_steps": 6, "full_determinism": True, "use_cpu": device.type == "cpu", **changes}
    trainer, seen = build(arguments(folder, **options), noise, tiny_model("bert")), []
    trainer.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"].tolist()), with_kwargs=True
    )
    trainer.train(resume_from_checkpoint=resume)
    return weights(trainer.model), seen


@pytest.mark.parametrize("build", BUILDERS)
def test_eps_0_equals_vanilla_and_noise_leaves_the_batches_as_they_are(build, device, tmp_path, deterministic):
    vanilla, batches = trained(build, tmp_path / "1", device, None)
    without, _ = trained(build, tmp_path / "2", device, {**NOISE, "hype_eps": 0.0})
    noised, same_batches = trained(build, tmp_path / "3", device)
    assert_equal_weights(without, vanilla)
    assert same_batches == batches
    assert any(not torch.equal(noised[name], vanilla[name]) for name in vanilla)


@pytest.mark.parametrize("step", [2, 4])
@pytest.mark.parametrize("build", BUILDERS)
def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(build, step, device, tmp_path, deterministic):
    saving = {"save_strategy": "steps", "save_steps": 2, "lr_scheduler_type": "linear"}
    straight, _ = trained(build, tmp_path, device, **saving)
    resumed, _ = trained(build, tmp_path, device, resume=str(tmp_path / f"checkpoint-{step}"), **saving)
    assert_equal_weights(resumed, straight)


def test_evaluation_leaves_the_random_states_alone(device, tmp_path):
    args = arguments(tmp_path, use_cpu=device.type == "cpu")
    trainer = hype_trainer(args, NOISE, tiny_model("bert"), eval_dataset=rows(8))
    draws = []  # no model draws in evaluation by itself
    trainer.model.register_forward_hook(lambda *_: draws.append((torch.rand(1), torch.rand(1, device=device))))
    states = random_states(device)
    trainer.evaluate()
    trainer.predict(rows(8))
    assert all(torch.equal(a, b) for a, b in zip(states, random_states(device), strict=True))


@pytest.mark.parametrize("is_reentrant", [False, True])
@pytest.mark.parametrize("stream", ["own", "global"])
def test_gradient_checkpointing_gives_the_same_gradients(device, stream, is_reentrant):
    batch, gradients = batch_on(device), []
    for is_checkpointing in (False, True):
        model = tiny_model("bert", dropout=0.1).to(device).train()
        if is_checkpointing:
            enable_checkpointing(model, is_reentrant)
        with HyPe(model, "normal", 0.1, hype_stream=stream, seed=0, rank=0) as hype:
            hype.set_step(0)
            torch.manual_seed(0)
            model(**batch).loss.backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(checkpointed, plain, rtol=1e-4, atol=1e-6)


# ------------------------------------------------------------------------------------------------ Precision


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_the_states_of_bert_stay_float32_and_take_the_noise(device, dtype, record_property):
    model, batch = tiny_model("bert").to(device), batch_on(device)
    with HyPe(model, "normal", 1e-5) as hype, torch.autocast(device.type, dtype):
        found = measure_noise(model, hype, lambda: model(**batch).logits)
    record_property("changed", found["least_changed"])
    assert {layer["dtype"] for layer in found["layers"]} == {"float32"} and found["least_changed"] > 0.9


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights_round_noise_of_1e_5_away(device, dtype):
    model, batch = tiny_model("bert").to(device, dtype), batch_on(device)
    with pytest.raises(ValueError, match="allow_vanishing_noise"):
        HyPe(model, "normal", 1e-5)
    with HyPe(model, "normal", 1e-5, allow_vanishing_noise=True) as hype:
        found = measure_noise(model, hype, lambda: model(**batch).logits)
    assert found["least_changed"] < 0.5


# ------------------------------------------------------------------------------------------------ torch.compile


@pytest.mark.parametrize("stream", ["own", "global"])
def test_a_compiled_model_gets_fresh_noise_in_training_and_none_in_evaluation(device, stream):
    model, batch = tiny_model("bert", dropout=0.0).to(device), batch_on(device)
    compiled = torch.compile(model, backend="inductor" if device.type == "cuda" else "aot_eager")
    with torch.no_grad():
        clean = model.eval()(**batch).logits
        with HyPe(model, "normal", 0.1, hype_stream=stream, seed=0, rank=0) as hype:
            model.train()
            logits = {}
            for step in (0, 1, 0):
                hype.set_step(step)
                torch.manual_seed(step)
                logits.setdefault(step, []).append(compiled(**batch).logits)
            eager = model(**batch).logits if hype.set_step(0) is None and stream == "own" else None
            quiet = compiled.eval()(**batch).logits
    assert torch.equal(*logits[0]) and not torch.allclose(logits[0][0], logits[1][0], atol=1e-3)
    torch.testing.assert_close(quiet, clean, rtol=1e-4, atol=1e-5)
    if eager is not None:
        torch.testing.assert_close(logits[0][0], eager, rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------------------------ Runs


def test_the_noise_raises_the_allocator_s_peak_by_one_percent_at_most(device, cuda_only):
    sizes = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
    model = tiny_model("bert", max_position_embeddings=128, **sizes).to(device).train()
    batch, peaks = batch_on(device, batch_size=16, length=128), []
    for noise in (None, NOISE):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        hype = noise and HyPe(model, **noise)
        model(**batch).loss.backward()
        model.zero_grad()
        if hype:
            hype.remove()
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] / peaks[0] <= 1.01


def test_a_run_names_its_device_and_measures_its_memory(device, argv):
    line = argv("do_train", "do_eval", hype_type="normal", use_cpu=device.type == "cpu")
    record = finetune(parse(line))
    assert record["machine"]["device"]["type"] == device.type
    assert record["peak_memory_bytes"] > 0 and record["noise"]["least_changed"] > 0.9
    json.dumps(record)


def test_a_run_s_peak_is_not_that_of_an_earlier_one(device, cuda_only):
    torch.ones(2**26, device=device)  # 256 MiB, freed at once
    before = peak_memory_bytes(device)
    reset_peak_memory(device)
    assert before - peak_memory_bytes(device) >= 2**28


def test_a_run_repeats_bit_for_bit_under_full_determinism(device, run, tmp_path, deterministic):
    for name in ("first", "second"):
        run("do_train", "full_determinism", output_dir=tmp_path / name, use_cpu=device.type == "cpu")
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("first", "second"))
    assert first == second
