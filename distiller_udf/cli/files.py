"""Writing a table to a file: Parquet, CSV, JSON or JSON lines, told apart by the suffix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distiller_udf.errors import LabelError
from distiller_udf.sql import quoted

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = {
    ".parquet": "format parquet",
    ".csv": "format csv, header",
    ".json": "format json, array true",
    ".jsonl": "format json, array false",
}
"""What is written under which suffix, in DuckDB's words."""


def check_suffix(file: Path) -> str:
    """The suffix of a file that can be written; raises LabelError, with all of them, for another one."""
    suffix = file.suffix.lower()
    if suffix not in FORMATS:
        raise LabelError(f"{file} is of no kind that can be written; give a name that ends in {', '.join(FORMATS)}")
    return suffix


def write_table(table: pa.Table, file: Path) -> None:
    """Write a table; the file appears, or is replaced, only when it is complete.

    In CSV a list is a JSON text, so that `distiller labels import` reads it back. Raises LabelError when the suffix is
    unknown or the file cannot be written.
    """
    import duckdb
    import pyarrow as pa

    suffix = check_suffix(file)
    nested = [quoted(field.name) for field in table.schema if pa.types.is_nested(field.type)]
    as_text = ", ".join(f"to_json({name}) as {name}" for name in nested) if suffix == ".csv" else ""
    columns = f"* replace ({as_text})" if as_text else "*"
    staged = file.with_name(f".{file.name}.part")
    try:
        with duckdb.connect() as connection:
            connection.register("written_rows", table)
            copy = f"copy (select {columns} from written_rows) to $file ({FORMATS[suffix]})"  # noqa: S608
            connection.execute(copy, {"file": str(staged)})
        staged.replace(file)
    except duckdb.IOException as error:
        raise LabelError(f"{file} could not be written: {str(error).splitlines()[0]}") from error
    except OSError as error:
        raise LabelError(f"{file} could not be written: {error.strerror or error}") from error
    finally:
        staged.unlink(missing_ok=True)
