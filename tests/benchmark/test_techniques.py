"""The benchmark of the techniques: its table, and one small measurement of each kind."""

import json

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hype.benchmark import techniques as benchmark
from hype.training.arguments import parse
from tests.glue_files import RTE_DEV, RTE_TRAIN, rte, write
from tests.tiny import tiny_model


def result(method, seconds, mebibytes, score=0.5):
    cost = {"seconds_per_step": seconds, "peak_memory_bytes": mebibytes << 20}
    return {"task": "rte", "method": method, "score": score, **cost}


def test_table_compares_with_the_mean_of_the_vanilla_runs():
    results = [
        result("vanilla", 0.9, 100), result("R-Drop", 2.0, 180, score=None), result("Mixout", 1.3, 90),
        result("vanilla again", 1.1, 120),
    ]  # fmt: skip
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in benchmark.table(results).splitlines()]
    assert rows[3] == ["rte", "R-Drop", "-", "2.000", "2.00", "2.1 kept", "180", "+70"]
    assert rows[4] == ["rte", "Mixout", "50.00", "1.300", "1.30", "1.25 EXCEEDED", "90", "-20"]


@pytest.mark.parametrize("method", benchmark.METHODS)
def test_the_flags_of_every_method_are_accepted(method, tmp_path):
    flags = benchmark.METHODS[method][0].split()
    argv = [
        *benchmark.SETTINGS.split(),
        "--model_name_or_path",
        "m",
        "--task_name",
        "rte",
        "--output_dir",
        str(tmp_path),
    ]
    parse([*argv, *flags])


@pytest.fixture
def passed_on(tmp_path):
    """A tiny model with a tokenizer, and a GLUE folder of eight rows."""
    tokenizer = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "a": 2, "cat": 3, "it": 4}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(
        tmp_path / "model"
    )
    tiny_model("bert", num_labels=2, pad_token_id=0).save_pretrained(tmp_path / "model")
    write(tmp_path / "glue", {"RTE/train.tsv": rte(RTE_TRAIN * 4), "RTE/dev.tsv": rte(RTE_DEV)})
    flags = f"--model_name_or_path {tmp_path / 'model'} --data_dir {tmp_path / 'glue'} --per_device_train_batch_size 2"
    return [*flags.split(), "--num_train_epochs", "1", "--use_cpu"]


@pytest.mark.slow
def test_each_method_is_measured_apart_and_recorded(tmp_path, passed_on, monkeypatch):
    chosen = ("vanilla", "Child-Tuning D")
    monkeypatch.setattr(benchmark, "METHODS", {method: benchmark.METHODS[method] for method in chosen})
    path = tmp_path / "out" / "techniques.json"
    assert benchmark.main(["--output", str(path), "--tasks", "RTE", *passed_on]) == 0
    results = json.loads(path.read_text())
    assert [(r["method"], r["steps"]) for r in results] == [("vanilla", 4), ("Child-Tuning D", 4)]
    assert all(r["seconds_per_step"] > 0 and r["peak_memory_bytes"] > 0 and r["score"] is not None for r in results)
    assert results[1]["techniques"]["Child-Tuning D"]["reserve_p"] == 0.2


TWO = {"vanilla": ("", None), "R-Drop": ("--rdrop_alpha 0.5", 2.1)}


class Runs:
    """Stands for the runs; each answers at once, the one of number `interrupted` with Ctrl-C."""

    def __init__(self):
        self.tasks, self.interrupted = [], None

    def __call__(self, argv):
        if len(self.tasks) == self.interrupted:
            raise KeyboardInterrupt
        self.tasks.append(argv[argv.index("--task_name") + 1])
        measured = {"task": self.tasks[-1], "score": 0.5, "seconds_per_step": 1.0, "peak_memory_bytes": 1 << 20}
        git = {"commit": f"{len(self.tasks)}" * 40, "dirty": len(self.tasks) > 2}
        return {**measured, "model": {"name": "m", "fingerprint": "m@None"}, "git": git}


@pytest.fixture
def runs(monkeypatch):
    made = Runs()
    monkeypatch.setattr(benchmark, "measure_apart", made)
    monkeypatch.setattr(benchmark, "METHODS", TWO)
    return made


def rows_in(path):
    return [(row["task"], row["method"]) for row in json.loads(path.read_text())]


def test_an_interrupted_task_is_begun_anew_and_a_finished_one_kept(tmp_path, runs, capsys):
    """All was lost at the first interruption, or another task's rows at the next call."""
    path = tmp_path / "new" / "techniques.json"
    argv = ["--output", str(path), "--model_name_or_path", "m", "--tasks", "rte", "stsb"]
    runs.interrupted = 3
    assert benchmark.main(argv) == 130
    assert capsys.readouterr().err.count("\n") == 1
    assert rows_in(path) == [("rte", "vanilla"), ("rte", "R-Drop"), ("stsb", "vanilla")]
    runs.interrupted = None
    assert benchmark.main(argv) == 0
    assert runs.tasks == ["rte", "rte", "stsb", "stsb", "stsb"]
    assert rows_in(path) == [("rte", "vanilla"), ("rte", "R-Drop"), ("stsb", "vanilla"), ("stsb", "R-Drop")]
    assert benchmark.main([*argv[:-2], "cola"]) == 0
    assert len(rows_in(path)) == 6 and capsys.readouterr().out.count("| rte | vanilla |") == 2


@pytest.mark.parametrize("changed", ["--model_name_or_path other", "--num_train_epochs 1", "flags"])
def test_rows_of_other_settings_are_not_mixed_with_new_ones(tmp_path, runs, capsys, monkeypatch, changed):
    path = tmp_path / "techniques.json"
    argv = ["--output", str(path), "--model_name_or_path", "m", "--data_dir", "one/place"]
    assert benchmark.main([*argv, "--tasks", "rte"]) == 0
    before = path.read_text()
    assert "one/place" not in before
    if changed == "flags":
        monkeypatch.setitem(TWO, "R-Drop", ("--rdrop_alpha 1", 2.1))
    assert benchmark.main([*argv, "--tasks", "stsb", *("" if changed == "flags" else changed).split()]) == 2
    assert "remove it" in capsys.readouterr().err and path.read_text() == before and len(runs.tasks) == 2


@pytest.mark.parametrize("content", ["{", "3", '{"overhead": {}}', "[1]"])
def test_a_file_of_something_else_is_refused(tmp_path, runs, capsys, content):
    path = tmp_path / "other.json"
    path.write_text(content)
    assert benchmark.main(["--output", str(path), "--model_name_or_path", "m"]) == 2
    assert str(path) in capsys.readouterr().err and path.read_text() == content and not runs.tasks


@pytest.mark.parametrize("flag", ["--output_dir out", "--output_dir=out", "--task_name rte"])
def test_a_flag_that_each_run_gets_anew_is_refused_and_not_overridden(tmp_path, runs, capsys, flag):
    argv = ["--output", str(tmp_path / "t.json"), "--model_name_or_path", "m", *flag.split()]
    assert benchmark.main(argv) == 2 and not runs.tasks
    assert "--output and --tasks" in capsys.readouterr().err


def test_the_commits_are_named_task_by_task(tmp_path, runs):
    benchmark.main(["--output", str(tmp_path / "t.json"), "--model_name_or_path", "m", "--tasks", "rte", "stsb"])
    rows = json.loads((tmp_path / "t.json").read_text())
    assert benchmark.commits(rows) == (
        "rte: `1111111`, `2222222`; stsb: `3333333` with changes, `4444444` with changes"
    )


def test_a_failing_run_is_one_line_that_names_its_flags(tmp_path, capfd):
    argv = ["--output", str(tmp_path / "t.json"), "--tasks", "rte", "--model_name_or_path", "m", "--no_such_flag"]
    assert benchmark.main(argv) == 2
    assert "ended with exit code 2" in capfd.readouterr().err
