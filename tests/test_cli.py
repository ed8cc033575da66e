"""The command line: help, one-line errors, where output goes, the release's command, torchrun."""

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoConfig

from hype.cli import main
from hype.training.run_folder import locked
from tests.test_scripts import README_COMMAND, RELEASED
from tests.tiny import SAMPLE

ROOT = Path(__file__).parents[1]


def test_help_shows_the_flags_in_groups_hype_first(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0].startswith("usage: ") and not lines[1], "the usage is one line"
    assert len(lines) < 200 and max(map(len, lines[1:])) <= 120
    assert re.findall(r"^(\w.*):$", text, re.MULTILINE)[0] == "HyPe"
    assert "--hype_eps 1e-05" in text and "--learning_rate 5e-05" in text and "--deepspeed" not in text


def test_help_all_shows_transformers_flags_too(capsys):
    assert main(["--help_all"]) == 0
    text = capsys.readouterr().out
    assert "--hype_eps" in text and "--deepspeed" in text


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert re.fullmatch(r"hype \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_python_m_hype_is_main_py(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["main.py", "--task_name", "x"])
    errors = set()
    for start, what in ((runpy.run_path, str(ROOT / "main.py")), (runpy.run_module, "hype")):
        with pytest.raises(SystemExit, match="2"):
            start(what, run_name="__main__")
        errors.add(capsys.readouterr().err)
    assert len(errors) == 1 and "--model_name_or_path" in errors.pop()


def test_the_result_goes_to_stdout_and_the_log_to_stderr(argv, capsys):
    assert main(argv("do_train", "do_eval", hype_type="normal")) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("rte: HyPe-N 1e-05") and captured.out.rstrip().endswith("run.json")
    assert "accuracy" in captured.out and "train_runtime" not in captured.out
    assert "train_runtime" in captured.err


def test_the_released_command_runs_as_it_is_printed(tiny_folder, tmp_path, monkeypatch):
    glue = tmp_path / "glue" / "RTE"
    glue.mkdir(parents=True)
    header, *rows = (SAMPLE / "RTE" / "train.tsv").read_text(encoding="utf-8").rstrip("\n").split("\n")
    rows = [f"{i}\t{i} {row.split(chr(9), 1)[1]}" for i, row in enumerate((rows * 20)[:1100])]
    for name, count in (("train", 1100), ("dev", 24)):
        (glue / f"{name}.tsv").write_text("\n".join([header, *rows[:count]]) + "\n", encoding="utf-8")
    monkeypatch.setenv("GLUE_DIR", str(glue.parent))
    command = README_COMMAND.format(**RELEASED, MODEL=tiny_folder, OUTPUT_DIR=tmp_path / "run")
    ours = "--low_resource --dropout_rate 0.0 --hype_type uniform --hype_eps 1e-5"
    assert main(f"{command} {ours}".split()) == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["steps"] == 189  # ceil(1000 / 16) * 3
    assert record["data"]["rows"]["train"] == 1000
    assert len(set(json.loads((tmp_path / "run" / "low_resource_indices.json").read_text()))) == 1000
    assert AutoConfig.from_pretrained(tmp_path / "run").hidden_dropout_prob == 0.0
    assert AutoConfig.from_pretrained(tmp_path / "run").attention_probs_dropout_prob == 0.1


def test_a_folder_in_use_by_a_live_process_is_refused_with_its_holder(argv, capsys, tmp_path):
    with locked(tmp_path / "run"):
        assert main(argv("do_train")) == 6
    assert re.search(rf"^error: --output_dir .*process {os.getpid()} on ", capsys.readouterr().err, re.MULTILINE)


@pytest.mark.slow
def test_torchrun_trains_in_two_processes_without_a_gpu_and_without_being_told(argv, tmp_path):
    """Without --use_cpu, transformers 5.23 treated each as a single process: two training runs in one folder."""
    flags = argv("do_train", "do_eval", use_cpu=None, hype_type="normal", per_device_train_batch_size=4)
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", "main.py"]
    command = [sys.executable, *launcher, *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["machine"]["world_size"] == 2 and record["steps"] == 6  # 48 / (4 * 2)
    assert done.stdout.count("rte: HyPe-N") == 1, "one process reports"
