"""`er_training: schedule`: the model er_student trains the first student alone, and then says what is newer."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from distiller_udf.registry import Registry
from distiller_udf.settings import Settings
from distiller_udf.training.er_student import student_model
from distiller_udf.training.schedule.evaluation_set import split

SETTINGS = {
    "seed": 1,
    "constraint": "one_to_one",
    "training": "schedule",
    "evaluation_share": 0.3,
    "students_path": "students",
}
PAIRS = "select query as left_record, unnest(options).record as right_record from labels"


def built(labels: pa.Table, folder: Path, **other: Any) -> list[dict[str, Any]]:
    """The rows of er_student."""
    with duckdb.connect() as session:
        session.register("given", labels)
        session.execute("create table labels as from given")
        rows = student_model(
            session, session.table("labels"), session.sql(PAIRS), Settings.of({**SETTINGS, **other}).placed(folder)
        )
        return rows.to_pylist()


def test_the_first_student_learns_from_all_but_what_is_held_out(labels: pa.Table, tmp_path: Path) -> None:
    (row,) = built(labels, tmp_path)
    assert (row["is_current"], row["labels"]) == (True, split(labels, 0.3)[0].num_rows)


def test_the_current_student_stays_and_the_log_says_what_is_newer(
    labels: pa.Table, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (first,) = built(labels.slice(0, 80), tmp_path)
    with caplog.at_level(logging.INFO, "distiller_udf"):
        assert built(labels, tmp_path) == [first]
    newer = split(labels.slice(80), 0.3)[0].num_rows
    said = f"{newer} labels are newer than {first['student']}; `distiller retrain` trains a student and weighs it"
    assert said in caplog.messages
    caplog.clear()
    built(labels.slice(0, 80), tmp_path)
    assert not any("newer" in message for message in caplog.messages)


def test_building_trains_on_all_labels_at_once(labels: pa.Table, tmp_path: Path) -> None:
    built(labels.slice(0, 80), tmp_path)
    rows = built(labels, tmp_path, training="build")
    assert [row["is_current"] for row in rows] == [False, True]
    assert rows[1]["labels"] == labels.num_rows


@pytest.mark.slow
def test_a_student_that_cannot_be_used_is_replaced(labels: pa.Table, tmp_path: Path) -> None:
    (first,) = built(labels.slice(0, 80), tmp_path)
    (Path(first["path"]) / "student.json").write_text("{}")
    (row,) = [row for row in built(labels, tmp_path) if row["is_current"]]
    assert row["student"] == Registry(tmp_path / "students").current_version() != first["student"]
