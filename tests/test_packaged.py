"""The path of the packaged model, as written in records."""

import subprocess

import pytest

from hype import packaged
from hype.errors import EnvironmentFault


def answering(monkeypatch, text: str, code: int = 0):
    done = subprocess.CompletedProcess([], code, stdout=text)
    monkeypatch.setattr(packaged.subprocess, "run", lambda *args, **kwargs: done)


def test_a_record_names_no_machine_where_the_model_lies_below_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answering(monkeypatch, f"{tmp_path}/.venv/model\n")
    assert packaged.packaged_model() == ".venv/model"
    answering(monkeypatch, "/elsewhere/model\n")
    assert packaged.packaged_model() == "/elsewhere/model"


def test_a_model_that_cannot_be_installed_is_a_fault_of_the_environment(monkeypatch):
    answering(monkeypatch, "", 4)
    with pytest.raises(EnvironmentFault, match="cannot be installed"):
        packaged.packaged_model()
