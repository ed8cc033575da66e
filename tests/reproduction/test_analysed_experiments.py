"""Figures 3 and 4 and tables 6 and 7 in miniature: their runs, the analyses of these, what is shown of them."""

import json
import shutil
from pathlib import Path

import pytest

from hype.reproduction import execution
from hype.reproduction.__main__ import main
from hype.reproduction.execution import execute
from hype.reproduction.experiments import load
from hype.reproduction.overrides import Overrides
from hype.reproduction.runs import RunSpec, expand
from hype.reproduction.sections import section_of
from hype.reproduction.status import state_of
from tests.analysis.test_adversarial import adv_file
from tests.analysis.test_transfer import nli_folder
from tests.reproduction.small_runs import overrides
from tests.tiny import SAMPLE


@pytest.mark.parametrize(
    ("name", "stands_for", "task", "shown"),
    [
        ("figure_3", "roberta-large", "sst2", "Probing on MRPC"),
        ("figure_4", "roberta-large", "rte", "Similarity on RTE"),
        ("table_6", "bert-large", "rte", "RTE"),
        ("table_7", "roberta-large", "mnli", "trained on MNLI"),
    ],
)
def test_one_command_runs_analyses_and_shows(name, stands_for, task, shown, tmp_path, model, capsys):
    results = tmp_path / "results"
    line = [
        name, "--models", f"{stands_for}={model}", "--tasks", task, "--methods", "vanilla", "hype-n",
        "--variants", "hype_eps 1e-05", "--seeds", "1", "--learning_rates", "1e-3", "--max_train_samples", "32",
        "--max_analysis_samples", "16", "--data_dir", str(SAMPLE), "--nli_dir", str(nli_folder(tmp_path / "nli")),
        "--adv_file", adv_file(tmp_path).adv_file, "--results_dir", str(results),
    ]  # fmt: skip
    assert main([*line, "--run", "--report"]) == 0
    text = capsys.readouterr().out
    assert shown in text and "2 runs: 2 finished" in text and "analysed on the first 16 examples of each set" in text
    page = (results / "report.html").read_text()
    assert shown in page and ("layer (0: embeddings)" in page) == name.startswith("figure")
    # A clone has the records without the models: the same table comes of them.
    for weights in results.glob("runs/*/model.safetensors"):
        weights.unlink()
    assert main([*line, "--show"]) == 0
    assert capsys.readouterr().out.strip() == text.split(str(results))[0].strip()


def one_run(model, **changes) -> Overrides:
    return overrides(model, methods=("vanilla",), seeds=(1,), **changes)


def figure_3(model) -> Overrides:
    return one_run(model, models={"roberta-large": str(model)}, tasks=("sst2",), max_analysis_samples=16)


def spec_of_figure_3(results_dir, model) -> RunSpec:
    (spec,) = expand(load("figure_3"), figure_3(model), results_dir)
    return spec


@pytest.fixture(scope="module")
def original(tmp_path_factory, model) -> Path:
    """The folder of a finished and analysed run."""
    folder = tmp_path_factory.mktemp("original")
    assert execute(spec_of_figure_3(folder, model)).status == "finished"
    return folder


@pytest.fixture
def spec(original, tmp_path, model) -> RunSpec:
    """The same run in a copy of that folder."""
    shutil.copytree(original, tmp_path / "results")
    return spec_of_figure_3(tmp_path / "results", model)


def test_an_analysis_that_was_cut_off_goes_on_without_the_run(spec):
    assert state_of(spec).status == "finished"
    whole = [spec.analysis.path(target).read_bytes() for target in ("mrpc", "stsb")]
    spec.analysis.path("stsb").unlink()
    trained = (spec.folder / "model.safetensors").stat().st_mtime_ns
    assert state_of(spec).status == "interrupted"
    assert execute(spec).status == "finished"
    assert (spec.folder / "model.safetensors").stat().st_mtime_ns == trained
    assert spec.analysis.path("mrpc").read_bytes() == whole[0]
    results = [json.loads(text)["results"] for text in (whole[1], spec.analysis.path("stsb").read_bytes())]
    assert results[0]["layers"] == results[1]["layers"]
    # With neither model nor analysis, the run is made anew.
    shutil.rmtree(spec.analysis.folder)
    (spec.folder / "model.safetensors").unlink()
    assert state_of(spec).status == "missing" and state_of(spec).record["score"] is not None


def test_an_analysis_that_fails_is_recorded_and_not_tried_again(spec):
    spec.analysis.path("rte").unlink()
    (spec.folder / "config.json").unlink()
    assert execute(spec).status == "failed"
    state = state_of(spec)
    assert state.status == "failed" and "no model" in state.error
    assert state.record
    # Where the model is gone since, asking to retry trains it again.
    (spec.folder / "model.safetensors").unlink()
    assert execute(spec, retry=True).status == "finished"


def test_a_damaged_analysis_is_named_and_made_anew_on_request_alone(spec, monkeypatch):
    path = spec.analysis.path("rte")
    for content in ("", '{"schema": 2, "status": "finished", "identity": {}, "run_id": "a"}'):
        path.write_text(content)
        outcome = execute(spec)
        assert outcome.status == "damaged" and str(path) in outcome.error and "--retry_failed" in outcome.error
        assert path.read_text() == content
        monkeypatch.setattr("hype.training.trainer.HyPeTrainer.train", lambda *args: pytest.fail("trained again"))
        assert execute(spec, retry=True).status == "finished"


def test_an_analysis_of_other_data_is_another(tmp_path, model):
    first_file, other_file = tmp_path / "first.json", tmp_path / "other.json"
    shutil.move(adv_file(tmp_path).adv_file, first_file)
    other_file.write_text(first_file.read_text().replace("a b", "a c"))
    first, other = (
        expand(load("table_6"), one_run(model, adv_file=str(file)), tmp_path)[0] for file in (first_file, other_file)
    )
    assert first.folder == other.folder and first.analysis.path("rte") != other.analysis.path("rte")


def test_an_attempt_is_held_until_its_analyses_are_made(tmp_path, model, monkeypatch):
    spec = spec_of_figure_3(tmp_path, model)
    seen = []
    monkeypatch.setattr(execution, "analyse", lambda spec: seen.append(execute(spec).status))
    execute(spec)
    assert seen == ["locked"]


def test_layers_come_from_the_records(spec, tmp_path, model):
    layers = section_of(load("figure_3"), figure_3(model), tmp_path / "results").layers
    record = json.loads(spec.analysis.path("rte").read_text())
    found = layers[layers["target"] == "rte"]["score"].tolist()
    assert found == pytest.approx([100 * value for value in record["results"]["layers"]])
    assert set(layers["seed"]) == {1} and set(layers["method"]) == {"vanilla"}


def test_sample_data_of_the_nli_sets_is_named_too(tmp_path):
    (tmp_path / "SAMPLE").write_text("written for a test\n")
    for name, text in (("table_7", "written for a test"), ("table_1", "")):
        assert section_of(load(name), Overrides(nli_dir=str(tmp_path)), tmp_path).sample == text
