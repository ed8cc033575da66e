"""What the command line leaves of an experiment, and what a report then says of it."""

from dataclasses import replace

import pytest

from hype.errors import InputError
from hype.reproduction.expansion import Cell, expand
from hype.reproduction.experiments import CONTROL, VANILLA, load
from hype.reproduction.narrowing import Narrowing, narrowing_text
from hype.reproduction.options import narrowing_of, parser
from hype.reproduction.tables import paper_table
from hype.training.arguments import parse

FULL = Narrowing(data_dir=None)


def cells_of(name, narrowing=FULL) -> list[Cell]:
    return expand(load(name), narrowing)


def test_narrowing_leaves_what_is_asked_for_and_says_so():
    narrowing = replace(FULL, tasks=("rte", "cola"), methods=("vanilla",), seeds=(1, 2), learning_rates=(2e-5,))
    cells = cells_of("table_3", narrowing)
    assert [(c.task, c.method, c.seed) for c in cells] == [
        ("cola", "vanilla", 1), ("cola", "vanilla", 2), ("rte", "vanilla", 1), ("rte", "vanilla", 2),
    ]  # fmt: skip
    text = narrowing_text(load("table_3"), narrowing)
    assert "not the paper's" in text
    for part in ("tasks: rte; cola (full: 8)", "methods: vanilla (full: 4)", "seeds: 1; 2", "learning rates: 2e-05"):
        assert part in text
    assert paper_table(load("table_3"), cells, narrowing).narrowing_text == text
    assert narrowing_text(load("table_3"), FULL) == ""


def test_another_model_in_the_place_of_a_papers_model_is_a_narrowing():
    narrowing = replace(FULL, models={"base": "other/model", "base-mnli": "other/model-mnli", "large": None})
    cells = cells_of("table_4", narrowing)
    paths = {(c.model, c.task): parse(list(c.argv)).model.model_name_or_path for c in cells[::12]}
    assert paths["other/model for base", "cola"] == "other/model"
    assert paths["other/model for base", "rte"] == "other/model-mnli"
    assert paths["large", "rte"] == "microsoft/deberta-large-mnli"
    assert "base read from other/model" in narrowing_text(load("table_4"), narrowing)
    alone = cells_of("table_4", replace(FULL, models={"base": "other/model"}))
    assert {parse(list(c.argv)).model.model_name_or_path for c in alone[::12]} == {"other/model"}


def test_another_start_that_is_named_without_a_path_is_its_own():
    narrowing = replace(FULL, models={"base": "other/model", "base-mnli": None})
    cells = cells_of("table_4", narrowing)
    paths = {c.task: c.argv[c.argv.index("--model_name_or_path") + 1] for c in cells}
    assert (paths["cola"], paths["rte"]) == ("other/model", "microsoft/deberta-base-mnli")
    assert "models: base read from other/model, base-mnli. " in narrowing_text(load("table_4"), narrowing) + ". "


def test_at_most_so_many_training_examples_never_means_more():
    narrowing = replace(FULL, max_train_samples=8000)
    cells = cells_of("table_7", narrowing)
    assert {parse(list(c.argv)).data.max_train_samples for c in cells[::12]} == {5000}
    assert "at most the first 8000 training examples" in narrowing_text(load("table_7"), narrowing)


@pytest.mark.parametrize(
    ("narrowing", "message"),
    [
        ({"tasks": ("wnli",)}, "--tasks wnli: not in this experiment; give 'stsb', 'cola'"),
        ({"methods": ("mixout",)}, "--methods mixout: .*'vanilla, no dropout'"),
        ({"models": {"gpt-2": "x"}}, "--models gpt-2: .*'bert-large'"),
    ],
)
def test_unknown_names_are_refused_with_those_allowed(narrowing, message):
    with pytest.raises(InputError, match=message):
        cells_of("table_1", replace(FULL, **narrowing))


def test_variants_leave_the_grid_points_named():
    cells = cells_of("table_9", replace(FULL, variants=("hype_eps 1e-05",)))
    assert {(cell.method, cell.variant) for cell in cells} == {
        (VANILLA, ""), (CONTROL, ""), ("hype-n", "hype_eps 1e-05"), ("hype-n+dropout", "hype_eps 1e-05"),
    }  # fmt: skip
    with pytest.raises(InputError, match="--variants hype_eps 2: not in this experiment; give 'hype_eps 1e-05'"):
        cells_of("table_9", replace(FULL, variants=("hype_eps 2",)))


@pytest.mark.parametrize("name", ["table_9", "table_18"])
def test_another_scale_reaches_all_noise_and_nothing_else(name):
    for cell in cells_of(name, replace(FULL, hype_eps=0.5)):
        has_noise = cell.method not in (VANILLA, CONTROL)
        assert has_noise == ("--hype_eps" in cell.argv)
        assert not has_noise or cell.argv[cell.argv.index("--hype_eps") + 1] == "0.5"


def test_nothing_printed_stands_beside_another_scale_of_the_noise():
    experiment, narrowing = load("table_18"), replace(FULL, hype_eps=0.5)
    assert paper_table(experiment, cells_of("table_18"), FULL).printed
    assert not paper_table(experiment, cells_of("table_18", narrowing), narrowing).printed


def test_numbers_of_layers_keep_their_share_of_a_model_of_another_depth(tmp_path):
    (tmp_path / "config.json").write_text('{"num_hidden_layers": 6}')
    narrowing = replace(FULL, models={"bert-large": str(tmp_path)})
    cells = {cell.method: cell.argv for cell in cells_of("table_18", narrowing)}
    half, quarter = cells["lower 12"], cells["higher 6"]
    assert half[half.index("--hype_low_layers") + 1] == "3"
    assert quarter[quarter.index("--hype_top_layers") + 1] == "2"  # 1.5, rounded
    text = narrowing_text(load("table_18"), narrowing)
    assert "numbers of layers scaled from 24 to the 6 of bert-large's model: 6 are 2, 12 are 3" in text


def test_an_nli_set_is_trained_on_from_the_nli_folder():
    narrowing = replace(FULL, data_dir="glue", nli_dir="nli")
    folders = {c.task: parse(list(c.argv)).data.data_dir for c in cells_of("table_7", narrowing)}
    assert folders == {"mnli": "glue", "snli": "nli"}


@pytest.mark.parametrize(("held", "is_found"), [("SNLI/dev.tsv", 1), ("snli_1.0/dev.tsv", 1), ("RTE/dev.tsv", 0)])
def test_without_a_folder_of_their_own_nli_sets_are_the_glue_folders_or_the_hubs(held, is_found, tmp_path):
    (tmp_path / held).parent.mkdir()
    (tmp_path / held).touch()
    cells = cells_of("table_7", replace(FULL, data_dir=str(tmp_path)))
    folders = {c.task: parse(list(c.argv)).data.data_dir for c in cells}
    assert folders == {"mnli": str(tmp_path), "snli": str(tmp_path) if is_found else None}
    from_the_hub = {c.folder for c in cells_of("table_7") if c.task == "snli"}
    assert is_found or {c.folder for c in cells if c.task == "snli"} == from_the_hub


def test_a_learning_rate_may_be_one_tasks_own():
    line = ["table_1", "--tasks", "rte", "cola", "--learning_rates", "rte=1e-4", "cola=2e-4", "cola=3e-4"]
    narrowing = narrowing_of(parser().parse_args(line))
    rates = {(cell.task, cell.learning_rate) for cell in cells_of("table_1", narrowing)}
    assert rates == {("rte", 1e-4), ("cola", 2e-4), ("cola", 3e-4)}
    text = narrowing_text(load("table_1"), narrowing)
    assert "learning rates: rte 0.0001; cola 0.0002, 0.0003 (full: 4)" in text


def test_learning_rates_are_narrowed_where_a_chosen_model_has_others():
    """Of table 4's models two have eight rates; four of them are not all."""
    four, eight = (1e-5, 2e-5, 3e-5, 4e-5), (1e-6, 3e-6, 5e-6, 8e-6, 1e-5, 2e-5, 3e-5, 4e-5)
    small, large = {"base": None, "large": None}, {"xl": None}

    def text(rates, models=None):
        return narrowing_text(load("table_4"), replace(FULL, models=models, learning_rates=rates))

    assert "(full: 4 of base, large; 8 of xl, xxl)" in text(four)
    assert "learning rates" not in text(four, small) and "learning rates" not in text(eight, large)
    assert "(full: 8)" in text(four, large) and "(full: 4)" in text(eight, small)
    assert "learning rates" not in text({"rte": four[::-1]}, small)
    assert "learning rates: rte 1e-05 (full: 4)" in text({"rte": four[:1]}, small)
