"""Scoring: the one engine-neutral core that the SQL functions, the dbt models and the Parquet command share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distiller_udf.errors import RecordError
from distiller_udf.records import TEXT_COLUMN, Records, one_array
from distiller_udf.students.base import Student, StudentInfo, check_columns
from distiller_udf.students.choice import choose_alone

BATCH_ROWS = 65_536
"""Pairs scored at once in bulk: large enough to amortise numpy, small enough to stay in memory."""

SCORE_SCHEMA = pa.schema(
    [
        ("probability", pa.float64()),
        ("choice_probability", pa.float64()),
        ("is_match", pa.bool_()),
    ]
)


def score_batch(student: Student, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Score a batch of pairs, row for row.

    `batch` has the columns `left` and `right` (STRUCT or text) and, where rows belong to tuples, the integer
    column `tuple` that rows of one left record share. The result has `probability` (of the pair),
    `choice_probability` (given the other rows of its tuple; NULL without `tuple`) and `is_match`, which
    compares the last one known with the student's threshold. A NULL or empty record gives NULLs.

    Raises RecordError for other inputs, ColumnsMismatch when trained columns are missing.
    """
    missing = {"left", "right"} - set(batch.schema.names)
    if missing:
        raise RecordError(f"a batch of pairs needs the columns left and right; it lacks {', '.join(sorted(missing))}")
    left, right = Records.from_arrow(batch["left"]), Records.from_arrow(batch["right"])
    tuples = _tuple_numbers(batch["tuple"]) if "tuple" in batch.schema.names else None
    probability, choice = score_records(student, left, right, tuples)
    decisive, threshold = probability, student.info.threshold
    if tuples is not None:
        decisive, threshold = choice, student.info.tuple_threshold
    unknown = np.isnan(decisive)
    return pa.record_batch(
        [
            pa.array(probability, pa.float64(), from_pandas=True),
            pa.array(choice, pa.float64(), from_pandas=True),
            pa.array(decisive >= threshold, pa.bool_(), mask=unknown),
        ],
        schema=SCORE_SCHEMA,
    )


def _tuple_numbers(tuples: pa.Array) -> np.ndarray:
    """Tuples numbered from 0; a row without one is a tuple of its own."""
    codes = one_array(tuples).dictionary_encode().indices.cast(pa.int64())
    alone = pa.array(np.arange(len(codes)) + len(codes))
    return np.asarray(pc.coalesce(codes, alone).to_numpy(zero_copy_only=False))


def score_records(
    student: Student, left: Records, right: Records, tuples: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Pair and choice probabilities of row i of both sides; NaN where a record is empty or no tuple is known."""
    probability = np.full(len(left), np.nan)
    choice = np.full(len(left), np.nan)
    for rows, first, second in comparable(student.info, left, right):
        known_tuples = None if tuples is None else tuples[rows]
        probability[rows] = (
            student.score(first, second) if known_tuples is None else student.score_tuples(first, second, known_tuples)
        )
    known = np.flatnonzero(~np.isnan(probability))
    if tuples is not None and len(known):
        choice[known] = choose_alone(student.info, probability[known], tuples[known], right.take(known).distinct[1])
    return probability, choice


def comparable(info: StudentInfo, left: Records, right: Records) -> Iterator[tuple[np.ndarray, Records, Records]]:
    """The pairs of two records that are not empty, with the columns that the student knows, and their positions.

    Records given as plain text come apart from those given by column, so that no row depends on its neighbours.
    Raises ColumnsMismatch when trained columns are missing.
    """
    given = np.where(left.empty | right.empty, -1, 2 * left.plain + right.plain)
    for kind in np.unique(given[given >= 0]):
        rows = np.flatnonzero(given == kind)
        pair = (_of_one_kind(side.take(rows), plain) for side, plain in ((left, kind >= 2), (right, kind % 2 == 1)))
        yield rows, *check_columns(info, *pair)


def _of_one_kind(records: Records, plain: bool) -> Records:
    if plain:
        return records.with_columns([TEXT_COLUMN])
    records = replace(records, plain_rows=None)
    if not records.as_text or TEXT_COLUMN not in records.names or not records.columns[TEXT_COLUMN].is_empty:
        return records
    return records.with_columns([name for name in records.names if name != TEXT_COLUMN])  # a neighbour's


def score_pairs(student: Student, batches: Iterable[pa.RecordBatch], keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Score a stream of candidate pairs, ordered by its left record where `keys` are given, keeping tuples whole.

    Each batch has `left_record`, `right_record` and further columns, which pass through; rows that agree on the
    columns `keys` are one tuple. A tuple that a batch boundary would cut is held back until it is complete.
    Without `keys` each row is decided on its own: `choice_probability` is NULL and no batch is held back.
    """
    for table in _whole_tuples(batches, keys) if keys else _tables(batches):
        table = table.combine_chunks()
        pairs = {"left": one_array(table["left_record"]), "right": one_array(table["right_record"])}
        if keys:
            pairs["tuple"] = pa.array(_run_numbers(table, keys))
        scores = score_batch(student, pa.RecordBatch.from_pydict(pairs))
        passed = table.drop_columns(["left_record", "right_record"])
        for name in ("probability", "choice_probability"):
            passed = passed.append_column(name, scores[name])
        yield from passed.to_batches()


def _tables(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    return (pa.Table.from_batches([batch]) for batch in batches if batch.num_rows)


def _whole_tuples(batches: Iterable[pa.RecordBatch], keys: Sequence[str]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    for table in _tables(batches):
        numbers = _run_numbers(table, keys)
        last = int(np.searchsorted(numbers, numbers[-1]))
        if last == 0:  # one tuple fills the batch, perhaps the same as the one held: cannot cut here
            held.append(table)
            continue
        yield pa.concat_tables([*held, table.slice(0, last)])
        held = [table.slice(last)]
    if held:
        yield pa.concat_tables(held)


def _run_numbers(table: pa.Table, keys: Sequence[str]) -> np.ndarray:
    """Number the runs of rows that agree on all keys: 0, 0, 1, 1, 1, 2, …"""
    changed = np.zeros(table.num_rows, dtype=bool)
    for key in keys:
        # An ENUM's own indices are unsigned: as 64 bits they have room for the -1 of NULL.
        indices = one_array(table[key]).dictionary_encode().indices.cast(pa.int64())
        codes = indices.fill_null(-1).to_numpy(zero_copy_only=False)
        changed[1:] |= codes[1:] != codes[:-1]
    return np.cumsum(changed)
