"""Parquet in, Parquet out: pairs of records read with DuckDB, scored by the shared core, written as they come."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from distiller_udf.errors import RecordError
from distiller_udf.scoring import BATCH_ROWS, score_pairs
from distiller_udf.sql import quoted
from distiller_udf.students.base import Student

RECORD_COLUMNS = ("left_record", "right_record")
SCORE_COLUMNS = ("probability", "choice_probability", "is_match")


@dataclass(frozen=True)
class PairSource:
    """Candidate pairs to stream: a relation ordered by left record, its size, and the columns that name a tuple.

    `unknown` candidates were left out because they name records that are not there.
    """

    relation: duckdb.DuckDBPyRelation
    rows: int
    keys: tuple[str, ...]
    unknown: int = 0


def pairs_from_file(path: Path) -> PairSource:
    """Pairs with their records in one file: `left_record`, `right_record` (STRUCT or text) and any other columns.

    Where the column `left_id` is there, rows that share it (and `left_source`, where that is there too) are one
    tuple; without it each row is decided on its own. Raises RecordError when a record column is missing.
    """
    pairs = _relation(duckdb.connect(), path)
    _require(path, pairs.columns, RECORD_COLUMNS)
    taken = sorted({name.lower() for name in pairs.columns} & set(SCORE_COLUMNS))
    if taken:
        raise RecordError(f"{path} has the column {', '.join(taken)}, which the scores need; rename it first")
    keys = tuple(name for name in ("left_source", "left_id") if name in pairs.columns and "left_id" in pairs.columns)
    rows = _count(pairs)
    return PairSource(pairs.order(", ".join(map(quoted, keys))) if keys else pairs, rows, keys)


def pairs_from_tables(
    left: Path, right: Path, candidates: Path, id_column: str = "id", right_id_column: str | None = None
) -> PairSource:
    """Pairs given by their ids (`left_id`, `right_id`) with the records in two files of any columns.

    `id_column` is that of the left records, and of the right ones where `right_id_column` names no other. Ids of
    different types are compared as text. Raises RecordError when an id column is missing, the records' ids are
    not unique or no candidate names two known records.
    """
    connection = duckdb.connect()
    pairs = _relation(connection, candidates)
    _require(candidates, pairs.columns, ("left_id", "right_id"))
    pairs = pairs.select("left_id, right_id")
    given, joined = _count(pairs), pairs
    for path, side, column in ((left, "left", id_column), (right, "right", right_id_column or id_column)):
        joined = _with_records(joined, connection, path, side, column)
    rows = _count(joined)
    if given and not rows:
        raise RecordError(
            f"none of the {given:,} candidates in {candidates} names two known records; compare its left_id with "
            f"{id_column!r} in {left} and its right_id with {right_id_column or id_column!r} in {right}"
        )
    return PairSource(joined.order("left_id, right_id"), rows, ("left_id",), given - rows)


def _with_records(
    pairs: duckdb.DuckDBPyRelation, connection: duckdb.DuckDBPyConnection, path: Path, side: str, id_column: str
) -> duckdb.DuckDBPyRelation:
    """Join the records of a file to one side of the pairs, as the column `<side>_record`."""
    records = _relation(connection, path)
    _require(path, records.columns, (id_column,))
    _require_unique(path, records, id_column)
    fields = ", ".join(f"{quoted(c)} := {quoted(c)}" for c in records.columns if c != id_column)
    if not fields:
        raise RecordError(f"{path} has no column besides {id_column!r}, so there is nothing to compare")
    records = records.select(f"{quoted(id_column)} as record_id, struct_pack({fields}) as {side}_record")
    key = f"{side}_id"
    same = pairs.select(key).types == records.select("record_id").types
    condition = f"{key} = record_id" if same else f"cast({key} as varchar) = cast(record_id as varchar)"
    kept = ", ".join([*pairs.columns, f"{side}_record"])
    return pairs.set_alias("pairs").join(records.set_alias("records"), condition).select(kept)


def write_scores(
    student: Student, pairs: PairSource, output: Path, advance: Callable[[int], None] | None = None
) -> tuple[int, int]:
    """Score all pairs into a Parquet file that appears only when it is complete; returns rows and matches.

    The records themselves are not written, only the other columns, `probability`, `choice_probability` and
    `is_match`. `advance` is called with the number of pairs done. Raises RecordError when the file cannot be written.
    """
    threshold = student.info.tuple_threshold if pairs.keys else student.info.threshold
    decisive = "choice_probability" if pairs.keys else "probability"
    rows = matches = 0
    writer: pq.ParquetWriter | None = None
    try:
        with tempfile.TemporaryDirectory(prefix=".scores-", dir=output.parent) as folder:
            staged = Path(folder) / output.name
            for scored in score_pairs(student, pairs.relation.to_arrow_reader(BATCH_ROWS), pairs.keys):
                is_match = pc.greater_equal(scored[decisive], threshold)
                table = pa.Table.from_batches([scored]).append_column("is_match", is_match)
                writer = writer or pq.ParquetWriter(staged, table.schema)
                writer.write_table(table)
                rows += table.num_rows
                matches += int(np.sum(is_match.fill_null(False).to_numpy(zero_copy_only=False)))
                if advance:
                    advance(table.num_rows)
            if writer is None:
                raise RecordError("there are no pairs to score: the file has no rows")
            writer.close()
            staged.replace(output)
    except OSError as error:
        raise RecordError(f"{output} could not be written: {error.strerror or error}") from error
    return rows, matches


def _relation(connection: duckdb.DuckDBPyConnection, path: Path) -> duckdb.DuckDBPyRelation:
    try:
        return connection.read_parquet(str(path))
    except duckdb.Error as error:
        raise RecordError(f"{path} cannot be read as Parquet: {error}") from error


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
