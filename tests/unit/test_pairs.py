"""Pairs from Parquet files: what is a tuple, and what is joined to what."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distiller_udf.pairs import pairs_from_file

RECORDS = {"left_record": ["a", "b"], "right_record": ["c", "d"]}


@pytest.mark.parametrize(
    ("columns", "keys"),
    [
        ((), ()),
        (("left_source",), ()),  # all records of a source are no tuple
        (("left_id",), ("left_id",)),
        (("left_source", "left_id"), ("left_source", "left_id")),
    ],
)
def test_a_tuple_has_one_left_id(tmp_path: Path, columns: tuple[str, ...], keys: tuple[str, ...]) -> None:
    pq.write_table(pa.table({**{name: ["x", "y"] for name in columns}, **RECORDS}), tmp_path / "pairs.parquet")
    assert pairs_from_file(tmp_path / "pairs.parquet").keys == keys
