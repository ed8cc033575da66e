"""Runs of an experiment with other settings: which there are, what names them, what a report says of it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hype.data.splits import load_splits
from hype.errors import InputError
from hype.reproduction import hashes
from hype.reproduction.experiments import CONTROL, VANILLA, StudyModel, load
from hype.reproduction.hashes import Known
from hype.reproduction.runs import RunSpec
from hype.training.identity import identity, model_fingerprints, run_id
from hype.training.parser import parse
from tests.reproduction.small_runs import specs_in
from tests.reproduction.test_experiments import FULL, full_scale, specs_of
from tests.tiny import SAMPLE


def test_what_is_asked_for_is_left_and_said():
    overrides = replace(FULL, tasks=("rte", "cola"), methods=("vanilla",), seeds=(1, 2, 3), learning_rates=(2e-5,))
    specs = specs_of("table_3", overrides)
    assert [(s.task, s.method, s.seed) for s in specs] == [
        (t, "vanilla", n) for t in ("cola", "rte") for n in (1, 2, 3)
    ]
    text = overrides.text(load("table_3"))
    assert text == "tasks RTE, CoLA; methods vanilla; seeds 1-3; learning rates 2e-05"
    assert replace(FULL, seeds=(20230701, 1)).text(load("table_3")) == "seeds 20230701, 1"
    assert FULL.text(load("table_3")) == ""
    assert replace(FULL, tasks=load("table_3").tasks).text(load("table_3")) == ""


@pytest.mark.parametrize(
    ("models", "cola", "rte"),
    [
        ({"base": None}, "microsoft/deberta-base", "microsoft/deberta-base-mnli"),
        ({"base": "other/model"}, "other/model", "other/model"),
        ({"base": "other/model", "base-mnli": "other/mnli"}, "other/model", "other/mnli"),
        ({"base": "other/model", "base-mnli": None}, "other/model", "microsoft/deberta-base-mnli"),
    ],
)
def test_a_checkpoint_in_the_place_of_a_papers_model_starts_all_its_tasks_unless_they_have_their_own(models, cola, rte):
    paths = {spec.task: spec.flags["model_name_or_path"] for spec in specs_of("table_4", replace(FULL, models=models))}
    assert (paths["cola"], paths["rte"]) == (cola, rte)


def test_another_model_is_named_beside_the_papers():
    overrides = replace(FULL, models={"base": "other/model", "large": None})
    assert {spec.model for spec in specs_of("table_4", overrides)} == {"other/model for DeBERTa-base", "DeBERTa-large"}
    assert "model other/model for DeBERTa-base" in overrides.text(load("table_4"))


def test_at_most_so_many_training_examples_never_means_more():
    overrides = replace(FULL, max_train_samples=8000)
    assert {spec.flags["max_train_samples"] for spec in specs_of("table_7", overrides)} == {"5000"}
    assert "at most the first 8,000 training examples" in overrides.text(load("table_7"))
    drawn = replace(FULL, max_train_samples=500, flags={"low_resource": "true"})
    assert drawn.text(load("table_1")) == "at most 500 training examples; --low_resource true"
    assert overrides.text(load("table_3")) == "", "it trains on 1,000"
    assert replace(FULL, max_train_samples=48).text(load("table_3")) == "at most 48 training examples"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"tasks": ("wnli",)}, "--tasks wnli: not in this experiment; give 'stsb', 'cola'"),
        ({"methods": ("mixout",)}, "--methods mixout: .*'vanilla, no dropout'"),
        ({"models": {"gpt-2": "x"}}, "--models gpt-2: .*'bert-large'"),
        ({"variants": ("hype_eps 2",)}, "--variants hype_eps 2: .*'hype_eps 1e-05'"),
    ],
)
def test_unknown_names_are_refused_with_those_allowed(overrides, message):
    with pytest.raises(InputError, match=message):
        specs_of("table_1", replace(FULL, **overrides))


def test_variants_leave_the_grid_points_named():
    specs = specs_of("table_9", replace(FULL, variants=("hype_eps 1e-05",)))
    assert {(spec.method, spec.variant) for spec in specs} == {
        (VANILLA, ""), (CONTROL, ""), ("hype-n", "hype_eps 1e-05"), ("hype-n+dropout", "hype_eps 1e-05"),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["table_9", "table_18"])
def test_another_scale_reaches_all_noise_and_nothing_else(name):
    for spec in specs_of(name, replace(FULL, hype_eps=0.5)):
        assert spec.flags.get("hype_eps") == (None if spec.method in (VANILLA, CONTROL) else "0.5")


def test_a_method_takes_other_flags_and_the_report_says_so():
    overrides = replace(FULL, method_flags={"lower 12": {"hype_low_layers": 3}})
    layers = {s.method: s.flags.get("hype_low_layers") for s in specs_of("table_18", overrides)}
    assert (layers["lower 12"], layers["lower 6"], layers["all"]) == ("3", "6", None)
    assert "lower 12 with --hype_low_layers 3" in overrides.text(load("table_18"))


@pytest.mark.parametrize(
    ("nli_dir", "held", "found"),
    [("nli", "SNLI/snli_1.0_dev.jsonl", "nli"), (None, "SNLI/snli_1.0_dev.jsonl", "."), (None, "RTE/dev.tsv", None)],
)
def test_nli_sets_are_those_of_their_own_folder_else_the_glue_folders_or_the_hubs(
    nli_dir, held, found, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path(held).parent.mkdir()
    Path(held).touch()
    specs = specs_of("table_7", replace(FULL, data_dir=".", nli_dir=nli_dir))
    assert {spec.task: spec.flags.get("data_dir") for spec in specs} == {"mnli": ".", "snli": found}
    if found is None:
        from_the_hub = {spec.folder for spec in full_scale("table_7")}
        assert {spec.folder for spec in specs if spec.task == "snli"} <= from_the_hub


def test_a_learning_rate_may_be_one_tasks_own():
    overrides = replace(FULL, tasks=("rte", "cola"), learning_rates={"rte": [1e-4], "cola": [2e-4, 3e-4]})
    rates = {(spec.task, spec.learning_rate) for spec in specs_of("table_1", overrides)}
    assert rates == {("rte", 1e-4), ("cola", 2e-4), ("cola", 3e-4)}
    assert "learning rates RTE 0.0001, CoLA 0.0002, 0.0003" in overrides.text(load("table_1"))


def test_further_flags_reach_every_run_and_name_it_if_they_can_change_its_result():
    plain, fast, quiet = (
        specs_of("table_3", replace(FULL, flags=flags))
        for flags in ({}, {"tf32": "true"}, {"allow_pickle_weights": "true"})
    )
    assert all(spec.flags["tf32"] == "true" for spec in fast)
    assert {spec.folder for spec in fast}.isdisjoint(spec.folder for spec in plain)
    assert [spec.folder for spec in quiet] == [spec.folder for spec in plain]
    off = specs_of("table_3", replace(FULL, flags={"tf32": "False"}))
    yes = specs_of("table_3", replace(FULL, flags={"tf32": "1"}))
    assert [spec.key for spec in yes] == [spec.key for spec in fast] != [spec.key for spec in off]
    assert "--tf32 true" in replace(FULL, flags={"tf32": "true"}).text(load("table_3"))


def one_of(model, **changes) -> RunSpec:
    (spec,) = specs_in(Path("results"), model, **{"methods": ("vanilla",), "seeds": (1,), **changes})
    return spec


def altered(folder: Path, copy: Path, file: str, old: str, new: str) -> Path:
    """Copy a folder, with another content of one file."""
    shutil.copytree(folder, copy)
    (copy / file).write_text((copy / file).read_text().replace(old, new))
    return copy


@pytest.mark.parametrize("flags", [{name: "other/model"} for name in hashes.HASHED[1:]])
def test_a_folder_ends_in_the_run_id_of_its_identity(model, flags):
    spec = one_of(model, flags=flags)
    arguments = parse(list(spec.argv))
    splits = load_splits(arguments.data, ["train", "validation"])
    found = {f"data.{name}": digest for name, digest in splits.fingerprint.items()}
    assert spec.key == run_id(identity(arguments, found | model_fingerprints(arguments.model)))


def test_the_same_content_elsewhere_is_the_same_run_and_other_data_another(tmp_path, model):
    first = one_of(model)
    data = shutil.copytree(SAMPLE, tmp_path / "glue")
    assert one_of(model, data_dir=str(data)).folder == first.folder
    other = altered(data, tmp_path / "other", "RTE/train.tsv", "the", "a")
    assert one_of(model, data_dir=str(other)).folder != first.folder


def test_another_tokenizer_is_another_run_whatever_else_is_in_the_folder(model, tmp_path):
    other = altered(model, tmp_path / "other", "tokenizer.json", '"a"', '"ä"')
    assert one_of(other).folder != one_of(model).folder
    copy = shutil.copytree(model, tmp_path / "copy")
    (copy / "README.md").write_text("a card")
    assert one_of(copy).folder == one_of(model).folder


def test_data_that_cannot_be_read_keep_no_other_task_from_its_runs(tmp_path, model):
    (tmp_path / "RTE").mkdir()
    (tmp_path / "RTE" / "train.tsv").write_text("no table")
    assert one_of(model, data_dir=str(tmp_path)).folder


@pytest.fixture
def known(model):
    arguments = parse(list(one_of(model).argv))
    found = model_fingerprints(arguments.model)
    own = load_splits(arguments.data, ["train", "validation"]).fingerprint
    return Known(StudyModel("Tiny", found["model"], found["tokenizer"]), {"rte, first 48": own})


def test_a_study_names_its_runs_where_neither_model_nor_data_is(model, known, tmp_path):
    absent = str(tmp_path / "absent")
    assert one_of(Path(absent), known=known, data_dir=absent).key == one_of(model).key
    assert one_of(model, known=known).key == one_of(model).key, "what is at hand is compared"


def test_other_data_and_another_model_than_the_studys_are_refused_by_their_place(model, known, tmp_path):
    with pytest.raises(InputError, match="rte: the study has no such data; it has rte, first 48"):
        one_of(model, known=known, max_train_samples=None)
    data = altered(SAMPLE, tmp_path / "glue", "RTE/train.tsv", "the", "a")
    with pytest.raises(InputError, match=r"glue, rte, first 48, train: not what the study used"):
        one_of(model, known=known, data_dir=str(data))
    other = altered(model, tmp_path / "model", "config.json", "bert", "roberta")
    with pytest.raises(InputError, match=r"model, model: not what the study used"):
        one_of(other, known=known)
