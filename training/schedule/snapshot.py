"""A project's tables, copied at one moment, so that dbt can build meanwhile; and what a student would make of them.

What a student would decide is found by the project's own SQL, as dbt compiled it, on relations of the same names.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from distiller_udf.constraint import Constraint
from distiller_udf.errors import RecordError, SettingsError
from distiller_udf.files.tables import open_table
from distiller_udf.metrics import Sides, comparable_pairs
from distiller_udf.pipeline import choices, score
from distiller_udf.pipeline.relations import PAIR_KEYS
from distiller_udf.project.dbt import Graph, Node
from distiller_udf.project.files import PACKAGE
from distiller_udf.project.warehouse import Warehouse
from distiller_udf.sql import make_table, quoted
from distiller_udf.students import Student

from ..er_student import student_rows

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

DECISIONS = ("er_scores+,+er_matches", "er_scores+,+er_entities")
"""What decides, as dbt selects models: those of a project's own that lie between are among them."""

COPIES = "er_copies"
"""The catalog of all that was copied; in one of the warehouse's own name there are views of it."""

KNOWN = "er_known_pairs"
"""What stands for the known matches, once they are brought into one order."""

MADE_HERE = ("er_student", "er_selection")
"""Models that are not copied: whoever asks writes them."""

# Of files: the records are those of the pairs.
_RECORDS = """
    select source, id, any_value(md5(record::varchar)) as fingerprint
    from (
        select left_source as source, left_id as id, left_record as record from er_copies.main.er_pairs
        union all
        select right_source, right_id, right_record from er_copies.main.er_pairs
    )
    group by all
"""


@dataclass(frozen=True)
class Decided:
    """What a student decides on all pairs: tables, named as SQL names them, in the shape of er_matches and er_entities.

    `entities` is None where the project has no model er_entities.
    """

    matches: str
    entities: str | None


@dataclass(frozen=True)
class Snapshot:
    """Tables in memory (on disk where they are large) by the names of their models.

    `given` are the relations that were asked for, named as SQL names them. `models` gives all models, and the SQL of
    those that were compiled. `constraint` is what er_constraint comes to. `decides` says whether there is all that
    decisions are made of.
    """

    connection: duckdb.DuckDBPyConnection
    given: Mapping[str, str]
    models: Callable[[], Graph]
    constraint: Constraint = Constraint.NONE
    decides: bool = True

    def __contains__(self, name: str) -> bool:
        return name in self.given

    def relation(self, name: str) -> str:
        """How SQL names a model's relation."""
        return self.given.get(name) or _named(self.models().node(name))

    def table(self, name: str) -> duckdb.DuckDBPyRelation:
        """The rows of a model."""
        return self.connection.sql(f"from {self.relation(name)}")

    def sql(self, name: str) -> str:
        """The SQL that a model was compiled to."""
        return str(self.models().node(name).sql)

    def write(self, name: str, select: str, **values: object) -> None:
        """Make a model's table of other rows."""
        self.connection.execute(f"create or replace table {self.relation(name)} as {select}", values or None)

    def with_rows(self, name: str, rows: Path | pa.Table) -> Snapshot:
        """The same with a file, or rows that were read of one, in the place of a model. Raises TableError."""
        copy = quoted(COPIES, "main", name)
        given = open_table(rows, self.connection) if isinstance(rows, Path) else self.connection.from_arrow(rows)
        given.create_view("er_file_rows", replace=True)
        self.connection.execute(f"create or replace table {copy} as from er_file_rows")
        self.connection.execute("drop view er_file_rows")
        return replace(self, given={**self.given, name: copy})

    def with_known(self, ends: Sides) -> Snapshot:
        """The same with the known matches er_gold, where it has any, in one order; see `comparable_pairs`.

        `ends` are the sources of known matches that name none. Raises RecordError where they have no ids.
        """
        if "er_gold" not in self.given:
            return self
        known = quoted(COPIES, "main", KNOWN)
        pairs = comparable_pairs(self.table("er_gold"), ends)
        self.connection.execute(f"create or replace table {known} as {pairs.sql_query()}")
        return replace(self, given={**self.given, KNOWN: known}) if self.count(known) else self

    def count(self, relation: str) -> int:
        """How many rows a relation has, named as SQL names it."""
        return int(self.connection.execute(f"select count(*) from {relation}").fetchall()[0][0])  # noqa: S608

    def decided(
        self, student: Student, folder: Path, role: str, advance: Callable[[int], None] | None = None
    ) -> Decided:
        """What a student, loaded from `folder`, would decide if it were the current one.

        `role` tells the results of two students apart; `advance` is called with the number of pairs that were scored.
        Raises StudentError, and SettingsError where the project decides by a Python model of its own.
        """
        self.connection.register("er_student_row", student_rows([(student.info, folder, True)]))
        self.write("er_student", "from er_student_row")
        matches, entities = (quoted(COPIES, "main", f"{what}_of_{role}") for what in ("er_matches", "er_entities"))
        for node in _made(self.models()):
            if node.name == "er_entities":  # it reads its former rows, so these stay where they are
                make_table(self.connection, entities, str(node.sql))
            else:
                self._make(node, student, advance)
        self.connection.execute(f"create or replace table {matches} as from {self.relation('er_matches')}")
        return Decided(matches, entities if self.models().find("er_entities") else None)

    def _make(self, node: Node, student: Student, advance: Callable[[int], None] | None) -> None:
        """Make one model's table, as dbt would with this student."""
        if node.language == "sql":
            make_table(self.connection, _named(node), str(node.sql))
            return
        if node.package != PACKAGE or node.name not in ("er_scores", "er_choices"):
            raise SettingsError(f"{node.name} is a Python model of your own, which dbt alone can run: decide in SQL")
        if node.name == "er_scores":
            rows = score(self.connection, self.table("er_pairs"), student, advance=advance)
        else:
            scores, records, students = (self.table(name) for name in ("er_scores", "er_records", "er_student"))
            rows = choices(self.connection, scores, records, students, constraint=self.constraint)
        self.connection.execute(f"create or replace table {_named(node)} as {rows.sql_query()}")


@contextmanager
def of_warehouse(
    warehouse: Warehouse, graph: Graph, tables: Mapping[str, str], constraint: Constraint = Constraint.NONE
) -> Iterator[Snapshot]:
    """Copy what the compiled models read, and `tables` (models, by the names that they are to have here).

    The warehouse is closed before this yields. Raises RecordError when it or a table is not there, or another process
    holds it.
    """
    warehouse.connect().close()  # says what is wrong with it
    with _connected() as connection:
        copies = _read_by(graph, [graph.node(model) for model in tables.values()])
        catalog, own = _catalog(graph, warehouse), _databases(connection)
        warehouse.attach(connection, catalog)
        for node in copies:
            _copy(connection, node, warehouse, catalog)
        for database in _databases(connection) - own:
            connection.execute(f"detach {quoted(database)}")
        _lay_out(connection, graph, copies)
        given = {name: _named(graph.node(model)) for name, model in tables.items()}
        yield Snapshot(connection, given, lambda: graph, constraint)


@contextmanager
def of_rows(files: Mapping[str, Path | pa.Table | None], compiled: Callable[[Snapshot], Graph]) -> Iterator[Snapshot]:
    """Files, or rows that were read of them, in the place of models.

    Where pairs have the keys of er_pairs, they tell all that decides; `compiled` is then called for the models, once
    and not before a decision is asked for. Raises TableError when a file cannot be read.
    """
    with _connected() as connection:

        @cache
        def models() -> Graph:
            graph = compiled(snapshot)
            _lay_out(connection, graph, ())
            if "pair_fingerprint" not in snapshot.table("er_pairs").columns:
                connection.execute("alter table er_copies.main.er_pairs add column pair_fingerprint varchar")
            connection.execute(f"create table {_named(graph.node('er_records'))} as {_RECORDS}")
            return graph

        snapshot: Snapshot = Snapshot(connection, {}, models)
        for name, rows in files.items():
            if rows is not None:
                snapshot = snapshot.with_rows(name, rows)
        has_keys = "er_pairs" in snapshot and set(PAIR_KEYS) <= set(snapshot.table("er_pairs").columns)
        snapshot = replace(snapshot, decides=has_keys)
        yield snapshot


@contextmanager
def _connected() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory; what does not fit goes to a folder of its own, which is gone afterwards."""
    import duckdb

    with (
        tempfile.TemporaryDirectory(prefix="distiller-") as spill,
        duckdb.connect(config={"temp_directory": spill}) as connection,
    ):
        connection.execute(f"attach ':memory:' as {COPIES}")
        yield connection


def _made(graph: Graph) -> list[Node]:
    """The models to make, in this order. Not er_pairs: as a table it would repeat the records, so it becomes a view."""
    nodes = (graph.nodes[key] for key in graph.compiled)
    return [node for node in nodes if node.name != "er_pairs" and node.kind != "ephemeral"]


def _pairs(graph: Graph) -> list[Node]:
    """The model er_pairs, where it was compiled and is SQL."""
    nodes = (graph.nodes[key] for key in graph.compiled)
    return [node for node in nodes if node.name == "er_pairs" and node.language == "sql"]


def _read_by(graph: Graph, wanted: Iterable[Node]) -> list[Node]:
    """The relations to copy: the wanted ones, and what the compiled models read that is not made here."""
    made = [*_made(graph), *_pairs(graph)]
    found = [node for node in made if node.language == "sql" and _named(node) in str(node.sql)]  # its own former rows
    todo = [*wanted, *(parent for node in made for parent in graph.parents(node))]
    while todo:
        node = todo.pop()
        if node.kind == "ephemeral":
            todo += graph.parents(node)
        elif node not in (*made, *found) and node.name not in MADE_HERE:
            found.append(node)
    return found


def _copy(connection: duckdb.DuckDBPyConnection, node: Node, warehouse: Warehouse, catalog: str) -> None:
    import duckdb

    there = node.relation if node.kind == "source" else warehouse.relation(f"{node.package}.{node.name}")
    if there is None:
        raise SettingsError(f"the source {node.name} has no relation")
    there = there._replace(database=there.database or catalog)
    try:
        connection.execute(f"create table {_copied(node)} as from {there}")
    except duckdb.Error as error:
        raise RecordError(warehouse.why_not(connection, there, error)) from error


def _lay_out(connection: duckdb.DuckDBPyConnection, graph: Graph, copies: Iterable[Node]) -> None:
    """The project's catalogs and schemas: views of what was copied, and er_pairs."""
    for database, schema, _ in {node.relation for node in graph.nodes.values() if node.relation}:
        if database is not None:
            connection.execute(f"attach if not exists ':memory:' as {quoted(database)}")
            connection.execute(f"create schema if not exists {quoted(database, schema)}")
    for node in copies:
        connection.execute(f"create view {_named(node)} as from {_copied(node)}")
    for node in _pairs(graph):
        connection.execute(f"create view {_named(node)} as {node.sql}")


def _named(node: Node) -> str:
    """How SQL names a model's relation."""
    if node.relation is None:
        raise SettingsError(
            f"{node.name} is ephemeral, so it has no rows to look at; materialize it as a view or table"
        )
    return str(node.relation)


def _copied(node: Node) -> str:
    """How SQL names the copy of a relation."""
    return quoted(COPIES, "main", f"{node.package}.{node.name}")


def _catalog(graph: Graph, warehouse: Warehouse) -> str:
    """The name that the warehouse has where the project's SQL calls it."""
    relation = graph.node("er_records").relation
    return warehouse.catalog or str(relation and relation.database)


def _databases(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """The databases that a connection has."""
    names = connection.execute("select database_name from duckdb_databases()").fetchall()
    return {str(name) for (name,) in names}
