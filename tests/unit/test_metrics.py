"""Pair metrics: what `er_metrics` says in the warehouse, `distiller evaluate` says of files."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pytest

from distiller_udf.errors import RecordError
from distiller_udf.metrics import pair_metrics

IDS = ("left_id", "right_id")
ALL = ("left_source", "left_id", "right_source", "right_id")


def pairs(columns: Sequence[str], rows: Sequence[tuple[object, ...]]) -> duckdb.DuckDBPyRelation:
    connection = duckdb.connect()
    connection.execute(f"create table pairs ({', '.join(f'{c} varchar' for c in columns)})")
    connection.executemany(f"insert into pairs values ({', '.join('?' for _ in columns)})", rows)
    return connection.table("pairs")


def right(gold: duckdb.DuckDBPyRelation, matches: duckdb.DuckDBPyRelation) -> tuple[int, int, int]:
    figures = pair_metrics(gold, matches)
    return figures["known_pairs"], figures["matches"], figures["right"]


def test_in_one_table_a_pair_counts_in_either_order() -> None:
    gold = pairs(IDS, [(2, 1), (1, 2), (3, 4), (5, 5)])
    assert right(gold, pairs(ALL, [("a", 1, "a", 2), ("a", 3, "a", 9)])) == (2, 2, 1)


def test_known_pairs_may_say_that_the_files_are_of_one_table() -> None:
    gold = pairs(ALL, [("a", 2, "a", 1)])
    assert right(gold, pairs(IDS, [(1, 2)])) == (1, 1, 1)


def test_between_two_tables_the_sides_differ() -> None:
    matches = pairs(ALL, [("a", 1, "b", 2), ("a", 5, "b", 5)])
    assert right(pairs(IDS, [(2, 1), (5, 5)]), matches) == (2, 2, 1)
    assert right(pairs(IDS, [(1, 2), (5, 5)]), matches) == (2, 2, 2)


def test_named_sources_turn_with_their_ids() -> None:
    matches = pairs(ALL, [("a", 1, "b", 2), ("a", 1, "a", 2)])
    assert right(pairs(ALL, [("b", 2, "a", 1), ("a", 2, "a", 1)]), matches) == (2, 2, 2)
    assert right(pairs(ALL, [("b", 1, "a", 2)]), matches) == (1, 2, 0)


def test_where_no_sources_are_named_the_order_counts() -> None:
    assert right(pairs(IDS, [(2, 1), (5, 5)]), pairs(IDS, [(1, 2), (5, 5)])) == (2, 2, 1)


def test_several_sources_must_be_named() -> None:
    matches = pairs(ALL, [("a", 1, "b", 2), ("a", 1, "a", 2)])
    with pytest.raises(RecordError, match="the known pairs need left_source and right_source"):
        pair_metrics(pairs(IDS, [(1, 2)]), matches)


def test_the_figures() -> None:
    gold, matches = pairs(IDS, [(1, 1), (2, 2), (3, 3), (4, 4)]), pairs(IDS, [(1, 1), (2, 2), (3, 4), (1, 1)])
    figures = pair_metrics(gold, matches, pairs(IDS, [(1, 1), (2, 2), (3, 3), (3, 4), (3, 5)]))
    assert figures == {
        "known_pairs": 4,
        "matches": 3,
        "right": 2,
        "precision": pytest.approx(2 / 3),
        "recall": 0.5,
        "f1": pytest.approx(4 / 7),
        "candidate_pairs": 5,
        "blocking_recall": 0.75,
    }


def test_nothing_found_is_no_error_and_nothing_known_is_one() -> None:
    assert pair_metrics(pairs(IDS, [(1, 2)]), duckdb.sql("select 1 as left_id, 2 as right_id where false"))["f1"] == 0
    with pytest.raises(RecordError, match="no known pairs"):
        pair_metrics(duckdb.sql("select 1 as left_id, 2 as right_id where false"), pairs(IDS, [(1, 2)]))
    with pytest.raises(RecordError, match="the matches lack the column right_id"):
        pair_metrics(pairs(IDS, [(1, 2)]), pairs(["left_id"], [(1,)]))


def test_rows_that_say_that_they_are_no_match_are_none() -> None:
    said = duckdb.sql("from (values (1, 1, true), (2, 2, false), (3, 3, null)) as t(left_id, right_id, is_match)")
    assert right(said, pairs(IDS, [(1, 1), (2, 2)])) == (1, 2, 1)
    assert right(pairs(IDS, [(1, 1), (2, 2)]), said) == (2, 1, 1)


def test_it_follows_the_rule_of_the_macro_er_metrics() -> None:
    """Its `_er_links` turns known pairs into the order (source, id), then they are joined on all four columns."""
    matches = [("a", 1, "a", 2), ("a", 3, "b", 1), ("b", 4, "b", 5)]
    gold = [("a", 2, "a", 1), ("b", 1, "a", 3), ("a", 3, "b", 1), ("b", 5, "b", 4), ("a", 8, "a", 9), ("a", 1, "a", 1)]
    turned = {(a, i, b, j) if (a, i) <= (b, j) else (b, j, a, i) for a, i, b, j in gold if (a, i) != (b, j)}
    expected = (len(turned), len(matches), len(turned & set(matches)))
    assert right(pairs(ALL, gold), pairs(ALL, matches)) == expected == (4, 3, 3)
