"""The figures of benchmarks.selection on a task small enough to count by hand."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.selection import accuracy, kappas, positive_share, profiles, recorded, truth
from benchmarks.tasks import Task
from distiller_udf.votes import vote

# Left record i is right record 10 + i; the match of 3 is no candidate. What each teacher answers, by left record.
OPTIONS = {1: [10, 11], 2: [12, 13], 3: [10, 11], 4: [14, 13]}
ANSWERS = {"a": [2, 1, 0, 1], "b": [2, 2, 1, 1], "c": [2, 1, 0, None]}


@pytest.fixture
def task(tmp_path: Path) -> Task:
    sides = {"left": range(1, 5), "right": range(10, 16)}
    for side, ids in sides.items():
        names = [f"thing {i - 10 if side == 'right' else i}" for i in ids]
        pq.write_table(pa.table({"id": list(ids), "name": names}), tmp_path / f"{side}.parquet")
    pq.write_table(pa.table({"left_id": [1, 2, 3, 4], "right_id": [11, 12, 13, 14]}), tmp_path / "gold.parquet")
    pairs = [(left, right, "train") for left, options in OPTIONS.items() for right in options]
    columns = zip(("left_id", "right_id", "split"), zip(*pairs, strict=True), strict=True)
    pq.write_table(pa.table({name: list(values) for name, values in columns}), tmp_path / "candidates.parquet")
    labels = [
        {"selection": "blocking_max", "teacher": teacher, "left_id": left, "options": options, "answer": answer}
        for teacher, answers in ANSWERS.items()
        for (left, options), answer in zip(OPTIONS.items(), answers, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(labels), tmp_path / "teacher_labels.parquet")
    return Task.read(tmp_path)


def test_labels_and_votes_are_right_where_the_match_or_none_is_chosen(task: Task) -> None:
    assert recorded(task) == [("blocking_max", teacher) for teacher in "abc"]
    tables = [task.labels(teacher, "blocking_max") for teacher in "abc"]
    assert truth(task, tables[0]) == [2, 1, 0, 1]
    assert [accuracy(task, table)["accuracy"] for table in tables] == [1.0, 0.5, 0.75]
    assert accuracy(task, tables[2])["accuracy_where_answered"] == 1.0
    assert accuracy(task, vote(pa.concat_tables(tables), "unanimous")) == {
        "labels": 4,
        "coverage": 0.5,
        "accuracy_where_answered": 1.0,
        "accuracy": 0.5,
    }


def test_kappa_is_over_the_pairs_that_both_judged(task: Task) -> None:
    found = kappas(pa.concat_tables([task.labels(teacher, "blocking_max") for teacher in "abc"]))
    a_b, a_c, b_c = (found[pair] for pair in (("a", "b"), ("a", "c"), ("b", "c")))
    assert a_c == 1.0
    # a and b: 8 pairs, 3 and 4 matches, the same on 5 of them; 28 of 64 by chance would be the same on half.
    assert a_b == pytest.approx((5 / 8 - 1 / 2) / (1 - 1 / 2))
    assert b_c is not None
    assert b_c < a_b


def test_the_share_of_matches_is_that_of_the_selected(task: Task) -> None:
    table = profiles(task)
    assert table["match"].to_pylist() == [True, True, False, True]
    assert max(table["similarities"].to_pylist()[0]) > 0.9
    assert positive_share(table.take(pa.array([0, 1])), "max", 0) == 1.0
    assert positive_share(table.take(pa.array([2])), "max", 0) == 0.0
