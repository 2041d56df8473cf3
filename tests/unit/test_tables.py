"""Files of rows: what is written comes back, cells are as they are written, and a file that is none is a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distiller_udf.errors import TableError
from distiller_udf.files.tables import check_suffix, open_table, read_json, read_table, write_table
from distiller_udf.records.ids import id_texts

SUFFIXES = [".parquet", ".csv", ".json", ".jsonl"]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        "",
        "NA",
        "null",
        "NULL",
        "nan",
        "007",
        "1e5",
        "0.10",
        '"',
        "'",
        "a\r\nb",
        "\u2028",
        "\x85",
        "\ufeff",
        "#",
        "\\",
        "[1]",
        " x ",
    ]
)
rows = st.lists(st.tuples(st.none() | texts, st.lists(st.none() | texts, max_size=3)), min_size=1, max_size=6)


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(rows=rows)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_comes_back_from_every_kind_of_file(
    tmp_path: Path, suffix: str, rows: list[tuple[str | None, list[str | None]]]
) -> None:
    table = pa.table(
        {
            "plain": pa.array([text for text, _ in rows], pa.string()),
            "number": pa.array(range(len(rows))),
            "nested": pa.array([members for _, members in rows], pa.list_(pa.string())),
        }
    )
    write_table(table, tmp_path / f"rows{suffix}")
    back = read_table(tmp_path / f"rows{suffix}")
    assert back.column_names == table.column_names
    assert back["plain"].to_pylist() == table["plain"].to_pylist()
    assert [str(value) for value in back["number"].to_pylist()] == [str(i) for i in range(len(rows))]
    nested = back["nested"].to_pylist()
    assert [m if suffix == ".parquet" else read_json(m) for m in nested] == table["nested"].to_pylist()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_header_says_what_a_csv_file_is_delimited_by(tmp_path: Path, delimiter: str) -> None:
    file = tmp_path / "rows.csv"
    cells = [["id", "name, first", ' "quoted; head" '.strip()], ["007", '"a,b;c"', ""]]
    file.write_text(
        "\n".join(delimiter.join(f'"{c}"' if "," in c and '"' not in c else c for c in row) for row in cells)
    )
    assert read_table(file).to_pylist() == [{"id": "007", "name, first": "a,b;c", "quoted; head": None}]


def test_a_csv_file_is_text_with_null_where_a_cell_is_empty(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(b'\xef\xbb\xbfid , name\r\n1,\r\n2,""\r\nNA,"NA"\r\n')
    assert read_table(file).to_pylist() == [
        {"id": "1", "name": None},
        {"id": "2", "name": ""},
        {"id": "NA", "name": "NA"},
    ]


def test_a_row_may_be_long_and_span_lines(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    long = "x\n" * 2_000_000
    write_table(pa.table({"a": [long, "y"], "b": [1, 2]}), file)
    assert read_table(file)["a"].to_pylist() == [long, "y"]


def test_json_columns_are_what_all_their_values_are(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    given = [
        {"i": 1, "b": True, "f": 1.5, "m": 1, "o": {"a": [1.50, None]}, "big": 2**70},
        {"i": 2, "b": None, "f": 2, "m": "x", "o": None, "later": "here"},
    ]
    file.write_text(json.dumps(given))
    table = read_table(file)
    assert table.to_pylist() == [
        {"i": 1, "b": True, "f": "1.5", "m": "1", "o": '{"a":["1.5",null]}', "big": str(2**70), "later": None},
        {"i": 2, "b": None, "f": "2", "m": "x", "o": None, "big": None, "later": "here"},
    ]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.xlsx", b"x", "is no .parquet, .csv"),
        ("rows.parquet", b"x", "cannot be read as parquet"),
        ("rows.json", b"[1]", "must be an object"),
        ("rows.json", b"[{", "cannot be read as json"),
        ("rows.jsonl", b'{"a": 1}\n{', "cannot be read as jsonl"),
        ("rows.csv", b"", "cannot be read as csv"),
        ("rows.csv", b"a,b\n1\n", "cannot be read as csv"),
        ("rows.csv", b"a,b\n\xff,1\n", "is not in UTF-8; save it as that"),
        ("rows.csv", b"a,b\n" + b"x,1\n" * 400_000 + b"\xff,1\n", "is not in UTF-8"),
        ("rows.csv", "a,b\n1,2\n".encode("utf-16"), "is not in UTF-8"),
        ("rows.jsonl", b'{"a": "\xff"}', "is not in UTF-8"),
        ("rows.csv", b"a,a\n1,2\n", "has the column a twice"),
        ("rows.json", b'[{"a": "\\ud800"}]', "cannot be read as json"),
        ("gone.csv", None, "there is no file"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    for reader in (read_table, open_table):
        with pytest.raises(TableError, match=said) as error:
            reader(tmp_path / name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "text"), [("list.json", "[]"), ("none.json", ""), ("none.jsonl", "\n")])
def test_json_without_a_row_names_no_columns(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(TableError, match=f"{name} has no rows"):
        open_table(tmp_path / name)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_relation_is_of_the_same_rows(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"rows{suffix}"
    with duckdb.connect() as connection:
        write_table(connection.sql("select i as id, 'n' || i as name from range(3) t(i)"), file)
        assert open_table(file, connection).select("cast(id as varchar), name").fetchall() == [
            (str(i), f"n{i}") for i in range(3)
        ]


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path: Path) -> None:
    (tmp_path / "year=2024").mkdir()
    pq.write_table(pa.table({"a": [1]}), tmp_path / "year=2024" / "rows.parquet")
    assert read_table(tmp_path / "year=2024" / "rows.parquet").column_names == ["a"]


def test_what_cannot_be_written_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    table = pa.table({"a": [1]})
    with pytest.raises(TableError, match=r"ends in \.parquet, \.csv, \.json, \.jsonl"):
        check_suffix(tmp_path / "rows.xlsx")
    with pytest.raises(TableError, match="could not be written"):
        write_table(table, tmp_path / "gone" / "rows.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(TableError, match="could not be written"):
        write_table(table, tmp_path / "folder.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.csv"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("12", "12"),
        ("12::double", "12"),
        ("1.5::double", "1.5"),
        ("12::decimal(6, 1)", "12.0"),
        ("true", "true"),
        ("timestamp_ns '2024-01-02 03:04:05.123456789'", "2024-01-02 03:04:05.123456789"),
        ("'00000000-0000-0000-0000-000000000005'::uuid", "00000000-0000-0000-0000-000000000005"),
        ("date '2024-01-02'", "2024-01-02"),
        ("null", None),
    ],
)
def test_ids_as_text(value: str, text: str | None) -> None:
    with duckdb.connect() as connection:
        assert id_texts(connection.sql(f"select {value} as id").to_arrow_table()["id"]) == [text]
