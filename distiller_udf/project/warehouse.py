"""The warehouse that dbt builds, read without changing it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from distiller_udf.errors import RecordError, SettingsError
from distiller_udf.sql import literal, quoted

if TYPE_CHECKING:
    import duckdb

logger = logging.getLogger(__name__)

TABLES = ("er_records", "er_candidates", "er_pairs", "er_tuples", "er_labels", "er_votes", "er_scores", "er_matches")
"""Tables by which a schema is known as the one that holds what the package has built."""

_THERE = """
    select distinct schema_name from (
        select database_name, schema_name, table_name as name, temporary from duckdb_tables()
        union all select database_name, schema_name, view_name, temporary from duckdb_views()
    )
    where not temporary and lower(database_name) = lower(coalesce(?, current_database())) and
"""


class Relation(NamedTuple):
    """Where a model is: the catalog, the schema and the name there. No catalog is that of the database itself."""

    database: str | None
    schema: str
    name: str

    def __str__(self) -> str:
        """As SQL names it."""
        return ".".join(quoted(part) for part in self if part is not None)

    @property
    def shown(self) -> str:
        """As people name it."""
        return ".".join(part for part in self if part is not None)


def _nothing(read_only: bool) -> Iterable[tuple[str, str]]:
    return ()


@dataclass(frozen=True)
class Warehouse:
    """The DuckDB database `path`, and where its models are.

    `relations` are those of a project, None where no project says them: then all are in `schema`, by their own names.
    `catalog` is the name that the project's SQL has for the database, None: DuckDB's. `setup` says what a connection
    runs first, as the profile has it: what each statement is for, and the statement. `remark` says how the schema was
    found.
    """

    path: str
    relations: Mapping[str, Relation] | None = None
    schema: str = "main"
    catalog: str | None = None
    setup: Callable[[bool], Iterable[tuple[str, str]]] = _nothing
    remark: str | None = None

    def relation(self, name: str) -> Relation:
        """Where the model `name` (or package.name) is. Raises RecordError where the project has none of that name."""
        if self.relations is None:
            return Relation(None, self.schema, name.rpartition(".")[2])
        if name not in self.relations:
            raise RecordError(
                f"the project has no model {name} with rows of its own: it is disabled, ephemeral or not there"
            )
        return self.relations[name]

    def connect(self, *, read_only: bool = True) -> duckdb.DuckDBPyConnection:
        """A connection as dbt has it. Raises RecordError when the database is not there or another process holds it."""
        import duckdb

        if self._is_file and not Path(self.path).exists():
            raise RecordError(
                f"there is no database at {self.path}; run `dbt build` first, in the project's folder if the profile's "
                "path is relative, or give --database"
            )
        try:
            own_name = Path(self.path).name.lstrip(".").split(".")[0]  # as DuckDB names a file
            if not self._is_file or self.catalog is None or self.catalog == own_name:
                connection = duckdb.connect(self.path, read_only=read_only)
                self._set_up(connection, read_only)
            else:
                connection = duckdb.connect()
                self.attach(connection, self.catalog, read_only=read_only)
                connection.execute(f"use {quoted(self.catalog)}")
        except duckdb.Error as error:
            raise RecordError(f"{self.path} cannot be opened: {error}; try again when dbt has ended") from error
        return connection

    def attach(self, connection: duckdb.DuckDBPyConnection, catalog: str, *, read_only: bool = True) -> None:
        """Give another connection this database under the name `catalog`, and all that its own would have."""
        self._set_up(connection, read_only)
        options = " (read_only)" if read_only else ""
        connection.execute(f"attach {literal(self.path)} as {quoted(catalog)}{options}")

    def table(self, name: str) -> duckdb.DuckDBPyRelation:
        """A model's rows, on a connection of their own. Raises RecordError when the model has not been built."""
        import duckdb

        relation, connection = self.relation(name), self.connect()
        try:
            return connection.table(str(relation))
        except duckdb.Error as error:
            raise RecordError(self.why_not(connection, relation, error, f"dbt build --select +{name}")) from error

    def why_not(
        self, connection: duckdb.DuckDBPyConnection, relation: Relation, error: Exception, fix: str = "dbt build"
    ) -> str:
        """Why a relation cannot be read: it has not been built, or what it reads is not there."""
        query = f"{_THERE} lower(schema_name) = lower(?) and lower(name) = lower(?)"
        if connection.execute(query, list(relation)).fetchall():
            first = str(error).strip().splitlines()[0]
            return f"{relation.shown} in {self.path} is a view that cannot be read here: {first}"
        return f"{self.path} has no table {relation.shown}; run `{fix}` first"

    def located(self) -> Warehouse:
        """The same with the schema that holds the er_ tables, where no project says, or not where the file has them.

        Raises SettingsError where several schemas hold some.
        """
        with self.connect() as connection:
            if self.relations is not None and any(self._has(connection, name) for name in TABLES):
                return self
            named = ", ".join(literal(name) for name in TABLES)
            found = connection.execute(f"{_THERE} lower(name) in ({named}) order by all", [None]).fetchall()
        schemas = [str(schema) for (schema,) in found]
        if len(schemas) > 1:
            raise SettingsError(
                f"{self.path} has er_ tables in several schemas, {', '.join(schemas)}; name one with --schema"
            )
        if not schemas:
            return self
        remark = None if schemas == ["main"] else f"{self.path} has its er_ tables in the schema {schemas[0]}"
        return replace(self, relations=None, schema=schemas[0], remark=remark)

    @property
    def name(self) -> str:
        """The name that SQL has for the database. Raises RecordError as `connect` does."""
        with self.connect() as connection:
            return str(connection.execute("select current_database()").fetchall()[0][0])

    @property
    def _is_file(self) -> bool:
        return "://" not in self.path and not self.path.startswith("md:")

    def _has(self, connection: duckdb.DuckDBPyConnection, name: str) -> bool:
        relation = (self.relations or {}).get(name)
        query = f"{_THERE} lower(schema_name) = lower(?) and lower(name) = lower(?)"
        return relation is not None and bool(connection.execute(query, list(relation)).fetchall())

    def _set_up(self, connection: duckdb.DuckDBPyConnection, read_only: bool) -> None:
        """What cannot be had here is said and passed over: most of what is read does not need it."""
        import duckdb

        for what, statement in self.setup(read_only):
            try:
                connection.execute(statement)
            except duckdb.Error as error:
                logger.warning("%s of the profile cannot be had here (%s)", what, type(error).__name__)
