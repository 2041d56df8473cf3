"""What the Python models er_scores and er_choices do: pairs → probabilities of the current student."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from distiller_udf.constraint import Constraint
from distiller_udf.english import counted
from distiller_udf.errors import StudentNotFound
from distiller_udf.pipeline.relations import (
    ARROW_ROWS,
    PAIR_KEYS,
    RIVAL_KEYS,
    TUPLE_KEYS,
    is_empty,
    staged,
    with_id_type,
)
from distiller_udf.scoring import BATCH_ROWS, score_pairs
from distiller_udf.students import Student, load_student
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.choice import choose_linked

if TYPE_CHECKING:
    import duckdb

    from distiller_udf.students.llm import Serving

logger = logging.getLogger(__name__)

LINE_SECONDS = 10.0
"""How often long scoring tells how far it is."""

NO_STUDENT = "er_student has no current student; run `dbt build --select er_student` first"

_CONTENT = (
    f"{', '.join(TUPLE_KEYS)}, count(*) as pairs, bit_xor(hash(right_source, right_id, pair_fingerprint)) as content"
)


_NUMBERED, _CHOSEN = "er_numbered_scores", "er_chosen_scores"

# Records of one source with the same content are one end: which of them was meant, nothing can tell.
_CONTENTS = "source, id, dense_rank() over (order by source, fingerprint) as content"

_ENDS = {
    # A record has one match in each source, so it is as many ends as there are sources.
    Constraint.ONE_TO_ONE: """
        dense_rank() over (order by left_content, right_source) as left_end,
        dense_rank() over (order by right_content, left_source) as right_end
    """,
    Constraint.NONE: "left_content as left_end, right_content as right_end",
}


def score(
    session: duckdb.DuckDBPyConnection,
    pairs: duckdb.DuckDBPyRelation,
    student: Student | None,
    scored: duckdb.DuckDBPyRelation | None = None,
    advance: Callable[[int], None] | None = None,
) -> duckdb.DuckDBPyRelation:
    """The rows of `er_scores`: the pairs of new or changed tuples, scored by a student.

    `scored` are the scores that are there already; a tuple is scored again when its candidates, their records or
    the student changed. `advance` is called with the number of pairs of each batch that is done. Without any pair no
    student is needed. Raises StudentNotFound, ColumnsMismatch.
    """
    wanted = pairs.select(", ".join((*PAIR_KEYS, "left_record", "right_record", "pair_fingerprint")))
    if student is None and is_empty(pairs):
        nothing = pa.RecordBatchReader.from_batches(_score_schema(wanted.to_arrow_table().schema), [])
        return with_id_type(session, nothing, pairs)
    if student is None:
        raise StudentNotFound(NO_STUDENT)
    if scored is not None:
        changed = _changed(pairs, scored, student.info.version)
        wanted = wanted.set_alias("pairs").join(changed.set_alias("changed"), ", ".join(TUPLE_KEYS), how="semi")
    total = wanted.aggregate("count(*)").fetchall()[0][0]
    new = counted(total, "new or changed pair")
    logger.info("er_scores: %s", f"{new} for {student.info.version}" if total else "no pair is new or has changed")
    # Read on a cursor of its own: a session cannot write while one of its results is still being read.
    query = wanted.order(", ".join(RIVAL_KEYS)).sql_query()
    reader = session.cursor().sql(query).to_arrow_reader(BATCH_ROWS)
    schema = _score_schema(reader.schema)
    rows = pa.RecordBatchReader.from_batches(schema, _score_rows(student, reader, schema, total, advance))
    return with_id_type(session, rows, pairs)


def choices(
    session: duckdb.DuckDBPyConnection,
    scores: duckdb.DuckDBPyRelation,
    records: duckdb.DuckDBPyRelation,
    students: duckdb.DuckDBPyRelation,
    constraint: Constraint,
) -> duckdb.DuckDBPyRelation:
    """The rows of `er_choices`: those of `er_scores`, `choice_probability` having seen what all other pairs say.

    Under many_to_one no record on the right competes, so that `er_scores` has seen all; there, and where the scores are
    not the current student's, they stay as they are. `records` has the `fingerprint` of each record. Raises
    StudentNotFound, StudentDamaged, ConstraintMismatch.
    """
    columns = f"{', '.join(PAIR_KEYS)}, probability, choice_probability, student"
    if constraint not in _ENDS or is_empty(scores):
        return scores.select(columns)
    info = StudentInfo.read(current_student_path(students))
    info.check_constraint(constraint)
    if info.version not in {name for (name,) in scores.select("student").distinct().fetchall()}:
        return scores.select(columns)
    ends, contents = scores.select(columns), records.select(_CONTENTS)
    for side in ("left", "right"):
        known = contents.select(f"source as {side}_source, id as {side}_id, content as {side}_content")
        ends = ends.set_alias("pairs").join(known.set_alias("records"), f"{side}_source, {side}_id", how="left")
    number = f"row_number() over (order by {', '.join(PAIR_KEYS)}) as pair_number"
    numbered = ends.select(f"{columns}, {number}, {_ENDS[constraint]}").sql_query()
    session.execute(f"create or replace temp table {_NUMBERED} as {numbered}")
    pairs = session.table(_NUMBERED).select("pair_number, left_end, right_end, probability").fetchnumpy()
    probabilities = np.ma.filled(pairs["probability"].astype(np.float64), np.nan)
    chosen = choose_linked(info, probabilities, np.asarray(pairs["left_end"]), np.asarray(pairs["right_end"]))
    values = pa.array(chosen, pa.float64(), from_pandas=True)
    rows = pa.table({"pair_number": np.asarray(pairs["pair_number"]), "chosen": values})
    result = f"{', '.join(PAIR_KEYS)}, probability, chosen as choice_probability, student"
    query = f"select {result} from {_NUMBERED} inner join {ARROW_ROWS} using (pair_number)"  # noqa: S608
    found = staged(session, rows, query, _CHOSEN)
    session.execute(f"drop table {_NUMBERED}")
    return found


def current_student(
    students: duckdb.DuckDBPyRelation, constraint: Constraint, serving: Serving | None = None
) -> Student | None:
    """The student that `er_student` names as the current one; None where it names no student at all.

    `constraint` is the one that it is to decide under, `serving` says where a language model runs. Raises
    StudentNotFound, StudentDamaged, ConstraintMismatch.
    """
    return None if is_empty(students) else load_student(current_student_path(students), serving, constraint)


def current_student_path(students: duckdb.DuckDBPyRelation) -> Path:
    """The folder of the current student in `er_student`. Raises StudentNotFound when it names none."""
    paths = students.filter("is_current").select("path").fetchall()
    if not paths:
        raise StudentNotFound(NO_STUDENT)
    return Path(paths[0][0])


def _score_rows(
    student: Student,
    reader: pa.RecordBatchReader,
    schema: pa.Schema,
    total: int,
    advance: Callable[[int], None] | None,
) -> Iterator[pa.RecordBatch]:
    done = 0
    said_at = time.monotonic()
    for batch in score_pairs(student, reader, RIVAL_KEYS):
        done += batch.num_rows
        if done < total and time.monotonic() - said_at >= LINE_SECONDS:
            said_at = time.monotonic()
            logger.info("er_scores: %s of %s scored", f"{done:,}", counted(total, "pair"))
        if advance:
            advance(batch.num_rows)
        version = pa.array([student.info.version] * batch.num_rows, pa.string())
        yield batch.append_column("student", version).select(schema.names)


def _score_schema(pairs: pa.Schema) -> pa.Schema:
    keys = [pairs.field(name) for name in PAIR_KEYS]
    scores = [("probability", pa.float64()), ("choice_probability", pa.float64()), ("student", pa.string())]
    return pa.schema([*keys, *(pa.field(*score) for score in scores), pairs.field("pair_fingerprint")])


def _changed(pairs: duckdb.DuckDBPyRelation, scored: duckdb.DuckDBPyRelation, version: str) -> duckdb.DuckDBPyRelation:
    """The left records whose pairs are not exactly those that this version has scored before."""
    import duckdb

    by_version = scored.filter(duckdb.ColumnExpression("student") == duckdb.ConstantExpression(version))
    now, before = pairs.aggregate(_CONTENT), by_version.aggregate(_CONTENT)
    return now.except_(before).select(", ".join(TUPLE_KEYS))
