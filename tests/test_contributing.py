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

# Tests of what is in a table, which the additions extend.
OF_TABLES = ("test_architectures.py", "data/test_tasks.py", "reproduction/test_experiments.py")


@pytest.mark.slow
def test_the_additions_work_in_a_copy_of_the_project(tmp_path):
    for folder in ("hype", "tests", "examples"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("main.py", "pyproject.toml"):
        shutil.copy(ROOT / file, tmp_path)
    tests = [tmp_path / "tests" / name for name in OF_TABLES]
    for section in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("\n## ")[1:]:
        added = [path.relative_to(tmp_path) for path in (add(tmp_path, *block) for block in BLOCK.findall(section))]
        assert any(path.parts[0] == "tests" for path in added), f"{section.splitlines()[0]}: no test"
        tests += [path for path in added if path.name.startswith("test_")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert len(tests) == len(OF_TABLES) + 4 and " passed" in done.stdout


def add(project: Path, path: str, table: str, text: str) -> Path:
    """Write a new file, or add the text to a table of an existing one."""
    target = project / path
    if not table:
        assert not target.exists(), f"{path} is described as new"
        target.write_text(text, encoding="utf-8")
        return target
    lines = target.read_text(encoding="utf-8").splitlines(keepends=True)
    (start,) = [i for i, line in enumerate(lines) if re.match(rf"{table}\b.* = [({{]$", line)]
    target.write_text("".join([*lines[: start + 1], text, *lines[start + 1 :]]), encoding="utf-8")
    return target
