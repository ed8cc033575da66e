"""The command line: what each action prints, how runs are told to be done elsewhere."""

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import datasets
import pytest

from hype.reproduction import executor
from hype.reproduction.__main__ import main, print_commands
from hype.reproduction.expansion import expand
from hype.reproduction.experiments import load
from hype.reproduction.state import state_of
from hype.training.arguments import parse
from tests.reproduction.small_runs import ROOT, SAMPLE, argv_of, cells_in, narrowing, write_tiny_model


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
        change, folder, then, python, script, *argv = shlex.split(line)
        assert (change, Path(folder), then) == ("cd", Path.cwd(), "&&")
        assert Path(python).exists() and Path(script) == ROOT / "main.py"
        assert tuple(argv) == cell.argv
        assert parse(argv).training.output_dir == str(cell.folder)


@pytest.mark.slow
def test_a_line_works_from_another_folder_by_xargs(tmp_path, model, monkeypatch, capsys):
    """Its paths are relative: from elsewhere it once wrote a record where nothing looks for it."""
    project, elsewhere = tmp_path / "it's a project", tmp_path / "elsewhere"
    project.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(project)
    for name, target in (("model", model), ("glue", SAMPLE)):
        Path(name).symlink_to(target)
    line = argv_of("results", "./model", "--data_dir", "glue")
    assert main([*line, "--commands"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    subprocess.run(["xargs", "-d", "\n", "-n", "1", "sh", "-c"], input=first, text=True, cwd=elsewhere, check=True)
    assert main([*line, "--dry_run"]) == 0
    assert "4 runs: 1 finished, 3 missing" in capsys.readouterr().out
    assert not any(elsewhere.iterdir())


def test_notes_say_what_the_lines_leave_undone(tmp_path, model, capsys):
    line = ["figure_3", "--models", f"roberta-large={model}", "--methods", "vanilla", "--seeds", "1", "2"]
    line += ["--learning_rates", "1e-3", "--data_dir", str(SAMPLE), "--results_dir", str(tmp_path), "--commands"]
    assert main(line) == 0
    captured = capsys.readouterr()
    assert captured.err == ("note: these lines make the runs, not their analyses (probing); --run does afterwards\n")
    folder = Path(parse(shlex.split(captured.out.splitlines()[0])[5:]).training.output_dir)
    folder.mkdir(parents=True)
    finished = {"status": "finished", "run_id": "a", "identity": {}, "timings": {"total_s": 1.0}, "score": 0.5}
    (folder / "run.json").write_text(json.dumps(finished))
    assert main(line) == 0
    again = capsys.readouterr()
    assert "note: 1 finished runs lack their model, their lines do nothing; --run makes it anew\n" in again.err
    assert again.out == captured.out, "a line for each run, finished or not"


def test_a_run_of_which_two_analyses_are_made_is_one_line(tmp_path, model, capsys):
    cells = []
    for name, row in (("figure_4", "roberta-large"), ("table_6", "bert-large")):
        left = narrowing(model, models={row: str(model)}, methods=("vanilla",), seeds=(1,))
        cells += expand(load(name), left, tmp_path)
    print_commands(cells)
    captured = capsys.readouterr()
    assert len(cells) == 2 and len(captured.out.splitlines()) == 1
    assert "not their analyses (similarity, adversarial)" in captured.err


def test_a_reader_who_has_seen_enough_ends_it_without_a_traceback():
    command = [sys.executable, "-m", "hype.reproduction", "table_1", "--commands"]  # more than a pipe holds
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert "main.py" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 128 + signal.SIGPIPE


def test_a_run_of_the_printed_command_counts_as_done(tmp_path, model, capsys):
    from hype.training.finetune import finetune

    cell = cells_in(tmp_path, model)[0]
    finetune(parse(list(cell.argv)))
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


def test_runs_are_done_seed_by_seed(tmp_path, model, monkeypatch):
    """What is done when a grid is stopped can be paired."""
    seeds = []
    monkeypatch.setattr(executor, "finetune", lambda arguments: seeds.append(arguments.training.seed))
    main(argv_of(tmp_path, model, "--run"))
    assert sorted(seeds) == seeds and len(set(seeds)) == 2 < len(seeds)


def test_a_table_with_a_run_that_failed_ends_with_1_and_retries_on_request(tmp_path, model, capsys, monkeypatch):
    original = executor.finetune
    monkeypatch.setattr(executor, "finetune", lambda a: 1 / 0 if a.training.seed == 2 else original(a))
    assert main(argv_of(tmp_path, model, "--run")) == 1
    error = capsys.readouterr().err
    assert "2 finished, 2 failed" in error.replace("2 failed, 2 finished", "2 finished, 2 failed")
    assert "ZeroDivisionError" in error and "--retry_failed" in error
    monkeypatch.setattr(executor, "finetune", original)
    assert main(argv_of(tmp_path, model, "--run")) == 1, "what failed is left alone"
    assert "ZeroDivisionError" in capsys.readouterr().err, "and named again"
    assert main(argv_of(tmp_path, model, "--run", "--retry_failed")) == 0


@pytest.mark.slow
def test_a_script_passes_its_arguments_on(tmp_path):
    script = ROOT / "scripts" / "reproduce.sh"
    output = subprocess.run(
        [script, "table_17", "--dry_run"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert "240 runs: 240 missing" in output
