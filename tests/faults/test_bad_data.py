"""Any file gives rows or one clear line: no traceback, no value in another column, no class that turns into a number.

HYPE_FUZZ: files for each property (default 60; 3000 once in a while).
"""

import csv
import json
import os

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hype.data.arguments import DataArguments
from hype.data.files import read_files
from hype.data.splits import load_splits
from hype.data.tables import EXTENSIONS, column, read_table
from hype.data.tasks import TASKS
from hype.errors import InputError
from tests.glue_files import as_bytes
from tests.tiny import SAMPLE

FUZZ = settings(
    max_examples=int(os.environ.get("HYPE_FUZZ", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ENCODINGS = ("utf-8", "utf-16", "utf-7", "latin-1", "idna", "unicode_escape", "rot13", "no such", "utf-8\0")
TEXTS = st.text(st.characters(exclude_characters="\t\n\r\0§", codec="utf-8"), max_size=8)
# What damages a table: bytes that separate, quote, mark or encode something, and others.
# Not a or b, which would make one tag or column name of the other.
ANY_BYTE = st.integers(0, 255).filter(lambda byte: byte not in b"ab")
SPLINTERS = st.one_of(st.sampled_from([*b'\t\n\r,"\\{}[]:\0\xff\xfe\xef\xbb\xbf']), ANY_BYTE)


def rows_or_one_line(read):
    """Call `read`; return its result, or None if it refuses in one line of bearable length."""
    try:
        return read()
    except InputError as error:
        assert len(str(error).splitlines()) == 1 and 10 < len(str(error)) < 2000
        return None


@st.composite
def damages(draw):
    """Draw a function that damages one place of a file: a byte more, fewer or other; or the end cut off."""
    place, byte = draw(st.floats(0, 1)), draw(SPLINTERS)
    kind = draw(st.sampled_from(["insert", "delete", "replace", "cut"]))

    def damage(content: bytes) -> bytes:
        at = min(int(place * len(content)), len(content) - 1)
        new = b"" if kind in ("delete", "cut") else bytes([byte])
        rest = b"" if kind == "cut" else content[at + (kind != "insert") :]
        return content[:at] + new + rest

    return damage


def tagged_rows(texts) -> list[dict]:
    """Build rows whose values name their column, so that a shifted one is seen."""
    return [{"a": f"a§{x}", "b": f"b§{y}", "label": str(i % 2)} for i, (x, y) in enumerate(texts)]


@pytest.mark.parametrize("extension", EXTENSIONS)
@FUZZ
@given(content=st.binary(max_size=60), encoding=st.sampled_from(ENCODINGS))
def test_any_bytes_give_rows_or_one_line(tmp_path, extension, content, encoding):
    path = tmp_path / f"any{extension}"
    path.write_bytes(content)
    table = rows_or_one_line(lambda: read_table(path, encoding))
    assert table is None or len(table) > 0


@pytest.mark.parametrize("extension", EXTENSIONS)
@FUZZ
@given(texts=st.lists(st.tuples(TEXTS, TEXTS), min_size=2, max_size=5), damage=damages())
def test_one_damaged_byte_never_shifts_a_column(tmp_path, extension, texts, damage):
    path = tmp_path / f"damaged{extension}"
    path.write_bytes(damage(as_bytes(extension, tagged_rows(texts))))
    table = rows_or_one_line(lambda: read_table(path))
    for i, name in enumerate(table.columns) if table is not None and extension in (".tsv", ".csv") else ():
        for value in table.iloc[:, i]:
            # A damaged tag is no tag; a quote may join the values of a row or of several.
            tags = {tag for tag in ("a§", "b§") if tag in value}
            assert not tags or name not in ("a", "b") or f"{name}§" in tags, (name, value)


LABELS = st.one_of(
    st.sampled_from(["0", "1", "2", "1.0", "0.5", "-1", "", " 1", "nan", "NA", "inf", "1e3", "x", "None", "٣", "1_0"]),
    st.text(max_size=3),
    st.integers(),
    st.floats(),
    st.none(),
    st.booleans(),
    st.lists(st.integers(), max_size=1),
)


@pytest.mark.parametrize("extension", ["csv", "jsonl"])
@FUZZ
@given(labels=st.lists(LABELS, min_size=1, max_size=6))
def test_classes_never_become_numbers(tmp_path, extension, labels):
    """It is a regression only if every label is a number, and one has a decimal point or an exponent."""
    path = tmp_path / f"own.{extension}"
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        if extension == "csv":
            csv.writer(file).writerows([["text", "label"], *([f"text {i}", label] for i, label in enumerate(labels))])
        else:
            file.write("\n".join(json.dumps({"text": "t", "label": label}) for label in labels))
    data, notes = DataArguments(train_file=str(path)), []
    read = rows_or_one_line(lambda: read_files(data, ["train"], None, notes))
    if read is not None:
        task, examples = read
        assert len(examples["train"]) == len(labels)
        if task.is_regression:
            assert examples["train"]["label"].tolist() == [float(label) for label in labels]
            assert any(isinstance(label, float) or set(".eE") & set(str(label)) for label in labels)
        else:
            words = [task.label_names[i] for i in examples["train"]["label"]]
            assert words == [str(label) for label in labels]


@pytest.mark.parametrize("task", ["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"])
@settings(FUZZ, max_examples=max(FUZZ.max_examples // 4, 10))
@given(damage=damages())
def test_a_damaged_glue_file_gives_rows_or_one_line(tmp_path, task, damage):
    source = TASKS[task].sources["train"]
    original = next(SAMPLE / path for path in source.paths if (SAMPLE / path).is_file())
    copy = tmp_path / original.relative_to(SAMPLE)
    copy.parent.mkdir(parents=True, exist_ok=True)
    lines = original.read_bytes().split(b"\n")[:5]
    copy.write_bytes(damage(b"\n".join(lines) + b"\n"))
    splits = rows_or_one_line(lambda: load_splits(DataArguments(task_name=task, data_dir=str(tmp_path)), ["train"]))
    if splits is not None:
        dataset = splits.splits["train"]
        known = set(original.read_text(encoding="utf-8").replace("\n", "\t").split("\t"))
        changed = sum(
            text not in known
            for name in ("sentence1", "sentence2")
            if name in dataset.column_names
            for text in dataset[name][:]
            if text
        )
        assert splits.task.is_regression == TASKS[task].is_regression
        assert changed <= 1, "one damaged byte changes one text"


HOSTILE = {
    "deep nesting": ("json", b"[" * 200_000),
    "a number of many digits": ("json", b'[{"a": ' + b"9" * 5000 + b"}]"),
    "a header with a line end": ("csv", b'"a\nb",c\n1,2\n'),
    "a header of a megabyte": ("csv", b"x" * 1_000_000 + b",y\n1\n"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line(tmp_path, case):
    extension, content = HOSTILE[case]
    path = tmp_path / f"hostile.{extension}"
    path.write_bytes(content)
    assert rows_or_one_line(lambda: column(path, read_table(path), "label")) is None


def test_texts_in_parquet_that_are_no_texts_are_refused(tmp_path):
    buffers = [None, pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0"), pyarrow.py_buffer(b"\xff")]
    array = pyarrow.Array.from_buffers(pyarrow.string(), 1, buffers)
    pyarrow.parquet.write_table(pyarrow.table({"a": array}), tmp_path / "bad.parquet")
    with pytest.raises(InputError, match=r"bad\.parquet"):
        read_table(tmp_path / "bad.parquet")


def test_a_long_label_is_shown_in_part(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("text,label\nx,0\ny," + "word " * 10_000 + "\nz,1\n")
    with pytest.raises(InputError) as caught:
        load_splits(DataArguments(train_file=str(path)), ["train"])
    assert "row 3" in str(caught.value) and len(str(caught.value)) < 500
