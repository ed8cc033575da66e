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


def published(folder, monkeypatch, run=(), analysis=()) -> tuple[int, list[str]]:
    """Publish the run of LINE and an analysis of it, both changed; return the number of lines and what is left out."""
    record = LINE | {
        "machine": {"git": {"dirty": False}}, "model": {"name": "m", "weights_sha256": "a"},
        "data": {"source": "folder", "rows": {}}, "analysis": "probing", "target": "rte", "label": "", "seed": 1,
        "results": {},
    }  # fmt: skip
    state = status.State("finished", record | dict(run), analyses={"rte": record | dict(analysis)})
    monkeypatch.setattr(status, "state_of", lambda spec: state)
    spec = SimpleNamespace(folder=folder / LINE["name"], key="0123456789abcdef", analysis=SimpleNamespace(key=str))
    return status.publish([spec], folder / PUBLISHED)


@pytest.mark.parametrize(
    "changes",
    [
        {"run": {"machine": {"git": None}}}, {"analysis": {"machine": {"git": {"dirty": True}}}},
        {"analysis": {"model": {"weights_sha256": "b"}}},
    ],
    ids=["no git", "dirty analysis", "other weights"],
)  # fmt: skip
def test_a_run_of_no_clean_tree_or_whose_analysis_is_not_its_own_is_not_published(tmp_path, monkeypatch, changes):
    count, left_out = published(tmp_path, monkeypatch, **changes)
    assert count == 0 and left_out[0].startswith(LINE["name"])


def test_a_published_result_is_not_replaced_by_another(tmp_path, monkeypatch):
    assert published(tmp_path, monkeypatch) == (1, [])
    before = (tmp_path / PUBLISHED).read_text()
    assert published(tmp_path, monkeypatch) == (1, []), "the same result"
    count, left_out = published(tmp_path, monkeypatch, run={"score": 0.6})
    assert count == 1 and "another result" in left_out[0] and (tmp_path / PUBLISHED).read_text() == before


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*/runs.jsonl")), ids=lambda path: path.parent.name)
def test_every_published_line_is_of_a_clean_tree_and_named_by_its_identity(path):
    lines = read_published(path)
    assert lines
    for key, line in lines.items():
        assert line["name"].endswith(f"-{key}") and line["run_id"] == run_id(line["identity"])
        assert key == line["run_id"] or line["data"]["source"] != "folder", "names do not hash data from the hub"
        assert line["machine"]["git"]["dirty"] is False
