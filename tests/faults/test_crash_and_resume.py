"""Faults at chosen places: what a crash, a signal, a full disk or a changed setting leaves, and what goes on."""

import functools
import json
import os
import resource
import shutil
import signal
from types import SimpleNamespace

import pytest

import main
from hype.errors import EnvironmentFault, InputError
from hype.files import write_json
from hype.training import finetune as run_module
from hype.training.checkpoints import is_complete, last_complete
from hype.training.interruption import StopCallback, stopping_on_signals
from hype.training.trainer import HyPeTrainer
from tests.faults.processes import ALL, NOISE, SETTINGS, Running, finish, outcome
from tests.training.test_checkpoints import trainer_of

# A training that ends in the middle of an epoch; a learning rate of 0 would hide a step too many.
SHORT = {**SETTINGS, **NOISE, "max_steps": 8, "save_steps": 2, "lr_scheduler_type": "constant"}
STRAIGHT = {}


@pytest.fixture
def straight(argv, tmp_path_factory) -> dict:
    """Return what the undisturbed short run leaves; made once."""
    if not STRAIGHT:
        folder = tmp_path_factory.mktemp("straight")
        finish(argv(*ALL, **SHORT, output_dir=folder / "run"), folder / "log")
        STRAIGHT.update(outcome(folder / "run"))
    return STRAIGHT


def exit_after_training():
    train = HyPeTrainer.train
    HyPeTrainer.train = lambda self, *args, **kwargs: (train(self, *args, **kwargs), os._exit(9))


def exit_before_the_record_is_finished():
    run_module.write_card = lambda *args: os._exit(9)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [exit_after_training, exit_before_the_record_is_finished])
def test_a_crash_behind_the_last_checkpoint_costs_no_training_and_changes_nothing(argv, tmp_path, straight, fault):
    """Trainer took one more step here, beyond max_steps."""
    command, log = argv(*ALL, **SHORT), tmp_path / "log"
    assert Running(command, log, fault).wait() == [9]
    assert "training" not in finish(command, log)
    assert outcome(tmp_path / "run") == straight


@pytest.mark.slow
def test_a_signal_ends_the_run_behind_a_checkpoint_of_its_step(argv, tmp_path, straight):
    command, log = argv(*ALL, **SHORT), tmp_path / "log"
    running, seen = Running(command, log), 0
    for phase in running.announced():
        seen += phase == "training"
        if seen == 5:
            running.signal(signal.SIGINT)
            break
    assert running.wait() == [130]
    newest = last_complete(tmp_path / "run")
    assert int(newest.name.removeprefix("checkpoint-")) in (5, 6, 7)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "interrupted"
    assert finish(command, log).count("training") == 8 - int(newest.name.removeprefix("checkpoint-"))
    assert outcome(tmp_path / "run") == straight


@pytest.mark.parametrize(
    ("options", "place", "count", "steps"),
    [
        ({}, "training_step", 2, 0),
        ({"eval_strategy": "steps", "eval_steps": 4}, "evaluate", 1, 4),
        ({"save_strategy": "no"}, "training_step", 1, 1),
    ],
    ids=["the second at once", "after the last step", "without checkpoints after the step"],
)
def test_a_signal_ends_a_training(tmp_path, options, place, count, steps):
    """After the last step, it was logged and forgotten: a sweep went on to its next run."""
    trainer, before = trainer_of(tmp_path, **options), signal.getsignal(signal.SIGTERM)
    trainer.add_callback(stop := StopCallback(keeps_checkpoint="save_strategy" not in options))
    method = getattr(trainer, place)

    def signalled(*args, **kwargs):
        for _ in range(count):
            os.kill(os.getpid(), signal.SIGTERM)
        return method(*args, **kwargs)

    setattr(trainer, place, signalled)
    with pytest.raises(SystemExit) as end, stopping_on_signals(stop):
        trainer.train()
    assert (end.value.code, trainer.state.global_step) == (143, steps)
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("place", "number", "code"), [("evaluate", signal.SIGTERM, 143), ("predict", signal.SIGINT, 130)]
)
def test_a_signal_in_evaluation_ends_in_one_line_with_its_code(
    argv, tmp_path, monkeypatch, capsys, place, number, code
):
    method = getattr(HyPeTrainer, place)

    def interrupted(*args, **kwargs):
        os.kill(os.getpid(), number)
        return method(*args, **kwargs)

    monkeypatch.setattr(HyPeTrainer, place, interrupted)
    assert main.main(argv(*ALL, max_steps=1, disable_tqdm=True)) == code
    assert "same command" in capsys.readouterr().err.rstrip().split("\n")[-1]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "interrupted"
    monkeypatch.undo()
    assert main.main(argv(*ALL, max_steps=1)) == 0


def test_a_checkpoint_without_optimizer_is_never_gone_on_from(tmp_path):
    trainer_of(tmp_path, save_only_model=True).train()
    assert (tmp_path / "checkpoint-4" / "model.safetensors").is_file()
    assert last_complete(tmp_path) is None


CHANGES = {
    "learning_rate": {"learning_rate": 1e-4}, "seed": {"seed": 7}, "max_seq_length": {"max_seq_length": 16},
    "hype_eps": {"hype_type": "normal", "hype_eps": 1e-3}, "mixout_p": {"mixout_p": 0.5},
    "data.train": {"max_train_samples": 40},
}  # fmt: skip


def test_changed_settings_are_refused_by_name_or_recorded(run, tiny_folder, tmp_path):
    model = shutil.copytree(tiny_folder, tmp_path / "model")
    flags = {"model_name_or_path": model, "max_steps": 2, "save_steps": 1}
    record = run("do_train", **flags)
    write_json(tmp_path / "run" / "run.json", {**record, "status": "running"})

    def assert_refused(field, **change):
        message = rf"holds another run.*({field}: .+ -> .+|content of {field} ).*--allow_changed"
        with pytest.raises(InputError, match=message):
            run("do_train", **{**flags, **change})

    for field, change in CHANGES.items():
        assert_refused(field, **change)
    for field, file, old, new in (
        ("model", "config.json", "1e-12", "1e-6"),
        ("tokenizer", "tokenizer.json", "Lowercase", "NFD"),
    ):
        content = (model / file).read_text(encoding="utf-8")
        assert old in content
        (model / file).write_text(content.replace(old, new), encoding="utf-8")
        assert_refused(field)
        (model / file).write_text(content, encoding="utf-8")
    changed = run("do_train", "allow_changed", **{**flags, "learning_rate": 1e-4})["changed"]
    assert changed == {"learning_rate": [1e-3, 1e-4]}


def full_disk(size):
    """Limit the size of files from checkpoint 4 on."""
    save = HyPeTrainer._save_checkpoint

    def limited(self, *args, **kwargs):
        if self.state.global_step == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        return save(self, *args, **kwargs)

    HyPeTrainer._save_checkpoint = limited


@pytest.mark.slow
@pytest.mark.parametrize("size", [50_000, 100_000], ids=["weights", "optimizer"])
def test_a_full_disk_ends_in_one_line_and_the_checkpoint_before_stays(argv, tmp_path, straight, size):
    """Files grow to `size` bytes at most from the second checkpoint on: weights have 84 kB, the optimiser's 193 kB."""
    command, log = argv(*ALL, **SHORT), tmp_path / "log"
    assert Running(command, log, functools.partial(full_disk, size)).wait() == [4]
    assert "error: cannot read or write" in log.read_text() and "Traceback" not in log.read_text()
    assert last_complete(tmp_path / "run") == tmp_path / "run" / "checkpoint-2"
    finish(command, log)
    assert outcome(tmp_path / "run") == straight


def test_a_disk_without_room_for_two_checkpoints_is_refused_before_training(run, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=300_000))
    monkeypatch.setattr(HyPeTrainer, "train", lambda *args, **kwargs: pytest.fail("trained"))
    with pytest.raises(EnvironmentFault, match=r"300,000 bytes are free, .* about \d{3},\d{3}"):
        run("do_train")


def test_a_run_that_keeps_nothing_needs_no_room(run, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    assert run("do_train", max_steps=1, save_strategy="no", save_model=False)["status"] == "finished"


def test_a_folder_that_cannot_be_made_is_a_fault_of_the_environment(argv, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main.main(argv("do_train", output_dir=tmp_path / "file" / "run")) == 4
    assert "choose a folder you can write" in capsys.readouterr().err


def test_a_link_in_the_place_of_a_checkpoint_is_not_followed(run, tmp_path):
    run("do_train", max_steps=2, save_steps=1)
    elsewhere = tmp_path / "elsewhere"
    shutil.move(tmp_path / "run" / "checkpoint-1", elsewhere)
    (tmp_path / "run" / "checkpoint-1").symlink_to(elsewhere)
    flags = {"max_steps": 2, "save_strategy": "no", "seed": 5}
    run("do_train", "overwrite_output_dir", **flags)
    assert is_complete(elsewhere), "overwriting removes what is in the folder alone"
