"""What a record says of its run, and of the code that made it."""

import os
import subprocess
import sys

import pytest
import torch

from hype.training import record as records
from hype.training.arguments import parse


def test_new_records_are_no_change_of_the_code_but_new_code_is(tmp_path, monkeypatch):
    """Every record but the first of a sweep used to call the code changed."""
    (tmp_path / "hype").mkdir()
    (tmp_path / "hype" / "training" / "record.py").write_text("")
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    monkeypatch.setattr(records, "__file__", str(tmp_path / "hype" / "training" / "record.py"))
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "run.json").write_text("{}")
    assert records._git_state()["dirty"] is False
    (tmp_path / "hype" / "new.py").write_text("")
    assert records._git_state()["dirty"] is True


def test_peak_memory_is_that_of_the_process_not_of_the_one_that_started_it():
    """getrusage gave the parent's peak to a child that needs less."""
    ballast = torch.ones(2**28)  # 1 GiB
    code = "import torch\nfrom hype.training import record\nprint(record.peak_memory_bytes(torch.device('cpu')))"
    child = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    own = records.peak_memory_bytes(torch.device("cpu"))
    assert own > ballast.nbytes and child < own - ballast.nbytes // 2


def test_a_record_names_the_instructions_that_round_its_numbers():
    assert records.describe_machine(torch.device("cpu"))["device"]["name"].endswith(
        f", {torch.backends.cpu.get_cpu_capability()}"
    )


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the system forgets no peaks")
def test_a_run_s_peak_is_not_that_of_an_earlier_one_in_its_process():
    code = """
import torch
from hype.training import record as records
device = torch.device("cpu")
torch.ones(2**28)  # 1 GiB, freed at once
before = records.peak_memory_bytes(device)
records.reset_peak_memory(device)
print(before - records.peak_memory_bytes(device))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 2**29


def test_on_a_gpu_the_allocator_s_peak_is_forgotten(monkeypatch):
    forgotten = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", forgotten.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 7)
    device = torch.device("cuda", 0)
    records.reset_peak_memory(device)
    assert forgotten == [device] and records.peak_memory_bytes(device) == 7


GUIDED = {"lr_scheduler_type": "reduce_lr_on_plateau", "metric_for_best_model": "eval_loss", "eval_strategy": "steps"}


@pytest.mark.parametrize("schedule", ["reduce_lr_on_plateau", "greedy"])
@pytest.mark.parametrize("change", [{"eval_steps": 6}, {"eval_strategy": "epoch"}, {"eval_delay": 4}])
def test_evaluations_that_steer_the_learning_rate_are_part_of_the_identity(argv, schedule, change):
    """The same run id stood for other weights; with any other schedule evaluations change nothing."""

    def identity(**flags):
        return records.identity_of(
            parse(argv("do_train", **{**GUIDED, "eval_steps": 1, **flags})), {}, {"fingerprint": ""}
        )

    assert identity(lr_scheduler_type=schedule) != identity(lr_scheduler_type=schedule, **change)
    assert identity(lr_scheduler_type="linear") == identity(lr_scheduler_type="linear", **change)


def test_a_delay_of_the_evaluations_decides_which_model_is_the_best(argv):
    def identity(**flags):
        best = {"eval_strategy": "steps", "eval_steps": 2, "save_steps": 2, "load_best_model_at_end": "true"}
        return records.identity_of(parse(argv("do_train", **{**best, **flags})), {}, {"fingerprint": ""})

    assert identity() != identity(eval_delay=4)


@pytest.mark.parametrize(
    ("flags", "label"),
    [
        ({}, "vanilla, dropout of the checkpoint"),
        ({"neftune_noise_alpha": 5}, "NEFTune 5, dropout of the checkpoint"),
        (
            {"hype_type": "normal", "label_smoothing_factor": 0.1, "dropout_rate": 0},
            "HyPe-N 1e-05 + label smoothing 0.1, dropout 0",
        ),
    ],
)
def test_the_label_names_what_makes_a_run_other_than_vanilla(argv, flags, label):
    assert records.method_label(parse(argv("do_train", **flags)), []) == label
