"""Strict readers of table files: bytes in, named columns out. Nothing is guessed, repaired or converted."""

import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pyarrow
import pyarrow.parquet

from hype.errors import InputError

SHOWN_ROWS = 5  # of many bad rows
SHOWN_CHARACTERS = 80  # of a bad value
ANNOTATORS = 5  # of an SNLI pair
PARALLEL_COLUMNS = ("sentence1", "sentence2", "label")


@dataclass(frozen=True)
class Table:
    """Columns of one file.

    numbers: where each row stands in the file, from 1, a header counted. malformed: rows of the wrong width that
    were left out, numbered alike.
    """

    path: Path
    columns: dict[str, list]
    numbers: list[int]
    malformed: list[int] = field(default_factory=list)

    def column(self, name: str) -> list:
        """Return the values of a column. Raises InputError that lists the columns there are."""
        if name not in self.columns:
            raise InputError(f"{self.path}: no column {name!r}; its columns are {', '.join(self.columns)}")
        return self.columns[name]

    def select(self, indices: Sequence[int]) -> "Table":
        """Return the table of these rows alone."""
        columns = {name: [values[i] for i in indices] for name, values in self.columns.items()}
        return Table(self.path, columns, [self.numbers[i] for i in indices], self.malformed)

    def refuse(self, name: str, indices: Sequence[int], problem: str) -> NoReturn:
        """Raise InputError for the rows of a column at `indices`: the first five and their number."""
        values = self.columns[name]
        shown = ", ".join(f"row {self.numbers[i]}: {_shown(values[i])}" for i in indices[:SHOWN_ROWS])
        total = f" ({len(indices)} rows in all)" if len(indices) > SHOWN_ROWS else ""
        raise InputError(f"{self.path}, column {name!r}: {problem}: {shown}{total}")


def read_table(path: str | Path, encoding: str = "utf-8") -> Table:
    """Read a csv, tsv, json, jsonl or parquet file, by its extension.

    Values of csv and tsv are strings as they stand; the other formats keep their types.
    Raises InputError naming file, row and remedy for whatever is not a clean table.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: the extension is none of {', '.join(READERS)}")
    return reader(path, encoding)


def read_tsv(
    path: Path,
    encoding: str = "utf-8",
    header: Sequence[str] | None = None,
    keep: Sequence[str] | None = None,
    malformed_limit: int = 0,
) -> Table:
    """Read tab-separated values as GLUE writes them: no quoting, rows end at a line feed alone.

    header: names of the columns of a file that has no header row. keep: the columns to hold in memory; unset: all.
    malformed_limit: up to so many rows of the wrong width are left out, not refused.
    """
    records = _tsv_records(decode(path, encoding))
    return _table(path, records, header, keep, malformed_limit)


def read_gold_last_tsv(path: Path, encoding: str = "utf-8", keep: Sequence[str] | None = None) -> Table:
    """Read SNLI as GLUE writes it, where some rows have five annotators' labels under one heading: gold is the last."""
    records = _tsv_records(decode(path, encoding))
    width = len(header := next(records))
    rows = (row[: width - 1] + row[-1:] if len(row) == width + ANNOTATORS - 1 else row for row in records)
    return _table(path, itertools.chain([header], rows), keep=keep)


def read_lines(paths: Sequence[Path], encoding: str = "utf-8") -> Table:
    """Read parallel files of first texts, second texts and labels, one example on each line."""
    columns = [list(_lines(decode(path, encoding))) for path in paths]
    if len({len(column) for column in columns}) > 1:
        counts = ", ".join(f"{path.name} {len(column)}" for path, column in zip(paths, columns, strict=True))
        raise InputError(f"{paths[0].parent}: parallel files of different numbers of lines ({counts})")
    numbers = list(range(1, len(columns[0]) + 1))
    return Table(paths[-1], dict(zip(PARALLEL_COLUMNS, columns, strict=True)), numbers)


def read_csv(path: Path, encoding: str = "utf-8") -> Table:
    """Read comma-separated values with a header row, quoted as in RFC 4180. A row may span lines; rows are counted."""
    return _table(path, _csv_records(path, decode(path, encoding)))


def read_json(path: Path, encoding: str = "utf-8", keep: Sequence[str] | None = None) -> Table:
    """Read an array of objects, or one object on each line; all must have the same keys. keep: as in read_tsv."""
    text = decode(path, encoding)
    if text.lstrip().startswith("["):
        return _json_table(path, enumerate(_json_value(path, text), 1), keep)
    return _json_table(path, _json_lines(path, text), keep)


def read_json_object(path: Path, encoding: str = "utf-8") -> Table:
    """Read one object whose values are the rows; its keys only number them."""
    return _json_table(path, enumerate(_json_of_type(path, encoding, dict).values(), 1))


def read_json_tables(path: Path, encoding: str = "utf-8") -> dict[str, Table]:
    """Read one object whose values are tables, each an array of objects."""
    tables = _json_of_type(path, encoding, dict)
    for name, rows in tables.items():
        if not isinstance(rows, list):
            raise InputError(f"{path}: {name!r} is {type(rows).__name__}, not an array of rows")
    return {name: _json_table(path, enumerate(rows, 1)) for name, rows in tables.items()}


def read_parquet(path: Path, encoding: str = "utf-8") -> Table:
    """Read a parquet file; `encoding` is unused, parquet has its own."""
    _require_file(path)
    try:
        table = pyarrow.parquet.read_table(path)
        names = table.column_names
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: a damaged name
        raise InputError(f"{path}: not a parquet file ({_first_line(error)})") from error
    _check_header(path, names)
    if table.num_rows == 0:
        raise InputError(f"{path}: no rows")
    try:
        columns = {name: table.column(name).to_pylist() for name in names}
    except (ValueError, OverflowError) as error:  # texts that are not utf-8, dates beyond the year 9999
        raise InputError(f"{path}: a value cannot be read ({_first_line(error)})") from error
    return Table(path, columns, list(range(1, table.num_rows + 1)))


READERS = {".csv": read_csv, ".tsv": read_tsv, ".json": read_json, ".jsonl": read_json, ".parquet": read_parquet}


def decode(path: Path, encoding: str) -> str:
    """Return the text of a file without its byte order mark. Raises InputError with the offset of what is no text."""
    _require_file(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        text = content.decode(encoding)
        text.encode("utf-8")  # utf-7 and others let half a surrogate pair pass, which is no text
    except UnicodeError as error:
        place = f"at byte offset {error.start}" if isinstance(error, UnicodeDecodeError) else f"({_first_line(error)})"
        raise InputError(f"{path}: not {encoding} {place}; give its --encoding") from error
    except (LookupError, ValueError) as error:
        raise InputError(f"--encoding {encoding}: no such encoding; give utf-8, utf-16, latin-1 ...") from error
    text = text.removeprefix("\ufeff")
    if not text:
        raise InputError(f"{path}: the file is empty; it needs a header and rows")
    if "\0" in text:
        offset = len(text[: text.index("\0")].encode(encoding))
        raise InputError(f"{path}: NUL at byte offset {offset}: not a text file, or of another --encoding")
    return text


def _require_file(path):
    if not path.is_file():
        raise InputError(f"{path}: {'a folder, not a file' if path.is_dir() else 'no such file'}")


def _shown(value) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def _first_line(error):
    return str(error).partition("\n")[0]


def _check_header(path, header):
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError(f"{path}: the header names {', '.join(map(repr, twice))} more than once; rename the columns")


def _table(path, records: Iterator[list[str]], header=None, keep=None, malformed_limit=0) -> Table:
    first_number = 1 if header else 2
    header = list(header or next(records))
    _check_header(path, header)
    keep = header if keep is None else keep
    table = Table(path, {name: [] for name in header}, [])
    positions = [(table.column(name), header.index(name)) for name in keep]
    for number, fields in enumerate(records, first_number):
        if len(fields) == len(header):
            table.numbers.append(number)
            for values, position in positions:
                values.append(fields[position])
        elif len(table.malformed) < malformed_limit:
            table.malformed.append(number)
        else:
            raise InputError(f"{path}, row {number}: {len(fields)} columns where the file has {len(header)}")
    if not table.numbers:
        raise InputError(f"{path}: a header and no rows")
    return Table(path, {name: table.columns[name] for name in keep}, table.numbers, table.malformed)


def _lines(text: str) -> Iterator[str]:
    """Yield the lines of a text. Line feeds alone end them: texts hold other separators (U+2028, form feed)."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return (line.removesuffix("\r") for line in lines)


def _tsv_records(text):
    return (line.split("\t") for line in _lines(text))


def _csv_records(path, text):
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    limit = csv.field_size_limit(len(text))  # the default refuses texts over 128 KiB
    try:
        yield from reader
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}") from error
    finally:
        csv.field_size_limit(limit)


def _unique_keys(pairs):
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise ValueError(f"a key occurs twice among {', '.join(keys)}")
    return dict(pairs)


def _refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


def _load_json(text):
    try:
        value = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply for a table") from None
    if "\\u" in text:  # an escape may be half a surrogate pair, which is no text
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _json_of_type(path, encoding, kind):
    value = _json_value(path, decode(path, encoding))
    if not isinstance(value, kind):
        raise InputError(f"{path}: {type(value).__name__} where one object is needed")
    return value


def _json_value(path, text):
    try:
        return _load_json(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: {error.msg}") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _json_lines(path, text) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(_lines(text), 1):
        try:
            yield number, _load_json(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {number}: {error.msg}; give one object on each line") from error
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from error


def _json_table(path, records: Iterable[tuple[int, object]], keep=None) -> Table:
    columns: dict[str, list] = {}
    numbers = []
    for number, record in records:
        if not isinstance(record, dict):
            raise InputError(f"{path}, row {number}: {type(record).__name__}, not an object of columns")
        if not numbers:
            columns = {key: [] for key in record}
        if record.keys() != columns.keys():
            raise InputError(f"{path}, row {number}: keys {', '.join(record)} where row 1 has {', '.join(columns)}")
        numbers.append(number)
        for key in record if keep is None else keep:
            Table(path, columns, numbers).column(key).append(record[key])
    if not numbers:
        raise InputError(f"{path}: no rows")
    return Table(path, {key: columns[key] for key in (columns if keep is None else keep)}, numbers)
