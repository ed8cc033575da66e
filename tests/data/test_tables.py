"""Tables are read exactly as written, or refused with the place and the remedy."""

import re

import datasets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hype.data.tables import EXTENSIONS, read_delimited, read_table
from hype.errors import InputError
from tests.glue_files import as_bytes

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
    return list(table.itertuples(index=False, name=None))


@pytest.mark.parametrize("extension", EXTENSIONS)
@FAST
@given(rows=ROWS)
def test_every_text_survives(tmp_path, extension, rows):
    if extension == ".tsv":  # where texts cannot contain separators
        rows = [tuple(text.translate(dict.fromkeys(map(ord, "\t\n\r"))) for text in row) for row in rows]
    path = tmp_path / f"data{extension}"
    path.write_bytes(as_bytes(extension, [{"a": a, "b": b} for a, b in rows]))
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
    assert rows_of(changed) == rows_of(plain)
    assert list(changed.index) == list(plain.index) == [2, 3]


def test_a_text_beyond_the_csv_modules_limit_is_read(tmp_path):
    text = "x" * 200_000
    assert rows_of(read_table(write(tmp_path, "long.csv", f"a\n{text}\n"))) == [(text,)]


@pytest.mark.parametrize(
    "content",
    [
        '[{"a": "x", "b": 1}, {"b": 2, "a": "y"}]',
        '{"a": "x", "b": 1}\r\n{"a": "y", "b": 2}\n',
        '{"a": "x", "b": 1}\n\n{"a": "y",\n"b": 2}',
        '{"0": {"a": "x", "b": 1}, "1": {"a": "y", "b": 2}}',
        '{\n"0": {"a": "x", "b": 1},\n"1": {"a": "y", "b": 2}\n}',
    ],
)
def test_json_is_an_array_or_objects_one_after_another_or_numbered_ones_and_keeps_types(tmp_path, content):
    assert rows_of(read_table(write(tmp_path, "a.json", content))) == [("x", 1), ("y", 2)]


def test_a_value_that_an_object_lacks_is_missing(tmp_path):
    table = read_table(write(tmp_path, "a.jsonl", '{"a": "x"}\n{"a": "y", "b": 1}\n'))
    assert table["b"].isna().tolist() == [True, False] and type(table["b"][2]) is int


@pytest.mark.parametrize("extension", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize("end", ["\n\n\n", "\r\n\r\n"])
def test_blank_lines_at_the_end_are_no_rows(tmp_path, extension, end):
    content = {"csv": "a,b\nx,0\ny,1", "tsv": "a\tb\nx\t0\ny\t1", "jsonl": '{"a":"x","b":"0"}\n{"a":"y","b":"1"}'}
    table = read_table(write(tmp_path, f"a.{extension}", content[extension] + end))
    assert rows_of(table) == [("x", "0"), ("y", "1")]


@pytest.mark.parametrize(
    ("name", "content", "delimiter", "rows"),
    [
        ("a.csv", 'a;b\n"x;\n";0\n', ";", [("x;\n", "0")]),
        ("a.csv", "a\tb\nx\t0\n", "\t", [("x", "0")]),
        ("a.tsv", 'a|b\n"x|0\n', "|", [('"x', "0")]),
    ],
)
def test_a_delimiter_is_what_the_flag_names(tmp_path, name, content, delimiter, rows):
    assert rows_of(read_table(write(tmp_path, name, content), delimiter=delimiter)) == rows


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_excels_line_of_the_delimiter_counts_as_a_row(tmp_path, end):
    table = read_table(write(tmp_path, "a.csv", end.join(["sep=;", "a;b", "x;0", ""])))
    assert (rows_of(table), list(table.index)) == ([("x", "0")], [3])


@pytest.mark.parametrize(
    ("name", "content", "delimiter"),
    [
        ("a.csv", "text;label\na, b;0\n", "';'"),
        ("a.csv", "text|label\na b|0\n", "'|'"),
        ("a.csv", "text\tlabel\na b\t0\n", "tab"),
        ("a.tsv", "text,label\na b,0\n", "','"),
    ],
)
def test_another_delimiter_than_the_extensions_is_named_with_the_flag(tmp_path, name, content, delimiter):
    path = write(tmp_path, name, content)
    with pytest.raises(InputError, match=rf"{name}.*--delimiter {re.escape(delimiter)}"):
        read_table(path)
    assert list(read_table(path, delimiter="\t" if delimiter == "tab" else delimiter[1])) == ["text", "label"]
    assert list(read_table(path, delimiter="§")) == [content.partition("\n")[0]]


def test_a_file_without_header_gets_the_names_given_and_keeps_those_asked_for(tmp_path):
    path = write(tmp_path, "cola.tsv", "gj04\t1\t\tA dog.\ngj04\t0\t*\tDog a.")
    table, _ = read_delimited(path, header=("source", "label", "mark", "sentence"), keep=("sentence", "label"))
    assert table.to_dict("list") == {"label": ["1", "0"], "sentence": ["A dog.", "Dog a."]}
    assert list(table.index) == [1, 2]


def test_malformed_rows_are_skipped_only_up_to_the_limit(tmp_path):
    path = write(tmp_path, "a.tsv", "a\tb\n1\t2\nbroken\n3\t4\n\tbro\tken\n")
    table, malformed = read_delimited(path, malformed_limit=2)
    assert (rows_of(table), list(table.index), malformed) == ([("1", "2"), ("3", "4")], [2, 4], [3, 5])
    with pytest.raises(InputError, match="row 5: 3 columns where the header has 2"):
        read_delimited(path, malformed_limit=1)


BAD = {
    "no file": ("a.tsv", None, ["No such file"]),
    "extension": ("a.txt", "x", ["a.txt", ".csv", ".parquet"]),
    "empty": ("a.tsv", "", ["empty", "header"]),
    "mark alone": ("a.csv", b"\xef\xbb\xbf", ["empty"]),
    "header only": ("a.csv", "text,label\n", ["a header and no rows"]),
    "one row too long": ("a.csv", "a,b\n1,2\n1,2,3\n", ["row 3", "3 columns", "has 2"]),
    "one row too short": ("a.tsv", "a\tb\n1\t2\n1\n", ["row 3", "1 columns", "has 2"]),
    "no delimiter after sep=": ("a.csv", "sep=\r\na,b\r\n1,2\r\n", ["row 2", "2 columns", "has 1"]),
    "all rows too long": ("a.csv", "a,b\n1,2,3\n4,5,6\n", ["row 2", "3 columns", "has 2"]),
    "blank row": ("a.csv", "a,b\n1,2\n\n3,4\n", ["row 3", "0 columns"]),
    "lone quote in csv": ("a.csv", 'a,b\n1,2\n"open,3\n', ["line 3", "unexpected end"]),
    "text after quote": ("a.csv", 'a,b\n"x"y,3\n', ["line 2", "expected after"]),
    "latin-1": ("a.tsv", "text\tlabel\nzwö\t0\n".encode("latin-1"), ["position 13", "--encoding"]),
    "utf-16": ("a.tsv", TSV.encode("utf-16"), ["position 0", "--encoding"]),
    "utf-16 without mark": ("a.csv", "a,b\n".encode("utf-16-le"), ["NUL at byte offset 1", "--encoding"]),
    "git lfs pointer": ("a.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", ["git lfs pull"]),
    "nul": ("a.tsv", "a\tb\n„\0\t1\n", ["NUL at byte offset 7"]),
    "truncated json": ("a.json", '[{"a": "x"},\n{"a": ', ["line 2"]),
    "no objects": ("a.json", '["x", "y"]', ["row 1", "str", "not an object"]),
    "no rows": ("a.json", "[]", ["no rows"]),
    "double key": ("a.jsonl", '{"a": 1, "a": 2}\n', ["line 1", "twice"]),
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


def test_an_unknown_encoding_and_half_a_surrogate_pair_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"unknown encoding: utf-99.*--encoding"):
        read_table(write(tmp_path, "a.tsv", TSV), "utf-99")
    with pytest.raises(InputError, match=r"not utf-7 .*surrogates not allowed"):
        read_table(write(tmp_path, "a.tsv", "a\n+2AA-\n"), "utf-7")


def test_a_folder_or_a_web_address_is_not_a_file(tmp_path):
    with pytest.raises(InputError, match=r"Is a directory; give the path of a file"):
        read_table(f"{tmp_path}")
    with pytest.raises(InputError, match=r"https://host/a.csv: .*download"):
        read_table("https://host/a.csv")


@pytest.mark.parametrize("kind", [datasets.Dataset, datasets.DatasetDict])
def test_what_save_to_disk_wrote_is_named_with_the_way_to_a_file(tmp_path, kind):
    data = datasets.Dataset.from_dict({"a": ["x"]})
    (data if kind is datasets.Dataset else datasets.DatasetDict(train=data)).save_to_disk(tmp_path / "saved")
    with pytest.raises(InputError, match=r"save_to_disk.*to_parquet"):
        read_table(tmp_path / "saved")
