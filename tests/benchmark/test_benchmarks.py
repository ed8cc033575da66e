"""The benchmarks compare like with like, and each runs end to end on a tiny model."""

import copy
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hype.benchmark import __main__ as command
from hype.benchmark import benchmarks, measure, sides
from hype.cli import main
from hype.errors import EnvironmentFault
from hype.training.length_order import lengths_of
from hype.training.parser import parse
from tests.tiny import BERT, SAMPLE

SHORT = "--do_train --all_dropout_rate 0 --logging_steps 1 --max_steps 4"


@pytest.fixture
def bench(tiny_folder, tmp_path):
    return sides.Bench(str(tiny_folder), str(SAMPLE), 1, tmp_path, torch.device("cpu"))


def losses_of(trainer):
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_run_glue_pads_to_the_maximum_and_has_our_losses(bench):
    theirs, ours = bench.run_glue_trainer("mrpc", SHORT), bench.trainer("mrpc", SHORT)
    assert set(lengths_of(theirs.train_dataset)) == {64}, "the tiny model takes 64 tokens"
    assert max(lengths_of(ours.train_dataset)) < 64
    assert losses_of(ours) == pytest.approx(losses_of(theirs), abs=1e-5)


def test_both_evaluations_have_the_same_loss(bench):
    theirs, ours = (make("rte", "--do_eval") for make in (bench.run_glue_trainer, bench.trainer))
    assert theirs.args.per_device_eval_batch_size == 8 < ours.args.per_device_eval_batch_size
    assert ours.evaluate()["eval_loss"] == pytest.approx(theirs.evaluate()["eval_loss"], abs=1e-5)


def test_the_bare_loop_has_our_losses_and_moves_the_weights_as_we_do(bench):
    trainer = bench.trainer("mrpc", f"{SHORT} --hype_type normal")
    model = copy.deepcopy(trainer.model)
    batches = DataLoader(trainer.train_dataset.select(range(64)), 16, collate_fn=trainer.data_collator)
    by_hand = list(sides.bare_steps(model, trainer.args, batches, trainer.hype_options))
    assert losses_of(trainer) == pytest.approx(by_hand, abs=1e-5) and len(set(by_hand)) == 4
    for name, value in trainer.model.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=1e-7, msg=name)


def test_a_side_trains_on_the_rows_of_its_repeat_with_its_noise(bench, monkeypatch):
    trainer = bench.trainer("mrpc")
    first, second = list(range(48)), list(range(48, 96))
    expected = [trainer.train_dataset[rows]["input_ids"] for rows in (first, second)]
    side = sides.training(trainer, [first, second], hype_options={"hype_type": "normal", "hype_eps": 1e-5})
    seen = []
    monkeypatch.setattr(trainer, "train", lambda train=trainer.train: (seen.append(vars(trainer).copy()), train()))
    assert side(0) > 0 and side(1) > 0
    assert [one["train_dataset"][:]["input_ids"] for one in seen] == expected
    assert all(one["hype_options"]["hype_type"] == "normal" for one in seen)


@pytest.mark.parametrize("method", benchmarks.METHODS)
def test_the_flags_of_every_method_are_accepted(method, bench):
    parse(bench.argv("cola", f"--do_train {benchmarks.METHODS[method][0]}"))


def test_no_precision_is_measured_after_tf32_which_stays_on(bench, monkeypatch):
    flags, ones = [], {"vanilla": np.ones(1), "HyPe-N": np.ones(1)}
    monkeypatch.setattr(sides.Bench, "with_random_bert", lambda self, size: self)
    monkeypatch.setattr(sides.Bench, "trainer", lambda self, task, text: flags.append(text))
    monkeypatch.setattr(sides.Bench, "compare", lambda self, label, turns: ones)
    monkeypatch.setattr(sides, "training", lambda *args, **options: None)
    monkeypatch.setattr(benchmarks, "noise_seconds", lambda trainer, options: 1.0)
    list(benchmarks.overhead(replace(bench, device=torch.device("cuda"))))
    assert ["--tf32" in text for text in flags] == [False] * 4 + [True] * 2


@pytest.fixture
def is_small(monkeypatch, capsys):
    """Cut the benchmarks to what shows that they run, all in this process."""
    monkeypatch.setattr(command, "keep_memory", lambda: None)  # the allocator is that of all tests
    monkeypatch.setattr(sides, "SIZES", {"tiny": {**BERT, "max_position_embeddings": 128}})
    monkeypatch.setattr(benchmarks, "TASKS", ("mrpc",))
    chosen = ("vanilla", "HyPe-N", "Child-Tuning D")
    monkeypatch.setattr(benchmarks, "METHODS", {name: benchmarks.METHODS[name] for name in chosen})
    monkeypatch.setattr(benchmarks, "DEARER", ("Child-Tuning D",))

    def run_here(argv, awaited=""):
        assert main(argv) == 0
        assert awaited in "".join(capsys.readouterr())
        return 1.0

    monkeypatch.setattr(measure, "run_module", lambda module, argv, variables: run_here(argv))
    monkeypatch.setattr(
        benchmarks, "seconds_until", lambda awaited, command: command[1] == "-c" or run_here(command[2:], awaited)
    )


FIGURES = {
    "overhead": 4, "memory": 2, "throughput": 4, "loop": 1, "evaluation": 2, "start": 2, "techniques": 4, "grid": 1,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", command.BENCHMARKS)
def test_each_benchmark_runs_end_to_end(name, tiny_folder, tmp_path, is_small, capsys):
    path = tmp_path / "new" / "benchmark.json"
    command.main(f"{name} --output {path} --model_name_or_path {tiny_folder} --data_dir {SAMPLE} --repeats 1".split())
    entry = json.loads(path.read_text())[name]
    assert len(entry["figures"]) == FIGURES[name]
    assert all(found["median"] > 0 and found["n"] == 1 for found in entry["figures"])
    assert entry["machine"]["device"]["type"] == "cpu" and entry["repeats"] == 1 and entry["date"]
    assert f"### {name}" in capsys.readouterr().out


@pytest.mark.parametrize(("code", "awaited"), [("exit(1)", "b"), ("", "c")])
def test_a_command_that_fails_or_never_prints_what_is_awaited_is_no_measurement(code, awaited):
    command = [sys.executable, "-c", f"print('a b'); {code}"]
    assert measure.seconds_until("b", [sys.executable, "-c", "print('a b')"]) > 0
    with pytest.raises(EnvironmentFault, match="exit code"):
        measure.seconds_until(awaited, command)


def test_several_benchmarks_each_get_a_process_and_finished_ones_survive_an_interruption(tmp_path, monkeypatch, capsys):
    path = tmp_path / "benchmark.json"

    def interrupted(module, argv):
        if argv[0] == "loop":
            raise KeyboardInterrupt
        command.results.write(path, **{argv[0]: {"figures": []}})

    monkeypatch.setattr(command, "run_module", interrupted)
    assert command.run_command(command.main, ["overhead", "loop", "start", "--output", str(path)]) == 130
    assert list(json.loads(path.read_text())) == ["overhead"]
    assert "Traceback" not in capsys.readouterr().err


def test_a_failing_process_ends_the_command_with_its_exit_code(tmp_path, capfd):
    argv = f"loop start --model_name_or_path {tmp_path}/absent --output {tmp_path}/b.json --data_dir {SAMPLE}".split()
    assert command.run_command(command.main, argv) == 2
    error = capfd.readouterr().err
    assert error.count("error: ") == 1 and "start" not in error


@pytest.mark.parametrize(
    ("options", "exit_code", "named"),
    [("--repeats 0", 2, "--repeats"), ("--output .", 2, "--output"), ("--output {tmp}/file/below/b.json", 4, "b.json")],
)
def test_bad_options_are_one_line_before_anything_is_measured(tmp_path, capsys, options, exit_code, named):
    (tmp_path / "file").touch()
    argv = ["loop", *options.format(tmp=tmp_path).split()]
    assert command.run_command(command.main, argv) == exit_code
    error = capsys.readouterr().err
    assert named in error and error.count("\n") == 1


def test_a_number_of_threads_that_is_none_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2,1")
    argv = ["loop", "--model_name_or_path", "m", "--output", str(tmp_path / "b.json")]
    assert command.run_command(command.main, argv) == 2
    assert "OMP_NUM_THREADS=2,1" in capsys.readouterr().err
