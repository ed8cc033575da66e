"""Table files as pandas DataFrames with unchanged values, indexed by row number; malformed files are refused.

Files are parsed with the standard library's `csv` and `json`: pandas silently pads short rows, and pyarrow silently
reads an unclosed quote to the end of the file.
"""

import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pandas
import pyarrow
import pyarrow.parquet

from hype.data.tasks import SENTENCES
from hype.errors import InputError

EXTENSIONS = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
SHOWN_ROWS = 5  # in errors about bad rows
JSON_SPACE = re.compile(r"[ \t\r\n]*")
csv.field_size_limit(2**31 - 1)  # the default refuses texts over 128 KiB


def read_table(path: str | Path, encoding: str = "utf-8", delimiter: str | None = None) -> pandas.DataFrame:
    """Read a csv, tsv, json, jsonl or parquet file, depending on its extension.

    Values in csv and tsv files stay strings; the other formats keep their types. The index contains the row numbers,
    starting at 1 and counting a header.

    Raises:
        InputError: the file is not a well-formed table; the message gives file, row and remedy.
    """
    extension = Path(path).suffix.lower()
    if extension in (".csv", ".tsv"):
        return read_delimited(path, encoding, delimiter)[0]
    if extension in (".json", ".jsonl"):
        return records_table(path, read_json(path, encoding))
    content = _read_bytes(path)
    if extension != ".parquet":
        raise InputError(f"{path}: the extension is not one of {', '.join(EXTENSIONS)}; rename or convert the file")
    try:
        records = pyarrow.parquet.read_table(pyarrow.BufferReader(content)).to_pylist()
    # ValueError: corrupt column names, strings that are not UTF-8, dates after the year 9999.
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path}: not a parquet file, or one with corrupt values ({reason})") from error
    return records_table(path, records)


def read_delimited(
    path: str | Path,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    header: Sequence[str] | None = None,
    keep: Sequence[str] | None = None,
    malformed_limit: int = 0,
) -> tuple[pandas.DataFrame, list[int]]:
    """Read delimited values; return the table and the numbers of the malformed rows, which are skipped.

    Args:
        path: The file. Blank lines at its end are ignored. Values in csv files may be quoted as in RFC 4180 and then
            span lines; in other files, such as GLUE's tsv files, quotes are ordinary characters.
        encoding: Encoding of the file; a byte order mark is accepted.
        delimiter: One character. Defaults to a comma in csv files, else a tab.
        header: Column names of a file without a header row.
        keep: Columns to keep in memory. If one of them is missing, all are kept, for the error message.
        malformed_limit: How many rows with the wrong number of columns are skipped before one is refused.
    """
    text, first_row = decode(path, encoding).rstrip("\r\n"), 1
    is_quoted = Path(path).suffix.lower() == ".csv"
    if is_quoted and (match := re.match('sep=([^"\r])\r?\n', text)):  # Excel's delimiter declaration
        delimiter, text, first_row = match[1], text[match.end() :], 2
    rows = enumerate(_split_rows(path, text, delimiter, is_quoted), first_row)
    if header is None:
        _, header = next(rows)  # the text is not empty
        found = re.search(r"[;|\t,]", header[0]) if len(header) == 1 and delimiter is None else None
        if found:
            shown = "tab" if found[0] == "\t" else f"'{found[0]}'"
            problem = f"row 1, taken as the header, has one column, {header[0]}"
            raise InputError(f"{path}: {problem}; if {shown} separates columns, pass --delimiter {shown}")
    is_whole = keep is None or not set(keep) <= set(header)
    columns = [i for i, name in enumerate(header) if is_whole or name in keep]
    kept, malformed = {}, []
    for number, row in rows:
        if len(row) == len(header):
            kept[number] = [row[i] for i in columns]
        elif len(malformed) < malformed_limit:
            malformed.append(number)
        else:
            raise InputError(f"{path}, row {number}: {len(row)} columns where the header has {len(header)}")
    if not kept:
        raise InputError(f"{path}: a header and no rows")
    names = [header[i] for i in columns]
    return pandas.DataFrame(list(kept.values()), index=list(kept), columns=names, dtype=object), malformed


def _split_rows(path, text, delimiter, is_quoted):
    if not is_quoted:  # only line feeds end rows: texts may contain other line breaks (U+2028, form feed)
        yield from (line.removesuffix("\r").split(delimiter or "\t") for line in text.split("\n"))
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter or ",", strict=True)
    try:
        yield from reader
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}; write quotes as in RFC 4180") from error


def read_json(path: str | Path, encoding: str = "utf-8"):
    """Return the JSON value in a file, or the list of values if there are several, such as one per line.

    Raises:
        InputError: the file is not valid JSON; the message gives the line.
    """
    text = decode(path, encoding)
    decoder = json.JSONDecoder(object_pairs_hook=_unique_keys)
    values, place = [], JSON_SPACE.match(text).end()
    try:
        while place < len(text):
            value, end = decoder.raw_decode(text, place)
            if "\\u" in text[place:end]:  # an escape may be an unpaired surrogate, which cannot be encoded
                json.dumps(value, ensure_ascii=False).encode("utf-8")
            values.append(value)
            place = JSON_SPACE.match(text, end).end()
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", text.count("\n", 0, place) + 1)
        reason = getattr(error, "msg", error)
        raise InputError(f"{path}, line {line}: {reason}; give an array, or one object per line") from error
    return values[0] if len(values) == 1 else values


def _unique_keys(pairs):
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise ValueError(f"a key occurs twice among {', '.join(keys)}")
    return dict(pairs)


def records_table(path: str | Path, value) -> pandas.DataFrame:
    """Convert an array of objects, or an object of objects whose keys merely number them, to a table.

    Values that an object lacks are NaN. Raises InputError if an element is not an object.
    """
    if isinstance(value, dict) and all(isinstance(record, dict) for record in value.values()):
        value = list(value.values())
    records = value if isinstance(value, list) else [value]
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict):
            raise InputError(f"{path}, row {number}: {type(record).__name__}, not an object of columns")
    if not records:
        raise InputError(f"{path}: no rows")
    return pandas.DataFrame(records, index=range(1, len(records) + 1), dtype=object)


def decode(path: str | Path, encoding: str) -> str:
    """Return the text of a file without its byte order mark. Raises InputError with the position of an invalid byte."""
    content = _read_bytes(path)
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
        text.encode("utf-8")  # utf-7 and others accept unpaired surrogates, which cannot be encoded
    except (ValueError, LookupError) as error:
        raise InputError(f"{path}: not {encoding} ({error}); give its --encoding, such as utf-16 or latin-1") from error
    if not text.strip("\r\n"):
        raise InputError(f"{path}: the file is empty; it needs a header and rows")
    if "\0" in text:
        offset = len(text[: text.index("\0")].encode(encoding))
        raise InputError(f"{path}: NUL at byte offset {offset}: not a text file, or one in another --encoding")
    return text


def _read_bytes(path) -> bytes:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        remedy = "give the path of a file that can be read"
        if "://" in str(path):
            remedy = "download the file and give its local path"
        elif any(Path(path).glob("dataset_*.json")):
            remedy = "save_to_disk wrote this folder: save each split with load_from_disk(...).to_parquet(...)"
        raise InputError(f"{path}: {error.strerror}; {remedy}") from error
    if content.startswith(b"version https://git-lfs.github.com/spec/"):
        raise InputError(f"{path}: a Git LFS pointer, not the file itself; run git lfs pull where it was cloned")
    return content


def column(path: str | Path, table: pandas.DataFrame, name: str, flag: str | None = None) -> pandas.Series:
    """Return a column of a table. flag: the flag that selects another column, for the error message.

    Raises:
        InputError: there is no such column, or more than one.
    """
    names = list(table.columns)
    if names.count(name) != 1:
        count = "more than one" if name in names else "no"
        shown = ", ".join(names) + " (in csv and tsv, row 1 is taken as the header)"
        hint = f"; name another with --{flag}" if flag else ""
        raise InputError(f"{path}: {count} column {name!r} among {shown}{hint}")
    return table[name]


def text_examples(
    path: str | Path, table: pandas.DataFrame, names: Sequence[str], flag: str | None = None
) -> pandas.DataFrame:
    """Return these text columns as sentence1 and sentence2.

    Raises:
        InputError: as for `column`, or a value is not a string.
    """
    examples = pandas.DataFrame(index=table.index)
    for ours, name in zip(SENTENCES, names, strict=False):
        values = examples[ours] = column(path, table, name, flag)
        refuse_any(path, values[[not isinstance(value, str) for value in values]], "expected text; found")
    return examples


def refuse_any(path: str | Path, values: pandas.Series, problem: str) -> None:
    """Raise InputError if there are any such values in a column; show the first five with their rows, and the total."""
    if values.empty:
        return
    shown = ", ".join(f"row {number}: {value!r:.80}" for number, value in values.iloc[:SHOWN_ROWS].items())
    total = f" ({len(values)} rows in all)" if len(values) > SHOWN_ROWS else ""
    raise InputError(f"{path}, column {values.name!r}: {problem}: {shown}{total}")
