"""The statistics of the benchmarks, on made-up times, and their file."""

import contextlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from hype.benchmark import __main__ as command
from hype.benchmark import loop, throughput
from hype.benchmark.figures import add, figure, read, table, verdict
from hype.benchmark.pairs import geometric_means, interleaved, ratios
from hype.benchmark.settings import Settings, like_the_whole
from hype.errors import InputError
from hype.training.length_order import lengths_of
from tests.tiny import SAMPLE


def side_of(turns, name, seconds=1.0):
    def step():
        turns.append(name)
        return seconds

    return step


def test_the_sides_take_turns_in_an_order_that_turns_around():
    turns = []
    sides = {"A": side_of(turns, "A"), "B": side_of(turns, "B", 3.0), "C": side_of(turns, "C")}
    seconds = interleaved(sides, repeats=2, steps=10)
    assert seconds == {"A": [10.0, 10.0], "B": [30.0, 30.0], "C": [10.0, 10.0]}
    assert turns[:3] == ["A", "B", "C"], "each warms up"
    rounds = [turns[i : i + 3] for i in range(3, 63, 3)]
    assert all(sorted(one) == ["A", "B", "C"] for one in rounds)
    assert all(there == back[::-1] for there, back in zip(rounds[::2], rounds[1::2], strict=True))
    assert {"".join(one[:2]) for one in rounds} == {"AB", "AC", "BA", "BC", "CA", "CB"}, "each follows each"


def test_a_slow_first_step_counts_for_no_side_and_a_machine_that_slows_down_steadily_favours_none():
    """The first step was the first side's, vanilla's, alone: 12.5 s against 11.2 s."""
    turn = iter(range(99))

    def step():
        turns_before = next(turn)
        return 100.0 if turns_before < 3 else 10.0 + turns_before

    seconds = interleaved({"A": step, "B": step, "C": step}, repeats=5)
    assert seconds["A"] == seconds["B"] == seconds["C"] and max(seconds["A"]) < 100


def test_a_repeat_that_cannot_be_balanced_is_refused():
    with pytest.raises(ValueError, match="3 steps"):
        interleaved({"A": float, "B": float}, repeats=5, steps=3)


def test_a_machine_that_slows_down_for_all_sides_does_not_move_the_median_of_paired_ratios():
    speed = [1, 9, 1, 5, 2]
    vanilla, noised = [1.0 * s for s in speed], [1.01 * s for s in speed]
    found = figure("step time", ratios(noised, vanilla), at_most=1.02)
    assert found["median"] == pytest.approx(1.01) and verdict(found) == "kept" and found["n"] == 5


@pytest.mark.parametrize(
    ("values", "bound", "expected"),
    [
        ([0.9, 0.9, 3.0, 3.0, 1.0], {"at_most": 1.0}, ("kept", 1.0, 0.9, 3.0)),
        ([0.9, 0.9, 3.0, 3.0, 1.1], {"at_most": 1.0}, ("exceeded", 1.1, 0.9, 3.0)),
        ([1.9, 1.9, 3.0, 3.0, 2.0], {"at_least": 2.0}, ("kept", 2.0, 1.9, 3.0)),
        ([1.9, 1.9, 3.0, 1.8, 1.5], {"at_least": 2.0}, ("exceeded", 1.9, 1.5, 3.0)),
        ([0.9] * 4, {"at_most": 1.0}, ("", 0.9, 0.9, 0.9)),
        ([2.0] * 5, {}, ("", 2.0, 2.0, 2.0)),
    ],
)
def test_a_median_keeps_its_bound_or_exceeds_it(values, bound, expected):
    found = figure("any", values, **bound)
    assert (verdict(found), found["median"], found["smallest"], found["largest"]) == expected


def test_the_geometric_mean_over_tasks_is_taken_repeat_by_repeat():
    assert geometric_means([[1.0, 2.0], [4.0, 8.0]]) == pytest.approx([2.0, 4.0])


def test_a_sample_of_batches_is_spread_over_the_padded_lengths_and_so_is_each_part():
    lengths = list(range(1, 65))
    batches = [[i, i + 1] for i in range(0, 64, 2)]  # padded lengths 2, 4 ... 64
    chosen = [max(batch) + 1 for batch in like_the_whole(batches[::-1], np.array(lengths), 8, 2)]
    assert sorted(chosen) == [6, 14, 22, 30, 38, 46, 54, 62]
    assert chosen[:4] == [6, 30, 38, 62] and chosen[4:] == [14, 22, 46, 54]


@pytest.mark.parametrize("steps", [throughput.STEPS, loop.STEPS])
def test_no_repeat_gets_the_longer_batches(steps):
    """Three steps left the last of five repeats 17 % more tokens than the first."""
    lengths = np.arange(16, 216)
    batches = [[i] for i in range(200)]
    repeats = np.reshape(like_the_whole(batches, lengths, 5 * steps, 5), (5, steps))
    assert len(set(lengths[repeats].sum(1))) == 1


def test_the_loop_takes_its_repeats_from_batches_of_all_lengths(tiny_folder, tmp_path):
    settings = Settings(str(tiny_folder), str(SAMPLE), 2, tmp_path)
    trainer, _ = loop.sides(settings)
    warm_up, *widths, _ = lengths_of(trainer.train_dataset).reshape(-1, 16).max(1)
    assert warm_up == max(widths)
    widths = np.reshape(widths, (2, loop.STEPS))
    assert min(widths[0]) < max(widths[1]) and min(widths[1]) < max(widths[0])


@pytest.fixture
def made_up(monkeypatch):
    """Replace the benchmarks by three that answer at once; the last one's process is killed."""
    answers = {"overhead": 1.0, "dropout": 0.8}

    def measure(name):
        def measured(settings, bounds):
            if name not in answers:
                raise KeyboardInterrupt
            return [figure("step time", [answers[name]] * settings.repeats, at_most=1.0)], {"seconds": [1.0]}

        return measured

    benchmarks = {name: command.Benchmark(measure(name), {}) for name in ("overhead", "dropout", "loop")}
    benchmarks["overhead"] = replace(benchmarks["overhead"], model="BERT", clock="none", takes_all_cores=True)
    monkeypatch.setattr(command, "BENCHMARKS", benchmarks)

    def here(module, argv):
        with contextlib.redirect_stdout(io.StringIO()):
            code = command.main(argv)
        if code == 130:
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "last_line_of", here)
    return answers


def test_a_killed_go_keeps_what_it_has_and_the_next_one_replaces_its_own_entry(tmp_path, made_up, capsys):
    path = tmp_path / "new" / "benchmark.json"
    options = ["--output", str(path), "--model_name_or_path", "some/where/m"]
    assert command.main(["all", *options, "--repeats", "5"]) == 130
    assert list(read(path)) == ["overhead", "dropout"]
    made_up["dropout"] = 1.5
    assert command.main(["dropout", *options, "--repeats", "3"]) == 0
    entries = json.loads(path.read_text())
    assert [(e["figures"][0]["median"], e["figures"][0]["n"]) for e in entries.values()] == [(1.0, 5), (1.5, 3)]
    assert entries["dropout"]["model"] == "where/m" and entries["dropout"]["machine"]["device"]["type"]
    out = capsys.readouterr().out
    assert "| dropout | step time | 1.5 | 1.5 | 1.5 | 3 | at most 1 |  |" in out
    assert "| overhead |" not in out, "the table is of what was asked for"


def test_an_entry_says_what_it_was_measured_with(tmp_path, made_up, monkeypatch):
    """The entries of random BERTs named the packaged model, and that of memory a clock and one thread."""
    monkeypatch.setattr(command.os, "cpu_count", lambda: 7)
    settings = Settings("some/where/m", None, 5, tmp_path)
    own, given = (command.entry(name, settings) for name in ("overhead", "dropout"))
    assert (own["model"], own["clock"], own["machine"]["device"]["threads"]) == ("BERT", "none", 7)
    assert (given["model"], given["machine"]["device"]["threads"]) == ("where/m", torch.get_num_threads())
    assert own["repeats"] == given["repeats"] == 5


def test_the_packaged_model_is_looked_for_only_where_one_is_needed(tmp_path, made_up, monkeypatch):
    found = []
    monkeypatch.setattr(command, "packaged_model", lambda: found.append(1) or "m")
    for name, count in (("overhead", 0), ("dropout", 1)):
        assert command.main([name, "--output", str(tmp_path / "b.json")]) == 0
        assert len(found) == count


def test_random_berts_need_no_model():
    assert {name for name, found in command.BENCHMARKS.items() if found.model} == {"overhead", "memory", "dropout"}


@pytest.mark.parametrize("content", ["{", "[]", '{"overhead": 1}'])
def test_a_file_that_holds_something_else_is_refused_before_anything_is_measured(tmp_path, made_up, capsys, content):
    path = tmp_path / "other.json"
    path.write_text(content)
    assert command.main(["overhead", "--output", str(path), "--model_name_or_path", "m"]) == 2
    assert str(path) in capsys.readouterr().err and path.read_text() == content
    with pytest.raises(InputError):
        add(path, "overhead", {"figures": []}, ["overhead"])


def test_entries_of_unknown_benchmarks_are_kept(tmp_path):
    path = tmp_path / "benchmark.json"
    for name in ("older", "loop", "overhead"):
        add(path, name, {"figures": [figure(name, [1.0])]}, ["overhead", "loop"])
    assert list(read(path)) == ["overhead", "loop", "older"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--repeats 0", "--repeats: 0: give"),
        ("--output .", "--output ."),
        ("--output {tmp}/file/below/b.json", "--output"),
        ("--output /proc/none/b.json", "--output"),
    ],
)
def test_bad_options_are_one_line_before_anything_is_measured(tmp_path, made_up, capsys, options, named):
    (tmp_path / "file").touch()
    argv = ["loop", "--model_name_or_path", "m", "--output", str(tmp_path / "b.json"), *options.split()]
    assert command.main([part.format(tmp=tmp_path) for part in argv]) == 2
    assert named in (error := capsys.readouterr().err) and error.count("\n") == 1


@pytest.mark.parametrize("text", ["2,1", "0", "-1", "many", ""])
def test_a_number_of_threads_that_is_none_is_one_line(tmp_path, made_up, capsys, monkeypatch, text):
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert command.main(["loop", "--model_name_or_path", "m", "--output", str(tmp_path / "b.json")]) == 2
    assert f"OMP_NUM_THREADS={text}:" in capsys.readouterr().err


def test_help_names_every_benchmark_and_all(capsys):
    with pytest.raises(SystemExit):
        command.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert all(name in text for name in command.BENCHMARKS) and "or all" in text and "hype.benchmark.techniques" in text


def test_a_figure_without_a_bound_has_none_in_the_table():
    assert (
        table({"start": {"figures": [figure("x", [2.0, 4.0])]}}).splitlines()[2]
        == "| start | x | 3 | 2 | 4 | 2 | - |  |"
    )
