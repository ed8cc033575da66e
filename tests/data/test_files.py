"""The user's own files: which columns are texts, classes or scores, the notes on them, and what is refused."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from hype.data.arguments import DataArguments
from hype.data.splits import load_splits
from hype.errors import InputError
from tests.glue_files import write


@pytest.fixture
def read(tmp_path):
    """Return a function that writes a training file and returns what is read from it, or from other files."""

    def read(content=None, name="a.csv", splits=("train",), label_names=None, **files_and_flags):
        flags = {flag: str(tmp_path / v) if flag.endswith("_file") else v for flag, v in files_and_flags.items()}
        if content is not None:
            flags["train_file"] = str(write(tmp_path, {name: content}) / name)
        return load_splits(DataArguments(**flags), splits, label_names=label_names)

    return read


def has_note(loaded, *parts):
    return any(all(part in note for part in parts) for note in loaded.notes)


OWN = {
    "a.csv": "id,headline,body,label\n7,None,NA,0\n8,null,,1\n",
    "a.tsv": "id\theadline\tbody\tlabel\n7\tNone\tNA\t0\n8\tnull\t\t1\n",
    "a.json": json.dumps(
        [dict(id=7, headline="None", body="NA", label=0), dict(id=8, headline="null", body="", label=1)]
    ),
}


@pytest.mark.parametrize("name", OWN)
def test_own_files_keep_texts_as_they_stand(read, name):
    loaded = read(OWN[name], name)
    columns = {"sentence1": ["None", "null"], "sentence2": ["NA", ""], "label": [0, 1]}
    assert loaded.splits["train"][:] == columns
    assert (loaded.task.label_names, loaded.source) == (("0", "1"), "files")
    assert "text columns: headline, body (--text_columns names others)" in loaded.notes


@pytest.mark.parametrize(
    ("content", "flags", "texts"),
    [
        (OWN["a.csv"], {"text_columns": "body"}, {"sentence1": ["NA", ""]}),
        (OWN["a.csv"], {"text_columns": "body, headline"}, {"sentence1": ["NA", ""], "sentence2": ["None", "null"]}),
        (
            "x,sentence2,sentence1,gold\n1,b,a,no\n2,d,c,yes\n", {"label_column": "gold"},
            {"sentence1": ["a", "c"], "sentence2": ["b", "d"]},
        ),
        ("v1,v2,,,\n0,a,,,\n1,b,,,\n", {"text_columns": "v2", "label_column": "v1"}, {"sentence1": ["a", "b"]}),
        ("text\tlabel\na\t0\nb\t1\n", {"delimiter": "tab"}, {"sentence1": ["a", "b"]}),
        ("valid,label\na,1\nb,0\n", {}, {"sentence1": ["a", "b"]}),
        # Columns that number or identify the rows, or spell the label, are not texts.
        ("Unnamed: 0,text,label\n0,a,1\n1,b,0\n", {}, {"sentence1": ["a", "b"]}),
        (",text,label\n0,a,1\n1,b,0\n", {}, {"sentence1": ["a", "b"]}),
        ("ID,text,label\nx1,a,1\nx2,b,0\n", {}, {"sentence1": ["a", "b"]}),
        ("textID,text,label\ncb774db0d1,a,1\n549e992a42,b,0\n", {}, {"sentence1": ["a", "b"]}),
        ("pair_id,text,label\nx1,a,1\nx2,b,0\n", {}, {"sentence1": ["a", "b"]}),
        ("text,label,label_text\na,1,good\nb,0,bad\n", {}, {"sentence1": ["a", "b"]}),
        ("score,text,label\n1e-3,a,1\n,b,0\n", {}, {"sentence1": ["a", "b"]}),
    ],
)  # fmt: skip
def test_the_columns_of_the_texts_are_found_or_named(read, content, flags, texts):
    train = read(content, **flags).splits["train"]
    assert {name: train[name][:] for name in train.column_names if name.startswith("sentence")} == texts


def test_classes_come_from_the_training_file_and_others_are_refused(read, tmp_path):
    write(tmp_path, {"train.csv": "t,label\na,yes\nb,no\n", "dev.jsonl": '{"t": "c", "label": "yes"}\n'})
    files = {"train_file": "train.csv", "validation_file": "dev.jsonl"}
    loaded = read(splits=["validation"], **files)
    assert loaded.task.label_names == ("no", "yes")
    assert list(loaded.splits) == ["validation"]
    assert loaded.splits["validation"]["label"][:] == [1]
    write(tmp_path, {"dev.jsonl": '{"t": "c", "label": "maybe"}\n'})
    with pytest.raises(InputError, match=r"expected one of no, yes; found: row 1: 'maybe'"):
        read(splits=["validation"], **files)


@pytest.mark.parametrize(
    ("name", "content", "scores"),
    [
        ("a.csv", "t,label\na,0.0\nb,1.5\n", [0.0, 1.5]),
        ("a.csv", "text,label\na dull start,0.5\nit works,1e-05\nnot bad,2.5E16\n", [0.5, 1e-05, 2.5e16]),
        ("a.jsonl", '{"t":"a","label":3.5}\n{"t":"b","label":4}\n{"t":"c","label":2.0}\n', [3.5, 4, 2]),
    ],
)
def test_numbers_with_fractions_are_scores_and_it_is_said(read, name, content, scores):
    loaded = read(content, name)
    assert loaded.task.is_regression
    assert loaded.splits["train"].features["label"].dtype == "float32"
    assert loaded.splits["train"]["label"][:] == pytest.approx(scores)
    assert has_note(loaded, "regression", "--do_regression false")


def test_the_flag_makes_whole_numbers_scores_and_scores_classes(read):
    stars = "t,label\n" + "".join(f"text {i},{i % 5 + 1}\n" for i in range(20))
    loaded = read(stars)
    assert loaded.task.label_names == ("1", "2", "3", "4", "5")
    assert has_note(loaded, "5 classes: 1, 2, 3, 4, 5", "--do_regression true")
    loaded = read(stars, do_regression=True)
    assert loaded.task.is_regression and loaded.splits["train"]["label"][:3] == [1.0, 2.0, 3.0]
    assert has_note(loaded, "scores from 1 to 5")
    assert read("t,label\na,10.5\nb,9.0\n", do_regression=False).task.label_names == ("9.0", "10.5")
    with pytest.raises(InputError, match="expected a number; found: row 3: 'good'"):
        read("t,label\na,1\nb,good\n", do_regression=True)


def test_booleans_are_two_classes_in_every_format(read, tmp_path):
    table = pyarrow.table({"t": ["a", "b"], "label": [True, False]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    for loaded in (
        read("t,label\na,True\nb,False\n"),
        read('[{"t": "a", "label": true}, {"t": "b", "label": false}]', "a.json"),
        read(train_file="a.parquet"),
    ):
        assert (loaded.task.label_names, loaded.splits["train"]["label"][:]) == (("False", "True"), [1, 0])


def test_the_classes_are_always_named_and_doubtful_ones_warned_of(read):
    assert read("t,label\na,yes\nb,no\n").notes[1:] == ["2 classes: no, yes"]
    rows = "great,pos\nbad,neg\nfine,pos \nsad,Neg\n"
    assert read(f"text,label\n{rows}{rows}").notes[1:] == [
        "4 classes: 'Neg', 'neg', 'pos', 'pos '",
        "classes that differ only in case or spaces: 'Neg' and 'neg', 'pos' and 'pos '",
    ]
    _, classes, warning = read("label,t\n" + "".join(f"text {i},word\n" for i in range(20))).notes
    assert classes.startswith("20 classes: text 0, text 1, ") and classes.endswith(" ...")
    assert "20 classes in 20 rows" in warning and "'label'" in warning


def test_a_test_file_needs_no_labels_and_keeps_those_it_has(read, tmp_path):
    unlabelled = {"a.csv": "t\nx\n", "b.csv": "t,label\nx,\ny,\n", "c.json": '[{"t": "x", "label": -1}]'}
    write(tmp_path, {**unlabelled, "d.csv": "t,label\nx,yes\n"})
    for name in (*unlabelled, "d.csv"):
        test = read("t,label\na,yes\nb,no\n", "train.csv", ["test"], test_file=name).splits["test"]
        assert ("label" in test.column_names) == (name == "d.csv")


def test_only_without_training_file_the_checkpoint_names_the_classes(read, tmp_path):
    write(tmp_path, {"test.csv": "t\nx\n", "dev.csv": "t,label\nx,yes\ny,yes\n"})
    names = ["no", "yes"]
    assert read(splits=["test"], label_names=names, test_file="test.csv").task.label_names == ("no", "yes")
    assert read(splits=["test"], label_names=[], test_file="test.csv").task.is_regression
    assert read("t,label\nx,good\ny,bad\n", label_names=names).task.label_names == ("bad", "good")
    dev = read(splits=["validation"], label_names=names, validation_file="dev.csv")
    assert dev.splits["validation"]["label"][:] == [1, 1]
    with pytest.raises(InputError, match="give --train_file too"):
        read(splits=["test"], test_file="test.csv")


@pytest.mark.parametrize(
    ("content", "flags", "parts"),
    [
        ("t,gold\na,0\nb,1\n", {}, ["no column 'label'", "t, gold", "--label_column"]),
        ("text,label,label\na,0,0\nb,1,1\n", {}, ["more than one column 'label'"]),
        ("text,text,label\na,a,0\nb,b,1\n", {}, ["more than one column 'text'"]),
        ("id,label\n1,0\n2,1\n", {}, ["no text column", "--text_columns"]),
        ("t,label\na,0\nb,1\n", {"text_columns": "a,b,c"}, ["--text_columns a,b,c"]),
        ("t,label\na,0\nb,1\n", {"text_columns": "t,t"}, ["--text_columns t,t"]),
        ("t,label\na,0\nb,1\n", {"text_columns": "t,label"}, ["--text_columns t,label"]),
        ("t,label\na,0\nb,1\n", {"text_columns": "absent"}, ["no column 'absent'", "--text_columns"]),
        ("sentence1,label\na,0\nb,1\n", {"label_column": "sentence1"}, ["--label_column sentence1"]),
        ("t,label\na,0\nb,1\n", {"delimiter": ";;"}, ["--delimiter"]),
        ("t,label\na,0\nb,1\n", {"delimiter": '"'}, ["--delimiter"]),
    ],
)
def test_unfit_own_files_and_flags_are_refused(read, content, flags, parts):
    with pytest.raises(InputError) as caught:
        read(content, **flags)
    for part in parts:
        assert part in str(caught.value)


def test_a_number_among_texts_is_refused(read):
    with pytest.raises(InputError, match=r"a.jsonl, column 't': expected text; found: row 2: 5"):
        read('{"t": "a", "label": 0}\n{"t": 5, "label": 1}\n', "a.jsonl")


def test_a_split_without_file_names_its_flag(read):
    with pytest.raises(InputError, match="no test data: give --test_file"):
        read(OWN["a.csv"], splits=["train", "validation_mismatched", "test"])
