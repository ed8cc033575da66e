"""Labels are read as the file spells them, classes or scores, and keep their meaning in any order."""

import numpy as np
import pandas
import pytest

from hype.data.labels import (
    checkpoint_labels,
    checkpoint_order,
    convert_label_ids,
    encode_labels,
    label_texts,
    one_digit_each,
    own_classes,
    stated_order,
)
from hype.data.tasks import TASKS, own_task
from hype.errors import InputError

NLI = TASKS["mnli"].label_names
PATH = "own.csv"


def column_of(*values):
    return pandas.Series(list(values), index=range(2, 2 + len(values)), name="label", dtype=object)


def texts_of(*values):
    return label_texts(PATH, column_of(*values))


def classes_of(*values):
    return own_classes(PATH, texts_of(*values), None, [])


WHOLE = ["0", "10", "-3", "+1", "01", 0, -2]
DECIMAL = ["0.0", ".5", "-2.", "1.5e-3", "1e-05", "1e+16", "2E3", 0.5, 1e16]
WORDS = ["no", "None", "NA", "nan", "inf", "1_0", "1,5", " 1", "\u0661", "9" * 5000, "1" + "0" * 18, 10**400, True]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        *(([value, "5"], False) for value in WHOLE),
        *(([value, "yes"], False) for value in WORDS),
        *(([value, "5.0"], True) for value in DECIMAL),
        (["3.5", "4", "2.0"], True),
        ([3.5, 4, 2.0], True),
        (["1", "2", "2.5"], True),
    ],
)
def test_numbers_are_scores_if_some_have_a_fraction(values, expected):
    assert (classes_of(*values) == ()) is expected


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        (["0", "1", "1.0", "0"], ["whole numbers in other rows", "row 4: '1.0'", "--do_regression"]),
        (["0", "1"] * 20 + ["0.5"], ["whole numbers", "row 42: '0.5'", "--do_regression"]),
        (["0", "1", "abc"], ["numbers in other rows", "row 4: 'abc'"]),
        (["abc", "def", "1"], ["words in other rows", "row 4: '1'"]),
        (["0,5", "1,25", "2"], ["a number with a comma", "row 2: '0,5'", "--do_regression false"]),
        (["0"] * 9 + ["x"] * 7, ["row 11: 'x'", "row 15: 'x'", "(7 rows in all)"]),
        (["0", "", "1"], ["missing", "row 3: ''"]),
        ([0, None, 1], ["missing", "row 3: None"]),
        ([0.5, float("nan")], ["missing", "row 3: nan"]),
        ([{}, "c"], ["words or numbers", "row 2: {}"]),
        (["a\nb", "c"], ["words or numbers", "row 2"]),
    ],
)
def test_a_mixed_incomplete_or_unfit_column_is_refused(values, parts):
    with pytest.raises(InputError) as caught:
        classes_of(*values)
    for part in [PATH, "'label'", *parts]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["yes", "no", "maybe"], ("maybe", "no", "yes")),
        ([10, 9, 0, 9], ("0", "9", "10")),
        (["12", "01", "03", "01"], ("01", "03", "12")),
    ],
)
def test_classes_are_sorted_and_numbers_by_value(values, names):
    assert own_classes(PATH, texts_of(*values), False, []) == names


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["yes", "yes"], "all labels are 'yes'"),
        (["0", "-1", "1"], "-1 marks a row without a label.*row 3: '-1'"),
        (["1", "01", "0", "1"], "the same number is written differently.*row 3: '01'"),
    ],
)
def test_classes_that_cannot_be_told_apart_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        classes_of(*values)


@pytest.mark.parametrize(("name", "bad"), [("cola", "-1"), ("cola", "1.0"), ("cola", ""), ("mnli", "0"), ("rte", "-")])
def test_a_label_that_glue_does_not_have_is_refused_with_those_it_has(name, bad):
    words = TASKS[name].label_words
    with pytest.raises(InputError) as caught:
        encode_labels(PATH, column_of(*words, bad), TASKS[name])
    assert f"expected one of {', '.join(words)}; found: row {2 + len(words)}: {bad!r}" in str(caught.value)


def test_more_than_ten_classes_have_no_digit_each():
    assert one_digit_each(np.array([1, 0, 2]), 3) == "102"
    assert one_digit_each(np.array([1, 0]), 12) == [1, 0]


@pytest.mark.parametrize(
    ("task", "expected", "refused"),
    [
        (own_task((), None), "a number", ["nan", "1e999", "x"]),
        (TASKS["stsb"], "a number from 0 to 5", ["", "inf", "nan", "5,0", "1_0", "five", "5.1", "-1"]),
    ],
    ids=["own", "stsb"],
)
def test_scores_are_finite_numbers_in_the_range_of_the_task(task, expected, refused):
    assert encode_labels(PATH, column_of("5.000", 3.8, "0"), task) == [5.0, 3.8, 0.0]
    for label in refused:
        with pytest.raises(InputError, match=f"expected {expected}; found: row 3: '{label}'"):
            encode_labels(PATH, column_of("2.5", label), task)


@pytest.mark.parametrize(
    ("label2id", "order"),
    [
        ({"CONTRADICTION": 0, "NEUTRAL": 1, "ENTAILMENT": 2}, ["contradiction", "neutral", "entailment"]),
        ({"contradiction": 0, "entailment": 1, "neutral": 2}, ["contradiction", "entailment", "neutral"]),
        ({"entailment": "0", "neutral": "1", "contradiction": "2"}, list(NLI)),
        ({"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}, None),
        ({"c": 0, "e": 1, "n": 2}, None),
        ({"contradiction": 0, "entailment": 1}, None),
        ({"contradiction": 0, "neutral": 1, "entailment": 2, "other": 3}, None),
        ({"contradiction": 1, "neutral": 2, "entailment": 3}, None),
    ],
)
def test_a_checkpoints_order_is_known_only_if_it_names_all_labels(label2id, order):
    assert checkpoint_order(NLI, label2id) == order


def test_a_checkpoints_default_names_are_no_labels():
    assert checkpoint_labels({"LABEL_0": 0, "LABEL_1": 1}) is None
    assert checkpoint_labels({"yes": 1, "no": 0}) == ["no", "yes"]


def test_label_ids_keep_their_meaning_in_another_order_and_back():
    target = ["contradiction", "neutral", "entailment"]
    ids = np.array([0, 1, 2, 0])
    converted = convert_label_ids(ids, NLI, target)
    assert [target[i] for i in converted] == [NLI[i] for i in ids]
    assert convert_label_ids(converted, target, NLI).tolist() == ids.tolist()


def test_numbered_default_names_are_the_labels_of_a_task_whose_labels_are_numbers():
    assert checkpoint_order(("0", "1"), {"LABEL_0": 0, "LABEL_1": 1}) == ["0", "1"]


def test_a_stated_order_names_each_label_once_in_any_case():
    assert stated_order(NLI, "Contradiction, neutral,entailment") == ["contradiction", "neutral", "entailment"]
    for text in ("neutral", "neutral,neutral,entailment", "neutral,entailment,c", ""):
        with pytest.raises(InputError, match=f"--label_order {text}: give each of entailment,neutral,contradiction"):
            stated_order(NLI, text)
