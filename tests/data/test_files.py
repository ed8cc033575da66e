"""Own files: which columns are texts, classes or scores, the notes on them, and what is refused."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from hype.data.arguments import DataArguments
from hype.data.splits import load_splits
from hype.errors import InputError
from tests.glue_files import write


def load_own(splits=("train", "validation"), label_names=None, **flags):
    return load_splits(DataArguments(**flags), splits, label_names=label_names)


def train_on(tmp_path, name, content, **flags):
    """Write a training file, and return what is read from it."""
    return load_own(["train"], train_file=str(write(tmp_path, {name: content}) / name), **flags)


OWN = {
    "csv": "id,headline,body,label\n7,None,NA,0\n8,null,,1\n",
    "tsv": "id\theadline\tbody\tlabel\n7\tNone\tNA\t0\n8\tnull\t\t1\n",
    "json": json.dumps(
        [dict(id=7, headline="None", body="NA", label=0), dict(id=8, headline="null", body="", label=1)]
    ),
}


@pytest.mark.parametrize("extension", OWN)
def test_own_files_keep_texts_as_they_stand(tmp_path, extension):
    path = write(tmp_path, {f"a.{extension}": OWN[extension]}) / f"a.{extension}"
    loaded = load_own(["train"], train_file=str(path))
    assert loaded.splits["train"][:] == {
        "sentence1": ["None", "null"],
        "sentence2": ["NA", ""],
        "label": [0, 1],
        "idx": [0, 1],
    }
    assert loaded.task.label_names == ("0", "1")
    assert loaded.source == "files"
    assert "text columns: headline, body (--text_columns names others)" in loaded.notes


def test_text_columns_may_be_named(tmp_path):
    path = write(tmp_path, {"a.csv": OWN["csv"]}) / "a.csv"
    loaded = load_own(["train"], train_file=str(path), text_columns="body")
    assert loaded.splits["train"].column_names == ["sentence1", "label", "idx"]
    assert loaded.splits["train"]["sentence1"][:] == ["NA", ""]
    for wrong in ("a,b,c", "body,body", "body,label"):
        with pytest.raises(InputError, match="--text_columns"):
            load_own(["train"], train_file=str(path), text_columns=wrong)
    with pytest.raises(InputError, match="no column 'absent'"):
        load_own(["train"], train_file=str(path), text_columns="absent")


def test_the_columns_of_run_glue_are_preferred(tmp_path):
    path = write(tmp_path, {"a.csv": "x,sentence2,sentence1,gold\n1,b,a,no\n2,d,c,yes\n"}) / "a.csv"
    train = load_own(["train"], train_file=str(path), label_column="gold").splits["train"]
    assert (train["sentence1"][:], train["sentence2"][:]) == (["a", "c"], ["b", "d"])


def test_classes_come_from_the_training_file_and_others_are_refused(tmp_path):
    write(tmp_path, {"train.csv": "t,label\na,yes\nb,no\n", "dev.jsonl": '{"t": "c", "label": "yes"}\n'})
    flags = {"train_file": str(tmp_path / "train.csv"), "validation_file": str(tmp_path / "dev.jsonl")}
    loaded = load_own(["validation"], **flags)
    assert loaded.task.label_names == ("no", "yes")
    assert list(loaded.splits) == ["validation"]
    assert loaded.splits["validation"]["label"][:] == [1]
    write(tmp_path, {"dev.jsonl": '{"t": "c", "label": "maybe"}\n'})
    with pytest.raises(InputError, match=r"training data are no, yes, not: row 1: 'maybe'"):
        load_own(["validation"], **flags)


SCORES = {
    "decimal points": ("a.csv", "t,label\na,0.0\nb,1.5\n", [0.0, 1.5]),
    "scientific": ("a.csv", "text,label\na dull start,0.5\nit works,1e-05\nnot bad,2.5E16\n", [0.5, 1e-05, 2.5e16]),
    "mixed, typed": ("a.jsonl", '{"t":"a","label":3.5}\n{"t":"b","label":4}\n{"t":"c","label":2.0}\n', [3.5, 4, 2]),
}


@pytest.mark.parametrize("case", SCORES)
def test_numbers_with_fractions_are_scores_and_it_is_said(tmp_path, case):
    name, content, scores = SCORES[case]
    loaded = train_on(tmp_path, name, content)
    assert loaded.task.is_regression
    assert loaded.splits["train"].features["label"].dtype == "float32"
    assert loaded.splits["train"]["label"][:] == pytest.approx(scores)
    assert any("regression" in note and "--do_regression false" in note for note in loaded.notes)


def test_whole_numbers_are_classes_unless_the_flag_makes_them_scores(tmp_path):
    stars = "t,label\n" + "".join(f"text {i},{i % 5 + 1}\n" for i in range(20))
    loaded = train_on(tmp_path, "a.csv", stars)
    assert loaded.task.label_names == ("1", "2", "3", "4", "5")
    assert any("5 classes: 1, 2, 3, 4, 5" in note and "--do_regression true" in note for note in loaded.notes)
    loaded = train_on(tmp_path, "a.csv", stars, do_regression=True)
    assert loaded.task.is_regression and loaded.splits["train"]["label"][:3] == [1.0, 2.0, 3.0]
    assert any("scores from 1 to 5" in note for note in loaded.notes)


def test_scores_are_classes_if_the_flag_says_so(tmp_path):
    loaded = train_on(tmp_path, "a.csv", "t,label\na,10.5\nb,9.0\nc,10.5\n", do_regression=False)
    assert loaded.task.label_names == ("9.0", "10.5")


def test_words_cannot_be_made_scores(tmp_path):
    with pytest.raises(InputError, match="give a number, not: row 3: 'good'"):
        train_on(tmp_path, "a.csv", "t,label\na,1\nb,good\n", do_regression=True)


def write_parquet(folder, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "a.parquet")
    return str(folder / "a.parquet")


def test_booleans_are_two_classes_in_every_format(tmp_path):
    texts = {"a.csv": "t,label\na,True\nb,False\n", "a.json": '[{"t": "a", "label": true}, {"t": "b", "label": false}]'}
    for name, content in texts.items():
        loaded = train_on(tmp_path, name, content)
        assert (loaded.task.label_names, loaded.splits["train"]["label"][:]) == (("False", "True"), [1, 0])
    path = write_parquet(tmp_path, t=["a", "b"], label=[True, False])
    loaded = load_own(["train"], train_file=path)
    assert (loaded.task.label_names, loaded.splits["train"]["label"][:]) == (("False", "True"), [1, 0])


def test_a_missing_label_in_parquet_is_refused_whichever_way_it_is_missing(tmp_path):
    for label in ([1.5, None], [1.5, float("nan")], ["a", None]):
        with pytest.raises(InputError, match="label is missing: row 2"):
            load_own(["train"], train_file=write_parquet(tmp_path, t=["a", "b"], label=label))


def test_the_classes_are_always_named(tmp_path):
    notes = train_on(tmp_path, "a.csv", "t,label\na,yes\nb,no\nc,yes\nd,no\n").notes
    assert "2 classes: no, yes" in notes
    assert not any("rows:" in note or "case" in note for note in notes)


def test_classes_that_differ_in_case_or_spaces_are_warned_of(tmp_path):
    rows = "great,pos\nbad,neg\nfine,pos \nsad,Neg\n"
    notes = train_on(tmp_path, "a.csv", f"text,label\n{rows}{rows}").notes
    assert "4 classes: 'Neg', 'neg', 'pos', 'pos '" in notes
    assert any("'Neg' and 'neg', 'pos' and 'pos '" in note for note in notes)


def test_nearly_as_many_classes_as_rows_are_warned_of(tmp_path):
    notes = train_on(tmp_path, "a.csv", "label,t\n" + "".join(f"text {i},word\n" for i in range(20))).notes
    assert any(note.startswith("20 classes: text 0, text 1, ") and note.endswith(" ...") for note in notes)
    assert any("20 classes in 20 rows" in note and "'label'" in note for note in notes)


@pytest.mark.parametrize(
    "content",
    [
        "Unnamed: 0,text,label\n0,good,1\n1,bad,0\n",
        ",text,label\n0,good,1\n1,bad,0\n",
        "ID,text,label\nx1,good,1\nx2,bad,0\n",
        "textID,text,label\ncb774db0d1,good,1\n549e992a42,bad,0\n",
        "pair_id,text,label\nx1,good,1\nx2,bad,0\n",
        "length,text,label\n4,good,1\n3,bad,0\n",
        "score,text,label\n1e-3,good,1\n,bad,0\n",
    ],
)
def test_numbers_and_names_of_rows_are_no_texts(tmp_path, content):
    train = train_on(tmp_path, "a.csv", content).splits["train"]
    assert train.column_names == ["sentence1", "label", "idx"]
    assert train["sentence1"][:] == ["good", "bad"]


def test_a_name_that_ends_in_the_letters_id_may_be_a_text(tmp_path):
    assert train_on(tmp_path, "a.csv", "valid,label\ngood,1\nbad,0\n").splits["train"]["sentence1"][:] == [
        "good",
        "bad",
    ]


def test_unused_columns_may_have_no_name(tmp_path):
    flags = {"text_columns": "v2", "label_column": "v1"}
    loaded = train_on(tmp_path, "a.csv", "v1,v2,,,\nham,hello,,,\nspam,win,,,\n", **flags)
    assert loaded.splits["train"]["sentence1"][:] == ["hello", "win"]


def test_the_flag_of_the_delimiter_is_for_all_own_files(tmp_path):
    loaded = train_on(tmp_path, "a.csv", "text;label\na, b;0\nc, d;1\n", delimiter=";")
    assert loaded.splits["train"]["sentence1"][:] == ["a, b", "c, d"]
    assert train_on(tmp_path, "a.csv", "text\tlabel\na\t0\nb\t1\n", delimiter="tab").row_counts == {"train": 2}
    for wrong in (";;", '"', ""):
        with pytest.raises(InputError, match="--delimiter"):
            DataArguments(train_file="a.csv", delimiter=wrong)


def test_a_test_file_needs_no_labels_and_keeps_those_it_has(tmp_path):
    unlabelled = {"a.csv": "t\nx\n", "b.csv": "t,label\nx,\ny,\n", "c.json": '[{"t": "x", "label": -1}]'}
    write(tmp_path, {"train.csv": "t,label\na,yes\nb,no\n", "d.csv": "t,label\nx,yes\n", **unlabelled})
    for name in (*unlabelled, "d.csv"):
        test = load_own(["test"], train_file=str(tmp_path / "train.csv"), test_file=str(tmp_path / name)).splits["test"]
        assert ("label" in test.column_names) == (name == "d.csv")


def test_only_without_training_file_the_checkpoint_names_the_classes(tmp_path):
    write(tmp_path, {"test.csv": "t\nx\n", "dev.csv": "t,label\nx,yes\ny,yes\n"})
    names = ["no", "yes"]
    assert load_own(["test"], names, test_file=str(tmp_path / "test.csv")).task.label_names == ("no", "yes")
    assert load_own(["test"], [], test_file=str(tmp_path / "test.csv")).task.is_regression
    write(tmp_path, {"train.csv": "t,label\nx,good\ny,bad\n"})
    trained = load_own(["train"], names, train_file=str(tmp_path / "train.csv"))
    assert trained.task.label_names == ("bad", "good")
    dev = load_own(["validation"], names, validation_file=str(tmp_path / "dev.csv"))
    assert dev.splits["validation"]["label"][:] == [1, 1]
    with pytest.raises(InputError, match="give --train_file too"):
        load_own(["test"], test_file=str(tmp_path / "test.csv"))


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("t,label\na,0\nb,1.0\n", ["row 3: '1.0'", "whole numbers", "--do_regression"]),
        ("t,label\na,0\nb,\n", ["row 3: ''", "missing"]),
        ("t,label\na,0\nb,-1\n", ["row 3: '-1'"]),
        ("t,gold\na,0\nb,1\n", ["no column 'label'", "t, gold", "--label_column"]),
        ("text,label,label\na,0,0\nb,1,1\n", ["more than one column 'label'"]),
        ("text,text,label\na,a,0\nb,b,1\n", ["more than one column 'text'"]),
        ("id,label\n1,0\n2,1\n", ["no text column", "--text_columns"]),
    ],
)
def test_unfit_own_files_are_refused(tmp_path, content, parts):
    path = write(tmp_path, {"own.csv": content}) / "own.csv"
    with pytest.raises(InputError) as caught:
        load_own(["train"], train_file=str(path))
    for part in ["own.csv", *parts]:
        assert part in str(caught.value)


def test_a_number_among_texts_is_refused(tmp_path):
    path = write(tmp_path, {"own.jsonl": '{"t": "a", "label": 0}\n{"t": 5, "label": 1}\n'}) / "own.jsonl"
    with pytest.raises(InputError, match="column 't': give texts, not: row 2: 5"):
        load_own(["train"], train_file=str(path))


def test_a_split_without_file_names_its_flag(tmp_path):
    path = write(tmp_path, {"a.csv": OWN["csv"]}) / "a.csv"
    with pytest.raises(InputError, match="no test data: give --test_file"):
        load_own(["train", "validation_mismatched", "test"], train_file=str(path))
