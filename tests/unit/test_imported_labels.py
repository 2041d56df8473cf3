"""Imported labels become rows of er_labels, with the records as they are now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from distiller_udf.labels import LabelStore, imported_labels


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LabelStore]:
    with LabelStore(tmp_path / "labels.sqlite") as opened:
        yield opened


def records_of(rows: list[tuple[str, object, str]]) -> pa.Table:
    return pa.table(
        {
            "source": [row[0] for row in rows],
            "id": [row[1] for row in rows],
            "record": [{"name": row[2]} for row in rows],
        }
    )


def import_rows(store: LabelStore, *rows: dict[str, object]) -> None:
    store.import_labels(pa.Table.from_pylist([{"teacher": "qwen", **row} for row in rows]))


RECORDS = records_of([("abt", 1, "a"), ("abt", 2, "b"), ("buy", 1, "x"), ("buy", 2, "a!"), ("buy", 3, "y")])


def test_imported_labels_find_their_records(store: LabelStore) -> None:
    import_rows(
        store,
        {"left_id": 1, "options": [3, 2], "answer": 2, "confidence": 0.7},
        {"left_id": 2, "options": [1], "answer": 0, "confidence": None},
    )
    table, report = imported_labels(store, RECORDS)
    rows = table.to_pylist()
    assert (report.total, report.used, report.options_dropped) == (2, 2, 0)
    assert (rows[0]["ask"], rows[0]["orders"], rows[0]["seed"]) == ("select", 1, None)
    assert (rows[0]["left_source"], rows[0]["left_id"], rows[0]["query"]) == ("abt", 1, '{"name":"a"}')
    assert (rows[0]["right_source"], rows[0]["right_id"], rows[0]["confidence"]) == ("buy", 2, 0.7)
    assert rows[0]["options"][1] == {"source": "buy", "id": 2, "record": '{"name":"a!"}'}
    assert (rows[1]["choice"], rows[1]["right_id"], rows[1]["cost_usd"]) == (0, None, None)
    assert rows[0]["label_key"] != rows[1]["label_key"]
    assert imported_labels(store, RECORDS, teacher="nobody")[0].num_rows == 0


def test_imported_labels_with_unknown_records_are_counted(store: LabelStore) -> None:
    import_rows(
        store,
        {"left_id": 99, "options": [1], "answer": 0},
        {"left_id": 1, "options": [98, 3], "answer": 1},
        {"left_id": 2, "options": [98, 97, 3], "answer": 3},
    )
    table, report = imported_labels(store, RECORDS)
    assert (report.total, report.used, report.options_dropped) == (3, 1, 2)
    assert len(report.examples) == 2
    assert "left_id 99" in " ".join(report.examples)
    assert table.to_pylist()[0]["choice"] == 1
    assert table.to_pylist()[0]["right_id"] == 3


def test_imported_labels_of_named_or_several_sources(store: LabelStore) -> None:
    import_rows(
        store,
        {"left_id": "1", "left_source": "buy", "options": ["2"], "answer": 1, "right_source": "abt"},
        {"left_id": "only", "left_source": None, "options": ["2"], "answer": 1, "right_source": "abt"},
        {"left_id": "2", "left_source": None, "options": ["2"], "answer": 1, "right_source": "abt"},
    )
    records = records_of(
        [(s, str(i), f"{s}{i}") for s in ("abt", "buy", "web") for i in (1, 2)] + [("web", "only", "o")]
    )
    table, report = imported_labels(store, records)
    found = {(row["left_source"], row["left_id"]): row["right_source"] for row in table.to_pylist()}
    assert found == {("buy", "1"): "abt", ("web", "only"): "abt"}
    assert report.used == 2, "id 2 without a source is in all three"


def test_imported_labels_of_one_table(store: LabelStore) -> None:
    import_rows(store, {"left_id": 1, "options": [2, 3], "right_id": 3})
    records = records_of([("people", i, f"p{i}") for i in (1, 2, 3)])
    row = imported_labels(store, records)[0].to_pylist()[0]
    assert (row["left_source"], row["right_source"], row["right_id"], row["choice"]) == ("people", "people", 3, 2)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("timestamp", "2024-01-02 03:04:05.5"),
        ("timestamp_ns", "2024-01-02 03:04:05.123456789"),
        ("timestamptz", "2024-01-02 03:04:05.5+00"),
        ("blob", "\\xDE\\xAD"),
        ("double", "1e+20"),
        ("double", "100000000000000000000"),
        ("double", "12"),
        ("decimal(6, 1)", "12"),
        ("bigint", "12.0"),
        ("hugeint", "170141183460469231731687303715884105727"),
        ("uuid", "00000000-0000-0000-0000-000000000005"),
        ("varchar", "12.0"),
    ],
)
def test_imported_ids_of_any_type_are_found_by_the_text_that_duckdb_gives_them(
    store: LabelStore, kind: str, value: str
) -> None:
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        typed = f"cast('{'12' if kind == 'bigint' else value}' as {kind})"
        records = connection.sql(
            f"select unnest(['l', 'r']) as source, {typed} as id, cast(id as varchar) as id_text,"
            " {'name': source} as record"
        ).to_arrow_table()
    import_rows(store, {"left_id": value, "options": [value], "answer": 1})
    assert imported_labels(store, records)[1].used == 1


def test_an_id_as_duckdb_writes_it_comes_before_other_ways_to_write_one(store: LabelStore) -> None:
    records = records_of([("l", "1", "a"), ("r", "x", "first"), ("r", "y", "second")])
    records = records.append_column("id_text", pa.array(["1", "y", "z"]))
    import_rows(store, {"left_id": "1", "options": ["y"], "answer": 1})
    assert imported_labels(store, records)[0]["right_id"].to_pylist() == ["x"]
