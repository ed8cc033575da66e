"""The network, the processes of the loader, memory: what fails around a run is told from wrong input and from bugs."""

import json
import os
import socket

import pytest
import torch
from huggingface_hub import constants
from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding

import main
from hype.files import write_failure
from hype.training import record as records
from hype.training.trainer import HyPeTrainer
from tests.faults.processes import ALL, NOISE, outcome


def status(tmp_path) -> str:
    return json.loads((tmp_path / "run" / "run.json").read_text())["status"]


def test_a_run_on_local_files_opens_no_connection(run, monkeypatch):
    asked = []
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, lambda self, address: asked.append(address) or 1)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: asked.append(args) or [])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    run(*ALL, max_steps=2, **NOISE)
    assert asked == []


def test_a_run_is_recorded_as_failed_though_a_signal_handler_raises_meanwhile(run, tmp_path, monkeypatch):
    write, raised = records.write_json, []

    def interrupted(path, content):
        if content["status"] == "failed" and not raised:
            raised.append("DataLoader worker (pid 1) is killed by signal")
            raise RuntimeError(raised[0])
        write(path, content)

    monkeypatch.setattr(records, "write_json", interrupted)
    monkeypatch.setattr(HyPeTrainer, "train", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("do_train")
    assert raised and status(tmp_path) == "failed"


def test_a_dead_loader_process_fails_the_run_which_then_goes_on(run, tmp_path, monkeypatch):
    flags = {**NOISE, "dataloader_num_workers": 1, "save_steps": 2}
    run(*ALL, **flags, output_dir=tmp_path / "straight")
    collate = DataCollatorWithPadding.__call__

    def dying(self, rows):
        # The prefetched third batch or a later one: checkpoint 2 may or may not be there.
        if torch.utils.data.get_worker_info() is not None and os.path.exists(tmp_path / "run" / "checkpoint-2"):
            os._exit(1)
        return collate(self, rows)

    monkeypatch.setattr(DataCollatorWithPadding, "__call__", dying)
    # torch tells the death, or reading a batch that the dead process still held.
    with pytest.raises((RuntimeError, OSError, EOFError)):
        run(*ALL, **flags)
    assert status(tmp_path) == "failed"
    monkeypatch.undo()
    run(*ALL, **flags)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "straight")


STEP, LOAD = (HyPeTrainer, "training_step"), (AutoModelForSequenceClassification, "from_pretrained")


@pytest.mark.parametrize(
    ("place", "error"),
    [
        (STEP, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")),
        (STEP, MemoryError()),
        (LOAD, RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes.")),
    ],
)
def test_out_of_memory_is_a_fault_of_the_environment_and_says_what_to_lower(argv, capsys, monkeypatch, place, error):
    def full(*args, **kwargs):
        raise error

    monkeypatch.setattr(*place, full)
    assert main.main(argv("do_train")) == 4
    shown = capsys.readouterr().err
    assert "error: out of memory" in shown and "--per_device_train_batch_size" in shown


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError(2, "No such file"), ValueError("x"), KeyError("x")])
def test_a_bug_is_shown_as_one(argv, tmp_path, monkeypatch, error):
    def failing(self, *args, **kwargs):
        raise error

    monkeypatch.setattr(HyPeTrainer, "training_step", failing)
    with pytest.raises(type(error)):
        main.main(argv("do_train"))
    assert status(tmp_path) == "failed"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError(122, "Disk quota exceeded"), "Disk quota exceeded"),
        (OSError(2, "No such file or directory"), None),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), os.strerror(28)),
        (RuntimeError("I/O error: No such file or directory (os error 2)"), None),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"), "torch.save failed"),
        (RuntimeError("PytorchStreamReader failed reading zip archive"), None),
    ],
)
def test_a_failed_write_is_told_from_other_errors(error, reason):
    assert write_failure(error) == reason
