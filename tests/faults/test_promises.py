"""docs/promises.md has a row for each promise, and every test that it names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
ROWS = [line.split(" | ") for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]
NAMES = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)))


def test_every_promise_has_its_row_and_every_row_a_test():
    assert [int(row[0].strip("| ")) for row in ROWS] == list(range(1, 53))
    assert all(len(row) == 4 and "::test_" in row[3] for row in ROWS)
    assert len(PAGE.splitlines()) < 120


@pytest.mark.parametrize(("path", "name"), NAMES, ids=[name for _, name in NAMES])
def test_a_test_that_is_named_is_there(path, name):
    source = (ROOT / "tests" / path).read_text(encoding="utf-8")
    assert re.search(rf"^def {name}\(", source, re.MULTILINE)
