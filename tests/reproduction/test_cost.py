"""What the full scale asks for, by hand."""

import pytest

from hype.reproduction.cost import hours_text, operations, updates_and_examples
from hype.reproduction.overrides import Overrides
from tests.reproduction.test_experiments import first, specs_of

LAYERS = 12 * 24 * 1024**2  # parameters of a large model without its embeddings


def test_updates_follow_from_rows_batch_and_epochs():
    assert updates_and_examples(first("table_1", model="BERT-large", task="rte")) == (3 * 156, 3 * 2490)
    assert updates_and_examples(first("table_1", model="ELECTRA-large", task="rte")) == (10 * 78, 10 * 2490)
    assert updates_and_examples(first("table_1", model="XLNet-large", task="cola")) == (1200, 1200 * 64)
    assert updates_and_examples(first("table_3", task="mnli")) == (3 * 63, 3000)
    assert updates_and_examples(first("table_7", task="snli")) == (3 * 313, 15000)
    half = specs_of("table_1", Overrides(tasks=("rte",), flags={"num_train_epochs": "0.5"}))[0]
    assert updates_and_examples(half) == (78, 1245)


def test_a_run_costs_six_operations_per_parameter_and_token_and_two_passes_twice_that():
    rte = LAYERS * 128 * (6 * 7470 + 2 * 277)
    assert operations(first("table_5", method="vanilla", task="rte")) == pytest.approx(rte)
    r_drop = LAYERS * 128 * (12 * 7470 + 2 * 277)
    assert operations(first("table_5", method="r-drop", task="rte")) == pytest.approx(r_drop)
    child_tuning_d = LAYERS * 128 * (6 * (7470 + 2490) + 2 * 277)
    assert operations(first("table_5", method="child-tuning-d", task="rte")) == pytest.approx(child_tuning_d)


def test_what_is_predicted_costs_as_what_is_evaluated():
    mnli = LAYERS * 128 * (6 * 3 * 392702 + 2 * (9815 + 9832 + 9796 + 9847))
    assert operations(first("table_12", method="vanilla", task="mnli")) == pytest.approx(mnli)


def test_hours_are_operations_over_speed_and_left_out_for_models_of_unknown_size():
    spec = first("table_5", method="vanilla", task="rte")
    seconds = operations(spec) / 9e12
    assert f"V100, float32 {100 * seconds / 3600:.2g} h" in hours_text([spec] * 100)
    assert f"V100, float32 {1e5 * seconds / 3600:,.0f} h" in hours_text([spec] * 100_000)
    assert hours_text(specs_of("table_8", Overrides(models={"bert-large": "some/model"}))) == ""
