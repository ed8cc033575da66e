"""What a record says of the code that made it."""

import subprocess
import sys

import torch

from hype import records


def test_new_records_are_no_change_of_the_code_but_new_code_is(tmp_path, monkeypatch):
    """Every record but the first of a sweep used to call the code changed."""
    (tmp_path / "hype").mkdir()
    (tmp_path / "hype" / "records.py").write_text("")
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    monkeypatch.setattr(records, "__file__", str(tmp_path / "hype" / "records.py"))
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "run.json").write_text("{}")
    assert records._git_state()["dirty"] is False
    (tmp_path / "hype" / "new.py").write_text("")
    assert records._git_state()["dirty"] is True


def test_peak_memory_is_that_of_the_process_not_of_the_one_that_started_it():
    """getrusage gave the parent's peak to a child that needs less."""
    ballast = torch.ones(2**28)  # 1 GiB
    code = "import torch; from hype import records; print(records.peak_memory_bytes(torch.device('cpu')))"
    child = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    own = records.peak_memory_bytes(torch.device("cpu"))
    assert own > ballast.nbytes and child < own - ballast.nbytes // 2
