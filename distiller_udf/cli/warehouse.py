"""Reading the warehouse that dbt built, from the command line, never changing it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import duckdb

from distiller_udf.errors import RecordError
from distiller_udf.sql import quoted

database_option = click.option(
    "--database",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The DuckDB file that dbt built; its er_* tables are read.",
)
schema_option = click.option("--schema", default="main", show_default=True, help="The schema of the er_* tables.")


def read_table(database: Path, schema: str, name: str) -> duckdb.DuckDBPyRelation:
    """A table of the warehouse, opened read-only.

    Raises RecordError when the file or the table is not there or another process holds the file.
    """
    if not database.exists():
        raise RecordError(
            f"there is no database at {database}; run `dbt run --select +{name}` first, or give --database"
        )
    try:
        connection = duckdb.connect(str(database), read_only=True)
        return connection.table(f"{quoted(schema)}.{quoted(name)}")
    except duckdb.CatalogException as error:
        raise RecordError(f"{database} has no table {schema}.{name}; run `dbt run --select +{name}` first") from error
    except duckdb.Error as error:
        raise RecordError(f"{database} cannot be opened: {error}") from error


def read_parquet(path: Path) -> duckdb.DuckDBPyRelation:
    """A Parquet file as a relation. Raises RecordError when it cannot be read."""
    try:
        return duckdb.connect().read_parquet(str(path))
    except duckdb.Error as error:
        raise RecordError(f"{path} cannot be read as Parquet: {error}") from error


def require_columns(what: str, relation: duckdb.DuckDBPyRelation, needed: Sequence[str]) -> None:
    """Raise RecordError, with the columns that are there, when one of the needed ones is not."""
    missing = [name for name in needed if name not in relation.columns]
    if missing:
        raise RecordError(f"{what} lack the column {', '.join(missing)}; they have {', '.join(relation.columns)}")
