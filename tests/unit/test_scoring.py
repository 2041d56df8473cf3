"""The shared core on streams of pairs: tuples stay whole, and where there are none, no batch is held."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from conftest import People

from distiller_udf.registry import Registry
from distiller_udf.scoring import score_batch, score_pairs
from distiller_udf.students import load_student
from distiller_udf.students.base import Student


@pytest.fixture(scope="module")
def student(students: Registry) -> Student:
    return load_student(students.current())


@pytest.fixture
def table(people: People) -> pa.Table:
    """Eight left records with five candidates each."""
    pairs = [(i, (i + j) % 20) for i in range(8) for j in range(5)]
    columns = {"left_id": [i for i, _ in pairs], "left_record": [people.left[i] for i, _ in pairs]}
    return pa.table({**columns, "right_record": [people.right[j] for _, j in pairs]})


def test_without_keys_each_row_is_decided_on_its_own(student: Student, table: pa.Table) -> None:
    scored = pa.Table.from_batches(score_pairs(student, table.to_batches(max_chunksize=7), ()))
    assert scored.column_names == ["left_id", "probability", "choice_probability"]
    assert scored["choice_probability"].null_count == len(table)
    pairs = {"left": table["left_record"].combine_chunks(), "right": table["right_record"].combine_chunks()}
    alone = [
        score_batch(student, pa.record_batch({name: column.slice(i, 1) for name, column in pairs.items()}))
        for i in range(len(table))
    ]
    assert scored["probability"].to_pylist() == pytest.approx([row["probability"][0].as_py() for row in alone])
    assert scored["left_id"].to_pylist() == table["left_id"].to_pylist()


def test_without_keys_no_batch_is_held(student: Student, table: pa.Table) -> None:
    read = []

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in table.to_batches(max_chunksize=5):
            read.append(batch.num_rows)
            yield batch

    stream = score_pairs(student, batches(), ())
    assert read == []
    for done in range(1, 9):
        assert next(stream).num_rows == 5
        assert len(read) == done


def test_rows_without_a_tuple_have_no_rivals(student: Student, table: pa.Table) -> None:
    """Numbers that a float cannot tell apart stay apart beside a NULL."""
    pairs = {"left": table["left_record"].combine_chunks(), "right": table["right_record"].combine_chunks()}
    some = {name: column.slice(0, 5) for name, column in pairs.items()}
    scored = score_batch(student, pa.record_batch({**some, "tuple": pa.array([None, None, 2**60, 2**60 + 1, 2**60])}))
    alone = score_batch(student, pa.record_batch({**some, "tuple": pa.array([0, 1, 2, 3, 2])}))
    assert scored.equals(alone)


@pytest.mark.parametrize("rows", [1, 3, 7, 40])
def test_tuples_stay_whole_however_the_batches_are_cut(student: Student, table: pa.Table, rows: int) -> None:
    whole = pa.Table.from_batches(score_pairs(student, table.to_batches(), ["left_id"]))
    cut = pa.Table.from_batches(score_pairs(student, table.to_batches(max_chunksize=rows), ["left_id"]))
    assert whole["choice_probability"].null_count == 0
    np.testing.assert_allclose(cut["choice_probability"].to_numpy(), whole["choice_probability"].to_numpy())
