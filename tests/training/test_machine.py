"""What a record says about the machine, and the end of a process group."""

import gc
import os
import subprocess
import sys
import weakref

import pytest
import torch

from hype.training import machine


def test_new_records_are_no_change_of_the_code_but_new_code_is(tmp_path, monkeypatch):
    """Every record of a sweep except the first used to report changed code."""
    (tmp_path / "hype" / "training").mkdir(parents=True)
    (tmp_path / "hype" / "training" / "machine.py").write_text("")
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "hype" / "training" / "machine.py"))
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "run.json").write_text("{}")
    assert machine.describe_machine(torch.device("cpu"))["git"]["dirty"] is False
    (tmp_path / "hype" / "new.py").write_text("")
    assert machine.describe_machine(torch.device("cpu"))["git"]["dirty"] is True


def test_peak_memory_is_that_of_the_process_not_of_the_one_that_started_it():
    """getrusage reported the parent's peak for a child that needs less."""
    ballast = torch.ones(2**28)  # 1 GiB
    code = "import torch\nfrom hype.training import machine\nprint(machine.peak_memory_bytes(torch.device('cpu')))"
    child = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    own = machine.peak_memory_bytes(torch.device("cpu"))
    assert own > ballast.nbytes and child < own - ballast.nbytes // 2


def test_a_record_names_the_instructions_that_round_its_numbers():
    assert machine.describe_machine(torch.device("cpu"))["device"]["name"].endswith(
        f", {torch.backends.cpu.get_cpu_capability()}"
    )


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the system forgets no peaks")
def test_a_run_s_peak_is_not_that_of_an_earlier_one_in_its_process():
    torch.ones(2**28)  # 1 GiB, freed at once
    before = machine.peak_memory_bytes(torch.device("cpu"))
    machine.reset_peak_memory(torch.device("cpu"))
    assert before - machine.peak_memory_bytes(torch.device("cpu")) > 2**29


def test_the_process_group_ends_though_a_cycle_holds_it(tmp_path):
    """If it stays alive, so do its threads, which abort some processes while the interpreter shuts down."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    gc.disable()  # as main.py does while it imports
    try:
        cycle = {"group": torch.distributed.group.WORLD}
        cycle["self"] = cycle
        group = weakref.ref(cycle["group"])
        del cycle
        machine.leave_process_group()
        assert group() is None and not torch.distributed.is_initialized()
    finally:
        gc.enable()
    machine.leave_process_group()  # without a group, nothing happens
