"""hype.compare: finished runs grouped by method and paired by seed."""

import json

import pytest
from scipy import stats

from hype.compare import ONE_SEED, compare, main
from hype.errors import InputError

BASE = {"task_name": "rte", "learning_rate": 2e-5, "model": "m", "data.train": "d"}


def write_run(folder, label, score, seed=42, identity=(), **changes):
    """Write a run.json with the fields that the table shows."""
    identity = {**BASE, "seed": seed, **dict(identity)}
    record = {
        "schema": 2, "status": "finished", "run_id": f"{label} {identity}", "identity": identity, "task": "rte",
        "seed": seed, "label": label, "score": score, "score_name": "accuracy", "majority_score": 0.5, "sample": None,
        "predictions": None, "timings": {"total_s": 61.4}, "data": {"rows": {"validation": 64}},
        "model": {"name": "/home/me/bert-base"}, "machine": {"device": {"type": "cpu"}}, **changes,
    }  # fmt: skip
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def write_seeds(tmp_path, label, scores, **changes):
    """Write runs with seeds 1, 2, ..."""
    names = [f"{label.replace(' ', '_').replace(',', '')}-{seed}" for seed in range(1, len(scores) + 1)]
    return [write_run(tmp_path / name, label, score, seed, **changes)
            for seed, (name, score) in enumerate(zip(names, scores, strict=True), 1)]  # fmt: skip


def row_of(text, start) -> list[str]:
    """Return the cells, separated by two blanks, of the line that begins with `start`."""
    line = next(line for line in text.splitlines() if line.startswith(start))
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_runs_are_grouped_by_method_with_the_paired_difference_and_its_interval(tmp_path):
    hype = {"hype_type": "normal", "hype_eps": 1e-5, "dropout_rate": 0.0}
    folders = write_seeds(tmp_path, "vanilla, dropout 0.1", [0.60, 0.62, 0.61], predictions="0110")
    folders += write_seeds(tmp_path, "HyPe-N 1e-05, dropout 0", [0.65, 0.66, 0.64], predictions="0111", identity=hype)
    text = compare(folders)
    assert row_of(text, "rte   vanilla")[1:] == ["vanilla, dropout 0.1", "3", "accuracy", "61.00 ± 1.00", "50.00", "-",
                                                  "-", "61"]  # fmt: skip
    interval = stats.ttest_1samp([5.0, 4.0, 3.0], 0).confidence_interval()
    difference = f"+4.00 ({interval.low:+.2f} to {interval.high:+.2f}, n 3)"
    assert row_of(text, "rte   HyPe")[4:8] == ["65.00 ± 1.00", "50.00", difference, "25.0 %"]
    assert ONE_SEED not in text and str(tmp_path) not in text, "labels, not folders"


def test_without_dropout_vanilla_is_the_reference_only_where_there_is_none_with_it(tmp_path):
    control = write_run(tmp_path / "a", "vanilla, dropout 0", 0.7)
    hype = write_run(tmp_path / "b", "HyPe-N 1e-05, dropout 0", 0.75)
    assert "+5.00 (n 1)" in compare([hype, control])
    vanilla = write_run(tmp_path / "c", "vanilla, dropout of the checkpoint", 0.6)
    text = compare([control, hype, vanilla])
    assert "+15.00 (n 1)" in text and "+10.00 (n 1)" in text


@pytest.mark.parametrize("change", [{"learning_rate": 1e-4}, {"data.train": "other"}, {"model": "other"}])
def test_runs_that_differ_by_more_than_the_method_are_not_compared(tmp_path, change):
    vanilla = write_run(tmp_path / "a", "vanilla", 0.5)
    hype = write_run(tmp_path / "b", "HyPe", 0.6, identity={"hype_type": "normal", **change})
    assert "+10.00" not in compare([vanilla, hype])


def test_pairs_whose_runs_are_from_different_devices_are_counted(tmp_path):
    """They round differently, which training can amplify."""
    vanilla = write_seeds(tmp_path, "vanilla", [0.5, 0.6])
    write_run(tmp_path / "a", "HyPe", 0.6, 1, identity={"hype_type": "normal"})
    write_run(tmp_path / "b", "HyPe", 0.8, 2, identity={"hype_type": "normal"}, machine={"device": {"type": "cuda"}})
    text = compare([*vanilla, tmp_path / "a", tmp_path / "b"])
    assert "+15.00 (n 2), 1 pair across devices" in text


@pytest.mark.parametrize(("flag", "field"), [("train_file", "data.train"), ("checkpoint_dir", "checkpoint_dir")])
def test_runs_on_different_own_files_or_checkpoints_name_their_paths_not_hashes(tmp_path, flag, field):
    for name in ("one", "two"):
        settings = {flag: f"/home/me/{name}/file"}
        write_run(tmp_path / name, "vanilla", 0.5, identity={field: name * 21}, settings=settings)
    text = compare([tmp_path / "one", tmp_path / "two"])
    assert row_of(text, f"rte   vanilla, {flag} one/file") and row_of(text, f"rte   vanilla, {flag} two/file")
    assert "oneone" not in text


def test_runs_are_paired_by_their_seeds_of_training_and_of_data(tmp_path):
    def seeded(label, scores, **identity):
        for data_seed, score in scores.items():
            name = f"{label}-{data_seed}"
            yield write_run(tmp_path / name, label, score, identity={"data_seed": data_seed, **identity})

    folders = [*seeded("vanilla", {1: 0.5, 2: 0.6, 3: 0.7}), *seeded("HyPe", {3: 0.8, 2: 0.6}, hype_type="normal")]
    assert row_of(compare(folders), "rte   HyPe")[2] == "2" and "+5.00 (n 2" in compare(folders)


def test_methods_of_one_label_with_different_settings_have_separate_rows(tmp_path):
    label, hype = "HyPe-U 1e-05, dropout 0", {"hype_type": "uniform", "dropout_rate": 0.0}
    write_run(tmp_path / "a", label, 0.6, identity=hype)
    write_run(tmp_path / "b", label, 0.8, identity={**hype, "hype_top_layers": 2})
    write_run(tmp_path / "c", "vanilla, dropout 0", 0.5, identity={"dropout_rate": 0.0})
    text = compare([tmp_path / name for name in "abc"])
    assert row_of(text, "rte   HyPe-U 1e-05, dropout 0")[2:7:4] == ["1", "+10.00 (n 1)"]
    assert row_of(text, "rte   HyPe-U 1e-05, hype_top_layers 2, dropout 0")[2:7:4] == ["1", "+30.00 (n 1)"]


def test_a_run_whose_settings_changed_on_the_way_is_named(tmp_path):
    text = compare([write_run(tmp_path / "a", "vanilla", 0.5, changed={"learning_rate": [1e-3, 2e-5]})])
    assert f"{tmp_path / 'a'}: settings changed during training (learning_rate)" in text


def test_models_rates_and_data_that_differ_are_named(tmp_path):
    write_run(tmp_path / "a", "vanilla, dropout 0", 0.5, identity={"dropout_rate": 0.0})
    write_run(tmp_path / "b", "vanilla, dropout 0", 0.6, identity={"dropout_rate": 0.0, "max_train_samples": 9})
    write_run(tmp_path / "c", "HyPe", 0.7, identity={"learning_rate": 1e-4, "model": "n"}, model={"name": "x/large"})
    text = compare([tmp_path / name for name in "abc"])
    assert row_of(text, "rte   vanilla, learning_rate 2e-05, model me/bert-base, dropout 0")[4] == "50.00"
    assert "vanilla, learning_rate 2e-05, model me/bert-base, max_train_samples 9, dropout 0" in text
    assert "HyPe, learning_rate 0.0001, model x/large" in text


def test_unfinished_runs_are_left_out_with_a_line(tmp_path):
    finished = write_run(tmp_path / "a", "vanilla", 0.5)
    running = write_run(tmp_path / "b", "HyPe", None, status="running")
    text = compare([finished, running])
    assert f"left out: {running} (running)" in text and "HyPe" not in text
    with pytest.raises(InputError, match="no finished run"):
        compare([running])


def test_copies_of_a_run_count_once(tmp_path):
    run = write_run(tmp_path / "a", "vanilla", 0.5)
    text = compare([run, write_run(tmp_path / "b", "vanilla", 0.5), write_run(tmp_path / "c", "vanilla", 0.6, seed=43)])
    assert row_of(text, "rte")[2] == "2"
    assert f"left out: {tmp_path / 'b'} (the same run as {run})" in text


def test_one_seed_and_sample_data_are_named(tmp_path):
    text = compare([write_run(tmp_path / "a", "vanilla", 0.5, sample="sample data")])
    assert "sample data" in text and ONE_SEED in text


def test_the_time_of_a_resumed_run_which_is_only_that_of_its_end_does_not_count(tmp_path):
    whole = write_run(tmp_path / "a", "vanilla", 0.5)
    resumed = write_run(tmp_path / "b", "vanilla", 0.5, 43, timings={"total_s": 1.0, "first_step": 5})
    assert row_of(compare([whole, resumed]), "rte   vanilla")[-1] == "61"


def test_an_undefined_score_is_a_dash(tmp_path):
    text = compare([write_run(tmp_path / "a", "vanilla", None), write_run(tmp_path / "b", "HyPe", 0.5)])
    assert row_of(text, "rte   vanilla")[4] == "-"


def test_scores_and_training_curves_are_drawn(tmp_path, capsys):
    folders = write_seeds(tmp_path, "vanilla", [0.5, 0.6, 0.7])
    history = [{"step": 1, "loss": 0.7}, {"step": 2, "loss": 0.5}, {"step": 2, "eval_loss": 0.6}]
    (folders[0] / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    assert main([*map(str, folders), "--plot", str(tmp_path / "x.svg")]) == 0
    svg = (tmp_path / "x.svg").read_text(encoding="utf-8")
    assert "training loss" in svg and "dev score x 100" in svg
    assert str(tmp_path / "x.svg") in capsys.readouterr().out


@pytest.mark.parametrize("name", ["a/run.json/x.svg", "folder"])
def test_a_plot_that_cannot_be_written_ends_in_one_line(tmp_path, capsys, name):
    run = write_run(tmp_path / "a", "vanilla", 0.5)
    (tmp_path / "folder").mkdir()
    assert main([str(run), "--plot", str(tmp_path / name)]) == 4
    error = capsys.readouterr().err
    assert str(tmp_path / name) in error and error.count("\n") == 1


@pytest.mark.parametrize("content", [None, "{", "[]", '{"schema": 2, "status": "finished", "identity": {}}'])
def test_a_missing_or_damaged_record_ends_in_one_line(tmp_path, content, capsys):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    assert main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and str(tmp_path) in error and error.count("\n") == 1
