"""README.md and docs/ agree with the code and the records."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hype.reproduction.status import read_published

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_generated_parts_are_what_the_flags_and_the_records_give(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["readme.py", "--check"])
    assert runpy.run_path(str(ROOT / "scripts" / "readme.py"))["main"]() == 0, "run python scripts/readme.py"


def test_every_file_that_a_page_names_is_there():
    named = []
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        named += [page.parent / link for link in re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[\w-]*)?\)", text)]
        named += [ROOT / name for name in re.findall(r"`((?:scripts|tests)/[\w/.]+)`", text)]
    assert len(named) > 40 and [path for path in named if not path.exists()] == []


def test_the_numbers_of_the_verdict_are_those_of_the_study():
    docs = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
    generated = " ".join(re.findall(r"<!-- \w+ -->(.*?)<!-- /", docs, re.DOTALL))
    verdict = README.partition("## Does it help?")[2].partition("![Effects")[0]
    numbers = re.findall(r"[+-]\d+\.\d+|\d+\.\d+ %|\bn \d+|\d+ of \d+|\d+ (?=dB)", verdict)
    assert len(numbers) > 8 and [number for number in numbers if number not in generated] == []


@pytest.mark.slow
def test_its_commands_for_a_task_and_own_files_run(tiny_folder, tmp_path):
    """In a copy of the project where the names of models and data point to tiny ones."""
    for path in ROOT.iterdir():
        if path.name not in ("outputs", ".venv"):
            (tmp_path / path.name).symlink_to(path)
    for name in ("roberta-large", "roberta-base"):
        shutil.copytree(tiny_folder, tmp_path / name)
    shutil.copytree(ROOT / "examples" / "sample_glue", tmp_path / "path" / "to" / "glue_data")
    for name in ("train.csv", "dev.csv"):
        (tmp_path / name).write_text("sentence1,label\n" + "a good one,yes\na bad one,no\n" * 4)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tmp_path / "bin" / "python").chmod(0o755)
    section = README.partition("## Fine-tune on your task")[2].partition("\n## ")[0]
    commands = "\n".join(re.findall(r"```\n(.*?)```", section, re.DOTALL)).replace("42 43 44", "42")
    variables = {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}", "EPOCH": "1", "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(
        ["bash", "-e", "-c", commands], cwd=tmp_path, env={**os.environ, **variables}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "HyPe-N 1e-05" in result.stdout and (tmp_path / "outputs" / "mine" / "run.json").is_file()


def test_the_runs_of_the_decisive_study_that_were_repeated_on_such_a_machine_are_equal():
    studied, single = (read_published(ROOT / "results" / name / "runs.jsonl") for name in ("decisive", "outputs"))
    repeats = {
        key: line
        for key, line in single.items()
        if key in studied and line["machine"]["device"] == studied[key]["machine"]["device"]
    }
    assert sorted(line["task"] for line in repeats.values()) == ["cola", "mrpc", "rte", "stsb"]
    for key, line in repeats.items():
        assert [line.get(name) for name in ("score", "predictions")] == [
            studied[key].get(name) for name in ("score", "predictions")
        ]
