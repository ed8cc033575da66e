"""The records of many runs: written by several processes at once, damaged, or of another version."""

import json
import multiprocessing

import pytest

from hype.errors import InputError
from hype.files import write_json
from hype.training.record import read_record

WRITES = 40


def write_often(path, writer: int) -> None:
    """Write records that fill several pages, so that a torn one is seen."""
    for number in range(WRITES):
        write_json(path, {"writer": writer, "number": number, "rows": [number] * 3000})


def test_a_record_that_eight_processes_write_is_always_whole(tmp_path):
    path = tmp_path / "run.json"
    write_json(path, {"writer": -1, "number": 0, "rows": [0] * 3000})
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_often, args=(path, writer)) for writer in range(8)]
    for process in writers:
        process.start()
    seen = set()
    while any(process.is_alive() for process in writers):
        content = json.loads(path.read_text())
        assert content["rows"] == [content["number"]] * 3000
        seen.add(content["writer"])
    assert [process.exitcode for process in writers] == [0] * 8 and len(seen) > 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"], "no temporary file stays"


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ('{"status": "finished", "identity": {}, "schema": 1}', "schema 1.*another folder"),
        ('{"status": "finished", "identity": {}, "schema": 99}', "schema 99"),
        ("", "damaged"),
        ('{"status": "finished"', "damaged"),
        ("NaN", "damaged"),
        ('{"identity": {}}', "damaged"),
        ('{"status": "finished", "identity": 3}', "damaged"),
        ('{"status": "finished", "identity": {}, "changed": [1]}', "damaged"),
        ("\ud800".encode("utf-8", "surrogatepass"), "damaged"),
        ("[" * 100_000, "damaged"),
    ],
)
def test_a_record_that_is_none_of_ours_is_refused_by_its_name(tmp_path, content, part):
    path = tmp_path / "run.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError, match=part) as caught:
        read_record(path)
    assert str(path) in str(caught.value)
