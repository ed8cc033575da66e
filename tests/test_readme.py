"""README.md and docs/ say what the code and the records say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_generated_parts_are_what_the_flags_and_the_records_give():
    check = subprocess.run([sys.executable, ROOT / "scripts" / "readme.py", "--check"], capture_output=True, text=True)
    assert check.returncode == 0, f"run python scripts/readme.py\n{check.stderr}"


def test_every_file_that_it_names_is_there():
    named = set(re.findall(r"\]\((?!https?:)([^)#]+)\)", README)) | set(re.findall(r"`(scripts/[\w.]+)`", README))
    assert named and all((ROOT / name).exists() for name in named), [n for n in named if not (ROOT / n).exists()]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_every_file_that_a_page_of_the_docs_names_is_there(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[\w-]*)?\)", text)
    tests = re.findall(r"`(tests/[\w/.]+)`", text)
    assert [name for name in links if not (page.parent / name).exists()] == []
    assert [name for name in tests if not (ROOT / name).exists()] == []


def test_the_numbers_of_the_verdict_are_those_of_the_study():
    verdict = README.partition("## Does it help?")[2].partition("<!-- effects -->")[0].partition("The table shows")[0]
    shown = subprocess.run(
        [sys.executable, "-m", "hype.reproduction", "minilm", "--show"], capture_output=True, text=True, cwd=ROOT
    ).stdout
    numbers = re.findall(r"[+-]\d+\.\d+|\d+\.\d+ %|n \d+|\d+ of \d+", verdict)
    assert len(numbers) > 8 and [number for number in numbers if number not in shown] == []
