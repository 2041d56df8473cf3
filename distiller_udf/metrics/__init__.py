"""What matches and candidates are worth against known pairs, with the meaning that the macro `er_metrics` gives it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb

from distiller_udf.errors import RecordError, require_columns
from distiller_udf.metrics.figures import measures
from distiller_udf.records.ids import id_sql
from distiller_udf.sql import literal

IDS = ("left_id", "right_id")
SOURCES = ("left_source", "right_source")

Sides = tuple[str | None, str | None]
"""The source of the left and of the right record, where they are known."""


def pair_metrics(
    gold: duckdb.DuckDBPyRelation, matches: duckdb.DuckDBPyRelation, candidates: duckdb.DuckDBPyRelation | None = None
) -> dict[str, Any]:
    """Precision, recall and F1 of matches against gold pairs, and blocking's recall where candidates are given.

    Ids are compared as text. Where all name `left_source` and `right_source`, a pair is two records (source, id) in
    either order. Sources that one of them does not name are those of the others: all of one table, where a pair
    counts in either order, or from one table to another. Where none names sources, the order counts. Pairs of a record
    with itself and repeated pairs are left out, and so are those whose `is_match`, where there is one, is not true.

    Raises RecordError when an id column is missing, there are no known pairs, or sources are not named that differ.
    """
    given = {"the known pairs": _matching(gold), "the matches": _matching(matches)}
    if candidates is not None:
        given["the candidates"] = candidates
    for what, relation in given.items():
        require_columns(what, relation.columns, IDS)
    sides = _common_sides(given)
    known, found, *rest = (set(comparable_pairs(pairs, sides).fetchall()) for pairs in given.values())
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


def _matching(pairs: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    return pairs.filter("cast(is_match as boolean)") if "is_match" in pairs.columns else pairs


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
            named |= set(relation.select(_as_text(relation, SOURCES)).distinct().fetchall())
    if len(named) > 1:
        raise RecordError(f"{silent[0]} need left_source and right_source: the other pairs are of several sources")
    return named.pop() if named else (None, None)


def comparable_pairs(relation: duckdb.DuckDBPyRelation, sides: Sides = (None, None)) -> duckdb.DuckDBPyRelation:
    """The distinct pairs of two records, as text: `a_source`, `a_id`, `b_source`, `b_id`.

    Both are in one order, the smaller one first, where it is known of which table the records are: as the pairs say,
    or, where they do not, as `sides` does.
    """
    there = {column.lower() for column in relation.columns}
    known = {
        name: _as_text(relation, [name]) if name in there else "null::varchar" if side is None else literal(side)
        for name, side in zip(SOURCES, sides, strict=True)
    }
    ends = [f"{known[name]} as {end}_source" for name, end in zip(SOURCES, "ab", strict=True)]
    ids = [f"{_as_text(relation, [name])} as {end}_id" for name, end in zip(IDS, "ab", strict=True)]
    rows = relation.select(", ".join((*ends, *ids)))
    rows = rows.filter("a_id is not null and b_id is not null").select(
        "*, a_source is not null and b_source is not null as is_named"
    )
    turned = "is_named and (a_source, a_id) > (b_source, b_id)"
    columns = (
        f"case when {turned} then {other} else {own} end as {own}"
        for own, other in (("a_source", "b_source"), ("a_id", "b_id"), ("b_source", "a_source"), ("b_id", "a_id"))
    )
    return rows.filter("not is_named or (a_source, a_id) != (b_source, b_id)").select(", ".join(columns)).distinct()


def _as_text(relation: duckdb.DuckDBPyRelation, columns: Sequence[str]) -> str:
    kinds = dict(zip(relation.columns, relation.types, strict=True))
    return ", ".join(id_sql(column, kinds[column]) for column in columns)
