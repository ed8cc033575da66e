"""hype.compare: the table of finished runs."""

import json

import pytest

from hype.compare import ONE_SEED, compare, main
from hype.errors import InputError

SAMPLE = "sample data"


def write_run(folder, label, score, **changes):
    """Write a run.json with what the table shows."""
    record = {
        "schema": 2, "status": "finished", "identity": {}, "task": "rte", "seed": 42, "label": label, "score": score,
        "score_name": "accuracy", "sample": None, "timings": {"total_s": 61.4}, "data": {"rows": {"validation": 64}},
        **changes,
    }  # fmt: skip
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({key: value for key, value in record.items() if value != "absent"}))
    return folder


def cells(table):
    """Return the rows of a table as lists of cells, which two blanks part; the header left out."""
    lines = table.split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines[1:]]


def test_scores_are_percentages_beside_the_first_vanilla_run(tmp_path):
    hype = write_run(tmp_path / "a", "HyPe-N 1e-05, dropout 0", 0.71875)
    vanilla = write_run(tmp_path / "b", "vanilla, dropout 0.1", 0.6875)
    control = write_run(tmp_path / "c", "vanilla, dropout 0", 0.671875)
    assert cells(compare([hype, vanilla, control])) == [
        ["HyPe-N 1e-05, dropout 0", "rte", "42", "accuracy", "71.88", "+3.12", "64", "61", str(hype)],
        ["vanilla, dropout 0.1", "rte", "42", "accuracy", "68.75", "+0.00", "64", "61", str(vanilla)],
        ["vanilla, dropout 0", "rte", "42", "accuracy", "67.19", "-1.56", "64", "61", str(control)],
    ]


def test_vanilla_with_dropout_is_what_is_measured_against_wherever_it_stands(tmp_path):
    control = write_run(tmp_path / "a", "vanilla, dropout 0", 0.7)
    vanilla = write_run(tmp_path / "b", "vanilla, dropout of the checkpoint", 0.6)
    assert [row[5] for row in cells(compare([control, vanilla]))] == ["+10.00", "+0.00"]
    hype = write_run(tmp_path / "c", "HyPe-N 1e-05, dropout 0", 0.75)
    assert [row[5] for row in cells(compare([hype, control]))] == ["+5.00", "+0.00"]


def test_columns_stand_under_their_headings(tmp_path):
    folders = [write_run(tmp_path / name, f"vanilla {name}", score) for name, score in (("a", 0.05), ("bcd", 1.0))]
    header, first, second = compare(folders).splitlines()[:3]
    end = header.index("score x 100") + len("score x 100")
    assert first[:end].endswith("  5.00") and second[:end].endswith("100.00")
    assert header.index("folder") == first.index(str(folders[0])) == second.index(str(folders[1]))


def test_runs_of_another_seed_or_task_are_not_measured_against_each_other(tmp_path):
    vanilla = write_run(tmp_path / "a", "vanilla", 0.5)
    other_seed = write_run(tmp_path / "b", "HyPe", 0.6, seed=7)
    other_task = write_run(tmp_path / "c", "HyPe", 0.6, task="cola")
    assert [row[5] for row in cells(compare([vanilla, other_seed, other_task]))] == ["+0.00", "-", "-"]


BASE = {"seed": 42, "model": "m", "learning_rate": 1e-5, "hype_type": "none", "dropout_rate": None, "rdrop_alpha": 0.0}
GROUPS = {"techniques": {"rdrop_alpha": 0.0}}


@pytest.mark.parametrize("change", [{"hype_type": "normal"}, {"dropout_rate": 0.0}, {"rdrop_alpha": 1.0}])
def test_a_run_of_another_method_is_measured_against_vanilla(tmp_path, change):
    vanilla = write_run(tmp_path / "a", "vanilla", 0.5, identity=BASE)
    other = write_run(tmp_path / "b", "other", 0.6, identity=BASE | change)
    assert [row[5] for row in cells(compare([vanilla, other]))] == ["+0.00", "+10.00"]


@pytest.mark.parametrize(
    "change",
    [
        {"identity": BASE | {"learning_rate": 1e-4}}, {"identity": BASE | {"model": "n"}},
        {"identity": BASE | {"data.train": "d"}}, {"status": "running"},
        {"identity": BASE | {"neftune_noise_alpha": 5.0}}, {"identity": BASE | {"label_smoothing_factor": 0.1}},
    ],
)  # fmt: skip
def test_vanilla_of_another_setting_unfinished_or_regularised_is_no_baseline(tmp_path, change):
    """Any run of the task and seed whose label begins with vanilla used to be one."""
    vanilla = write_run(tmp_path / "a", "vanilla", 0.5, **{"identity": BASE, **change})
    hype = write_run(tmp_path / "b", "HyPe", 0.6, identity=BASE | {"hype_type": "normal"})
    assert cells(compare([vanilla, hype]))[1][5] == "-"


@pytest.mark.parametrize(
    ("changes", "score"),
    [({"status": "running"}, 0.5), ({"status": "diverged"}, "absent"), ({}, None), ({}, "absent")],
)
def test_a_run_without_a_final_score_shows_a_dash(tmp_path, changes, score):
    row = cells(compare([write_run(tmp_path / "a", "vanilla", score, **changes)]))[0]
    assert row[4:6] == ["-", "-"]
    assert changes.get("status", "vanilla") in row[0]


def test_a_run_that_only_trained_is_shown(tmp_path):
    folder = write_run(
        tmp_path / "a", "vanilla", "absent", score_name="absent", data={"rows": {"train": 9}}, timings={}
    )
    assert cells(compare([folder])) == [["vanilla", "rte", "42", "-", "-", "-", "-", "-", str(folder)]]


def test_a_sample_is_called_one_once(tmp_path):
    folders = [write_run(tmp_path / name, "vanilla", 0.5, sample=SAMPLE) for name in "ab"]
    assert compare(folders).count(SAMPLE) == 1
    assert SAMPLE not in compare([write_run(tmp_path / "c", "vanilla", 0.5)])


def test_one_seed_is_called_no_evidence(tmp_path):
    first = write_run(tmp_path / "a", "vanilla", 0.5)
    second = write_run(tmp_path / "b", "vanilla", 0.5, seed=43)
    assert ONE_SEED in compare([first])
    assert ONE_SEED not in compare([first, second])


@pytest.mark.parametrize("content", [None, "{", "[]", '{"status": "finished", "identity": {}}'])
def test_a_missing_or_damaged_record_ends_in_one_line(tmp_path, content, capsys):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match=r"run\.json"):
        compare([tmp_path])
    assert main([str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ") and printed.err.count("\n") == 1
