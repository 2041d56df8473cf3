"""Pairs of records in files: read with DuckDB, scored by the shared core, written as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from distiller_udf.constraint import Constraint
from distiller_udf.english import counted
from distiller_udf.errors import RecordError
from distiller_udf.files import replaced
from distiller_udf.files.tables import check_suffix, open_table, write_table
from distiller_udf.records import Records
from distiller_udf.records.ids import id_columns, id_sql, id_texts, without_columns
from distiller_udf.scoring import BATCH_ROWS, score_pairs
from distiller_udf.sql import literal, quoted
from distiller_udf.students.base import Student

RECORD_COLUMNS = ("left_record", "right_record")
_IDS = ("left_id", "right_id")
_SIDES = (("left", "right"), ("right", "left"))
_ROWS_LOOKED_AT = 1_000
SCORE_COLUMNS = ("probability", "choice_probability", "is_match")


@dataclass(frozen=True)
class PairSource:
    """Candidate pairs to stream: a relation ordered by left record, its size, and the columns that name a tuple.

    `unknown` candidates were left out because they name records that are not there. The pairs
    of two tables have their sides as they were given, the left one first; `is_turned` says that they no longer do.
    """

    relation: duckdb.DuckDBPyRelation
    rows: int
    keys: tuple[str, ...]
    unknown: int = 0
    of_tables: bool = False
    is_turned: bool = False

    def ordered(self, constraint: Constraint | None) -> PairSource:
        """The pairs of two tables as the constraint orders their sides; those of one file are as they are."""
        if not self.of_tables or constraint is not Constraint.ONE_TO_MANY:
            return self
        relation = self.relation.select(_turned(self.relation.columns)).order("left_id, right_id")
        return replace(self, relation=relation, is_turned=True)


@dataclass(frozen=True)
class RecordFile:
    """A file of records: `id_column` is their id, every other column belongs to the record."""

    path: Path
    id_column: str = "id"

    @property
    def source(self) -> str:
        """What the records are called together: the file's name without its suffix."""
        return self.path.stem

    def records(self, connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation:
        """The records as `record_id` and `record`, a STRUCT without the id: an id says nothing of what a record is.

        Raises RecordError when the id column is missing, or an id is NULL or not unique; TableError for no such file.
        """
        rows = open_table(self.path, connection)
        _require(self.path, rows.columns, (self.id_column,))
        _require_unique(self.path, rows, self.id_column)
        fields = ", ".join(f"{quoted(c)} := {quoted(c)}" for c in rows.columns if c != self.id_column)
        if not fields:
            raise RecordError(f"{self.path} has no column besides {self.id_column!r}, so there is nothing to compare")
        return rows.select(f"{quoted(self.id_column)} as record_id, struct_pack({fields}) as record")


def pairs_from_file(path: Path) -> PairSource:
    """Pairs with their records in one file: `left_record`, `right_record` (STRUCT or text) and any other columns.

    Where the column `left_id` is there, rows that share it (and `left_source`, where that is there too) are one
    tuple; without it each row is decided on its own. Raises RecordError when a record column is missing.
    """
    pairs = open_table(path)
    _require(path, pairs.columns, RECORD_COLUMNS)
    taken = sorted({name.lower() for name in pairs.columns} & set(SCORE_COLUMNS))
    if taken:
        raise RecordError(f"{path} has the column {', '.join(taken)}, which the scores need; rename it first")
    keys = tuple(name for name in ("left_source", "left_id") if name in pairs.columns and "left_id" in pairs.columns)
    rows = _count(pairs)
    return PairSource(pairs.order(", ".join(map(quoted, keys))) if keys else pairs, rows, keys)


def pairs_from_tables(left: RecordFile, right: RecordFile, candidates: Path) -> PairSource:
    """Pairs given by their ids (`left_id`, `right_id`) with the records in two files of any columns.

    Ids of different types are compared as text. Raises RecordError when an id column is missing, the records' ids are
    not unique or no candidate names two known records.
    """
    connection = duckdb.connect()
    pairs = open_table(candidates, connection)
    _require(candidates, pairs.columns, ("left_id", "right_id"))
    pairs = pairs.select("left_id, right_id")
    given, joined = _count(pairs), pairs
    for side, file in (("left", left), ("right", right)):
        joined = _with_records(joined, file.records(connection), side)
    rows = _count(joined)
    if given and not rows:
        raise RecordError(
            f"none of the {counted(given, 'candidate')} in {candidates} names two known records; compare its "
            f"left_id with {left.id_column!r} in {left.path} and its right_id with {right.id_column!r} in {right.path}"
        )
    return PairSource(joined.order("left_id, right_id"), rows, ("left_id",), given - rows, of_tables=True)


def _with_records(
    pairs: duckdb.DuckDBPyRelation, records: duckdb.DuckDBPyRelation, side: str
) -> duckdb.DuckDBPyRelation:
    """Join records to one side of the pairs, as the column `<side>_record`."""
    key = f"{side}_id"
    kinds = pairs.select(key).types[0], records.select("record_id").types[0]
    condition = f"{key} = record_id"
    if kinds[0] != kinds[1]:
        condition = f"{id_sql(key, kinds[0])} = {id_sql('record_id', kinds[1])}"
    kept = ", ".join([*pairs.columns, f"record as {side}_record"])
    return pairs.set_alias("pairs").join(records.set_alias("records"), condition).select(kept)


def records_from_tables(files: Mapping[str, RecordFile]) -> pa.Table:
    """The records of files by what they are called, as `source`, `id` (text) and `record` (canonical text)."""
    tables = []
    with duckdb.connect() as connection:
        for source, file in files.items():
            records = file.records(connection)
            key = id_sql("record_id", records.types[0])
            rows = records.select(f"{literal(source)} as source, {key} as id, record").to_arrow_table()
            tables.append(
                rows.set_column(2, "record", pa.array(Records.from_arrow(rows["record"]).texts(), pa.string()))
            )
    return pa.concat_tables(tables)


def tuples_of(pairs: PairSource, sources: tuple[str, str]) -> pa.Table:
    """The left records of pairs with their candidates, in the shape of `er_tuples`; ids of different types as text.

    `sources` are what the left and the right records are called.
    """
    relation = pairs.relation
    kinds = [relation.types[relation.columns.index(f"{side}_id")] for side in ("left", "right")]
    left, right = (name if kinds[0] == kinds[1] else id_sql(name, k) for name, k in zip(_IDS, kinds, strict=True))
    shown = f"struct_pack(source := {literal(sources[1])}, id := {right}, record := right_record)"
    return relation.aggregate(
        f"{literal(sources[0])} as left_source, {left} as left_id, any_value(left_record) as query, "
        f"list({shown} order by md5(concat_ws(':', left_id, right_id))) as candidates",
        left,
    ).to_arrow_table()


def all_pairs(pairs: PairSource, sources: tuple[str, str]) -> pa.Table:
    """The pairs with what their records are called, as a teacher that looks at all of them first takes them."""
    left, right = map(literal, sources)
    columns = f"{left} as left_source, left_id, {right} as right_source, left_record, right_record"
    return pairs.relation.select(columns).to_arrow_table()


def pair_id_columns(pairs: duckdb.DuckDBPyRelation, named: Sequence[str | None]) -> list[set[str]]:
    """The columns of the left and of the right records of pairs that are their ids; `named` are called so."""
    some = pairs.limit(_ROWS_LOOKED_AT).to_arrow_table()
    found = []
    for side, name in zip(("left", "right"), named, strict=True):
        known = f"{side}_id" in some.column_names
        ids = id_texts(some[f"{side}_id"]) if known else [None] * some.num_rows
        found.append(id_columns(Records.from_arrow(some[f"{side}_record"]), ids, name))
    return found


def without_ids(batches: Iterable[pa.RecordBatch], ids: Sequence[set[str]]) -> Iterator[pa.RecordBatch]:
    """Batches of pairs whose left and right records lack these columns."""
    for batch in batches:
        for name, columns in zip(RECORD_COLUMNS, ids, strict=True):
            place = batch.schema.get_field_index(name)
            if columns:
                batch = batch.set_column(place, name, without_columns(batch.column(place), columns))
        yield batch


def write_scores(
    student: Student, pairs: PairSource, output: Path, advance: Callable[[int], None] | None = None
) -> tuple[int, int]:
    """Score all pairs into a file that appears only when it is complete; returns rows and matches.

    The records themselves are not written, only the other columns, `probability`, `choice_probability` and
    `is_match`. `advance` is called with the number of pairs done. Raises TableError when the file cannot be written.
    """
    suffix = check_suffix(output)
    threshold = student.info.choice_threshold if pairs.keys else student.info.threshold
    decisive = "choice_probability" if pairs.keys else "probability"
    rows = matches = 0
    writer: pq.ParquetWriter | None = None
    try:
        with replaced(output) as draft:
            staged = draft if suffix == ".parquet" else draft.with_name("scored.parquet")
            for scored in score_pairs(student, pairs.relation.to_arrow_reader(BATCH_ROWS), pairs.keys):
                is_match = pc.greater_equal(scored[decisive], threshold)
                table = pa.Table.from_batches([scored]).append_column("is_match", is_match)
                if pairs.is_turned:
                    table = table.select(["right_id", "left_id", *table.column_names[2:]])
                    table = table.rename_columns([*_IDS, *table.column_names[2:]])
                writer = writer or pq.ParquetWriter(staged, table.schema)
                writer.write_table(table)
                rows += table.num_rows
                matches += int(np.sum(is_match.fill_null(False).to_numpy(zero_copy_only=False)))
                if advance:
                    advance(table.num_rows)
            if writer is None:
                raise RecordError("there are no pairs to score: the file has no rows")
            writer.close()
            if staged != draft:
                write_table(open_table(staged), draft)
    except OSError as error:
        raise RecordError(f"{output} could not be written: {error.strerror or error}") from error
    return rows, matches


def _turned(columns: Sequence[str]) -> str:
    """SQL: columns with the names of the left and of the right side exchanged, in the order in which they stand."""
    other = {f"{one}_{name}": f"{two}_{name}" for one, two in _SIDES for name in ("id", "record")}
    return ", ".join(f"{quoted(other.get(name, name))} as {quoted(name)}" for name in columns)


def _require(path: Path, columns: list[str], needed: tuple[str, ...]) -> None:
    missing = [name for name in needed if name not in columns]
    if missing:
        raise RecordError(f"{path} lacks the column {', '.join(missing)}; it has {', '.join(columns)}")


def _require_unique(path: Path, relation: duckdb.DuckDBPyRelation, column: str) -> None:
    counted = relation.aggregate(f"{quoted(column)} as id, count(*) as n")
    for value, times in counted.filter("n > 1 or id is null").limit(1).fetchall():
        what = "is NULL" if value is None else f"{value!r} occurs {times} times"
        raise RecordError(f"{path}: the id column {column!r} must be unique and not NULL, but {what}")


def _count(relation: duckdb.DuckDBPyRelation) -> int:
    return int(relation.aggregate("count(*)").fetchall()[0][0])
