"""What retraining reads of a warehouse, copied out of it at one moment, so that dbt can build meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from distiller_udf.errors import RecordError
from distiller_udf.sql import quoted
from distiller_udf.tables import open_table
from distiller_udf.warehouse import Relation, Warehouse

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
    warehouse: Warehouse, named: Mapping[str, str | None], also: tuple[str, ...] = ()
) -> Iterator[Snapshot]:
    """Copy `NEEDED`, `also` and what `named` (see `LINKS`) names; the warehouse is closed before this yields.

    Raises RecordError when the file or a table is not there or another process holds the file.
    """
    import duckdb

    warehouse.connect().close()  # says what is wrong with it
    with duckdb.connect() as connection:
        connection.execute(f"attach {_literal(warehouse.path)} (read_only)")
        catalog = _attached(connection)
        connection.execute(f"use {quoted(catalog)}")
        wanted = {name: warehouse.relation(name) for name in (*NEEDED, *also)}
        missing = []
        for variable in LINKS:
            if name := named.get(variable):
                found = warehouse.relation(name)
                if _is_there(connection, found):
                    wanted[variable] = found
                else:
                    missing.append(f"{variable} ({name})")
        for own, relation in wanted.items():
            _copy(connection, own, relation, warehouse.path)
        connection.execute("use memory.main")
        connection.execute(f"detach {quoted(catalog)}")
        yield Snapshot(connection, frozenset(wanted), tuple(missing))


@contextmanager
def of_rows(files: Mapping[str, Path | pa.Table | None]) -> Iterator[Snapshot]:
    """Files, or rows that were read of them, under the names of tables. Raises TableError when one cannot be read."""
    import duckdb

    with duckdb.connect() as connection:
        given = {name: rows for name, rows in files.items() if rows is not None}
        for name, rows in given.items():
            add_file(connection, name, rows)
        yield Snapshot(connection, frozenset(given))


def add_file(connection: duckdb.DuckDBPyConnection, name: str, rows: Path | pa.Table) -> None:
    """Copy a file's rows. Raises TableError when it cannot be read."""
    relation = open_table(rows, connection) if isinstance(rows, Path) else connection.from_arrow(rows)
    relation.create_view("er_file_rows", replace=True)
    connection.execute(f"create or replace table {quoted(name)} as from er_file_rows")
    connection.execute("drop view er_file_rows")


def _literal(text: str) -> str:
    """A text in SQL: DuckDB 1.5 takes no parameter where a file is attached."""
    return "'" + text.replace("'", "''") + "'"


def _attached(connection: duckdb.DuckDBPyConnection) -> str:
    """The name under which the warehouse is attached: the one that its own views call it by."""
    names = connection.execute("select database_name from duckdb_databases() where not internal and path is not null")
    return str(names.fetchall()[0][0])


def _is_there(connection: duckdb.DuckDBPyConnection, relation: Relation) -> bool:
    import duckdb

    try:
        connection.table(str(relation))
    except duckdb.CatalogException:
        return False
    return True


def _copy(connection: duckdb.DuckDBPyConnection, own: str, relation: Relation, path: str) -> None:
    import duckdb

    try:
        connection.execute(f"create table memory.main.{quoted(own)} as from {relation}")
    except duckdb.CatalogException as error:
        raise RecordError(f"{path} has no table {relation.shown}; run `dbt build` first") from error
