"""The constraint: from a project's settings, or from whose records are paired where there is no project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from distiller_udf.constraint import Constraint, sides
from distiller_udf.pairs import RecordFile, pairs_from_tables
from distiller_udf.settings import Settings

TWO = [{"name": name, "model": "people", "id": "nr"} for name in "ab"]
ONE = TWO[:1]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"sources": TWO}, Constraint.ONE_TO_ONE),
        ({"sources": ONE}, Constraint.NONE),
        ({"task": "link_and_dedupe", "sources": TWO}, Constraint.NONE),
        ({"task": "link"}, Constraint.ONE_TO_ONE),
        ({"constraint": "many_to_one", "sources": TWO}, Constraint.MANY_TO_ONE),
        ({"constraint": "one_to_many", "sources": TWO}, Constraint.ONE_TO_MANY),
        ({"constraint": "none", "sources": TWO}, Constraint.NONE),
    ],
)
def test_a_project_says_what_holds(given: dict[str, Any], expected: Constraint) -> None:
    assert Settings.of(given).resolved_constraint is expected


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("a", "b"), ("a", "c")], Constraint.ONE_TO_ONE),
        ([("a", "a"), ("b", "b"), ("a", "b")], Constraint.NONE),
        ([(None, None)], Constraint.ONE_TO_ONE),
        ([], Constraint.ONE_TO_ONE),
    ],
)
def test_without_a_project_the_sources_of_the_pairs_say_it(
    pairs: list[tuple[object, object]], expected: Constraint
) -> None:
    assert Constraint.of_sides(pairs) is expected


def test_sides_are_read_from_labels_and_from_tuples() -> None:
    option = pa.struct({"source": pa.string(), "id": pa.int64()})
    options = pa.array([[{"source": "b", "id": 1}, {"source": "a", "id": 2}], None, []], pa.list_(option))
    table = pa.table({"left_source": ["a", "a", "b"], "options": options})
    assert list(sides(table)) == [("a", "b"), ("a", "a")]
    assert list(sides(table.rename_columns(["left_source", "candidates"]), "candidates")) == [("a", "b"), ("a", "a")]
    assert list(sides(table.select(["options"]))) == []


def test_it_is_the_word_that_er_constraint_is_set_to() -> None:
    assert [f"{each}" for each in Constraint] == ["one_to_one", "many_to_one", "one_to_many", "none"]
    assert [each.limits_left for each in Constraint] == [True, True, True, False]
    assert [each.limits_right for each in Constraint] == [True, False, False, False]


def test_the_record_that_is_limited_alone_is_left() -> None:
    orders = {str(each): each.ordered(["a", "b", "c"]) for each in Constraint}
    assert orders.pop("one_to_many") == ["c", "b", "a"]
    assert set(map(tuple, orders.values())) == {("a", "b", "c")}


def test_pairs_of_two_tables_have_their_sides_as_the_constraint_orders_them(tmp_path: Path) -> None:
    for name, rows in {"shops": "id,name\n1,Ada\n2,Bo\n", "bills": "nr,who\nx,Ada\ny,Ada\n"}.items():
        (tmp_path / f"{name}.csv").write_text(rows)
    (tmp_path / "pairs.csv").write_text("left_id,right_id\n2,x\n1,y\n1,x\n")
    files = RecordFile(tmp_path / "shops.csv"), RecordFile(tmp_path / "bills.csv", "nr")
    pairs = pairs_from_tables(*files, tmp_path / "pairs.csv")
    assert pairs.ordered(Constraint.MANY_TO_ONE) is pairs
    turned = pairs.ordered(Constraint.ONE_TO_MANY).relation
    query = "left_id, right_id, left_record.who, right_record.name"
    assert turned.select(query).fetchall() == [
        ("x", "1", "Ada", "Ada"),
        ("x", "2", "Ada", "Bo"),
        ("y", "1", "Ada", "Ada"),
    ]
