"""The benchmarks compare like with like, and each runs end to end on a tiny model."""

import copy
import json
import platform
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from hype.benchmark import __main__ as command
from hype.benchmark import evaluation, geometry, grid, loop, measured_run, methods, overhead, throughput
from hype.benchmark.baseline import padded_to_the_maximum
from hype.benchmark.settings import Settings, built
from hype.benchmark.stepping import Stepper
from hype.errors import InputError
from hype.training.finetune import finetune
from hype.training.length_order import lengths_of
from tests.tiny import BERT, SAMPLE

TINY = {**BERT, "vocab_size": 40, "max_position_embeddings": 128}


@pytest.fixture
def settings(tiny_folder, tmp_path):
    return Settings(str(tiny_folder), str(SAMPLE), 1, tmp_path)


def steps_of(trainer, count):
    """Train `count` steps; return inputs and unweighted loss of each."""
    seen = []
    compute_loss = trainer.compute_loss

    def observing(model, inputs, **kwargs):
        result = compute_loss(model, inputs, **kwargs)
        seen.append((inputs["input_ids"].clone(), (result[0] if isinstance(result, tuple) else result).item()))
        return result

    trainer.compute_loss = observing
    with Stepper(trainer) as stepper:
        for _ in range(count):
            assert stepper.step() > 0
    return seen


def without_dropout(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def test_run_glue_and_ours_train_on_the_same_examples_with_the_same_losses(settings):
    made = throughput.trainers("mrpc", settings)
    for trainer in made.values():
        without_dropout(trainer.model)
    theirs, ours = (steps_of(made[name], 4) for name in ("run_glue.py", "default"))
    assert len(theirs) == len(ours) == 4
    for (padded, their_loss), (dynamic, our_loss) in zip(theirs, ours, strict=True):
        assert padded.shape == (16, 64), "the tiny tokenizer's model takes 64 tokens"
        assert dynamic.shape[1] < 64 and torch.equal(padded[:, : dynamic.shape[1]], dynamic)
        assert our_loss == pytest.approx(their_loss, abs=1e-5)


def test_grouped_batches_are_narrower_and_spread_over_the_epoch(settings):
    made = throughput.trainers("rte", settings)
    padding = {}
    for name in ("default", "group_by_length"):
        lengths = lengths_of(made[name].train_dataset).reshape(-1, 16)
        padding[name] = (lengths.max(1, keepdims=True) - lengths).mean()
    assert padding["group_by_length"] < padding["default"]


def test_the_bare_loop_has_our_losses_step_by_step(settings):
    trainer, bare = loop.sides(settings)
    args = copy.copy(trainer.args)
    ours = [loss for _, loss in steps_of(trainer, 5)]
    assert args.weight_decay == trainer.args.weight_decay
    assert ours == pytest.approx([next(bare) for _ in range(5)], abs=1e-6)
    assert len(set(ours)) == 5


def test_the_bare_loop_moves_the_weights_as_trainer_does(settings):
    trainer, bare = loop.sides(settings)
    bare_model = bare.gi_frame.f_locals["model"]
    steps_of(trainer, 3)
    for _ in range(3):
        next(bare)
    for name, value in trainer.model.state_dict().items():
        torch.testing.assert_close(bare_model.state_dict()[name], value, rtol=0, atol=1e-7, msg=name)


def test_both_evaluations_have_the_same_loss(settings):
    made = evaluation.trainers("rte", settings)
    theirs, ours = (made[name].evaluate()["eval_loss"] for name in ("run_glue.py", "ours"))
    assert ours == pytest.approx(theirs, abs=1e-5)


def test_several_gpus_are_refused_by_runs_and_benchmarks(tmp_path):
    training = SimpleNamespace(n_gpu=2, output_dir=str(tmp_path), process_index=0, device=torch.device("cpu"))
    for start in (finetune, lambda arguments: built(arguments, tmp_path)):
        with pytest.raises(InputError, match="several GPUs"):
            start(SimpleNamespace(training=training))


def test_the_padded_baseline_keeps_the_labels(settings):
    job = settings.job("mrpc", "--do_train")
    padded = padded_to_the_maximum(job.splits.splits["train"], job.trainer.processing_class)
    assert padded["label"][:] == job.tokens["train"]["label"][:]
    assert set(lengths_of(padded)) == {64}


def test_a_failure_in_a_stepped_training_reaches_the_caller(settings):
    trainer, _ = loop.sides(settings)
    with pytest.raises(RuntimeError, match="ended before"), Stepper(trainer) as stepper:
        for _ in range(99):
            stepper.step()


def test_copying_the_model_is_no_part_of_a_bare_run(settings, monkeypatch):
    monkeypatch.setattr(grid, "SAMPLES", 32)
    bare, copied, clock = grid.BareRun(settings), [], iter((5.0, 2.0))
    counting = SimpleNamespace(deepcopy=lambda model: copied.append(True) or copy.deepcopy(model))
    monkeypatch.setattr(grid, "copy", counting)

    def timed(device, work):
        before = len(copied)
        work()
        assert len(copied) == before
        return next(clock)

    monkeypatch.setattr(grid, "timed", timed)
    weights = {name: value.clone() for name, value in bare.job.model.state_dict().items()}
    assert bare() == 7.0 and bare.training_s == [5.0] and copied
    assert all(torch.equal(weights[name], value) for name, value in bare.job.model.state_dict().items())


def test_peaks_of_memory_are_of_processes_in_turns_and_compared_pair_by_pair(settings, monkeypatch):
    started = []

    def peak(sizes, hype_type):
        started.append(hype_type)
        return (len(started) + 2) << 20

    monkeypatch.setattr(geometry, "SIZES", {"tiny": TINY})
    monkeypatch.setattr(geometry, "peak_memory_bytes", peak)
    (normal, uniform), details = overhead.measure_memory(replace(settings, repeats=5), {"peak memory": 1.01})
    assert started == [None, "normal", "uniform"] * 5
    assert details["tiny: peak MiB"]["vanilla"] == [3, 6, 9, 12, 15]
    assert (normal["n"], normal["largest"], uniform["smallest"]) == (5, 4 / 3, 17 / 15)


def test_the_bound_of_hype_is_the_cheapest_technique_s_and_not_that_of_less_dropout(settings, monkeypatch):
    costs = {
        "vanilla": 10,
        "HyPe-N": 9,
        "no hidden dropout": 8,
        "R-Drop": 20,
        "R3F": 18,
        "LNSR": 21,
        "Child-Tuning D": 11,
    }
    made_up = {name: [float(cost)] * 5 for name, cost in costs.items()}
    monkeypatch.setattr(methods, "_seconds", lambda settings: (made_up, {}))
    monkeypatch.setattr(methods, "_peak_mebibytes", lambda settings: made_up)
    found, _ = methods.measure(settings, {})
    assert {f["name"]: f["at_most"] for f in found if "at_most" in f} == {
        "HyPe-N: step time": 1.1, "HyPe-N: peak memory": 1.1,
    }  # fmt: skip
    assert "no hidden dropout: peak memory" in {f["name"] for f in found}


def test_the_pair_of_hype_differs_from_it_by_the_noise_alone(settings):
    flags = [methods.FLAGS[name].split() for name in ("HyPe-N", "no hidden dropout")]
    assert [flag for flag in flags[0] if flag not in flags[1]] == ["--hype_type", "normal", "--hype_eps", "1e-5"]
    rates = {m.p for m in settings.job("rte", f"--do_train {' '.join(flags[1])}").model.modules() if hasattr(m, "p")}
    assert rates == {0.0, 0.1}, "attention keeps its dropout"


def test_too_few_rows_are_told_before_the_measurement(settings):
    with pytest.raises(InputError, match=r"cola: 6080 training rows are needed, 112 are there"):
        methods.measure(replace(settings, repeats=63), {})


def test_a_run_without_a_step_that_counts_says_how_many_rows_it_needs(settings):
    with pytest.raises(InputError, match="rte: 33 training rows are needed; 20 are there"):
        measured_run.measure(settings.argv("rte", "--do_train --do_eval --num_train_epochs 1 --max_train_samples 20"))


FAULTS = """
import resource, sys
from hype.benchmark.pairs import keep_memory
if sys.argv[1] == "keep":
    keep_memory()
bytearray(2**26)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
bytearray(2**26)  # 64 MiB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator alone is told to keep memory")
def test_kept_memory_is_not_asked_for_anew():
    default, kept = (
        int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)
        for how in ("default", "keep")
    )
    assert default > 20 and kept <= 5  # pages of 4 KiB, or 32 of 2 MiB


def test_the_share_of_the_noise_is_that_of_its_calls(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(geometry, "now", lambda device: float(next(clock)))
    monkeypatch.setattr(geometry, "timed", lambda device, work: work() or 12.0)
    training = geometry.Training(TINY, torch.device("cpu"))
    assert training.step("normal", is_observed=True) == 12.0
    assert training.shares == [3 / 12], "three layers of one tick each"


def test_steps_of_the_geometry_take_noise_and_leave_none_behind():
    training = geometry.Training(TINY, torch.device("cpu"))
    assert training.step("uniform") > 0 and training.step() > 0
    assert not any(layer._forward_pre_hooks for layer in training.model.bert.encoder.layer)


@pytest.fixture
def is_small(monkeypatch):
    """Cut the benchmarks to what shows that they run."""
    monkeypatch.setattr(geometry, "SIZES", {"tiny": TINY})
    for module in (throughput, evaluation):
        monkeypatch.setattr(module, "TASKS", ("mrpc",))
    for module in (overhead, throughput, loop, methods):
        monkeypatch.setattr(module, "STEPS", 2)
    monkeypatch.setattr(methods, "TECHNIQUES", ("Child-Tuning D",))
    monkeypatch.setattr(methods, "COMPARED", ("HyPe-N", "no hidden dropout", "Child-Tuning D"))
    monkeypatch.setattr(grid, "SAMPLES", 32)


FIGURES = {
    "overhead": 4, "memory": 2, "dropout": 1, "throughput": 4, "loop": 1, "evaluation": 2, "start": 2, "methods": 6,
    "grid": 1,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", command.BENCHMARKS)
def test_each_benchmark_runs_end_to_end(name, tiny_folder, tmp_path, is_small, capsys):
    path = tmp_path / "benchmark.json"
    options = f"--output {path} --model_name_or_path {tiny_folder} --data_dir {SAMPLE} --repeats 1".split()
    assert command.main([name, *options]) == 0
    entry = json.loads(path.read_text())[name]
    found = entry["figures"]
    assert name != "methods" or entry["details"]["Child-Tuning D: seconds before training"] > 0
    assert len(found) == FIGURES[name] and all(f["median"] > 0 for f in found)
    assert all(f["n"] == (2 if "share of the step" in f["name"] else 1) for f in found), "shares are of single steps"
    assert capsys.readouterr().out.count(f"| {name} |") == FIGURES[name]
