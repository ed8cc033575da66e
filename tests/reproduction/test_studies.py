"""A study: several narrowed experiments in one command, its report, and its records read where nothing else is."""

import json
import re
from pathlib import Path

import datasets
import pytest

from hype.reproduction import sections, studies
from hype.reproduction.__main__ import main
from hype.reproduction.fingerprints import Fingerprints, data_fingerprint, model_fingerprint, tokenizer_fingerprint
from hype.reproduction.options import parser
from hype.reproduction.studies import STUDIES, Entry, Study, load_study
from tests.reproduction.small_runs import ROOT, SAMPLE, write_tiny_model
from tests.reproduction.test_report import Page

FEW = "--tasks rte --seeds 1 --learning_rates 1e-3 --max_train_samples 32 --methods "
ENTRIES = (
    Entry("first", "The <first>", "table_1", f"{FEW} vanilla 'vanilla, no dropout'"),
    Entry("layers", "By layer", "figure_4", f"{FEW} vanilla 'vanilla, no dropout'"),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def _small_study(tmp_path, monkeypatch, model):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GLUE_DIR", raising=False)
    hashes = model_fingerprint(str(model)), tokenizer_fingerprint(str(model))
    prints = Fingerprints(*hashes, 3, {"rte": data_fingerprint(str(SAMPLE), "rte")})
    small = Study("small", "A small study", "Two sections.", "tiny/model", prints, ENTRIES)
    monkeypatch.setattr(sections, "STUDIES", (*STUDIES, "small"))
    monkeypatch.setattr("hype.reproduction.__main__.STUDIES", (*STUDIES, "small"))
    for module in ("sections", "__main__"):
        monkeypatch.setattr(
            f"hype.reproduction.{module}.load_study", lambda name: small if name == "small" else load_study(name)
        )
    monkeypatch.setattr(sections, "packaged_model", lambda: str(model))


def test_one_command_does_every_run_once_and_reports_without_a_place_of_this_machine(tmp_path, capsys, model):
    line = ["small", "--results_dir", str(tmp_path / "r")]
    assert main([*line, "--run", "--report", "--data_dir", str(SAMPLE)]) == 0
    captured = capsys.readouterr()
    assert "small: 2 runs: 2 finished" in captured.err, "both sections have the same two runs"
    assert "The <first>" in captured.out and "similarity on rte, by layer" in captured.out
    page = Page((tmp_path / "r" / "report.html").read_text(encoding="utf-8"))
    text = (tmp_path / "r" / "report.md").read_text(encoding="utf-8")
    for form in (text, (tmp_path / "r" / "report.html").read_text(encoding="utf-8")):
        assert "minus vanilla is" in form and "not the paper" in form and "&lt;first&gt;" in form
        assert str(model) not in form and str(SAMPLE) not in form
    for link in [*page.links, *re.findall(r"\]\(([^)]+)\)", text)]:
        place, _, anchor = link.partition("#")
        if place:
            assert (tmp_path / "r" / place).is_file()
        if anchor:
            source = tmp_path / "r" / (place or "report.html")
            assert anchor in Page(source.read_text(encoding="utf-8")).ids


def test_a_part_of_a_study_does_not_replace_the_report_of_the_whole(tmp_path, capsys):
    line = ["small", "--results_dir", str(tmp_path / "r"), "--report"]
    assert main(line) == 0
    whole = (tmp_path / "r" / "report.md").read_text(encoding="utf-8")
    capsys.readouterr()
    assert main([*line, "--sections", "layers"]) == 0
    assert (tmp_path / "r" / "report.md").read_text(encoding="utf-8") == whole
    written = capsys.readouterr().out
    assert "reports/layers.md" in written and "report.md" not in written.replace("reports/", "")


def test_a_folder_of_results_that_is_none_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["table_1", "--dry_run", "--results_dir", str(tmp_path / "file")]) == 2
    assert f"--results_dir {tmp_path / 'file'}: Not a directory" in capsys.readouterr().err


def test_what_was_run_is_shown_where_neither_model_nor_data_is(tmp_path, capsys, monkeypatch):
    line = ["small", "--results_dir", str(tmp_path / "r"), "--show"]
    assert main([*line, "--run", "--data_dir", str(SAMPLE)]) == 0
    shown = capsys.readouterr().out
    monkeypatch.setattr(sections, "packaged_model", lambda: pytest.fail("not needed"))
    monkeypatch.chdir(tmp_path)
    assert main(line) == 0
    assert capsys.readouterr().out == shown


def test_data_that_are_not_there_are_refused_where_they_are_needed_alone(tmp_path, capsys):
    line = ["small", "--results_dir", str(tmp_path / "r"), "--data_dir", str(tmp_path / "absent")]
    for action in ("--dry_run", "--commands", "--run"):
        assert main([*line, action]) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.startswith(f"error: --data_dir {tmp_path}/absent: no such folder")
    assert main([*line, "--show"]) == 0


def test_one_section_can_be_asked_for(tmp_path, capsys):
    assert main(["small", "--sections", "layers", "--dry_run", "--results_dir", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("layers: By layer") and "2 runs: 2 missing" in text and "The <first>" not in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["small", "--run"], "--data_dir: small needs the GLUE folder that it was made with"),
        (["small", "--show", "--tasks", "rte"], "--tasks: small has its own"),
        (["small", "--show", "--sections", "x"], "--sections x: small has first, layers"),
        (["table_1", "--show", "--sections", "x"], "--sections: only a study has sections"),
    ],
)
def test_what_does_not_fit_a_study_is_refused(options, message, capsys):
    assert main(options) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_other_data_are_refused_before_anything_runs(tmp_path, capsys):
    (tmp_path / "RTE").mkdir()
    assert main(["small", "--run", "--data_dir", str(tmp_path), "--results_dir", str(tmp_path / "r")]) == 2
    assert "not what the study was made with" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_is_in_order(name):
    study = load_study(name)
    names = [entry.name for entry in study.entries]
    assert len(set(names)) == len(names)
    found = sections.sections_of(parser().parse_args([name, "--show"]), is_to_run=False)
    assert [section.name for section in found] == names
    assert all(section.cells and "narrowed" in section.narrowing_text for section in found)


@pytest.mark.parametrize("name", STUDIES)
def test_every_record_of_a_study_belongs_to_a_section(name):
    cells = sections.runs_of(sections.sections_of(parser().parse_args([name, "--show"]), is_to_run=False))
    wanted = {cell.folder.name for cell in cells}
    there = {path.parent.name for path in (ROOT / "results" / name / "runs").glob("*/run.json")}
    assert there and there <= wanted


def test_a_study_is_data():
    content = json.loads(Path(studies.__file__).with_name("studies").joinpath("minilm.json").read_text())
    assert {"title", "summary", "model", "fingerprints", "sections"} == set(content)
