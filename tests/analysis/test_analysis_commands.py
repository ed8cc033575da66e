"""The command line: records, reuse of existing results, exit codes."""

import pytest

from hype.analysis import finished
from hype.analysis.__main__ import main, result_table
from hype.analysis.finished import FinishedRun
from hype.training.record import read_record
from main import main as fine_tune
from tests.analysis.finished_runs import write_run
from tests.analysis.test_adversarial import adv_file
from tests.analysis.test_transfer import nli_folder
from tests.glue_files import NLI_ROWS, snli_jsonl
from tests.tiny import SAMPLE

LIMITS = ["--data_dir", str(SAMPLE), "--max_eval_samples", "10"]


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run", task="rte")


def records_of(folder):
    return sorted((folder / "analysis").glob("*.json"))


@pytest.mark.parametrize("analysis", ["probing", "similarity"])
def test_a_record_says_what_was_measured_on_what(analysis, folder, capsys):
    assert main([analysis, str(folder), "--tasks", "rte", *LIMITS]) == 0
    (path,) = records_of(folder)
    record = read_record(path)
    assert path.name == f"{analysis}-rte-{record['analysis_id'][:8]}.json"
    assert (record["status"], record["run_id"], record["label"]) == ("finished", f"{0:016x}", "vanilla")
    assert record["data"]["rows"]["validation"] == 10
    assert record["identity"]["data.validation"] == record["data"]["fingerprint"]["validation"]
    assert {"torch", "transformers"} < record["machine"]["versions"].keys()
    assert record["timings"]["total_s"] > 0
    assert len(record["results"]["layers"]) == 4
    out = capsys.readouterr().out
    assert out.splitlines()[0].split()[-2:] == ["layer", "3"]
    assert record["sample"] in out


def test_what_is_done_is_not_computed_again_and_other_settings_are_kept_beside(folder, monkeypatch):
    command = ["similarity", str(folder), *LIMITS]
    assert main(command) == 0
    before = records_of(folder)[0].read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(FinishedRun, "hidden_states", None)
        assert main([*command, "--batch_size", "3"]) == 0
    assert [path.read_bytes() for path in records_of(folder)] == [before]
    assert main([*command, "--max_eval_samples", "9"]) == 0
    assert len(records_of(folder)) == 2


def test_an_interrupted_analysis_leaves_no_record(folder, monkeypatch, capsys):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(finished.DataCollatorWithPadding, "__call__", interrupt)
    assert main(["similarity", str(folder), *LIMITS]) == 130
    assert not (folder / "analysis").exists()
    assert capsys.readouterr().out == ""


def test_retrained_weights_are_another_analysis(folder):
    assert main(["similarity", str(folder), *LIMITS]) == 0
    write_run(folder, task="rte", seed=1, run_id=f"{0:016x}")
    assert main(["similarity", str(folder), *LIMITS]) == 0
    assert len(records_of(folder)) == 2


def test_an_undefined_score_is_a_dash_in_the_table():
    record = {"label": "HyPe-N", "seed": 0, "task": "rte", "target": "stsb", "analysis": "probing", "sample": None}
    record |= {"data": {"rows": {"validation": 3}}, "results": {"layers": [None, 0.5]}}
    assert result_table([record]).split()[-2:] == ["-", "50.00"]


def test_accuracies_stand_in_one_table(tmp_path, capsys):
    folder = write_run(tmp_path / "run")
    data = str(nli_folder(tmp_path / "data"))
    assert main(["transfer", str(folder), "--data_dir", data, "--nli_dir", data]) == 0
    assert [line.split()[3] for line in capsys.readouterr().out.splitlines()[1:]] == [
        "snli", "sick", "scitail", "qqp", "mnli", "mnli-mm",
    ]  # fmt: skip
    assert main(["adversarial", str(folder), "--adv_file", adv_file(tmp_path).adv_file]) == 0
    assert [line.split()[3] for line in capsys.readouterr().out.splitlines()[1:]] == ["mnli", "mnli-mm"]


def test_a_run_on_snli_is_fine_tuned_by_main_and_transferred(argv, tmp_path, capsys):
    data = nli_folder(tmp_path / "data")
    (data / "SNLI/snli_1.0_train.jsonl").write_text(snli_jsonl(NLI_ROWS * 8), encoding="utf-8")
    run = tmp_path / "run"
    flags = {"task_name": "snli", "data_dir": data, "max_train_samples": 20, "output_dir": run}
    assert fine_tune(argv("do_train", "do_eval", **flags)) == 0
    assert read_record(run / "run.json")["data"]["rows"] == {"train": 20, "validation": 3}
    assert main(["transfer", str(run), "--tasks", "snli", "sick", "--data_dir", str(data)]) == 0
    score = read_record(next((run / "analysis").glob("transfer-snli-*.json")))["results"]["accuracy"]
    assert score == read_record(run / "run.json")["score"]


BAD_RUNS = {
    "no folder": (lambda folder: (folder / "run.json").unlink(), "give the folder of a run"),
    "not finished": (lambda folder: write_run(folder, task="rte", status="failed"), "its status is failed"),
    "no model": (lambda folder: (folder / "config.json").unlink(), "train it again with --save_model true"),
    "damaged weights": (lambda folder: (folder / "model.safetensors").write_bytes(b"x"), "cannot load"),
    "no record": (lambda folder: (folder / "run.json").write_text('{"status": "finished"}'), "not the record"),
}


@pytest.mark.parametrize("name", BAD_RUNS)
def test_a_folder_without_a_finished_run_is_refused_in_one_line(name, folder, capsys):
    damage, message = BAD_RUNS[name]
    damage(folder)
    assert main(["similarity", str(folder), *LIMITS]) == 2
    out, err = capsys.readouterr()
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert out == "" and len(errors) == 1 and message in errors[0]


@pytest.mark.parametrize("flags", [["--batch_size", "0"], ["--task", "rte"], ["--adv_file", "x"]])
def test_wrong_flags_end_with_2(flags, folder, capsys):
    assert main(["similarity", str(folder), *flags]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("error: ") and flags[0] in err
