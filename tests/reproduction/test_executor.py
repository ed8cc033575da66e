"""Runs end as they should whatever happens to one of them, to the process that does them, or to their files."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import datasets
import pytest

from hype.reproduction import executor
from hype.reproduction.__main__ import main
from hype.reproduction.executor import execute, in_turn
from hype.reproduction.expansion import expand
from hype.reproduction.experiments import Method, load
from hype.reproduction.state import state_of
from hype.reproduction.tables import runs_table
from hype.training.checkpoints import locked
from tests.reproduction.small_runs import ROOT, argv_of, cells_in, lasting, narrowing, write_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny_model"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(cache))
    monkeypatch.setattr(executor, "POLL_S", 0.05)


@pytest.fixture(scope="module")
def straight(tmp_path_factory, model, cache):
    """The records of four runs that nothing disturbed, by the folder's name."""
    cells = cells_in(tmp_path_factory.mktemp("straight"), model)
    before, datasets.config.HF_DATASETS_CACHE = datasets.config.HF_DATASETS_CACHE, str(cache)
    try:
        assert [outcome.status for _, outcome in in_turn(cells)] == ["finished"] * 4
    finally:
        datasets.config.HF_DATASETS_CACHE = before
    return {cell.folder.name: lasting(cell.folder) for cell in cells}


def start_driver(results_dir, model, cache, *options) -> subprocess.Popen:
    environment = {**os.environ, "HF_DATASETS_CACHE": str(cache), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "hype.reproduction", *argv_of(results_dir, model, "--run", *options)]
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


def attempts(cells) -> list[int]:
    """Count, per run, the attempts that trained to the end."""
    return [cell.log_path.read_text(encoding="utf-8").count("ended: finished") for cell in cells]


def test_finished_runs_are_left_alone_and_keep_neither_weights_nor_checkpoints(tmp_path, model, straight, monkeypatch):
    cells = cells_in(tmp_path, model)
    assert [outcome.status for _, outcome in in_turn(cells)] == ["finished"] * 4
    assert {cell.folder.name: lasting(cell.folder) for cell in cells} == straight, "a second time, the same records"
    assert not list(tmp_path.rglob("*.safetensors")) and not list(tmp_path.rglob("checkpoint-*"))
    monkeypatch.setattr(executor, "finetune", lambda arguments: pytest.fail("run again"))
    assert [outcome.status for _, outcome in in_turn(cells)] == ["finished"] * 4


@pytest.mark.slow
def test_a_driver_killed_in_the_middle_is_gone_on_with_and_ends_in_the_same_records(tmp_path, model, cache, straight):
    driver = start_driver(tmp_path, model, cache)
    try:
        wait_for(driver, " 2/4")
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.communicate()
    cells = cells_in(tmp_path, model)
    statuses = [state_of(cell).status for cell in cells]
    assert 2 <= statuses.count("finished") < 4
    assert main(argv_of(tmp_path, model, "--run")) == 0
    assert {cell.folder.name: lasting(cell.folder) for cell in cells} == straight
    assert attempts(cells) == [1, 1, 1, 1]


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
    cells = cells_in(tmp_path, model)
    assert {cell.folder.name: lasting(cell.folder) for cell in cells} == straight
    assert attempts(cells) == [1, 1, 1, 1], "no run was done twice"
    assert output.decode() == capsys.readouterr().out, "both show the same table"


def test_a_run_that_another_process_holds_comes_last(tmp_path, model):
    cells = cells_in(tmp_path, model, seeds=(1,))
    ended = []
    with locked(cells[0].folder):
        outcomes = in_turn(cells)
        ended.append(next(outcomes)[0])
    ended += [cell for cell, _ in outcomes]
    assert ended == cells[::-1]


def unlucky_cells(results_dir, model):
    """Three runs: one diverges, one fails, one is good."""
    broken = [
        Method("diverging", {"noise_lambda": 1e38}),
        Method("failing", {"hype_type": "normal", "hype_top_layers": 99}),
        Method("vanilla", {"dropout_rate": 0.1}),
    ]
    experiment = replace(load("table_8"), methods=tuple(broken))
    return expand(experiment, narrowing(model, methods=None, seeds=(1,)), results_dir)


def test_a_run_that_fails_or_diverges_is_recorded_and_the_others_go_on(tmp_path, model, monkeypatch):
    cells = unlucky_cells(tmp_path, model)
    outcomes = dict(in_turn(cells))
    assert [outcomes[cell].status for cell in cells] == ["diverged", "failed", "finished"]
    states = [state_of(cell) for cell in cells]
    assert [state.status for state in states] == ["diverged", "failed", "finished"]
    assert "DivergedError" in states[0].error and "99" in states[1].error
    failure = json.loads(cells[1].failure_path.read_text())
    assert "ended: failed" in failure["log_tail"][-1] and any("99" in line for line in failure["log_tail"])
    # Not tried again, unless asked.
    calls = []
    monkeypatch.setattr(executor, "finetune", calls.append)
    assert [execute(cell).status for cell in cells[:2]] == ["diverged", "failed"] and calls == []
    execute(cells[1], retry=True)
    assert len(calls) == 1


def test_what_failed_is_done_once_its_cause_is_gone_and_it_is_asked_for(tmp_path, model, monkeypatch):
    cell = cells_in(tmp_path, model)[0]
    with monkeypatch.context() as context:
        context.setattr(executor, "finetune", lambda arguments: (_ for _ in ()).throw(RuntimeError("a bug")))
        assert execute(cell).error == "RuntimeError: a bug"
    assert "Traceback" in cell.log_path.read_text()
    assert execute(cell).status == "failed"
    assert execute(cell, retry=True).status == "finished"
    assert not cell.failure_path.exists()


def test_a_stopped_run_is_no_failed_one(tmp_path, model, straight, monkeypatch):
    cell = cells_in(tmp_path, model)[0]
    stop = {"at": "on_step_end"}

    def interrupt(self, *args, **kwargs):
        if stop:
            stop.clear()
            raise KeyboardInterrupt

    monkeypatch.setattr("hype.training.trainer._StepCallback.on_step_end", interrupt)
    with pytest.raises(KeyboardInterrupt):
        execute(cell)
    assert state_of(cell).status == "interrupted"
    assert execute(cell).status == "finished"
    assert lasting(cell.folder) == straight[cell.folder.name]


@pytest.mark.parametrize(
    "content",
    [
        '{"status": "fin', "", "[]", "\x00\x00", '{"status": "finished", "identity": {}}',
        '{"status": "finished", "identity": {}, "run_id": "a", "timings": null}',
        '{"status": "finished", "identity": {}, "run_id": "a", "timings": {}, "score": "x"}',
    ],
)  # fmt: skip
def test_a_damaged_record_is_named_and_only_overwritten_on_request(tmp_path, model, straight, content):
    cell = cells_in(tmp_path, model)[0]
    cell.folder.mkdir(parents=True)
    (cell.folder / "run.json").write_text(content)
    outcome = execute(cell)
    assert outcome.status == "damaged" and str(cell.folder / "run.json") in outcome.error
    assert "\n" not in outcome.error
    assert (cell.folder / "run.json").read_text() == content
    if content == "":
        assert execute(cell, retry=True).status == "finished"
        record, expected = lasting(cell.folder), straight[cell.folder.name]
        assert record["score"] == expected["score"] and record["metrics"] == expected["metrics"]


def test_a_failed_record_that_says_nothing_is_gone_on_with(tmp_path, model):
    cell = cells_in(tmp_path, model)[0]
    cell.folder.mkdir(parents=True)
    (cell.folder / "run.json").write_text('{"status": "failed", "identity": {}, "error": null}')
    assert state_of(cell).status == "failed" and execute(cell).status == "failed"


def test_files_of_a_process_killed_at_its_first_write_do_not_stand_in_the_way(tmp_path, model):
    cell = cells_in(tmp_path, model)[0]
    cell.folder.mkdir(parents=True)
    for name in (".lock", "..lock.json.4711", ".run.json.4711"):
        (cell.folder / name).write_text("{")
    assert execute(cell).status == "finished"


def test_a_model_that_is_asked_for_is_made_where_it_was_not_kept(tmp_path, model, straight):
    cell = cells_in(tmp_path, model)[0]
    execute(cell)
    needed = replace(cell, keeps_model=True, argv=tuple("true" if a == "false" else a for a in cell.argv))
    assert state_of(needed).status == "model missing" and state_of(cell).status == "finished"
    assert execute(needed).status == "finished"
    assert (cell.folder / "model.safetensors").exists()
    assert lasting(cell.folder)["score"] == straight[cell.folder.name]["score"]
    assert execute(cell).status == "finished" and (cell.folder / "model.safetensors").exists(), "and it stays"


def test_a_finished_record_outlives_a_remake_that_fails(tmp_path, model, monkeypatch):
    cell = cells_in(tmp_path, model)[0]
    execute(cell)
    score = state_of(cell).record["score"]
    needed = replace(cell, keeps_model=True, argv=tuple("true" if a == "false" else a for a in cell.argv))
    with monkeypatch.context() as context:
        context.setattr(
            "hype.training.trainer.HyPeTrainer.train", lambda *args: (_ for _ in ()).throw(RuntimeError("a bug"))
        )
        assert execute(needed).status == "failed"
    for asked in (cell, needed):
        state = state_of(asked)
        assert state.status == "failed" and state.record["score"] == score
        table = runs_table(load("table_8"), [asked], [state])
        assert table["status"].tolist() == ["finished"] and table["score"].tolist() == [score]
    assert execute(needed, retry=True).status == "finished"
    assert (cell.folder / "model.safetensors").exists() and not cell.kept_record_path.exists()
    cell.kept_record_path.write_text("{")
    assert state_of(needed).status == "finished", "what a kill leaves behind the end does not count"


def test_a_full_disk_fails_each_run_with_one_line(tmp_path, model, monkeypatch):
    cells = cells_in(tmp_path, model)[:2]

    def no_space(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(executor, "finetune", no_space)
    monkeypatch.setattr(executor, "write_failure", no_space)
    for _, outcome in in_turn(cells):
        assert outcome.status == "failed" and "No space left" in outcome.error


def test_progress_and_logs_of_a_run_go_to_its_log_file(tmp_path, model, capsys):
    cell = cells_in(tmp_path, model)[0]
    execute(cell)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert cell.command in cell.log_path.read_text()


@pytest.mark.slow
def test_ray_ends_in_the_same_records_although_a_worker_is_killed(tmp_path, model, cache, straight, monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed: pip install -r requirements-ray.txt")
    from hype.reproduction.ray_executor import on_ray

    for name, value in {"HF_DATASETS_CACHE": str(cache), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    cells, ended = cells_in(tmp_path, model), {}
    for cell, outcome in on_ray(cells, cpus=1, gpus=0):
        if not ended:
            # The lock names the process of a run: that of the first is a worker, which takes the next run.
            os.kill(json.loads((cell.folder / ".lock.json").read_text())["pid"], signal.SIGKILL)
        ended[cell] = outcome.status
    assert ended == dict.fromkeys(cells, "finished")
    assert {cell.folder.name: lasting(cell.folder) for cell in cells} == straight


def test_without_ray_one_line_says_what_to_install(tmp_path, model, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(argv_of(tmp_path, model, "--run", "--executor", "ray")) == 4
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: --executor ray") and "pip install -r requirements-ray.txt" in error
