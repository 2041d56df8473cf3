"""Files of rows: every command reads and writes them alike, Parquet, CSV, JSON or JSON lines by their suffix.

Values are as they are written: a CSV file is all text (007 stays 007, NA is no NULL), and a number with a decimal point
in JSON stays the text that it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from distiller_udf.errors import TableError
from distiller_udf.files import replaced
from distiller_udf.records.ids import id_text
from distiller_udf.sql import quoted

if TYPE_CHECKING:
    import duckdb

READ = (".parquet", ".csv", ".tsv", ".json", ".jsonl", ".ndjson")
FORMATS = {
    ".parquet": "format parquet",
    ".csv": "format csv, header",
    ".json": "format json, array true",
    ".jsonl": "format json, array false",
}
"""What is written under which suffix, in DuckDB's words."""

_DELIMITERS = ",;\t|"
_HEADER_CHARACTERS = 1 << 20
_BLOCK_BYTES = 1 << 28


def read_table(path: str | Path) -> pa.Table:
    """The rows of a file.

    In CSV an empty cell is NULL and a quoted one an empty text; the delimiter is the one that the header has. In JSON a
    list or an object is its own JSON text, and a column of several kinds of values is text. Raises TableError where the
    file is missing, of another kind or damaged.
    """
    file = Path(path)
    if not file.is_file():
        raise TableError(f"there is no file {file}; give the path of a {_listed(READ)} file")
    suffix = file.suffix.lower()
    if suffix not in READ:
        raise TableError(f"{file.name} is no {_listed(READ)} file; convert it to one of these")
    try:
        table = _read_parquet(file) if suffix == ".parquet" else _READERS[suffix](file)
    except (pa.ArrowException, ValueError, OSError, RecursionError) as error:
        if isinstance(error, UnicodeDecodeError) or "invalid UTF8" in str(error):
            raise TableError(f"{file} is not in UTF-8; save it as that") from error
        raise TableError(f"{file} cannot be read as {suffix[1:]}: {_reason(error)}") from error
    twice = {name for name in table.column_names if table.column_names.count(name) > 1}
    if twice:
        raise TableError(f"{file} has the column {', '.join(sorted(twice))} twice; rename or drop one")
    return table


def open_table(path: str | Path, connection: duckdb.DuckDBPyConnection | None = None) -> duckdb.DuckDBPyRelation:
    """The rows of a file as a relation, on a connection of its own where none is given; Parquet is not read at once.

    Raises TableError as `read_table` does, and for JSON without a row, which names no columns.
    """
    import duckdb

    connected = connection or duckdb.connect()
    file = Path(path)
    if file.suffix.lower() != ".parquet" or not file.is_file():
        table = read_table(file)
        if not table.column_names:
            raise TableError(f"{file} has no rows, so its columns are unknown; give one that has some")
        return connected.from_arrow(table)
    try:
        return connected.read_parquet(str(file))
    except duckdb.Error as error:
        raise TableError(f"{file} cannot be read as parquet: {_reason(error)}") from error


def check_suffix(path: Path) -> str:
    """The suffix of a file that can be written; raises TableError, with all of them, for another one."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise TableError(f"{path} is of no kind that can be written; give a name that ends in {', '.join(FORMATS)}")
    return suffix


def write_table(rows: pa.Table | duckdb.DuckDBPyRelation, path: Path) -> None:
    """Write rows; the file appears, or is replaced, only when it is complete.

    In CSV a list is its JSON text. What is written here, `read_table` reads back. Raises TableError when the suffix is
    unknown or the file cannot be written.
    """
    import duckdb

    suffix = check_suffix(path)
    reader = rows.to_reader() if isinstance(rows, pa.Table) else rows.to_arrow_reader(65_536)
    nested = [quoted(field.name) for field in reader.schema if pa.types.is_nested(field.type)]
    as_text = ", ".join(f"to_json({name}) as {name}" for name in nested) if suffix == ".csv" else ""
    columns = f"* replace ({as_text})" if as_text else "*"
    try:
        with replaced(path) as draft, duckdb.connect() as connection:
            connection.register("written_rows", reader)
            copy = f"copy (select {columns} from written_rows) to $file ({FORMATS[suffix]})"  # noqa: S608
            connection.execute(copy, {"file": str(draft)})
    except duckdb.IOException as error:
        raise TableError(f"{path} could not be written: {_reason(error)}") from error
    except OSError as error:
        raise TableError(f"{path} could not be written: {error.strerror or error}") from error


def _read_parquet(file: Path) -> pa.Table:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as parquet:
        return parquet.read()


def _read_csv(file: Path) -> pa.Table:
    """Every cell as the text that it is; rows may span lines."""
    from pyarrow import csv

    data = file.read_bytes()
    if not data.endswith(b"\n"):
        data += b"\n"  # pyarrow takes the empty last cell of a line without an end for a quoted one
    parse = csv.ParseOptions(delimiter=_delimiter(file), newlines_in_values=True)
    read = csv.ReadOptions(block_size=min(len(data), _BLOCK_BYTES))
    with csv.open_csv(pa.BufferReader(data), parse_options=parse, read_options=read) as reader:
        names = reader.schema.names
    convert = csv.ConvertOptions(
        column_types={name: pa.string() for name in names},
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    table = csv.read_csv(pa.BufferReader(data), convert_options=convert, parse_options=parse, read_options=read)
    return table.rename_columns([name.strip() for name in names])


def _delimiter(file: Path) -> str:
    """The delimiter that occurs most often in the header, outside of quotes; a comma where there is none."""
    if file.suffix.lower() == ".tsv":
        return "\t"
    with file.open(encoding="utf-8-sig") as text:
        start = text.read(_HEADER_CHARACTERS)
    in_quotes, seen = False, dict.fromkeys(_DELIMITERS, 0)
    for character in start:
        if character == '"':
            in_quotes = not in_quotes
        elif not in_quotes and character == "\n":
            break
        elif not in_quotes and character in seen:
            seen[character] += 1
    return max(seen, key=seen.__getitem__)


def _read_json(file: Path) -> pa.Table:
    """One JSON list of objects, or an object a line."""
    text = file.read_text(encoding="utf-8-sig")
    if text.lstrip().startswith("["):
        values = read_json(text)
    else:
        # A line ends at a line feed alone: JSON may hold every other separator as it is.
        values = [read_json(line) for line in text.split("\n") if line.strip()]
    if not all(isinstance(value, dict) for value in values):
        raise ValueError("every entry must be an object")
    names = dict.fromkeys(name for value in values for name in value)
    return pa.table({name: _json_column([value.get(name) for value in values]) for name in names})


_READERS = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".json": _read_json,
    ".jsonl": _read_json,
    ".ndjson": _read_json,
}


def read_json(text: str) -> Any:
    """A JSON text with its decimal numbers as they are written: an id such as 1e5 or 0.10 must not be rounded."""
    return json.loads(text, parse_float=str, parse_constant=str)


def _json_column(values: Sequence[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool} or (kinds == {int} and all(value is None or abs(value) < 2**63 for value in values)):
        return pa.array(values)
    return pa.array([_json_cell(value) for value in values], pa.string())


def _json_cell(value: Any) -> str | None:
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return id_text(value)


def _listed(suffixes: Iterable[str]) -> str:
    *others, last = suffixes
    return f"{', '.join(others)} or {last}"


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
