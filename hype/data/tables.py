"""Table files as pandas frames of unchanged values, indexed by row number; what is not a clean table is refused.

Rows come from the standard library's `csv` and `json`: pandas fills up rows that are too short and pyarrow takes an
unclosed quote for the rest of the file, both silently.
"""

import csv
import io
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pandas
import pyarrow
import pyarrow.parquet

from hype.errors import InputError

EXTENSIONS = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
DELIMITERS = {";": "';'", "|": "'|'", "\t": "tab", ",": "','"}
SHOWN_ROWS = 5  # of many bad rows
SHOWN_CHARACTERS = 80  # of a bad value
SHOWN_COLUMNS = 20


def read_table(path: str | Path, encoding: str = "utf-8", delimiter: str | None = None) -> pandas.DataFrame:
    """Read a csv, tsv, json, jsonl or parquet file, by its extension.

    Values of csv and tsv stay strings; the other formats keep their types. The index holds the row numbers: from 1,
    with a header counted.

    Raises:
        InputError: the file is not a clean table; the message names file, row and remedy.
    """
    path, extension = str(path), Path(path).suffix.lower()
    if extension == ".parquet":
        return _read_parquet(path)
    if extension in (".json", ".jsonl"):
        return read_json_table(path, encoding)
    if extension in (".csv", ".tsv"):
        return read_delimited(path, encoding, delimiter, is_quoted=extension == ".csv")[0]
    _read_bytes(path)
    raise InputError(f"{path}: the extension is not one of {', '.join(EXTENSIONS)}; rename or convert the file")


def read_delimited(
    path: str | Path,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    is_quoted: bool = False,
    header: Sequence[str] | None = None,
    keep: Sequence[str] | None = None,
    malformed_limit: int = 0,
) -> tuple[pandas.DataFrame, list[int]]:
    """Read separated values; return them and the numbers of the malformed rows, which are skipped.

    Args:
        path: The file. Blank lines at its end are ignored.
        encoding: Of the file; a byte order mark is accepted.
        delimiter: One character. Defaults to a comma (quoted) or a tab (unquoted).
        is_quoted: Whether values are quoted as in RFC 4180, where one may span lines. GLUE's tsv files are not.
        header: Column names of a file that has no header row.
        keep: Columns to hold in memory. Defaults to all.
        malformed_limit: Number of rows of the wrong width that are skipped rather than refused.
    """
    text = decode(path, encoding).rstrip("\r\n")
    first_row = 1
    if is_quoted and (match := re.match("sep=(.)\r?\n", text)):  # how Excel names the delimiter
        delimiter, text, first_row = match[1], text[match.end() :], 2
    delimiter = delimiter or ("," if is_quoted else "\t")
    rows = _quoted_rows(path, text, delimiter) if is_quoted else _unquoted_rows(text, delimiter)
    if header is None:
        header = next(rows, [])
        first_row += 1
    for name in keep or ():
        _require_column(path, list(header), name)
    columns = {i: [] for i, name in enumerate(header) if keep is None or name in keep}
    numbers, malformed = [], []
    for number, row in enumerate(rows, first_row):
        if len(row) == len(header):
            numbers.append(number)
            for i, values in columns.items():
                values.append(row[i])
        elif len(malformed) < malformed_limit:
            malformed.append(number)
        else:
            hint = _delimiter_hint(header)
            raise InputError(f"{path}, row {number}: {len(row)} columns where the header has {len(header)}{hint}")
    if not numbers:
        raise InputError(f"{path}: a header and no rows")
    table = pandas.DataFrame(columns, index=numbers, dtype=object)
    return table.set_axis([header[i] for i in columns], axis="columns"), malformed


def _unquoted_rows(text, delimiter):
    # Line feeds alone end rows: texts hold other separators (U+2028, form feed).
    return (line.removesuffix("\r").split(delimiter) for line in text.split("\n"))


def _quoted_rows(path, text, delimiter):
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    limit = csv.field_size_limit(len(text) + 1)  # the default refuses texts over 128 KiB
    try:
        yield from reader
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}; write quotes as in RFC 4180") from error
    finally:
        csv.field_size_limit(limit)


def read_json(path: str | Path, encoding: str = "utf-8"):
    """Return the one JSON value of a file, or the list of those on its lines. Raises InputError that names the line."""
    lines = decode(path, encoding).rstrip().split("\n")
    if lines[0].lstrip().startswith("[") or lines[0].strip() == "{":
        return _load_json(path, "\n".join(lines))
    values = [_load_json(path, line, number) for number, line in enumerate(lines, 1)]
    return values[0] if len(values) == 1 else values


def read_json_table(path: str | Path, encoding: str = "utf-8") -> pandas.DataFrame:
    """Read an array of objects, one object on each line, or an object of objects whose keys only number them."""
    value = read_json(path, encoding)
    if isinstance(value, dict):
        value = list(value.values()) if all(isinstance(row, dict) for row in value.values()) else [value]
    return json_table(path, value)


def json_table(path: str | Path, records) -> pandas.DataFrame:
    """Return objects with equal keys as a table. Raises InputError that names the first other one."""
    if not isinstance(records, list):
        raise InputError(f"{path}: {type(records).__name__}, not an array of objects; give one object for each row")
    if not records:
        raise InputError(f"{path}: no rows")
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict):
            raise InputError(f"{path}, row {number}: {type(record).__name__}, not an object of columns")
        if record.keys() != records[0].keys():
            names, first = ", ".join(record), ", ".join(records[0])
            raise InputError(f"{path}, row {number}: keys {names} where row 1 has {first}")
    columns = {name: [record[name] for record in records] for name in records[0]}
    return pandas.DataFrame(columns, index=range(1, len(records) + 1), dtype=object)


def _load_json(path, text, first_line=1):
    try:
        value = json.loads(text, object_pairs_hook=_unique_keys)
        if "\\u" in text:  # an escape may be half a surrogate pair, which is not text
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise InputError(f"{path}, line {line}: {error.msg}; give an array, or one object on each line") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}, from line {first_line}: {error}") from error


def _unique_keys(pairs):
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise ValueError(f"a key occurs twice among {', '.join(keys)}")
    return dict(pairs)


def _read_parquet(path) -> pandas.DataFrame:
    content = _read_bytes(path)
    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
        columns = [column.to_pylist() for column in table.columns]
        names = table.column_names
    # ValueError: damaged names, texts that are not UTF-8, dates after the year 9999.
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path}: not a parquet file, or one with damaged values ({reason})") from error
    if table.num_rows == 0:
        raise InputError(f"{path}: no rows")
    frame = pandas.DataFrame(dict(enumerate(columns)), index=range(1, table.num_rows + 1), dtype=object)
    return frame.set_axis(names, axis="columns")


def decode(path: str | Path, encoding: str) -> str:
    """Return the text of a file without its byte order mark. Raises InputError with the offset of a bad byte."""
    content = _read_bytes(path)
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
        text.encode("utf-8")  # utf-7 and others accept half a surrogate pair, which is not text
    except UnicodeError as error:
        place = f"at byte offset {error.start}" if isinstance(error, UnicodeDecodeError) else f"({error})"
        raise InputError(f"{path}: not {encoding} {place}; give its --encoding") from error
    except (LookupError, ValueError) as error:
        raise InputError(f"--encoding {encoding}: no such encoding; give utf-8, utf-16, latin-1 ...") from error
    if not text.strip("\r\n"):
        raise InputError(f"{path}: the file is empty; it needs a header and rows")
    if "\0" in text:
        offset = len(text[: text.index("\0")].encode(encoding))
        raise InputError(f"{path}: NUL at byte offset {offset}: not a text file, or one in another --encoding")
    return text


def _read_bytes(path) -> bytes:
    if re.match(r"\w+://", str(path)):
        raise InputError(f"{path}: a web address, not a file; download it and give the file's path")
    names = os.listdir(path) if os.path.isdir(path) else []
    if {"dataset_dict.json", "dataset_info.json"} & set(names):
        remedy = "write each split to a file: datasets.load_from_disk(...).to_parquet(...)"
        raise InputError(f"{path}: a folder written by save_to_disk, not a file; {remedy}")
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: a folder, not a file; give one of the files in it") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if content.startswith(b"version https://git-lfs.github.com/spec/"):
        raise InputError(f"{path}: a Git LFS pointer, not the file itself; run git lfs pull where it was cloned")
    return content


def column(path: str | Path, table: pandas.DataFrame, name: str, flag: str | None = None) -> pandas.Series:
    """Return a column of a table. flag: the one that names another column.

    Raises:
        InputError: there is no such column, or more than one.
    """
    _require_column(path, list(table.columns), name, flag)
    return table[name]


def text_column(path: str | Path, table: pandas.DataFrame, name: str, flag: str | None = None) -> pandas.Series:
    """Return a column of texts. Raises InputError as `column`, and for values that are not texts."""
    values = column(path, table, name, flag)
    refuse_any(path, values[[not isinstance(value, str) for value in values]], "give texts, not")
    return values


def _require_column(path, names: list[str], name: str, flag: str | None = None) -> None:
    if names.count(name) == 1:
        return
    if name in names:
        raise InputError(f"{path}: the header names {name!r} more than once; rename the columns")
    shown = ", ".join(names[:SHOWN_COLUMNS]) + (" ..." if len(names) > SHOWN_COLUMNS else "")
    hint = _delimiter_hint(names) or (f"; name another by --{flag}" if flag else "")
    if Path(path).suffix.lower() in (".csv", ".tsv", ".txt"):
        raise InputError(f"{path}: no column {name!r}; row 1, taken as the header, names {shown}{hint}")
    raise InputError(f"{path}: no column {name!r}; its columns are {shown}{hint}")


def _delimiter_hint(header: Sequence[str]) -> str:
    """Return which delimiter a header suggests that was read as one column, for the end of a message."""
    found = [shown for character, shown in DELIMITERS.items() if len(header) == 1 and character in header[0]]
    return f"; are the columns separated by {found[0]}? Then pass --delimiter {found[0]}" if found else ""


def refuse_any(path: str | Path, values: pandas.Series, problem: str) -> None:
    """Raise InputError for these values of a column, if any: the first five with their rows, and their number."""
    if values.empty:
        return
    shown = ", ".join(f"row {number}: {_shown(value)}" for number, value in values.iloc[:SHOWN_ROWS].items())
    total = f" ({len(values)} rows in all)" if len(values) > SHOWN_ROWS else ""
    raise InputError(f"{path}, column {values.name!r}: {problem}: {shown}{total}")


def _shown(value) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
