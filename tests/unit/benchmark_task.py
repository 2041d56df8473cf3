"""A benchmark task that a test writes itself."""

from __future__ import annotations

import random
from collections.abc import Hashable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.conftest import make_people


def write_task(folder: Path, prefix: str | None = None) -> Path:
    """A task of 80 people, the first 50 labelled (ten of them test records), with ids as numbers or as texts."""
    people = make_people(80)
    rng = random.Random(5)
    folder.mkdir(parents=True)

    def key(side: int, i: int) -> Hashable:
        return f"{prefix}{side}-{i}" if prefix else 1000 * side + i

    for side, rows in enumerate((people.left, people.right)):
        table = pa.Table.from_pylist([{"id": key(side, i), **row} for i, row in enumerate(rows)])
        pq.write_table(table, folder / ("left.parquet", "right.parquet")[side])
    gold = [{"left_id": key(0, i), "right_id": key(1, i)} for i in range(80)]
    pq.write_table(pa.Table.from_pylist(gold), folder / "gold.parquet")
    candidates, labels = [], []
    for i in range(80):
        options = sorted({*rng.sample(range(80), 4), i} - ({i} if i % 5 == 0 else set()))
        split = "train" if i < 40 else "test"
        candidates += [{"left_id": key(0, i), "right_id": key(1, j), "split": split} for j in options]
        answer = options.index(i) + 1 if i in options else 0
        label = {"selection": "random", "teacher": "some:1b", "left_id": key(0, i), "answer": answer}
        if i < 50:
            labels.append({**label, "options": [key(1, j) for j in options]})
    pq.write_table(pa.Table.from_pylist(candidates), folder / "candidates.parquet")
    pq.write_table(pa.Table.from_pylist(labels), folder / "teacher_labels.parquet")
    return folder
