"""Labels are words, classes or scores as the file says, and keep their meaning in every order."""

import numpy as np
import pandas
import pytest

from hype.data.labels import (
    DECIMAL,
    MISSING,
    UNFIT,
    WHOLE,
    WORD,
    are_scores,
    checkpoint_labels,
    checkpoint_order,
    class_names,
    convert_label_ids,
    folder_labels,
    kind_of,
    one_digit_each,
    own_labels,
    require_labels,
    scores,
    stated_order,
)
from hype.data.tasks import TASKS
from hype.errors import InputError

NLI = TASKS["mnli"].label_names


PATH = "own.csv"


def column_of(*values):
    return pandas.Series(list(values), index=range(2, 2 + len(values)), name="label", dtype=object)


KINDS = {
    WHOLE: ["0", "10", "-3", "+1", "01", 0, -1],
    DECIMAL: ["0.0", ".5", "-2.", "1.5e-3", "1e-05", "1e+16", "2E3", 0.5, 1e16, float("inf")],
    WORD: [
        "yes", "None", "NA", "null", "nan", "inf", "1_0", "1,5", " 1", "\u0661", "9" * 5000, "1" + "0" * 18, 10**400,
        True, False,
    ],
    MISSING: ["", None, float("nan")],
    UNFIT: ["a\tb", "a\nb", ["a"], {}],
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_label_is_of_one_kind(kind):
    assert {kind_of(value) for value in KINDS[kind]} == {kind}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["0", "1", "0"], False),
        ([0, 1, 0], False),
        (["yes", "no"], False),
        ([True, False], False),
        (["0.0", "1.0"], True),
        ([0.5, 1.0], True),
        (["0.5", "1e-05", "0.25"], True),
        (["1e+16", "2.5"], True),
        (["3.5", "4", "2.0"], True),
        ([3.5, 4, 2.0], True),
        (["1", "2", "2.5"], True),
    ],
)
def test_numbers_are_scores_if_some_have_a_fraction(values, expected):
    assert are_scores(PATH, column_of(*values)) is expected


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        (["0", "1", "1.0", "0"], ["whole numbers in other rows", "row 4: '1.0'", "--do_regression"]),
        ([0, 1, 1.0], ["whole numbers", "row 4: 1.0", "--do_regression"]),
        (["0", "1"] * 20 + ["0.5"], ["whole numbers", "row 42: '0.5'", "--do_regression"]),
        (["0", "1", "abc"], ["numbers in other rows", "row 4: 'abc'"]),
        (["abc", "def", "1"], ["words in other rows", "row 4: '1'"]),
        (["0"] * 9 + ["x"] * 7, ["row 11: 'x'", "row 15: 'x'", "(7 rows in all)"]),
    ],
)
def test_a_mixed_column_is_refused(values, parts):
    with pytest.raises(InputError) as caught:
        are_scores(PATH, column_of(*values))
    for part in [PATH, "'label'", *parts]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        (["0", "", "1"], ["missing", "row 3: ''"]),
        ([0, None, 1], ["missing", "row 3: None"]),
        ([["a"], ["b"]], ["words or numbers", "row 2: ['a']"]),
        (["a\tb", "c"], ["words or numbers", "row 2"]),
    ],
)
def test_an_incomplete_or_unfit_column_is_refused(values, parts):
    with pytest.raises(InputError) as caught:
        require_labels(PATH, column_of(*values))
    for part in [PATH, "'label'", *parts]:
        assert part in str(caught.value)


def test_classes_are_sorted_and_numbers_by_value():
    assert class_names(PATH, column_of("yes", "no", "maybe")) == ("maybe", "no", "yes")
    assert class_names(PATH, column_of(10, 9, 0, 9)) == ("0", "9", "10")
    assert class_names(PATH, column_of("10.5", "9.0")) == ("9.0", "10.5")
    with pytest.raises(InputError, match="all labels are 'yes'"):
        class_names(PATH, column_of("yes", "yes"))


def test_minus_one_is_no_class():
    with pytest.raises(InputError, match=r"-1 marks a row without a label.*row 3: '-1'"):
        class_names(PATH, column_of("0", "-1", "1"))


def test_own_labels_become_ids_scores_or_errors():
    assert own_labels(PATH, column_of("b", "a"), ("a", "b")) == [1, 0]
    assert own_labels(PATH, column_of(1, 0), ("0", "1")) == [1, 0]
    assert scores(PATH, column_of("2", "1.5")) == [2.0, 1.5]
    with pytest.raises(InputError, match="training data are a, b, not: row 3: 'c'"):
        own_labels(PATH, column_of("b", "c"), ("a", "b"))
    for bad in ("nan", "1e999", "x", ""):
        with pytest.raises(InputError, match=f"give a number, not: row 3: '{bad}'"):
            scores(PATH, column_of("1.5", bad))


@pytest.mark.parametrize(("name", "bad"), [("cola", "-1"), ("cola", "1.0"), ("cola", ""), ("mnli", "0"), ("rte", "-")])
def test_a_label_that_glue_does_not_have_is_refused_with_those_it_has(name, bad):
    words = TASKS[name].label_words
    with pytest.raises(InputError) as caught:
        folder_labels(PATH, column_of(*words, bad), TASKS[name])
    assert f"give one of {', '.join(words)}, not: row {2 + len(words)}: {bad!r}" in str(caught.value)


@pytest.mark.parametrize("score", ["5.1", "-1", "7.5"])
def test_scores_beyond_the_tasks_range_are_refused(score):
    with pytest.raises(InputError, match=rf"from 0 to 5, not: row 3: '{score}'"):
        folder_labels(PATH, column_of("2.5", score), TASKS["stsb"])


@pytest.mark.parametrize("label", ["01", "+1"])
def test_another_way_to_write_a_number_is_not_another_class(label):
    with pytest.raises(InputError, match="row 3"):
        class_names(PATH, column_of("1", label, "0", "1"))


def test_codes_of_one_width_are_classes_in_the_order_of_their_numbers():
    codes = column_of("12", "01", "03", "01")
    assert not are_scores(PATH, codes)
    assert class_names(PATH, codes) == ("01", "03", "12")


def test_more_than_ten_classes_have_no_digit_each():
    assert one_digit_each(np.array([1, 0, 2]), 3) == "102"
    assert one_digit_each(np.array([1, 0]), 12) == [1, 0]


def test_scores_of_stsb_are_numbers():
    assert folder_labels(PATH, column_of("5.000", "3.8", "0"), TASKS["stsb"]) == [5.0, 3.8, 0.0]
    for bad in ("", "inf", "nan", "5,0", "1_0", "five"):
        with pytest.raises(InputError, match="row 2"):
            folder_labels(PATH, column_of(bad), TASKS["stsb"])


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
    assert checkpoint_order(("no", "yes"), {"LABEL_0": 0, "LABEL_1": 1}) is None


def test_a_stated_order_names_each_label_once_in_any_case():
    assert stated_order(NLI, "Contradiction, neutral,entailment") == ["contradiction", "neutral", "entailment"]
    for text in ("neutral", "neutral,neutral,entailment", "neutral,entailment,c", ""):
        with pytest.raises(InputError, match=f"--label_order {text}: give each of entailment,neutral,contradiction"):
            stated_order(NLI, text)
