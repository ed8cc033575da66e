"""Turns, samples of batches, figures and the file that they are kept in, on made-up times."""

from pathlib import Path

import pytest
from datasets import Dataset

from hype.benchmark import results
from hype.benchmark.measure import take_turns
from hype.benchmark.sides import representative_rows
from hype.errors import InputError


def test_sides_take_turns_in_a_random_order_and_its_reverse():
    turns = []
    sides = {
        name: lambda repeat, name=name, seconds=seconds: turns.append((name, repeat)) or seconds
        for name, seconds in {"A": 1.0, "B": 3.0, "C": 1.0}.items()
    }
    found = take_turns(sides, repeats=10)
    assert {name: set(seconds) for name, seconds in found.items()} == {"A": {2.0}, "B": {6.0}, "C": {2.0}}
    names = [name for name, _ in turns]
    assert names[:3] == ["A", "B", "C"], "each warms up"
    rounds = [names[i : i + 3] for i in range(3, 63, 3)]
    assert all(sorted(one) == ["A", "B", "C"] for one in rounds)
    assert all(there == back[::-1] for there, back in zip(rounds[::2], rounds[1::2], strict=True))
    assert {one[0] for one in rounds} == {"A", "B", "C"}
    assert [repeat for _, repeat in turns[3::6]] == list(range(10))


@pytest.mark.parametrize("is_grouped", [False, True])
def test_a_sample_of_batches_is_spread_over_the_padded_lengths_and_each_repeat_warms_up_with_its_widest(is_grouped):
    lengths = [5 + i % 97 for i in range(97 * 40)]
    rows = representative_rows(Dataset.from_dict({"input_ids": [[0] * n for n in lengths]}), 4, is_grouped)
    widths = [[max(lengths[row] for row in part[i : i + 16]) for i in range(0, len(part), 16)] for part in rows]
    assert [len(part) for part in widths] == [3] * 4, "one to warm up, two that count"
    assert all(max(part) == part[0] and part[0] in part[1:] for part in widths)
    counted = sorted(width for part in widths for width in part[1:])
    if is_grouped:
        assert counted[0] < 20 and counted[-1] > 90 and len(set(counted)) == 8
    else:
        assert counted[0] > 80, "16 random rows hold a long one"
    assert all(len(set(part[16:])) == 32 for part in rows)


def row_of(values, **bound):
    entry = {
        "date": "2026-11-25", "model": "m", "clock": "wall time", "measured_in_s": 60.0,
        "machine": {"git": {"commit": "0123456789"}, "device": {"name": "H100"}, "versions": {"torch": "2.13"}},
        "figures": [results.figure("any", values, **bound)],
    }  # fmt: skip
    heading, machine, table = results.page({"start": entry}).split("\n\n")
    assert heading == "### start" and "2026-11-25, commit `0123456`, m, wall time, H100" in machine
    return table.splitlines()[-1]


@pytest.mark.parametrize(
    ("values", "bound", "expected"),
    [
        ([0.9, 0.9, 3.0, 3.0, 1.0], {"at_most": 1.0}, "| any | 1 | 0.9 | 3 | 5 | at most 1 | kept |"),
        ([0.9, 0.9, 3.0, 3.0, 1.1], {"at_most": 1.0}, "| any | 1.1 | 0.9 | 3 | 5 | at most 1 | exceeded |"),
        ([1.9, 1.9, 3.0, 3.0, 2.0], {"at_least": 2.0}, "| any | 2 | 1.9 | 3 | 5 | at least 2 | kept |"),
        ([1.9, 1.9, 3.0, 1.8, 1.5], {"at_least": 2.0}, "| any | 1.9 | 1.5 | 3 | 5 | at least 2 | exceeded |"),
        ([0.9] * 4, {"at_most": 1.0}, "| any | 0.9 | 0.9 | 0.9 | 4 | at most 1 |  |"),
        ([2.0, 4.0], {}, "| any | 3 | 2 | 4 | 2 | - |  |"),
    ],
)
def test_a_median_keeps_its_bound_or_exceeds_it(values, bound, expected):
    assert row_of(values, **bound) == expected


def test_an_entry_replaces_its_former_one_and_leaves_the_others(tmp_path):
    path = tmp_path / "benchmark.json"
    for name, value in (("older", 1.0), ("loop", 2.0), ("older", 3.0)):
        results.write(path, **{name: {"figures": [results.figure(name, [value])]}})
    entries = results.read(path)
    assert {name: entry["figures"][0]["median"] for name, entry in entries.items()} == {"older": 3.0, "loop": 2.0}


@pytest.mark.parametrize("content", ["{", "[]", '{"overhead": 1}'])
def test_a_file_of_something_else_is_refused_by_name(tmp_path, content):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(InputError, match=str(path)):
        results.write(path)
    assert path.read_text() == content


def test_the_published_results_can_be_read_and_are_of_clean_commits():
    entries = results.read(Path(__file__).parents[2] / "results" / "benchmark.json")
    assert {"overhead", "memory", "throughput", "techniques"} <= entries.keys()
    assert not any(entry["machine"]["git"]["dirty"] for entry in entries.values())
