"""Many runs: records that many processes write, records that are none, and what a diverged run does to a table."""

import json
import math
import multiprocessing

import datasets
import pytest

from hype.errors import InputError
from hype.files import write_json
from hype.reproduction.__main__ import main
from hype.reproduction.status import state_of
from hype.training.record import read_record
from hype.training.trainer import HyPeTrainer
from tests.reproduction.small_runs import argv_of, specs_in

WRITES = 200


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
        ('{"status": "finished", "identity": {}, "schema": "x"}', "schema x"),
        ('{"status": "finished"', "damaged"),
        ("NaN", "damaged"),
        ("[]", "damaged"),
        ('{"identity": {}}', "damaged"),
        ('{"status": "finished", "identity": 3}', "damaged"),
        ('{"status": "finished", "identity": {}, "changed": [1]}', "damaged"),
        ('{"status": "finished", "identity": {}, "changed": "x"}', "damaged"),
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


def test_a_diverged_run_is_counted_and_in_no_mean(tiny_folder, tmp_path, monkeypatch, capsys):
    """Of two seeds the second diverges: the cell shows the score of the first and says that it is one of two."""
    loss = HyPeTrainer.compute_loss
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))

    def diverging(self, *args, **kwargs):
        value = loss(self, *args, **kwargs)
        return value * math.nan if args[0].training and self.args.seed == 2 else value

    monkeypatch.setattr(HyPeTrainer, "compute_loss", diverging)
    assert main([*argv_of(tmp_path / "results", tiny_folder, "--run"), "--methods", "vanilla"]) == 1
    captured = capsys.readouterr()
    specs = specs_in(tmp_path / "results", tiny_folder, methods=("vanilla",))
    states = [state_of(spec) for spec in specs]
    assert [state.status for state in states] == ["finished", "diverged"]
    assert "1 diverged" in captured.err and "the loss is nan at step 1" in captured.err
    (row,) = [line for line in captured.out.splitlines() if line.startswith("| vanilla")]
    assert f"{100 * states[0].record['score']:.2f}; n 1 of 2" in row and "1 failed" in row
