"""The command line: what each action prints, how runs are told to be done elsewhere."""

import json
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from hype.reproduction import execution
from hype.reproduction.__main__ import main, print_commands
from hype.reproduction.experiments import load
from hype.reproduction.sections import section_of
from hype.reproduction.status import FINISHED, INTERRUPTED, State
from hype.training.parser import parse
from tests.reproduction.small_runs import ROOT, argv_of, overrides, specs_in
from tests.tiny import SAMPLE


def test_a_dry_run_counts_and_estimates_and_touches_nothing(tmp_path, model, capsys):
    assert main(argv_of(tmp_path / "results", model, "--dry_run")) == 0
    text = capsys.readouterr().out
    assert "4 runs: 4 missing" in text and "to do: 4 runs, no record yet" in text
    assert "changed from the paper: model" in text
    assert not (tmp_path / "results").exists()
    execution.execute(specs_in(tmp_path / "results", model)[0])
    assert main(argv_of(tmp_path / "results", model, "--dry_run")) == 0
    text = capsys.readouterr().out
    assert "4 runs: 1 finished, 3 missing" in text and re.search(r"to do: 3 runs, 0:\d\d:\d\d sequentially", text)


def test_commands_are_one_shell_line_per_run_that_main_takes(tmp_path, model, monkeypatch, capsys):
    """Paths may be relative, so that a line first goes to the folder in which it was printed."""
    project = tmp_path / "it's a project"
    project.mkdir()
    monkeypatch.chdir(project)
    assert main(argv_of(Path("results"), model, "--commands")) == 0
    lines = capsys.readouterr().out.splitlines()
    specs = specs_in(Path("results"), model)
    assert len(lines) == len(specs) == 4
    for line, spec in zip(lines, specs, strict=True):
        change, folder, then, python, script, *argv = shlex.split(line)
        assert (change, Path(folder), then) == ("cd", project, "&&")
        assert Path(python).exists() and Path(script) == ROOT / "main.py"
        assert tuple(argv) == spec.argv
        assert parse(argv).training.output_dir == str(spec.folder)


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


def test_a_run_of_which_two_analyses_are_made_is_one_line_and_none_once_it_has_a_score(tmp_path, model, capsys):
    sections = []
    for name, row in (("figure_4", "roberta-large"), ("table_6", "bert-large")):
        left = overrides(model, models={row: str(model)}, methods=("vanilla",), seeds=(1,))
        sections.append(section_of(load(name), left, tmp_path))
    print_commands(sections)
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 1
    assert "not their analyses (similarity, adversarial)" in captured.err
    for status in (INTERRUPTED, FINISHED):
        state = State(status, {})
        print_commands([replace(section, states=dict.fromkeys(section.states, state)) for section in sections])
        captured = capsys.readouterr()
        assert captured.out == "" and "every run has a score" in captured.err
        assert ("not their analyses" in captured.err) == (status == INTERRUPTED)


def test_flags_after_two_dashes_reach_every_run(tmp_path, model, capsys):
    flags = ("--allow_pickle_weights", "True", "--logging_steps=7")
    assert main(argv_of(tmp_path, model, "--commands", "--", *flags)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all("--allow_pickle_weights true" in line and "--logging_steps 7" in line for line in lines)


def test_run_shows_the_table_and_report_writes_the_same(tmp_path, model, capsys):
    assert main(argv_of(tmp_path, model, "--run")) == 0
    captured = capsys.readouterr()
    assert "table_8: 4 runs: 4 finished" in captured.err
    stand_in = f"{'/'.join(model.parts[-2:])} for BERT-large"
    assert "Changed from the paper" in captured.out and f"Scores: {stand_in}" in captured.out
    assert main(argv_of(tmp_path, model, "--show")) == 0
    assert capsys.readouterr().out == captured.out
    assert main(argv_of(tmp_path, model, "--show", "full", "--report")) == 0
    full, _, paths = capsys.readouterr().out.partition(str(tmp_path / "report.html"))
    assert (tmp_path / "report.md").read_text(encoding="utf-8").strip() == full.strip() and "report.md" in paths
    assert "Printed in the paper: BERT-large" in full and "Printed in the paper" not in captured.out


def test_finished_runs_of_a_clean_tree_are_published_and_shown_without_their_folders(tmp_path, model, capsys):
    line = argv_of(tmp_path, model)
    assert main([*line, "--run"]) == 0
    shown = capsys.readouterr().out
    records = list(tmp_path.glob("runs/*/run.json"))
    for number, path in enumerate(records):
        record = json.loads(path.read_text())
        record["machine"]["git"] = {"commit": "0" * 40, "dirty": number == 0}
        path.write_text(json.dumps(record))
    assert main([*line, "--publish"]) == 0
    captured = capsys.readouterr()
    assert "runs.jsonl: 3 runs" in captured.out and f"not published: {records[0].parent.name}" in captured.err
    dirty = json.loads(records[0].read_text())
    records[0].write_text(json.dumps(dirty | {"machine": dirty["machine"] | {"git": {"commit": "0", "dirty": False}}}))
    assert main([*line, "--publish"]) == 0
    shutil.rmtree(tmp_path / "runs")
    capsys.readouterr()
    assert main([*line, "--show"]) == 0
    assert capsys.readouterr().out == shown
    text = (tmp_path / "runs.jsonl").read_text()
    assert str(tmp_path) not in text and str(SAMPLE) not in text, "published lines name no machine"
    assert main([*line, "--run"]) == 0 and not (tmp_path / "runs").exists(), "what is published is not done again"


def test_runs_are_done_seed_by_seed(tmp_path, model, monkeypatch):
    """What is done when a grid is stopped can be paired."""
    seeds = []
    monkeypatch.setattr(execution, "finetune", lambda arguments: seeds.append(arguments.training.seed))
    main(argv_of(tmp_path, model, "--run"))
    assert sorted(seeds) == seeds and len(set(seeds)) == 2 < len(seeds)


def test_a_table_with_a_run_that_failed_ends_with_1_and_retries_on_request(tmp_path, model, capsys, monkeypatch):
    original = execution.finetune
    monkeypatch.setattr(execution, "finetune", lambda a: 1 / 0 if a.training.seed == 2 else original(a))
    assert main(argv_of(tmp_path, model, "--run")) == 1
    error = capsys.readouterr().err
    assert "2 finished, 2 failed" in error and "ZeroDivisionError" in error and "--retry_failed" in error
    logs = [spec.log_path.read_text() for spec in specs_in(tmp_path, model)]
    assert ["Traceback" in log for log in logs].count(True) == 2
    monkeypatch.setattr(execution, "finetune", original)
    assert main(argv_of(tmp_path, model, "--run")) == 1, "what failed is left alone"
    assert "ZeroDivisionError" in capsys.readouterr().err, "and named again"
    assert main(argv_of(tmp_path, model, "--dry_run", "--retry_failed")) == 0
    assert "to do: 2 runs" in capsys.readouterr().out
    assert main(argv_of(tmp_path, model, "--run", "--retry_failed")) == 0
    assert not any((tmp_path / "failures").iterdir())
