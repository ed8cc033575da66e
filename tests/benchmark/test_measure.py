"""Turns, samples of batches, figures and the file that they are kept in, on made-up times."""

import json

import pytest

from hype.benchmark import results
from hype.benchmark.measure import run_module, take_turns
from hype.benchmark.sides import representative
from hype.errors import EnvironmentFault, InputError


def side_of(turns, name, seconds=1.0):
    def side(repeat):
        turns.append((name, repeat))
        return seconds

    return side


def test_sides_take_turns_in_a_random_order_and_its_reverse():
    turns = []
    sides = {"A": side_of(turns, "A"), "B": side_of(turns, "B", 3.0), "C": side_of(turns, "C")}
    assert take_turns(sides, repeats=10) == {"A": [2.0] * 10, "B": [6.0] * 10, "C": [2.0] * 10}
    names = [name for name, _ in turns]
    assert names[:3] == ["A", "B", "C"], "each warms up"
    rounds = [names[i : i + 3] for i in range(3, 63, 3)]
    assert all(sorted(one) == ["A", "B", "C"] for one in rounds)
    assert all(there == back[::-1] for there, back in zip(rounds[::2], rounds[1::2], strict=True))
    assert {one[0] for one in rounds} == {"A", "B", "C"}
    assert [repeat for _, repeat in turns[3::6]] == list(range(10))


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
    found = results.figure("any", values, **bound)
    assert (results.verdict(found), found["median"], found["smallest"], found["largest"]) == expected


def test_a_sample_of_batches_is_spread_over_the_padded_lengths_and_each_repeat_warms_up_with_its_widest():
    batches = [[i, i + 1] for i in range(0, 64, 2)]  # padded lengths 2, 4 ... 64
    rows = representative(batches[::-1], list(range(1, 65)), repeats=2, steps=4)
    widths = [[part[i + 1] + 1 for i in range(0, len(part), 2)] for part in rows]
    assert sorted(widths[0][1:] + widths[1][1:]) == [6, 14, 22, 30, 38, 46, 54, 62]
    assert all(max(part) == part[0] for part in widths)
    assert min(widths[0]) < max(widths[1]) and min(widths[1]) < max(widths[0])


ENTRY = {
    "date": "2026-11-25", "model": "m", "clock": "wall time", "measured_in_s": 60.0,
    "machine": {"git": {"commit": "0123456789"}, "device": {"name": "H100"}, "versions": {"torch": "2.13"}},
}  # fmt: skip


def test_an_entry_replaces_its_former_one_and_leaves_the_others(tmp_path):
    path = tmp_path / "benchmark.json"
    for name, value in (("older", 1.0), ("loop", 2.0), ("older", 3.0)):
        results.write(path, name, {"figures": [results.figure(name, [value])]})
    entries = results.read(path)
    assert {name: entry["figures"][0]["median"] for name, entry in entries.items()} == {"older": 3.0, "loop": 2.0}


@pytest.mark.parametrize("content", ["{", "[]", '{"overhead": 1}'])
def test_a_file_of_something_else_is_refused_by_name(tmp_path, content):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(InputError, match=str(path)):
        results.write(path, "loop", {"figures": []})
    assert path.read_text() == content


def test_the_page_shows_every_figure_and_the_table_those_with_a_bound():
    figures = [results.figure("bounded", [2.0] * 5, at_most=3.0), results.figure("free", [2.0, 4.0])]
    entries = {"start": {**ENTRY, "figures": figures}}
    page = results.page(entries)
    assert "2026-11-25, commit `0123456`, m, wall time, H100" in page
    assert "| free | 3 | 2 | 4 | 2 | - |  |" in page
    assert results.table(entries).splitlines()[2:] == ["| start | bounded | 2 | 2 | 2 | 5 | at most 3 | kept |"]


def test_the_published_results_can_be_read_and_are_of_clean_commits():
    entries = results.read(results.Path(__file__).parents[2] / "results" / "benchmark.json")
    assert {"overhead", "memory", "throughput", "techniques"} <= entries.keys()
    assert not any(entry["machine"]["git"]["dirty"] for entry in entries.values())
    json.dumps(results.page(entries))


def test_a_failing_process_is_one_line_that_names_its_flags():
    with pytest.raises(InputError, match="--no_such_flag ended with exit code 2"):
        run_module("hype.benchmark", ["--no_such_flag"])
    with pytest.raises(EnvironmentFault, match="exit code 1"):
        run_module("no_such_module", [])
