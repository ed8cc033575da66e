"""Runs end as they should whatever happens to one of them, to the process that does them, or to their files."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tqdm import tqdm

from hype.errors import EnvironmentFault, InputError
from hype.reproduction import execution, executors
from hype.reproduction.__main__ import main
from hype.reproduction.execution import execute
from hype.reproduction.executors import drive, sequential
from hype.reproduction.experiments import Method, load
from hype.reproduction.runs import expand
from hype.reproduction.status import state_of
from hype.training.run_folder import locked
from hype.training.trainer import HyPeTrainer
from tests.reproduction.small_runs import ROOT, argv_of, lasting, overrides, specs_in


@pytest.fixture(autouse=True)
def _short_polls(monkeypatch):
    monkeypatch.setattr(executors, "POLL_S", 0.05)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, model):
    """Four finished runs, which saved checkpoints on their way."""
    specs = specs_in(tmp_path_factory.mktemp("undisturbed"), model, flags={"save_strategy": "steps", "save_steps": 1})
    assert [outcome.status for _, outcome in sequential(specs, retry=False)] == ["finished"] * 4
    return specs


@pytest.fixture(scope="module")
def straight(undisturbed):
    """The records of the four runs that nothing disturbed, by the folder's name."""
    records = {spec.folder.name: lasting(spec.folder) for spec in undisturbed}
    assert all(name.endswith(record["run_id"]) for name, record in records.items())
    return records


def start_driver(results_dir, model, cache) -> subprocess.Popen:
    environment = {**os.environ, "HF_DATASETS_CACHE": str(cache), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "hype.reproduction", *argv_of(results_dir, model, "--run")]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=ROOT, start_new_session=True
    )


def wait_for(driver: subprocess.Popen, text: str) -> str:
    """Read the driver's progress until it shows `text`."""
    shown = b""
    while text.encode() not in shown:
        read = os.read(driver.stderr.fileno(), 4096)
        assert read, f"ended before {text!r}: {shown.decode()}"
        shown += read
    return shown.decode()


def attempts(specs) -> list[int]:
    """Count, per run, the attempts that trained to the end."""
    return [spec.log_path.read_text(encoding="utf-8").count("ended: finished") for spec in specs]


def test_finished_runs_are_left_alone_and_keep_neither_weights_nor_checkpoints(undisturbed, monkeypatch):
    results = undisturbed[0].folder.parent
    assert not list(results.rglob("*.safetensors")) and not list(results.rglob("checkpoint-*"))
    monkeypatch.setattr(execution, "finetune", lambda arguments: pytest.fail("run again"))
    assert [outcome.status for _, outcome in sequential(undisturbed, retry=False)] == ["finished"] * 4


@pytest.mark.slow
def test_a_driver_killed_in_the_middle_is_gone_on_with_and_ends_in_the_same_records(tmp_path, model, cache, straight):
    driver = start_driver(tmp_path, model, cache)
    try:
        wait_for(driver, " 2/4")
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.communicate()
    specs = specs_in(tmp_path, model)
    statuses = [state_of(spec).status for spec in specs]
    assert 2 <= statuses.count("finished") < 4
    assert main(argv_of(tmp_path, model, "--run")) == 0
    assert {spec.folder.name: lasting(spec.folder) for spec in specs} == straight
    assert attempts(specs) == [1, 1, 1, 1]


@pytest.mark.slow
def test_two_drivers_at_once_share_the_runs_and_spoil_nothing(tmp_path, model, cache, straight, capsys):
    driver = start_driver(tmp_path, model, cache)
    try:
        wait_for(driver, " 0/4")
        assert main(argv_of(tmp_path, model, "--run")) == 0
        output, _ = driver.communicate()
    finally:
        driver.kill()
    assert driver.returncode == 0
    specs = specs_in(tmp_path, model)
    assert {spec.folder.name: lasting(spec.folder) for spec in specs} == straight
    assert attempts(specs) == [1, 1, 1, 1], "no run was done twice"
    assert output.decode() == capsys.readouterr().out, "both show the same table"


def test_a_run_that_another_process_holds_comes_last(tmp_path, model):
    specs = specs_in(tmp_path, model, seeds=(1,))
    ended = []
    with locked(specs[0].folder):
        outcomes = sequential(specs, retry=False)
        ended.append(next(outcomes)[0])
    ended += [spec for spec, _ in outcomes]
    assert ended == specs[::-1]


def test_a_run_that_fails_or_diverges_is_recorded_and_the_others_go_on(tmp_path, model, monkeypatch):
    methods = (
        Method("diverging", {"noise_lambda": 1e38}),
        Method("failing", {"hype_type": "normal", "hype_low_layers": 99}),
        Method("vanilla", {"dropout_rate": 0.1}),
    )
    experiment = replace(load("table_8"), methods=methods)
    specs = expand(experiment, overrides(model, methods=None, seeds=(1,)), tmp_path)
    outcomes = dict(sequential(specs, retry=False))
    assert [outcomes[spec].status for spec in specs] == ["diverged", "failed", "finished"]
    states = [state_of(spec) for spec in specs]
    assert [state.status for state in states] == ["diverged", "failed", "finished"]
    assert "loss" in states[0].error and "99" in states[1].error
    log = specs[1].log_path.read_text()
    assert "99" in log and log.endswith("ended: failed\n")
    # Not tried again, unless asked.
    calls = []
    monkeypatch.setattr(execution, "finetune", calls.append)
    assert [execute(spec).status for spec in specs[:2]] == ["diverged", "failed"] and calls == []
    execute(specs[1], retry=True)
    assert len(calls) == 1


def test_a_stopped_run_is_no_failed_one(tmp_path, model, straight, monkeypatch):
    spec = specs_in(tmp_path, model)[0]
    steps, step = [], HyPeTrainer.training_step

    def interrupt(self, *args, **kwargs):
        steps.append(None)
        if len(steps) == 2:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    monkeypatch.setattr(HyPeTrainer, "training_step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        execute(spec)
    assert state_of(spec).status == "interrupted"
    assert execute(spec).status == "finished"
    assert lasting(spec.folder) == straight[spec.folder.name]


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"schema": 2, "status": "finished", "identity": {}, "run_id": "a", "timings": null}',
        '{"schema": 2, "status": "finished", "identity": {}, "run_id": "a", "timings": {}, "score": "x"}',
    ],
)
def test_a_damaged_record_is_named_and_only_overwritten_on_request(tmp_path, model, straight, content):
    spec = specs_in(tmp_path, model)[0]
    spec.folder.mkdir(parents=True)
    (spec.folder / "run.json").write_text(content)
    outcome = execute(spec)
    assert outcome.status == "damaged" and str(spec.folder / "run.json") in outcome.error
    assert "\n" not in outcome.error
    assert (spec.folder / "run.json").read_text() == content
    if content == "":
        assert execute(spec, retry=True).status == "finished"
        record, expected = lasting(spec.folder), straight[spec.folder.name]
        assert record["score"] == expected["score"] and record["metrics"] == expected["metrics"]


def test_a_record_of_another_version_is_no_damaged_one(tmp_path, model, capsys):
    """--retry_failed would remove it."""
    spec = specs_in(tmp_path, model)[0]
    spec.folder.mkdir(parents=True)
    (spec.folder / "run.json").write_text('{"schema": 1, "status": "finished", "identity": {}}')
    for switch in ("--show", "--run"):
        assert main(argv_of(tmp_path, model, switch, "--retry_failed")) == 2
        assert "written by another version" in capsys.readouterr().err
    assert "schema" in (spec.folder / "run.json").read_text()


def test_a_run_that_failed_by_its_command_alone_is_not_tried_again(tmp_path, model):
    """Its record says so; the file that a driver adds is missing."""
    spec = specs_in(tmp_path, model)[0]
    spec.folder.mkdir(parents=True)
    (spec.folder / "run.json").write_text('{"schema": 2, "status": "failed", "identity": {}, "error": "a reason"}')
    assert (execute(spec).status, execute(spec).error) == ("failed", "a reason")


@pytest.mark.parametrize(
    ("error", "tried"),
    [
        (EnvironmentFault("the hub is out of reach"), 1),
        (torch.AcceleratorError("the hub is out of reach"), 1),
        (InputError("a wrong flag"), 4),
    ],
)
def test_a_grid_stops_at_the_first_fault_of_the_environment_alone(error, tried, tmp_path, model, monkeypatch, capsys):
    """Offline, 576 runs once failed one after another."""
    calls = []

    def fail(*args, **kwargs):
        calls.append(args)
        raise error

    monkeypatch.setattr("hype.training.finetune.require_space", fail)
    code = main(argv_of(tmp_path, model, "--run"))
    assert len(calls) == tried and code == (4 if tried == 1 else 1)
    shown = capsys.readouterr().err
    assert "the hub is out of reach; the same command continues" in shown if tried == 1 else "a wrong flag" in shown
    expected = {"interrupted", "missing"} if tried == 1 else {"failed"}
    assert {state_of(spec).status for spec in specs_in(tmp_path, model)} == expected
    monkeypatch.undo()
    assert main(argv_of(tmp_path, model, "--run")) == (0 if tried == 1 else 1)


def test_a_log_that_cannot_be_written_stops_the_grid_with_one_line(tmp_path, model, capsys):
    (tmp_path / "logs").write_text("")
    assert main(argv_of(tmp_path, model, "--run")) == 4
    assert capsys.readouterr().err.strip().splitlines()[-1].count("File exists") == 1


def test_progress_names_the_run_its_step_and_its_log(tmp_path, model, capsys):
    spec = specs_in(tmp_path, model)[0]
    bar = tqdm(total=1)
    drive(sequential([spec], False, bar), bar)
    error = capsys.readouterr().err
    assert f"[1/1] {spec.folder.name} (log: {spec.log_path})" in error
    assert "/3 [" in error, "48 examples are 3 steps"
    assert "\r" not in spec.log_path.read_text()


def test_progress_and_logs_of_a_run_go_to_its_log_file(tmp_path, model, capsys):
    spec = specs_in(tmp_path, model)[0]
    execute(spec)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert spec.command in spec.log_path.read_text()


@pytest.fixture
def on_ray(cache, monkeypatch):
    """Return the executor, for a local cluster whose workers use one thread and the cache of these tests."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install -r requirements-ray.txt")
    for name, value in {"HF_DATASETS_CACHE": str(cache), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return executors.on_ray


@pytest.mark.slow
def test_ray_ends_in_the_same_records_although_a_worker_is_killed(tmp_path, model, on_ray, straight, monkeypatch):
    monkeypatch.setenv("RAY_OVERRIDE_RESOURCES", '{"CPU": 1}')  # one run at a time: the worker has a next one
    specs, ended = specs_in(tmp_path, model, seeds=(1,)), {}
    for spec, outcome in on_ray(specs, False, cpus=1, gpus=0):
        if not ended:
            # The lock names the process of a run: that of the first is a worker, which takes the next run.
            os.kill(json.loads((spec.folder / ".lock.json").read_text())["pid"], signal.SIGKILL)
        ended[spec] = outcome.status
    assert ended == dict.fromkeys(specs, "finished")
    assert len(specs) == 2 and all(lasting(spec.folder) == straight[spec.folder.name] for spec in specs)


@pytest.mark.slow
def test_ray_starts_a_process_for_each_run_on_a_gpu(on_ray, monkeypatch):
    monkeypatch.setenv("RAY_OVERRIDE_RESOURCES", '{"CPU": 1, "GPU": 1}')
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(executors, "_execute_in", lambda *of_run: SimpleNamespace(status="finished", pid=os.getpid()))
    assert len({outcome.pid for _, outcome in on_ray(["first", "second"], False)}) == 2


def test_without_ray_one_line_says_what_to_install(tmp_path, model, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(argv_of(tmp_path, model, "--run", "--executor", "ray")) == 4
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: --executor ray") and "pip install -r requirements-ray.txt" in error
