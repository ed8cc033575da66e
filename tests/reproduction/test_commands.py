"""The command line: what each action prints, what is refused, how runs are told to be done elsewhere."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import datasets
import pytest

from hype.parsing import parse
from hype.reproduction import executor
from hype.reproduction.__main__ import main
from hype.reproduction.experiments import NAMES
from hype.reproduction.options import parser
from hype.reproduction.state import state_of
from tests.reproduction.small_runs import ROOT, argv_of, cells_in, write_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny_model"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GLUE_DIR", raising=False)


def test_a_dry_run_counts_and_estimates_and_touches_nothing(tmp_path, model, capsys):
    assert main(argv_of(tmp_path / "results", model, "--dry_run")) == 0
    text = capsys.readouterr().out
    assert "4 runs: 4 missing" in text and "to do: 4 runs, no record yet" in text
    assert "narrowed, not the paper's experiment" in text
    assert not (tmp_path / "results").exists()
    executor.execute(cells_in(tmp_path / "results", model)[0])
    assert main(argv_of(tmp_path / "results", model, "--dry_run")) == 0
    text = capsys.readouterr().out
    assert "4 runs: 1 finished, 3 missing" in text and "to do: 3 runs, 0:00:0" in text


def test_commands_are_one_shell_line_per_run_that_main_takes(tmp_path, model, capsys):
    assert main(argv_of(tmp_path, model, "--commands")) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = cells_in(tmp_path, model)
    assert len(lines) == len(cells) == 4
    for line, cell in zip(lines, cells, strict=True):
        python, script, *argv = shlex.split(line)
        assert Path(python).exists() and Path(script) == ROOT / "main.py"
        assert tuple(argv) == cell.argv
        assert parse(argv).training.output_dir == str(cell.folder)


def test_a_reader_who_has_seen_enough_ends_it_without_a_traceback():
    command = [sys.executable, "-m", "hype.reproduction", "table_1", "--commands"]  # more than a pipe holds
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert "main.py" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 128 + signal.SIGPIPE


def test_a_run_of_the_printed_command_counts_as_done(tmp_path, model, capsys):
    from hype.run import run

    cell = cells_in(tmp_path, model)[0]
    run(parse(list(cell.argv)))
    assert state_of(cell).status == "finished"


def test_run_shows_the_table_and_says_that_it_is_narrowed(tmp_path, model, capsys):
    assert main(argv_of(tmp_path, model, "--run")) == 0
    captured = capsys.readouterr()
    assert "table_8: 4 runs: 4 finished" in captured.err
    assert "narrowed, not the paper's experiment" in captured.out and "n 2" in captured.out
    stand_in = f"{'/'.join(model.parts[-2:])} for bert-large"
    assert f"\n{stand_in}\n" in captured.out and "\nbert-large\n" not in captured.out
    assert main(argv_of(tmp_path, model, "--show")) == 0
    assert capsys.readouterr().out == captured.out
    assert main(argv_of(tmp_path, model, "--report")) == 0
    written = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert {path.suffix for path in written} >= {".md", ".html", ".csv"}
    for path in written:
        if path.suffix in (".md", ".html"):
            assert "not the paper" in path.read_text(encoding="utf-8")
            assert stand_in in path.read_text(encoding="utf-8")


def test_missing_runs_show_as_a_dash(tmp_path, model, capsys):
    assert main(argv_of(tmp_path, model, "--show")) == 0
    text = capsys.readouterr().out
    row = next(line for line in text.splitlines() if line.startswith("vanilla ") and " ours " in line)
    assert row.split()[2] == "-"


def test_a_table_with_a_run_that_failed_ends_with_1_and_retries_on_request(tmp_path, model, capsys, monkeypatch):
    original = executor.run
    monkeypatch.setattr(executor, "run", lambda a: 1 / 0 if a.training.seed == 2 else original(a))
    assert main(argv_of(tmp_path, model, "--run")) == 1
    error = capsys.readouterr().err
    assert "2 finished, 2 failed" in error.replace("2 failed, 2 finished", "2 finished, 2 failed")
    assert "ZeroDivisionError" in error and "--retry_failed" in error
    monkeypatch.setattr(executor, "run", original)
    assert main(argv_of(tmp_path, model, "--run")) == 1, "what failed is left alone"
    assert "ZeroDivisionError" in capsys.readouterr().err, "and named again"
    assert main(argv_of(tmp_path, model, "--run", "--retry_failed")) == 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["table_1"], "say what to do: --run, --show"),
        (["table_11", "--show"], "table_11: no such experiment; give one of table_1"),
        (["table_1", "--show", "--tasks", "wnli"], "--tasks wnli: not in this experiment; give 'stsb'"),
        (["table_1", "--show", "--models", "bart=x"], "--models bart: not in this experiment"),
        (["table_1", "--show", "--learning_rates", "2"], "--learning_rates 2: give positive numbers below 1"),
        (["table_1", "--show", "--learning_rates", "-1e-5"], "--learning_rates -1e-05: give positive numbers below 1"),
        (["table_1", "--show", "--learning_rates", "rte=x"], "--learning_rates: rte=x: give numbers such as 2e-5"),
        (
            ["table_1", "--show", "--tasks", "rte", "cola", "--learning_rates", "rte=1e-5"],
            "--learning_rates 'rte': name every task of --tasks: rte=RATE cola=RATE",
        ),
        (["table_1", "--show", "--seeds", "-1"], "--seeds -1: give whole numbers"),
        (["table_1", "--show", "--max_train_samples", "0"], "--max_train_samples 0: give a positive number"),
        *[
            (
                ["table_1", "--run", "--executor", "ray", "--cpus_per_run", text],
                f"--cpus_per_run: {text}: give a positive",
            )
            for text in ("-1", "0", "nan", "inf", "-1e-3", "0.00001", "x")
        ],
        *[
            (["table_1", "--run", "--executor", "ray", "--gpus_per_run", text], f"--gpus_per_run: {text}: give 0, 0.5")
            for text in ("-1", "-0.5", "nan", "1.5")
        ],
        (["table_1", "--show", "--num_train_epochs", "1"], "unrecognized arguments: --num_train_epochs"),
        (["table_8", "--show", "--hype_eps", "0.1"], "--hype_eps 0.1 makes one run of 'hype-n 1e-5', 'hype-n 1e-4', "),
        (["dose", "--run", "--hype_eps", "0.1"], "'hype-n 1'; keep one of them by --methods"),
        (["table_1", "--sho"], "unrecognized arguments: --sho"),
    ],
)
def test_bad_input_ends_with_2_and_one_line(argv, message, capsys):
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith("error: ") and message in captured.err


@pytest.mark.parametrize("text", ["0", "0.25", "1", "2"])
def test_a_run_may_ask_ray_for_a_part_of_a_gpu_or_none(text):
    options = parser().parse_args(["table_1", "--gpus_per_run", text, "--cpus_per_run", "1.5"])
    assert (options.gpus_per_run, options.cpus_per_run) == (float(text), 1.5)


def test_another_scale_is_taken_where_it_makes_no_two_methods_one(capsys):
    for methods in (["hype-n 1e-5"], ["hype-n 1e-5", "hype-u 1e-5"]):
        assert main(["table_8", "--dry_run", "--hype_eps", "0.1", "--methods", *methods]) == 0
    assert main(["table_18", "--dry_run", "--hype_eps", "0.1"]) == 0


def test_numbers_of_layers_that_become_equal_are_refused(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"num_hidden_layers": 2}')
    assert main(["table_18", "--dry_run", "--models", f"bert-large={tmp_path}"]) == 2
    assert "so few layers make one run of 'lower 6', 'lower 12'" in capsys.readouterr().err


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_has_its_script(name):
    script = ROOT / "scripts" / f"{name}.sh"
    assert os.access(script, os.X_OK)
    assert f'reproduce.sh" {name} "$@"' in script.read_text()


@pytest.mark.slow
def test_a_script_passes_its_arguments_on(tmp_path):
    script = ROOT / "scripts" / "table_17.sh"
    output = subprocess.run([script, "--dry_run"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "240 runs: 240 missing" in output
