"""Records: any rows become canonical text, and the text reads back into the same record."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distiller_udf.errors import RecordError
from distiller_udf.records import Column, Records, common_columns, content_hash, record_text
from distiller_udf.records.values import MAX_VALUE_CHARACTERS, normalise_value


def test_struct_rows_become_json_of_their_non_empty_columns() -> None:
    rows = pa.array([{"name": " Sony\n TV ", "price": 399.5}, {"name": None, "price": None}])
    assert Records.from_arrow(rows).texts() == ['{"name":"Sony TV","price":"399.5"}', "{}"]


def test_a_null_struct_and_a_struct_of_nulls_are_both_empty() -> None:
    rows = pa.array([{"a": "x"}, None, {"a": None}, {"a": "  \x00 "}])
    assert Records.from_arrow(rows).empty.tolist() == [False, True, True, True]


def test_a_sliced_struct_keeps_its_rows_together() -> None:
    rows = pa.array([{"a": str(i), "b": i} for i in range(10)]).slice(4, 3)
    assert [r["b"] for r in Records.from_arrow(rows).to_dicts()] == ["4", "5", "6"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime.date(2020, 2, 1), "2020-02-01"),
        (Decimal("1.50"), "1.5"),
        (True, "true"),
        (b"\xff\x00", r"\xFF\x00"),
        (["a", "b"], '["a","b"]'),
        ({"x": 1}, '{"x":1}'),
    ],
)
def test_values_of_any_type_have_a_text(value: object, text: str) -> None:
    assert Records.from_arrow(pa.array([{"v": value}])).to_dicts() == [{"v": text}]


def test_dictionary_encoded_columns_are_read_like_plain_ones() -> None:
    encoded = pa.StructArray.from_arrays([pa.array(["x", None, "x"]).dictionary_encode()], names=["a"])
    assert Records.from_arrow(encoded).to_dicts() == [{"a": "x"}, {"a": None}, {"a": "x"}]


def test_plain_text_is_one_column_and_json_text_is_a_record() -> None:
    records = Records.from_arrow(pa.array(["Sony TV", '{"name":"LG"}', None, "{broken"]))
    assert records.to_dicts() == [
        {"text": "Sony TV", "name": None},
        {"text": None, "name": "LG"},
        {"text": None, "name": None},
        {"text": "{broken", "name": None},
    ]


def test_a_row_whose_only_column_is_text_is_a_row_and_plain_text_says_that_it_is_plain() -> None:
    struct, texts = Records.from_arrow(pa.array([{"text": "x"}])), Records.from_texts(["x", '{"text":"x"}', "", None])
    assert not struct.is_plain
    assert texts.plain.tolist() == [True, False, False, False]
    assert texts.take(np.array([1, 0])).plain.tolist() == [False, True]
    assert texts.take(np.array([0])).with_columns(["text", "name"]).is_plain
    assert not texts.take(np.array([0])).with_columns(["name"]).is_plain
    assert len(texts.distinct[0]) == 3, "what is written alike is still not the same"
    assert common_columns(struct, Records.from_texts(['{"name":null}'])) == ("text", "name")
    assert common_columns(struct, texts) is None


ORDER = ["name", "town", "text", "born", "id"]


@given(st.lists(st.sets(st.sampled_from(ORDER)), max_size=6))
def test_no_text_depends_on_its_neighbours(present: list[set[str]]) -> None:
    rows = [json.dumps({name: "x" for name in ORDER if name in names}) for names in present]
    assert Records.from_texts(rows).texts() == [Records.from_texts([row]).texts()[0] for row in rows]


def test_rows_of_contrary_orders_are_still_read() -> None:
    rows = [{"a": 1, "b": 2}, {"b": 3, "a": 4}]
    assert Records.from_dicts(rows).to_dicts() == [{"a": "1", "b": "2"}, {"a": "4", "b": "3"}]


def test_leaves_are_what_is_compared() -> None:
    rows = [{"tags": ["b", "a"], "name": "x"}, {"tags": ["a", "b"], "name": "[x]"}, {"tags": [], "name": None}]
    leaves = Records.from_dicts(rows).leaves()
    assert leaves.to_dicts() == [
        {"tags": "a b", "name": "x"},
        {"tags": "a b", "name": "[x]"},
        {"tags": None, "name": None},
    ]
    assert leaves.leaves() is leaves


def test_what_is_neither_row_nor_text_is_refused_with_an_example() -> None:
    with pytest.raises(RecordError, match=r"not int64; pass the table's alias"):
        Records.from_arrow(pa.array([1, 2]))


def test_a_megabyte_of_text_is_cut() -> None:
    value = normalise_value("x" * 1_000_000)
    assert value is not None
    assert len(value) == MAX_VALUE_CHARACTERS


def test_equal_looking_unicode_is_equal() -> None:
    assert normalise_value("Cafe\u0301") == normalise_value("Café") == "Café"
    assert normalise_value("\ud800bad") == "?bad"


def test_distinct_finds_each_record_once() -> None:
    records = Records.from_dicts([{"a": "1", "b": None}, {"a": None, "b": "1"}, {"a": "1", "b": None}])
    first, inverse = records.distinct
    assert len(first) == 2
    assert inverse[0] == inverse[2] != inverse[1]


def test_take_and_with_columns() -> None:
    records = Records.from_dicts([{"a": "1"}, {"a": "2"}]).take(np.array([1, 1, 0]))
    assert records.with_columns(["b", "a"]).to_dicts() == [
        {"b": None, "a": "2"},
        {"b": None, "a": "2"},
        {"b": None, "a": "1"},
    ]


def test_columns_without_any_value_can_be_left_out() -> None:
    records = Records.from_dicts([{"a": "1", "b": None}, {"a": None, "b": " "}])
    assert records.with_values().names == ("a",)
    assert len(records.with_values()) == 2


def test_hashes_keep_texts_apart() -> None:
    assert content_hash("ab", "c") != content_hash("a", "bc")
    assert content_hash("ab") == content_hash("ab")


@given(st.text(max_size=60))
def test_normalising_is_idempotent(value: str) -> None:
    once = normalise_value(value)
    assert once is None or normalise_value(once) == once


texts = st.text(min_size=0, max_size=40)
rows = st.lists(st.dictionaries(st.text(min_size=1, max_size=8), st.none() | texts, max_size=4), max_size=5)


@given(rows)
def test_canonical_text_reads_back(given_rows: list[dict[str, str | None]]) -> None:
    records = Records.from_dicts(given_rows)
    again = Records.from_texts(records.texts())
    assert again.texts() == records.texts()
    assert [record_text(row) for row in records.to_dicts()] == records.texts()


@given(st.lists(st.none() | texts, max_size=20))
def test_arrow_and_python_values_agree(values: list[str | None]) -> None:
    array = pa.array([None if v is None else v.encode("utf-8", "replace").decode() for v in values], pa.string())
    normalised = [None if v is None else normalise_value(v) for v in array.to_pylist()]
    assert Column.from_arrow(array).to_list() == normalised == Column.from_values(normalised).to_list()
