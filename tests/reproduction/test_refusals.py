"""What the command line refuses: each in one line that names the input and the remedy, before anything is done."""

from pathlib import Path

import pytest

from hype.reproduction.__main__ import main, parser


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["table_1"], "no action given; add --run, --show"),
        (["table_11", "--show"], "table_11: no such experiment; give one of table_1"),
        (["table_1", "--show", "--learning_rates", "2"], "--learning_rates: 2: give positive rates"),
        (["table_1", "--show", "--hype_eps", "0"], "--hype_eps: 0: give a positive number"),
        (["table_1", "--show", "--seeds", "-1"], "--seeds: -1: give whole numbers"),
        (["table_1", "--show", "--max_train_samples", "0"], "--max_train_samples: 0: give a whole number"),
        (["table_1", "--run", "--executor", "ray", "--cpus_per_run", "nan"], "--cpus_per_run: nan: give 0, 0.5"),
        (["table_1", "--run", "--executor", "ray", "--gpus_per_run", "x"], "--gpus_per_run: x: give 0, 0.5"),
        (["table_1", "--run", "--", "--seed", "3"], "-- --seed: set separately for each run"),
        (["table_1", "--run", "--", "--learning-rate", "3"], "-- --learning_rate: set separately for each run"),
        (["table_1", "--run", "--", "x"], "x: a value without a flag before it"),
        (["table_1", "--run", "--max_analysis_samples", "3"], "3: table_1 has no analysis; leave it out"),
        (["table_8", "--show", "--hype_eps", "0.1"], "--hype_eps 0.1 makes 'hype-n 1e-5', 'hype-n 1e-4', "),
        (
            ["table_9", "--show", "--methods", "hype-n", "--", "--hype_eps", "1"],
            "makes 'hype-n hype_eps 1e-05', 'hype-n hype_eps 0.0001' identical; keep one of them with --methods",
        ),
    ],
)
def test_bad_input_ends_with_2_and_one_line(argv, message, capsys):
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith("error: ") and message in captured.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data_dir", ""], "--data_dir: : no such folder; give one"),
        (["--data_dir", "file"], "--data_dir: file: no such folder"),
        (["--nli_dir", "absent"], "--nli_dir: absent: no such folder"),
        (["--adv_file", "absent"], "--adv_file: absent: no such file"),
        (["--models", "bert-large=/absent"], "--models: bert-large=/absent: no such folder"),
        (["--models", "bert-large=./absent"], "--models: bert-large=./absent: no such folder"),
        (["--models", "bert-large=no/such/path"], "--models: bert-large=no/such/path: no such folder"),
        (["--models", "bert-large=~nobody/absent"], "--models: bert-large=~nobody/absent: no such folder"),
        (["--models", "bert-large=file"], "--models: bert-large=file: no such folder; give the folder of a model"),
    ],
)
def test_what_is_not_there_is_refused(options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert main(["table_1", "--run", *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and captured.err.startswith(f"error: {message}")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_variable_is_checked_too_unless_it_is_empty_or_overridden(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GLUE_DIR", str(tmp_path / "absent"))
    assert main(["table_1", "--dry_run"]) == 2
    assert f"{tmp_path}/absent: no such folder" in capsys.readouterr().err
    assert main(["table_1", "--dry_run", "--data_dir", str(tmp_path)]) == 0
    capsys.readouterr()
    monkeypatch.delenv("GLUE_DIR")
    assert main(["table_3", "--commands"]) == 0
    from_the_hub = capsys.readouterr().out
    monkeypatch.setenv("GLUE_DIR", "")
    assert main(["table_3", "--commands"]) == 0
    assert capsys.readouterr().out == from_the_hub and "--data_dir" not in from_the_hub


@pytest.mark.parametrize("text", ["0", "0.25"])
def test_a_run_may_ask_ray_for_a_part_of_a_gpu_or_none(text):
    assert parser().parse_args(["table_1", "--gpus_per_run", text]).gpus_per_run == float(text)


def test_another_scale_is_taken_where_it_makes_no_two_methods_one(capsys):
    for methods in (["hype-n 1e-5"], ["hype-n 1e-5", "hype-u 1e-5"]):
        assert main(["table_8", "--dry_run", "--hype_eps", "0.1", "--methods", *methods]) == 0
    assert main(["table_18", "--dry_run", "--hype_eps", "0.1"]) == 0
