"""What retraining reads of a warehouse, copied out of it at one moment, so that dbt can build meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from distiller_udf.errors import RecordError
from distiller_udf.sql import quoted

if TYPE_CHECKING:
    import duckdb

NEEDED = ("er_votes", "er_pairs", "er_records")
LINKS = ("er_gold", "er_must_links", "er_cannot_links")
"""Relations that variables of these names name, wherever in the warehouse they are."""


@dataclass(frozen=True)
class Snapshot:
    """Tables in memory (on disk where they are large), by the names that they have in the pipeline.

    `missing` are relations that a variable names and that the warehouse does not have.
    """

    connection: duckdb.DuckDBPyConnection
    tables: frozenset[str]
    missing: tuple[str, ...] = ()

    def table(self, name: str) -> duckdb.DuckDBPyRelation:
        """One of the tables, which must be there."""
        return self.connection.table(name)

    def __contains__(self, name: str) -> bool:
        return name in self.tables


@contextmanager
def of_warehouse(
    database: Path, schema: str, named: Mapping[str, str | None], also: tuple[str, ...] = ()
) -> Iterator[Snapshot]:
    """Copy `NEEDED`, `also` and what `named` (see `LINKS`) names; the warehouse is closed before this yields.

    Raises RecordError when the file or a table is not there or another process holds the file.
    """
    import duckdb

    if not database.exists():
        raise RecordError(f"there is no database at {database}; run `dbt build` first, or give --database")
    with duckdb.connect() as connection:
        try:
            connection.execute(f"attach {_literal(str(database))} (read_only)")
        except duckdb.Error as error:
            raise RecordError(f"{database} cannot be opened: {error}; try again when dbt has ended") from error
        catalog = _attached(connection)
        wanted = {name: (schema, name) for name in (*NEEDED, *also)}
        missing = []
        for variable in LINKS:
            if name := named.get(variable):
                found = _schema_of(connection, catalog, schema, name.split(".")[-1])
                if found is None:
                    missing.append(f"{variable} ({name})")
                else:
                    wanted[variable] = (found, name.split(".")[-1])
        for own, (where, name) in wanted.items():
            _copy(connection, own, f"{quoted(catalog)}.{quoted(where)}.{quoted(name)}", database)
        connection.execute(f"detach {quoted(catalog)}")
        yield Snapshot(connection, frozenset(wanted), tuple(missing))


@contextmanager
def of_files(files: Mapping[str, Path | None]) -> Iterator[Snapshot]:
    """Parquet files under the names of tables. Raises RecordError when one cannot be read."""
    import duckdb

    with duckdb.connect() as connection:
        given = {name: path for name, path in files.items() if path is not None}
        for name, path in given.items():
            add_file(connection, name, path)
        yield Snapshot(connection, frozenset(given))


def add_file(connection: duckdb.DuckDBPyConnection, name: str, path: Path) -> None:
    """Copy a Parquet file. Raises RecordError when it cannot be read."""
    import duckdb

    try:
        connection.execute(f"create or replace table {quoted(name)} as from read_parquet(?)", [str(path)])
    except duckdb.Error as error:
        raise RecordError(f"{path} cannot be read as Parquet: {error}") from error


def _literal(text: str) -> str:
    """A text in SQL: DuckDB 1.5 takes no parameter where a file is attached."""
    return "'" + text.replace("'", "''") + "'"


def _attached(connection: duckdb.DuckDBPyConnection) -> str:
    """The name under which the warehouse is attached: the one that its own views call it by."""
    names = connection.execute("select database_name from duckdb_databases() where not internal and path is not null")
    return str(names.fetchall()[0][0])


def _schema_of(connection: duckdb.DuckDBPyConnection, catalog: str, schema: str, name: str) -> str | None:
    """The schema of a model that a variable names: that of the er_* tables, or the only one that has it."""
    found = connection.execute(
        "select table_schema from information_schema.tables where table_catalog = ? and table_name = ?",
        [catalog, name],
    ).fetchall()
    schemas = [row[0] for row in found]
    return schema if schema in schemas else str(schemas[0]) if len(schemas) == 1 else None


def _copy(connection: duckdb.DuckDBPyConnection, own: str, relation: str, database: Path) -> None:
    import duckdb

    try:
        connection.execute(f"create table {quoted(own)} as from {relation}")
    except duckdb.CatalogException as error:
        raise RecordError(f"{database} has no table {relation}; run `dbt build` first") from error
