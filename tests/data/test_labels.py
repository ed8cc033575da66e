"""Labels are words, classes or scores as the file says, and keep their meaning in every order."""

import numpy as np
import pytest

from hype.data.labels import (
    DECIMAL,
    WHOLE,
    WORD,
    aligned_labels,
    checkpoint_labels,
    class_names,
    convert_label_ids,
    folder_labels,
    label_kind,
    one_digit_each,
    own_labels,
)
from hype.data.readers import Table
from hype.data.tasks import TASKS
from hype.errors import InputError

NLI = TASKS["mnli"].label_names


def table_of(values):
    return Table("own.csv", {"label": list(values)}, list(range(2, 2 + len(values))))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["0", "1", "0"], WHOLE),
        ([0, 1, 0], WHOLE),
        (["10", "9", "-3"], WHOLE),
        (["0.0", "1.0"], DECIMAL),
        (["3.5", ".5", "1.5e-3", "-2."], DECIMAL),
        ([0.5, 1.0], DECIMAL),
        (["yes", "no"], WORD),
        (["None", "NA", "null", "nan"], WORD),
    ],
)
def test_a_column_of_one_kind_is_of_that_kind(values, kind):
    assert label_kind(table_of(values), "label") == kind


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        (["0", "1", "1.0", "0"], ["whole numbers in other rows", "row 4: '1.0'"]),
        ([0, 1, 1.0], ["whole numbers", "row 4: 1.0"]),
        (["0.5", "1.5", "2"], ["decimal point", "row 4: '2'"]),
        (["0", "1", "abc"], ["whole numbers", "row 4: 'abc'"]),
        (["0", "", "1"], ["missing", "row 3: ''"]),
        (["0.5", "", "1.5"], ["missing", "row 3: ''"]),
        ([0, None, 1], ["missing", "row 3: None"]),
        ([True, False], ["words or numbers", "row 2: True"]),
        ([["a"], ["b"]], ["words or numbers", "row 2: ['a']"]),
        (["a\tb", "c"], ["words or numbers", "row 2"]),
        (["0"] * 9 + ["x"] * 7, ["row 11: 'x'", "row 15: 'x'", "(7 rows in all)"]),
    ],
)
def test_a_mixed_or_incomplete_column_is_refused(values, parts):
    with pytest.raises(InputError) as caught:
        label_kind(table_of(values), "label")
    for part in ["own.csv", "'label'", *parts]:
        assert part in str(caught.value)


def test_classes_are_sorted_and_numbers_by_value():
    assert class_names(table_of(["yes", "no", "maybe"]), "label", WORD) == ("maybe", "no", "yes")
    assert class_names(table_of([10, 9, 0, 9]), "label", WHOLE) == ("0", "9", "10")


def test_one_class_alone_is_refused():
    with pytest.raises(InputError, match="all labels are 'yes'"):
        class_names(table_of(["yes", "yes"]), "label", WORD)


def test_minus_one_is_no_class():
    with pytest.raises(InputError, match=r"-1 marks a row without a label.*row 3: '-1'"):
        class_names(table_of(["0", "-1", "1"]), "label", WHOLE)


def test_own_labels_become_ids_scores_or_errors():
    assert own_labels(table_of(["b", "a"]), "label", ("a", "b")) == [1, 0]
    assert own_labels(table_of([1, 0]), "label", ("0", "1")) == [1, 0]
    assert own_labels(table_of(["2", "1.5"]), "label", None) == [2.0, 1.5]
    with pytest.raises(InputError, match="training data are a, b, not: row 3: 'c'"):
        own_labels(table_of(["b", "c"]), "label", ("a", "b"))
    with pytest.raises(InputError, match="give a number, not: row 3: 'nan'"):
        own_labels(table_of(["1.5", "nan"]), "label", None)


@pytest.mark.parametrize(("name", "bad"), [("cola", "-1"), ("cola", "1.0"), ("cola", ""), ("mnli", "0"), ("rte", "-")])
def test_a_label_that_glue_does_not_have_is_refused_with_those_it_has(name, bad):
    words = TASKS[name].label_words
    with pytest.raises(InputError) as caught:
        folder_labels(table_of([*words, bad]), "label", TASKS[name])
    assert f"give one of {', '.join(words)}, not: row {2 + len(words)}: {bad!r}" in str(caught.value)


@pytest.mark.parametrize("score", ["5.1", "-1", "7.5"])
def test_scores_beyond_the_tasks_range_are_refused(score):
    with pytest.raises(InputError, match=rf"from 0 to 5, not: row 3: '{score}'"):
        folder_labels(table_of(["2.5", score]), "label", TASKS["stsb"])


@pytest.mark.parametrize("label", ["01", "+1", "\u0661"])
def test_another_way_to_write_a_number_is_not_another_class(label):
    with pytest.raises(InputError, match="row 3"):
        class_names(table_of(["1", label, "0", "1"]), "label", WHOLE)


def test_codes_of_one_width_are_classes_in_the_order_of_their_numbers():
    codes = [f"{i:02}" for i in (12, 1, 3, 1)]
    assert label_kind(table_of(codes), "label") == WHOLE
    assert class_names(table_of(codes), "label", WHOLE) == ("01", "03", "12")


def test_a_number_of_absurd_length_is_refused():
    with pytest.raises(InputError, match="row 3"):
        label_kind(table_of(["1", "9" * 5000, "0"]), "label")


def test_more_than_ten_classes_have_no_digit_each():
    assert one_digit_each(np.array([1, 0, 2]), 3) == "102"
    assert one_digit_each(np.array([1, 0]), 12) == [1, 0]


def test_scores_of_stsb_are_numbers():
    assert folder_labels(table_of(["5.000", "3.8", "0"]), "label", TASKS["stsb"]) == [5.0, 3.8, 0.0]
    for bad in ("", "inf", "nan", "5,0", "1_0", "five"):
        with pytest.raises(InputError, match="row 2"):
            folder_labels(table_of([bad]), "label", TASKS["stsb"])


@pytest.mark.parametrize(
    ("label2id", "order"),
    [
        ({"CONTRADICTION": 0, "NEUTRAL": 1, "ENTAILMENT": 2}, ["contradiction", "neutral", "entailment"]),
        ({"contradiction": 0, "entailment": 1, "neutral": 2}, ["contradiction", "entailment", "neutral"]),
        ({"entailment": "0", "neutral": "1", "contradiction": "2"}, list(NLI)),
        ({"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}, list(NLI)),
        ({"contradiction": 0, "entailment": 1}, list(NLI)),
        ({"contradiction": 0, "neutral": 1, "entailment": 2, "other": 3}, list(NLI)),
        ({"contradiction": 1, "neutral": 2, "entailment": 3}, list(NLI)),
    ],
)
def test_a_checkpoints_order_is_taken_only_if_it_names_all_labels(label2id, order):
    assert aligned_labels(NLI, label2id) == order


def test_a_checkpoints_default_names_are_no_labels():
    assert checkpoint_labels({"LABEL_0": 0, "LABEL_1": 1}) is None
    assert checkpoint_labels({"yes": 1, "no": 0}) == ["no", "yes"]


def test_label_ids_keep_their_meaning_in_another_order_and_back():
    target = ["contradiction", "neutral", "entailment"]
    ids = np.array([0, 1, 2, 0])
    converted = convert_label_ids(ids, NLI, target)
    assert [target[i] for i in converted] == [NLI[i] for i in ids]
    assert convert_label_ids(converted, target, NLI).tolist() == ids.tolist()
