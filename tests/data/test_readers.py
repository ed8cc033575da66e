"""Tables come out as they were written, or are refused with the place and the remedy."""

import csv
import json

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hype.data.readers import read_table, read_tsv
from hype.errors import InputError

TSV = "text\tlabel\none\t0\n„two“\t1\n"
TRICKY = [*"\"'\\,;\t\n\r\v\f\x1c\x85\u2028\u2029\ufeff", '"', '""', "None", "NA", "null", "nan", "", " ", "1.0", "\\n"]
TEXTS = st.one_of(st.sampled_from(TRICKY), st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=12))
ROWS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5)
FAST = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def rows_of(table):
    return list(zip(*table.columns.values(), strict=True))


def write_csv(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("a", "b"), *rows])


def write_tsv(path, rows):
    path.write_bytes("".join(f"{a}\t{b}\n" for a, b in [("a", "b"), *rows]).encode("utf-8"))


def write_json(path, rows):
    path.write_text(json.dumps([{"a": a, "b": b} for a, b in rows], ensure_ascii=False), encoding="utf-8")


def write_jsonl(path, rows):
    path.write_bytes("".join(json.dumps({"a": a, "b": b}) + "\n" for a, b in rows).encode("utf-8"))


def write_parquet(path, rows):
    pyarrow.parquet.write_table(pyarrow.table({"a": [a for a, _ in rows], "b": [b for _, b in rows]}), path)


WRITERS = {"csv": write_csv, "json": write_json, "jsonl": write_jsonl, "parquet": write_parquet}


@pytest.mark.parametrize("extension", WRITERS)
@FAST
@given(rows=ROWS)
def test_every_text_survives(tmp_path, extension, rows):
    path = tmp_path / f"data.{extension}"
    WRITERS[extension](path, rows)
    assert rows_of(read_table(path)) == rows


@FAST
@given(rows=ROWS)
def test_every_text_without_tab_and_line_end_survives_in_tsv(tmp_path, rows):
    rows = [tuple(text.translate(dict.fromkeys(map(ord, "\t\n\r"))) for text in row) for row in rows]
    path = tmp_path / "data.tsv"
    write_tsv(path, rows)
    assert rows_of(read_table(path)) == rows


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_other_encodings_read_alike_when_named(tmp_path, encoding):
    text = TSV.replace("„two“", "zwö")
    plain = read_table(write(tmp_path, "plain.tsv", text))
    name = "utf-8" if encoding == "utf-8-sig" else encoding
    assert rows_of(read_table(write(tmp_path, "other.tsv", text.encode(encoding)), name)) == rows_of(plain)


@pytest.mark.parametrize("change", [lambda t: "\ufeff" + t, lambda t: t.replace("\n", "\r\n"), lambda t: t[:-1]])
def test_byte_order_mark_and_line_ends_make_no_difference(tmp_path, change):
    plain = read_table(write(tmp_path, "plain.tsv", TSV))
    changed = read_table(write(tmp_path, "changed.tsv", change(TSV)))
    assert (changed.columns, changed.numbers) == (plain.columns, plain.numbers) == (plain.columns, [2, 3])


def test_a_text_beyond_the_csv_modules_limit_is_read(tmp_path):
    text = "x" * 200_000
    limit = csv.field_size_limit()
    assert read_table(write(tmp_path, "long.csv", f"a\n{text}\n")).columns == {"a": [text]}
    assert csv.field_size_limit() == limit


def test_json_keeps_types(tmp_path):
    table = read_table(write(tmp_path, "a.json", '[{"a": "1", "b": 1}, {"a": "x", "b": 2}]'))
    assert table.columns == {"a": ["1", "x"], "b": [1, 2]}


def test_a_json_file_may_hold_one_object_on_each_line(tmp_path):
    assert read_table(write(tmp_path, "a.json", '{"a": "x"}\r\n{"a": "y"}\n')).columns == {"a": ["x", "y"]}


def test_a_file_without_header_gets_the_names_given_and_keeps_those_asked_for(tmp_path):
    path = write(tmp_path, "cola.tsv", "gj04\t1\t\tA dog.\ngj04\t0\t*\tDog a.")
    table = read_tsv(path, header=("source", "label", "mark", "sentence"), keep=("sentence", "label"))
    assert table.columns == {"sentence": ["A dog.", "Dog a."], "label": ["1", "0"]}
    assert table.numbers == [1, 2]


def test_malformed_rows_are_left_out_only_up_to_the_limit(tmp_path):
    path = write(tmp_path, "a.tsv", "a\tb\n1\t2\nbroken\n3\t4\n\tbro\tken\n")
    table = read_tsv(path, malformed_limit=2)
    assert (rows_of(table), table.numbers, table.malformed) == ([("1", "2"), ("3", "4")], [2, 4], [3, 5])
    with pytest.raises(InputError, match="row 5: 3 columns where the file has 2"):
        read_tsv(path, malformed_limit=1)


BAD = {
    "no file": ("a.tsv", None, ["a.tsv", "no such file"]),
    "extension": ("a.txt", "x", ["a.txt", ".csv", ".parquet"]),
    "empty": ("a.tsv", "", ["empty", "header"]),
    "mark alone": ("a.csv", b"\xef\xbb\xbf", ["empty"]),
    "header only": ("a.csv", "text,label\n", ["a header and no rows"]),
    "header only tsv": ("a.tsv", "text\tlabel", ["a header and no rows"]),
    "duplicate header": ("a.csv", "a,b,a\n1,2,3\n", ["'a'", "more than once"]),
    "one row too long": ("a.csv", "a,b\n1,2\n1,2,3\n", ["row 3", "3 columns", "has 2"]),
    "one row too short": ("a.tsv", "a\tb\n1\t2\n1\n", ["row 3", "1 columns", "has 2"]),
    "all rows too long": ("a.csv", "a,b\n1,2,3\n4,5,6\n", ["row 2", "3 columns", "has 2"]),
    "all rows too long in tsv": ("a.tsv", "a\tb\n1\t2\t3\n4\t5\t6\n", ["row 2", "3 columns"]),
    "blank row": ("a.csv", "a,b\n1,2\n\n3,4\n", ["row 3", "0 columns"]),
    "lone quote in csv": ("a.csv", 'a,b\n1,2\n"open,3\n', ["line 3", "unexpected end"]),
    "text after quote": ("a.csv", 'a,b\n"x"y,3\n', ["line 2", "expected after"]),
    "latin-1": ("a.tsv", "text\tlabel\nzwö\t0\n".encode("latin-1"), ["byte offset 13", "--encoding"]),
    "utf-16": ("a.tsv", TSV.encode("utf-16"), ["byte offset 0", "--encoding"]),
    "utf-16 without mark": ("a.csv", "a,b\n".encode("utf-16-le"), ["NUL at byte offset 1", "--encoding"]),
    "nul": ("a.tsv", "a\tb\n„\0\t1\n", ["NUL at byte offset 7"]),
    "truncated json": ("a.json", '[{"a": "x"},\n{"a": ', ["line 2"]),
    "truncated jsonl": ("a.jsonl", '{"a": "x"}\n{"a": "y"', ["line 2"]),
    "blank line in jsonl": ("a.jsonl", '{"a": "x"}\n\n{"a": "y"}\n', ["line 2"]),
    "other keys": ("a.jsonl", '{"a": "x"}\n{"b": "y"}\n', ["row 2", "keys b", "has a"]),
    "fewer keys": ("a.json", '[{"a": "x", "b": 1}, {"a": "y"}]', ["row 2", "keys a", "has a, b"]),
    "no objects": ("a.json", '["x", "y"]', ["row 1", "str", "not an object"]),
    "no rows": ("a.json", "[]", ["no rows"]),
    "double key": ("a.jsonl", '{"a": 1, "a": 2}\n', ["line 1", "twice"]),
    "nan": ("a.jsonl", '{"a": 1}\n{"a": NaN}\n', ["line 2", "NaN is not JSON"]),
    "half a surrogate pair": ("a.jsonl", '{"a": "\\ud800"}\n', ["line 1", "surrogates"]),
    "no parquet": ("a.parquet", "text", ["not a parquet file"]),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_clean_table_is_refused_with_its_place(tmp_path, case):
    name, content, parts = BAD[case]
    path = tmp_path / name if content is None else write(tmp_path, name, content)
    with pytest.raises(InputError) as caught:
        read_table(path)
    message = str(caught.value)
    assert "\n" not in message
    for part in [name, *parts]:
        assert part in message


def test_an_unknown_encoding_is_refused(tmp_path):
    with pytest.raises(InputError, match="--encoding utf-99"):
        read_table(write(tmp_path, "a.tsv", TSV), "utf-99")


def test_a_folder_is_not_a_file(tmp_path):
    (tmp_path / "a.tsv").mkdir()
    with pytest.raises(InputError, match="a folder, not a file"):
        read_table(tmp_path / "a.tsv")


def test_many_bad_rows_are_counted_and_five_shown(tmp_path):
    table = read_table(write(tmp_path, "a.tsv", "a\n" + "x\n" * 9))
    with pytest.raises(InputError) as caught:
        table.refuse("a", range(2, 9), "give one of y, not")
    assert str(caught.value).endswith(
        "a.tsv, column 'a': give one of y, not: "
        "row 4: 'x', row 5: 'x', row 6: 'x', row 7: 'x', row 8: 'x' (7 rows in all)"
    )
