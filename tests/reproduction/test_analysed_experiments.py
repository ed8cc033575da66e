"""Figures 3 and 4 and tables 6 and 7 in miniature: their runs, the analyses of these, what is shown of them."""

import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest

from hype.reproduction import executor
from hype.reproduction.__main__ import main
from hype.reproduction.analyses import analyse_run
from hype.reproduction.executor import execute
from hype.reproduction.expansion import expand
from hype.reproduction.experiments import load
from hype.reproduction.narrowing import Narrowing
from hype.reproduction.state import state_of
from hype.reproduction.statistics import ALL_TASKS, grid_points, paired_differences, protocol
from hype.reproduction.tables import layers_table, runs_table
from hype.reproduction.tables import paper_table as described
from tests.analysis.test_transfer import nli_folder
from tests.reproduction.made_up_runs import paper_table, runs_of, seeds
from tests.reproduction.small_runs import SAMPLE, write_tiny_model

NAMES = {"figure_3": "roberta-large", "figure_4": "roberta-large", "table_6": "bert-large", "table_7": "roberta-large"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def adv_file(tmp_path_factory):
    """Two of AdvGLUE's rows for RTE, in its form."""
    rows = [{"sentence1": f"text {i}", "sentence2": "claim", "label": i % 2, "idx": i} for i in range(6)]
    path = tmp_path_factory.mktemp("adv") / "dev.json"
    path.write_text(json.dumps({"rte": rows}))
    return path


def options_of(name, model, results_dir, adv_file, *more) -> list[str]:
    task = {"figure_3": "sst2", "figure_4": "rte", "table_6": "rte", "table_7": "mnli"}[name]
    options = [name, "--models", f"{NAMES[name]}={model}", "--tasks", task, "--methods", "vanilla", "hype-n"]
    options += ["--variants", "hype_eps 1e-05", "--seeds", "1", "2", "--learning_rates", "1e-3", "--max_train_samples"]
    options += ["32", "--max_analysis_samples", "16", "--data_dir", str(SAMPLE), "--adv_file", str(adv_file)]
    options += ["--nli_dir", str(results_dir.parent)]
    return [*options, "--results_dir", str(results_dir), *more]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("figure_3", "roberta-large: probing on mrpc, by layer"),
        ("figure_4", "roberta-large: similarity on rte, by layer"),
        ("table_6", "40.46"),
        ("table_7", "roberta-large, trained on mnli"),
    ],
)
def test_one_command_runs_analyses_and_shows(name, shown, tmp_path, model, adv_file, capsys):
    nli_folder(tmp_path)
    tmp_path = tmp_path / "results"
    line = options_of(name, model, tmp_path, adv_file)
    assert main([*line, "--run", "--report"]) == 0
    text = capsys.readouterr().out
    assert shown in text and "4 runs: 4 finished" in text and "analysed on the first 16 examples of each set" in text
    page = (tmp_path / "reports" / f"{name}.html").read_text()
    assert shown.split(",")[0] in page
    assert ("layer (0: embeddings)" in page) == name.startswith("figure")
    # A clone has the records without the models: the same table comes of them.
    for weights in tmp_path.glob("runs/*/model.safetensors"):
        weights.unlink()
    assert main([*line, "--show"]) == 0
    assert capsys.readouterr().out.strip() == text.split(str(tmp_path))[0].strip()


def cells_of_figure_3(results_dir, model):
    narrowing = Narrowing(
        models={"roberta-large": str(model)}, methods=("vanilla",), seeds=(1, 2), learning_rates=(1e-3,),
        max_train_samples=32, max_analysis_samples=16, data_dir=str(SAMPLE),
    )  # fmt: skip
    return expand(load("figure_3"), narrowing, results_dir)


def test_an_analysis_that_was_cut_off_goes_on_without_the_run(tmp_path, model):
    cell = cells_of_figure_3(tmp_path, model)[0]
    execute(cell)
    assert state_of(cell).status == "finished"
    whole = [cell.analysis.path(target).read_bytes() for target in ("mrpc", "stsb")]
    cell.analysis.path("stsb").unlink()
    trained = (cell.folder / "model.safetensors").stat().st_mtime_ns
    assert state_of(cell).status == "not analysed"
    assert execute(cell).status == "finished"
    assert (cell.folder / "model.safetensors").stat().st_mtime_ns == trained
    assert cell.analysis.path("mrpc").read_bytes() == whole[0]
    results = [json.loads(text)["results"] for text in (whole[1], cell.analysis.path("stsb").read_bytes())]
    assert results[0]["layers"] == results[1]["layers"]
    # With neither model nor analysis, the run is made anew.
    shutil.rmtree(cell.analysis.folder)
    (cell.folder / "model.safetensors").unlink()
    assert state_of(cell).status == "model missing"


def test_an_analysis_that_fails_is_recorded_and_not_tried_again(tmp_path, model, monkeypatch):
    cell = cells_of_figure_3(tmp_path, model)[0]
    execute(cell)
    cell.analysis.path("rte").unlink()
    (cell.folder / "config.json").unlink()
    assert execute(cell).status == "failed"
    state = state_of(cell)
    assert state.status == "failed" and "no model" in state.error
    assert runs_table(load("figure_3"), [cell], [state])["score"].tolist() == [state.record["score"]]
    # Where the model is gone since, asking to retry trains it again.
    (cell.folder / "model.safetensors").unlink()
    assert execute(cell, retry=True).status == "finished"


def test_a_damaged_analysis_is_named_and_made_anew_on_request_alone(tmp_path, model, monkeypatch):
    cell = cells_of_figure_3(tmp_path, model)[0]
    execute(cell)
    path = cell.analysis.path("rte")
    for content in ("", '{"status": "finished", "identity": {}, "run_id": "a"}'):
        path.write_text(content)
        outcome = execute(cell)
        assert outcome.status == "damaged" and str(path) in outcome.error and "--retry_failed" in outcome.error
        assert path.read_text() == content
        assert set(layers_table([cell], [state_of(cell)])["target"]) == {"mrpc", "stsb", "cola"}
        monkeypatch.setattr("hype.training.trainer.HyPeTrainer.train", lambda *args: pytest.fail("trained again"))
        assert execute(cell, retry=True).status == "finished"


def test_an_analysis_of_other_data_is_another(tmp_path, model, adv_file):
    shutil.copytree(SAMPLE, tmp_path / "glue")
    narrowing = Narrowing(
        models={"bert-large": str(model)}, tasks=("rte",), methods=("vanilla",), seeds=(1,), learning_rates=(1e-3,),
        data_dir=str(tmp_path / "glue"), adv_file=str(adv_file),
    )  # fmt: skip
    other_file = tmp_path / "dev.json"
    other_file.write_text(adv_file.read_text().replace("claim", "other claim"))
    one, other = (
        expand(load("table_6"), replace(narrowing, adv_file=str(file)), tmp_path) for file in (adv_file, other_file)
    )
    assert one[0].folder == other[0].folder and one[0].analysis.path("rte") != other[0].analysis.path("rte")


def test_an_attempt_is_held_until_its_analyses_are_made(tmp_path, model, monkeypatch):
    cell = cells_of_figure_3(tmp_path, model)[0]
    seen = []
    monkeypatch.setattr(executor, "analyse_run", lambda cell: seen.append(execute(cell).status))
    execute(cell)
    assert seen == ["locked"]


def test_layers_come_from_the_records(tmp_path, model):
    cells = cells_of_figure_3(tmp_path, model)
    execute(cells[0])
    analyse_run(cells[0])
    layers = layers_table(cells, [state_of(cell) for cell in cells])
    record = json.loads(cells[0].analysis.path("rte").read_text())
    assert layers[layers["target"] == "rte"]["score"].tolist() == pytest.approx(record["results"]["layers"])
    assert set(layers["seed"]) == {cells[0].seed} and set(layers["method"]) == {"vanilla"}


def test_grid_points_are_selected_by_the_dev_score_not_by_the_score_shown():
    rows = seeds("vanilla", [0.9, 0.9], learning_rate=1e-5, dev_score=0.5)
    rows += seeds("vanilla", [0.4, 0.4], learning_rate=2e-5, dev_score=0.6)
    table = paper_table(is_selected_elsewhere=True)
    cell = protocol(grid_points(pd.DataFrame(runs_of(*rows)), table))["bert", "vanilla", "rte"]
    assert cell.best.learning_rate == 2e-5 and cell.best.mean == pytest.approx(40)


def test_several_sets_of_one_run_are_one_piece_of_evidence():
    rows = [
        run
        for task, gain in (("snli", 0.1), ("sick", 0.3))
        for method, lift in (("vanilla", 0.0), ("hype-n", gain))
        for run in seeds(method, [0.5 + lift, 0.4 + lift, 0.6 + lift], task=task)
    ]
    fields = {"tasks": ["snli", "sick"], "methods": ["vanilla", "hype-n"]}
    for is_one_run, n in ((True, 3), (False, 6)):
        table = paper_table(**fields, is_selected_elsewhere=is_one_run)
        (overall,) = [d for d in paired_differences(runs_of(*rows), table) if d.task == ALL_TASKS and d.n]
        assert (overall.n, overall.mean) == (n, pytest.approx(20))


def test_sample_data_of_the_nli_sets_is_named_too(tmp_path):
    (tmp_path / "SAMPLE").write_text("written for a test\n")
    narrowing = Narrowing(data_dir=None, nli_dir=str(tmp_path))
    for name, text in (("table_7", "written for a test"), ("table_1", "")):
        experiment = load(name)
        assert described(experiment, expand(experiment, narrowing), narrowing).data_text == text
