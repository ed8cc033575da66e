"""A study: several experiments in one command, its answers and report, its records read where nothing else is."""

import re
from dataclasses import replace

import pytest

from hype.data.arguments import DataArguments
from hype.data.splits import load_splits
from hype.reproduction import sections, status
from hype.reproduction.__main__ import main
from hype.reproduction.experiments import (
    CONTROL,
    STUDIES,
    VANILLA,
    Question,
    Study,
    StudyModel,
    StudySection,
    load_study,
)
from hype.reproduction.report import answers
from hype.reproduction.sections import PLACES, all_runs, study_sections
from hype.reproduction.status import read_published
from hype.training.arguments import ModelArguments
from hype.training.identity import model_fingerprints
from tests.reproduction.made_up_runs import section
from tests.reproduction.small_runs import ROOT
from tests.tiny import SAMPLE

ONE = {"tasks": ["rte"], "seeds": [1], "learning_rates": [1e-3], "max_train_samples": 32}
TWO = ["vanilla", "vanilla, no dropout"]
RATES = {"tasks": ["rte"], "methods": ["vanilla"], "seeds": [7], "max_train_samples": 32}
SECTIONS = (
    StudySection("first", "The <first>", "table_1", "tiny", ONE | {"methods": TWO}, text="A remark."),
    StudySection("by_layer", "By layer", "figure_4", "tiny", ONE | {"methods": TWO}),
    StudySection("rates", "Rates", "table_1", "tiny", RATES | {"learning_rates": [1e-4, 1e-3, 1e-2]}),
    StudySection("chosen", "Chosen", "table_1", "tiny", RATES | {"seeds": [1]}, rates_of="rates"),
    StudySection("moved", "Transfer", "table_7", "tiny", ONE | {"tasks": ["mnli"], "methods": ["vanilla"]}),
)
QUESTIONS = (Question("Does it help?", CONTROL, VANILLA, ("first",)),)


@pytest.fixture(scope="module")
def small(model) -> Study:
    hashes = model_fingerprints(ModelArguments(model_name_or_path=str(model)))

    def read(task, splits, **limits):
        return load_splits(DataArguments(task, str(SAMPLE), **limits), splits).fingerprint

    data = {"rte, first 32": read("rte", ["train", "validation"], max_train_samples=32)}
    data["rte"] = read("rte", ["validation"])
    data["mnli, first 32"] = read("mnli", ["train", "validation", "validation_mismatched"], max_train_samples=32)
    data |= {"qqp": read("qqp", ["validation"]), "mnli": read("mnli", ["validation", "validation_mismatched"])}
    data |= {task: {"validation": "0" * 64} for task in ("snli", "sick", "scitail")}
    tiny = StudyModel("Tiny", hashes["model"], hashes["tokenizer"])
    return Study("small", "A small study", "Few runs.", {"tiny": tiny}, data, SECTIONS, QUESTIONS)


@pytest.fixture(autouse=True)
def _small_is_a_study(small, model, monkeypatch):
    monkeypatch.setattr("hype.reproduction.__main__.STUDIES", (*STUDIES, "small"))
    monkeypatch.setattr(
        "hype.reproduction.__main__.load_study", lambda name: small if name == "small" else load_study(name)
    )
    monkeypatch.setattr(sections, "packaged_model", lambda name: str(model))


def line_of(folder, *options) -> list[str]:
    return ["small", "--results_dir", str(folder / "r"), "--sections", *options]


def test_one_command_does_every_run_once_and_shows_it_where_neither_model_nor_data_is(
    tmp_path, capsys, monkeypatch, model
):
    wanted = ("first", "by_layer")
    assert main(line_of(tmp_path, *wanted, "--run", "--data_dir", str(SAMPLE))) == 0
    captured = capsys.readouterr()
    assert "small: 2 runs: 2 finished" in captured.err, "both sections have the same two runs"
    assert "**Does it help?** Too few seeds" in captured.out
    monkeypatch.setattr(sections, "packaged_model", lambda name: pytest.fail("not needed"))
    monkeypatch.chdir(tmp_path)
    assert main(line_of(tmp_path, *wanted, "--show")) == 0
    assert capsys.readouterr().out == captured.out
    assert main(["small", "--results_dir", str(tmp_path / "r"), "--report"]) == 0
    for name in ("report.html", "report.md"):
        text = (tmp_path / "r" / name).read_text(encoding="utf-8")
        assert "The &lt;first&gt;" in text and "A remark." in text and "Few runs." in text
        assert str(model) not in text and str(SAMPLE) not in text, "the report names no place of this machine"


def test_learning_rates_are_chosen_from_finished_runs_then_the_rest_is_run(tmp_path, capsys, monkeypatch):
    options = ("rates", "chosen", "--data_dir", str(SAMPLE))
    assert main(line_of(tmp_path, *options, "--dry_run")) == 0
    assert "1 run; waits for the runs of rates" in capsys.readouterr().out
    monkeypatch.setattr("hype.reproduction.sections.best_rates", lambda runs: _rates_if_finished(runs, 1e-3, False))
    published = []
    monkeypatch.setattr(status, "publish", lambda specs, path: (len(specs), published.extend(specs) or []))
    assert main(line_of(tmp_path, *options, "--run", "--publish")) == 0
    captured = capsys.readouterr()
    assert "learning rates RTE 0.001" in captured.err
    assert len(list((tmp_path / "r" / "runs").glob("*/run.json"))) == len(published) == 4


def _rates_if_finished(runs, rate, is_edge):
    return None if (runs["status"] == "missing").any() else {"rte": (rate, is_edge)}


def test_a_rate_at_the_edge_of_the_grid_stops_what_waits_for_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("hype.reproduction.sections.best_rates", lambda runs: _rates_if_finished(runs, 1e-2, True))
    assert main(line_of(tmp_path, "rates", "chosen", "--data_dir", str(SAMPLE), "--run")) == 1
    error = capsys.readouterr().err
    assert "chosen: waits for rates with further learning rates" in error and "RTE 0.01" in error
    assert len(list((tmp_path / "r" / "runs").glob("*/run.json"))) == 3


def test_a_task_with_a_failed_run_at_every_rate_waits(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("hype.reproduction.sections.best_rates", lambda runs: {})
    assert main(line_of(tmp_path, "chosen", "--dry_run")) == 0
    assert "waits for the runs of rates" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["small", "--run"], "--data_dir: small needs the GLUE folder that it was run with"),
        (["small", "--show", "--tasks", "rte"], "--tasks: small sets its own"),
        (["small", "--show", "--models", "other=x"], "--models other: small takes tiny=FOLDER"),
        (["small", "--show", "--models", "tiny=hub/model"], "--models tiny: small takes tiny=FOLDER"),
        (["small", "--show", "--sections", "x"], "--sections x: small has first, by_layer"),
        (["small", "--run", "--report", "--sections", "x"], "--report --sections: a report covers all sections"),
        (["table_1", "--show", "--sections", "x"], "--sections: only a study has sections"),
    ],
)
def test_what_does_not_fit_a_study_is_refused(options, message, capsys):
    assert main(options) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {message}") and captured.out == ""


@pytest.mark.parametrize("action", ["--run", "--commands"])
def test_other_data_than_the_studys_are_refused_before_anything_runs(action, tmp_path, capsys):
    (tmp_path / "RTE").mkdir()
    line = ["small", "--sections", "first", action, "--data_dir", str(tmp_path), "--results_dir", str(tmp_path / "r")]
    assert main(line) == 2
    assert "not what the study used" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_what_is_still_to_do_is_refused_without_its_data(tmp_path, capsys):
    """No placeholder for a folder reaches a run or a printed line."""
    assert main(line_of(tmp_path, "moved", "--data_dir", str(SAMPLE), "--run")) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --nli_dir: section moved needs it")
    assert main(line_of(tmp_path, "first", "--data_dir", str(SAMPLE), "--commands")) == 0
    assert not any(place in capsys.readouterr().out for place in PLACES.values())


def test_what_is_done_already_needs_no_data():
    study = load_study("decisive")
    lines = read_published(ROOT / "results" / "decisive" / "runs.jsonl")
    places = {"data_dir": "absent", "nli_dir": None, "adv_file": None}
    (found,) = study_sections(study, ROOT / "absent", lines, ["transfer"], places, {"minilm": "absent"})
    assert {state.status for state in found.states.values()} == {"finished"}


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_is_in_order(name):
    study = load_study(name)
    names = [entry.name for entry in study.sections]
    assert len(set(names)) == len(names)
    assert {section for question in study.questions for section in question.sections} <= set(names)
    found = study_sections(study, ROOT / "absent", {})
    assert [section.name for section in found] == names
    assert all(section.states or section.planned for section in found)


def test_every_published_run_of_a_study_belongs_to_a_section():
    lines = read_published(ROOT / "results" / "minilm" / "runs.jsonl")
    found = study_sections(load_study("minilm"), ROOT / "absent", lines)
    wanted = {spec.key for section in found for spec in section.states}
    assert lines and set(lines) <= wanted
    runs = all_runs(found)
    assert runs["key"].is_unique and runs["score"].notna().sum() == len(lines)


def test_the_answers_in_readme_are_printed_from_any_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["decisive", "--show"]) == 0
    shown = capsys.readouterr().out
    rows = re.findall(r"^\| (.+\?) \| (.+) \| (.+) \|$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert rows and all(f"**{question}** {answer}: {effect}." in shown for question, answer, effect in rows)


def test_paired_runs_of_the_decisive_study_come_from_one_kind_of_device():
    """Devices round differently, which a long training amplifies: that would stand in for an effect."""
    lines = read_published(ROOT / "results" / "decisive" / "runs.jsonl")
    devices: dict[tuple, set] = {}
    for run in all_runs(study_sections(load_study("decisive"), ROOT / "absent", lines)).itertuples():
        if run.key in lines:
            pair = run.model, run.data, run.task, run.learning_rate, run.seed
            devices.setdefault(pair, set()).add(lines[run.key]["machine"]["device"]["name"])
    assert len(devices) > 80 and {pair: found for pair, found in devices.items() if len(found) > 1} == {}


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [
        ([0.05, 0.06, 0.05], "Raises the score: +5.33 points (95 % interval"),
        ([0.005, 0.006, 0.005], "Raises the score, but within ±1 point: +0.53 points (95 % interval"),
        ([0.001, -0.002, 0.0], "No effect beyond ±1 point: -0.03 points (90 % interval"),
        ([0.05, -0.06, 0.02], "Inconclusive (could detect 17.6 points): +0.33 points (95 % interval"),
    ],
)
def test_a_question_is_answered_by_its_interval(gain, verdict):
    scores = {
        "vanilla": [0.5, 0.6, 0.7],
        CONTROL: [base + more for base, more in zip((0.5, 0.6, 0.7), gain, strict=True)],
    }
    made = replace(section(scores), name="first")
    study = replace(load_study("minilm"), questions=QUESTIONS)
    ((question, answer),) = answers(study, [made])
    assert question == "Does it help?" and answer.startswith(verdict)
    assert answers(study, [replace(made, name="other")]) == [], "not asked about: its runs are not here"
