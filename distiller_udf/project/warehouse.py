"""The warehouse that dbt builds, read without changing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from distiller_udf.errors import RecordError
from distiller_udf.sql import quoted

if TYPE_CHECKING:
    import duckdb


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


@dataclass(frozen=True)
class Warehouse:
    """The DuckDB database `path`, and where its models are; what `relations` does not know is in `schema`."""

    path: str
    relations: Mapping[str, Relation]
    schema: str = "main"

    def relation(self, name: str) -> Relation:
        """Where the model `name` (or package.name) is."""
        return self.relations.get(name) or Relation(None, self.schema, name.rpartition(".")[2])

    def connect(self, *, read_only: bool = True) -> duckdb.DuckDBPyConnection:
        """A connection. Raises RecordError when the database is not there or another process holds it."""
        import duckdb

        if "://" not in self.path and not self.path.startswith("md:") and not Path(self.path).exists():
            raise RecordError(
                f"there is no database at {self.path}; run `dbt build` first, in the project's folder if the profile's "
                "path is relative, or give --database"
            )
        try:
            return duckdb.connect(self.path, read_only=read_only)
        except duckdb.Error as error:
            raise RecordError(f"{self.path} cannot be opened: {error}; try again when dbt has ended") from error

    def table(self, name: str) -> duckdb.DuckDBPyRelation:
        """A model's rows, on a connection of their own. Raises RecordError when the model has not been built."""
        import duckdb

        relation = self.relation(name)
        try:
            return self.connect().table(str(relation))
        except duckdb.CatalogException as error:
            raise RecordError(
                f"{self.path} has no table {relation.shown}; run `dbt build --select +{name}` first"
            ) from error
