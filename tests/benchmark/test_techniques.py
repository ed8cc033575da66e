"""The benchmark of the techniques: its table, and one small measurement of each kind."""

import json

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hype.benchmark import techniques as benchmark
from hype.parsing import parse
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
    results = benchmark.benchmark(["rte"], tmp_path / "out", passed_on)
    assert json.loads((tmp_path / "out" / "techniques.json").read_text()) == results
    assert [(r["method"], r["steps"]) for r in results] == [("vanilla", 4), ("Child-Tuning D", 4)]
    assert all(r["seconds_per_step"] > 0 and r["peak_memory_bytes"] > 0 and r["score"] is not None for r in results)
    assert results[1]["techniques"]["Child-Tuning D"]["reserve_p"] == 0.2


def test_a_failing_run_is_one_line_that_names_its_flags(tmp_path, capfd):
    argv = ["--output_dir", str(tmp_path), "--tasks", "rte", "--model_name_or_path", "m", "--no_such_flag"]
    assert benchmark.main(argv) == 2
    assert "ended with exit code 2" in capfd.readouterr().err
