"""Every addition that CONTRIBUTING.md describes works as written, in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"```\w+\n# (?P<path>[\w/.]+)(?:, in (?P<table>\w+))?\n(?P<text>.*?)```", re.DOTALL)


def additions() -> dict[str, list[tuple[Path, str | None, str]]]:
    """Return the files of each section: path, the table to which the text is added (None for a new file), text."""
    sections = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("\n## ")[1:]
    return {
        section.splitlines()[0]: [(Path(b["path"]), b["table"], b["text"]) for b in BLOCK.finditer(section)]
        for section in sections
    }


ADDITIONS = additions()


@pytest.mark.slow
@pytest.mark.parametrize("name", ADDITIONS)
def test_an_addition_works_in_a_copy_of_the_project(name, tmp_path):
    for folder in ("hype", "tests", "examples"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("main.py", "pyproject.toml"):
        shutil.copy(ROOT / file, tmp_path)
    for path, table, text in ADDITIONS[name]:
        target = tmp_path / path
        if table is None:
            assert not target.exists(), f"{path} is described as new"
            target.write_text(text, encoding="utf-8")
        else:
            lines = target.read_text(encoding="utf-8").splitlines(keepends=True)
            (start,) = [i for i, line in enumerate(lines) if re.match(rf"{table}\b.* = [({{]$", line)]
            target.write_text("".join([*lines[: start + 1], text, *lines[start + 1 :]]), encoding="utf-8")
    tests = [str(path) for path, _, _ in ADDITIONS[name] if path.name.startswith("test_")]
    assert tests, "an addition needs a test"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
