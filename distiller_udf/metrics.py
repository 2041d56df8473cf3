"""What matches and candidates are worth against known pairs, with the meaning that the macro `er_metrics` gives it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb

from distiller_udf.comparison.figures import measures
from distiller_udf.errors import RecordError

IDS = ("left_id", "right_id")
SOURCES = ("left_source", "right_source")

Record = tuple[str | None, str]
Pair = tuple[Record, Record]
Sides = tuple[str | None, str | None]


def pair_metrics(
    gold: duckdb.DuckDBPyRelation, matches: duckdb.DuckDBPyRelation, candidates: duckdb.DuckDBPyRelation | None = None
) -> dict[str, Any]:
    """Precision, recall and F1 of matches against gold pairs, and blocking's recall where candidates are given.

    Ids are compared as text. Where all name `left_source` and `right_source`, a pair is two records (source, id) in
    either order. Sources that one of them does not name are those of the others: all of one table, where a pair
    counts in either order, or from one table to another. Where none names sources, the order counts. Pairs of a record
    with itself and repeated pairs are left out.

    Raises RecordError when an id column is missing, there are no known pairs, or sources are not named that differ.
    """
    if "is_match" in matches.columns:
        matches = matches.filter("is_match")
    given = {"the known pairs": gold, "the matches": matches}
    if candidates is not None:
        given["the candidates"] = candidates
    for what, relation in given.items():
        _require_ids(what, relation)
    sides = _common_sides(given)
    known, found, *rest = (_pairs(relation, sides) for relation in given.values())
    if not known:
        raise RecordError("there are no known pairs, so nothing can be measured")
    right = len(known & found)
    figures: dict[str, Any] = {
        "known_pairs": len(known),
        "matches": len(found),
        "right": right,
        **{name: float(value) for name, value in measures(right, len(found), len(known)).items()},
    }
    for proposed in rest:
        figures |= {"candidate_pairs": len(proposed), "blocking_recall": len(known & proposed) / len(known)}
    return figures


def _require_ids(what: str, relation: duckdb.DuckDBPyRelation) -> None:
    missing = [name for name in IDS if name not in relation.columns]
    if missing:
        raise RecordError(f"{what} lack the column {', '.join(missing)}; they have {', '.join(relation.columns)}")


def _names_sources(relation: duckdb.DuckDBPyRelation) -> bool:
    return set(SOURCES) <= set(relation.columns)


def _common_sides(given: dict[str, duckdb.DuckDBPyRelation]) -> Sides:
    """The sources of the pairs that name none: what the others say, unless they say several things."""
    silent = [what for what, relation in given.items() if not _names_sources(relation)]
    if not silent:
        return (None, None)
    named: set[Sides] = set()
    for relation in given.values():
        if _names_sources(relation):
            named |= set(relation.select(_as_text(SOURCES)).distinct().fetchall())
    if len(named) > 1:
        raise RecordError(f"{silent[0]} need left_source and right_source: the other pairs are of several sources")
    return named.pop() if named else (None, None)


def _pairs(relation: duckdb.DuckDBPyRelation, sides: Sides) -> set[Pair]:
    """The distinct pairs of two records; in one order where it is known of which table the records are."""
    if _names_sources(relation):
        rows = relation.select(_as_text((*SOURCES, *IDS))).distinct().fetchall()
    else:
        rows = [(*sides, *ids) for ids in relation.select(_as_text(IDS)).distinct().fetchall()]
    pairs: set[Pair] = set()
    for left_source, right_source, left_id, right_id in rows:
        left, right = (left_source, left_id), (right_source, right_id)
        if left_id is None or right_id is None:
            continue
        if left_source is None or right_source is None:
            pairs.add((left, right))
        elif left != right:
            pairs.add((left, right) if left < right else (right, left))
    return pairs


def _as_text(columns: Sequence[str]) -> str:
    return ", ".join(f"cast({column} as varchar)" for column in columns)
