"""All candidate pairs, decided anew by any student as dbt would decide them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from distiller_udf.comparison.decisions import RecordNumbers, Rules, Scored, entities, matches
from distiller_udf.constraint import Constraint
from distiller_udf.errors import RecordError
from distiller_udf.pipeline.relations import PAIR_KEYS
from distiller_udf.pipeline.snapshot import Snapshot
from distiller_udf.scoring import BATCH_ROWS, score_pairs
from distiller_udf.students import Student

if TYPE_CHECKING:
    import duckdb

# Numbers follow the order that er_matches and er_entities give records: sources as declared, then ids.
_NUMBERED = """
    create or replace table er_numbered as
    select
        row_number() over (order by list_position($sources, source), id) - 1 as n,
        dense_rank() over (order by list_position($sources, source), source) - 1 as source_number,
        dense_rank() over (order by source, fingerprint) - 1 as content,
        source,
        id,
        source || ':' || cast(id as varchar) as name
    from ({records})
"""
_RECORDS = "select source, id, fingerprint from er_records"
_RECORDS_OF_PAIRS = """
    select left_source as source, left_id as id, any_value(md5(left_record::varchar)) as fingerprint
    from (
        select left_source, left_id, left_record from er_pairs
        union all
        select right_source, right_id, right_record from er_pairs
    )
    group by all
"""
_PAIRS = """
    select
        l.n as left_number,
        r.source_number as right_source,
        r.n as right_number,
        row_number() over (
            order by hash(er_pairs.left_source, er_pairs.left_id, er_pairs.right_source, er_pairs.right_id), l.n, r.n
        ) as tie,
        left_record,
        right_record
    from er_pairs
    inner join er_numbered as l on er_pairs.left_source = l.source and er_pairs.left_id = l.id
    inner join er_numbered as r on er_pairs.right_source = r.source and er_pairs.right_id = r.id
    order by left_number, right_source, right_number
"""


@dataclass(frozen=True)
class Downstream:
    """A snapshot's pairs and records, and the rules of the project; `gold` are known matches, where there are any."""

    connection: duckdb.DuckDBPyConnection
    records: RecordNumbers
    rules: Rules
    pairs: int
    gold: np.ndarray | None = None

    @classmethod
    def of(cls, snapshot: Snapshot, settings: Mapping[str, Any]) -> Downstream | None:
        """Number the records; None where the pairs have no keys, so that nothing can be said of entities.

        `settings` are er_sources, er_task, er_constraint and er_threshold. Raises RecordError for links without ids.
        """
        if "er_pairs" not in snapshot or not set(PAIR_KEYS) <= set(snapshot.table("er_pairs").columns):
            return None
        connection, sources = snapshot.connection, [str(source["name"]) for source in settings["sources"]]
        query = _NUMBERED.format(records=_RECORDS if "er_records" in snapshot else _RECORDS_OF_PAIRS)
        connection.execute(query, {"sources": sources})
        numbered = connection.execute("select source_number, content, name from er_numbered order by n").fetchnumpy()
        records = RecordNumbers(
            sources=_numbers(numbered["source_number"]),
            contents=_numbers(numbered["content"]),
            names=[str(name) for name in numbered["name"]],
        )
        links = {name: _links(snapshot, f"er_{name}", sources) for name in ("must_links", "cannot_links", "gold")}
        given = {name: links[f"{name}_links"] for name in ("must", "cannot")}
        rules = Rules(
            Constraint.of(settings),
            settings.get("threshold"),
            **{name: pairs for name, pairs in given.items() if pairs is not None},
        )
        pairs = int(snapshot.table("er_pairs").aggregate("count(*)").fetchall()[0][0])
        return cls(connection, records, rules, pairs, links["gold"])

    def scored(self, student: Student, advance: Callable[[int], None] | None = None) -> Scored:
        """What a student says of all pairs; `advance` is called with the number of pairs done. Raises StudentError."""
        parts = []
        reader = self.connection.cursor().sql(_PAIRS).to_arrow_reader(BATCH_ROWS)
        for batch in score_pairs(student, reader, ("left_number", "right_source")):
            parts.append([_floats(batch[name]) for name in _SCORED])
            if advance:
                advance(batch.num_rows)
        left, right, *rest = map(np.concatenate, zip(*parts, strict=True)) if parts else np.zeros((len(_SCORED), 0))
        return Scored(np.column_stack([left, right]).astype(np.int64), *rest)

    def decided(self, student: Student, advance: Callable[[int], None] | None = None) -> np.ndarray:
        """The matches of a student, as numbers of records. Raises StudentError."""
        return matches(self.scored(student, advance), self.records, student.info, self.rules)

    def gold_names(self) -> list[str]:
        """The known matches by the names of their records, in their order: numbers change as records come and go."""
        names = self.records.names
        return sorted(f"{names[left]} {names[right]}" for left, right in (() if self.gold is None else self.gold))

    def entities(self, pairs: np.ndarray) -> np.ndarray:
        """The first record of every record's entity under these matches."""
        return entities(pairs, len(self.records))


_SCORED = ("left_number", "right_number", "probability", "choice_probability", "tie")


def _numbers(column: Any) -> np.ndarray:
    return np.asarray(column, dtype=np.int64)


def _floats(column: Any) -> np.ndarray:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)


def with_sources(settings: Mapping[str, Any], snapshot: Snapshot) -> Mapping[str, Any]:
    """The settings, with sources where none are declared: those of the pairs, the ones on their left first.

    Pairs that name no sources are taken to link one table with another.
    """
    if settings["sources"]:
        return settings
    sides = ("left_source", "right_source")
    names: list[str] = ["left", "right"]
    if "er_pairs" in snapshot and set(sides) <= set(snapshot.table("er_pairs").columns):
        found = (sorted(snapshot.table("er_pairs").select(side).distinct().fetchall()) for side in sides)
        names = list(dict.fromkeys(str(name) for side in found for (name,) in side))
    return {**settings, "sources": [{"name": name} for name in names]}


def _links(snapshot: Snapshot, name: str, sources: Sequence[str]) -> np.ndarray | None:
    """Pairs that a user gives, as numbers of records, in their order; those of unknown records are left out.

    Ids are compared as text; pairs that name no sources are of the first and the last one.
    """
    if name not in snapshot:
        return None
    columns = {column.lower() for column in snapshot.table(name).columns}
    if not {"left_id", "right_id"} <= columns:
        raise RecordError(f"{name} lacks left_id or right_id; it has {', '.join(sorted(columns))}")
    left, right = (
        f"cast({side}_source as varchar)" if f"{side}_source" in columns else f"${side}" for side in ("left", "right")
    )
    ends = {"left": sources[0] if sources else "", "right": sources[-1] if sources else ""}
    rows = snapshot.connection.execute(
        f"""
        select distinct least(l.n, r.n) as a, greatest(l.n, r.n) as b
        from (
            select {left} as ls, cast(left_id as varchar) as li, {right} as rs, cast(right_id as varchar) as ri
            from {name}
        )
        inner join er_numbered as l on ls = l.source and li = cast(l.id as varchar)
        inner join er_numbered as r on rs = r.source and ri = cast(r.id as varchar)
        where l.n != r.n
        order by all
        """,  # noqa: S608
        {side: value for side, value in ends.items() if f"{side}_source" not in columns},
    ).fetchnumpy()
    return np.column_stack([_numbers(rows[name]) for name in ("a", "b")])
