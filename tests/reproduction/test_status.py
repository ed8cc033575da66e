"""Published records: lines that are read back, or refused by file and line."""

import json
from types import SimpleNamespace

import pytest

from hype.errors import InputError
from hype.reproduction import status
from hype.reproduction.status import PUBLISHED, read_published, write_lines
from hype.training.identity import run_id
from tests.reproduction.small_runs import ROOT

LINE = {
    "name": "rte-seed_1-0123456789abcdef", "schema": 2, "run_id": "0123456789abcdef", "identity": {}, "timings": {},
    "score": 0.5, "majority_score": None, "status": "finished",
}  # fmt: skip


def test_lines_are_read_back_by_the_end_of_their_names(tmp_path):
    other = LINE | {"name": "rte-seed_2-fedcba9876543210", "sample": "a line separator: \u2028"}
    write_lines(tmp_path / PUBLISHED, [other, LINE])
    assert read_published(tmp_path / PUBLISHED) == {"0123456789abcdef": LINE, "fedcba9876543210": other}
    assert read_published(tmp_path / "absent") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps(LINE)[:-5], "line 1: damaged"),
        ("[]", "line 1: damaged"),
        (json.dumps(LINE | {"score": "x"}), "line 1: damaged"),
        (json.dumps(LINE | {"schema": 1}), "line 1: schema 1"),
        (f"{json.dumps(LINE)}\n{json.dumps(LINE)}", "line 2: a second line of rte-seed_1"),
    ],
)
def test_a_damaged_file_is_refused_by_its_line(tmp_path, text, message):
    (tmp_path / PUBLISHED).write_text(text)
    with pytest.raises(InputError, match=message):
        read_published(tmp_path / PUBLISHED)


@pytest.mark.parametrize("trees", [[None], [{"dirty": False}, {"dirty": True}]], ids=["no git", "dirty analysis"])
def test_a_run_made_or_analysed_outside_of_a_clean_tree_is_not_published(tmp_path, monkeypatch, trees):
    run, *analyses = [{"machine": {"git": tree}} for tree in trees]
    state = status.State("finished", run, analyses=dict(enumerate(analyses)))
    monkeypatch.setattr(status, "state_of", lambda spec: state)
    (tmp_path / "run.json").touch()
    count, left_out = status.publish([SimpleNamespace(folder=tmp_path)], tmp_path / PUBLISHED)
    assert count == 0 and left_out[0].startswith(tmp_path.name)


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*/runs.jsonl")), ids=lambda path: path.parent.name)
def test_every_published_line_is_of_a_clean_tree_and_named_by_its_identity(path):
    lines = read_published(path)
    assert lines
    for key, line in lines.items():
        assert line["name"].endswith(f"-{key}") and key == line["run_id"] == run_id(line["identity"])
        assert line["machine"]["git"]["dirty"] is False
