"""What would change downstream: pairs gained and lost; entities merged, split and renamed; what it is worth by gold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from distiller_udf.metrics import comparable_pairs
from distiller_udf.metrics.figures import estimate, measures, resampled
from distiller_udf.pipeline.relations import PAIR_KEYS

from .comparison import AgainstGold, Changes
from .snapshot import KNOWN, Decided, Snapshot

EXAMPLES = 5

_PAIRS = """
    select
        count(*) filter (not coalesce(was, false)) as pairs_gained,
        count(*) filter (not coalesce(is_now, false)) as pairs_lost,
        count(*) filter (was and is_now) as pairs_kept,
        coalesce(1 - pairs_kept / nullif(count(*), 0), 0) as pairs_changed
    from (select {keys}, true as was from {before})
    full join (select {keys}, true as is_now from {after}) using ({keys})
"""
_ENTITIES = """
    with

    moved as (
        select before.entity_id as old, after.entity_id as new, count(*) as records
        from {before} as before
        inner join {after} as after using (source, id)
        group by all
    ),

    old as (select old, sum(records) as records, count(*) as parts from moved group by old),

    new as (select new, sum(records) as records, count(*) as parts from moved group by new),

    sized as (
        select moved.*, old.records as old_records, new.records as new_records
        from moved inner join old using (old) inner join new using (new)
    ),

    renamed as (
        select old, new from sized where old != new and 2 * records > old_records and 2 * records > new_records
    )

    select
        (select count(*) from new where parts > 1) as entities_merged,
        (select count(*) from old where parts > 1) as entities_split,
        (select count(*) from renamed) as entities_renamed,
        (select count(*) from new where new not in (select old from old) and new not in (select new from renamed))
            as entities_appeared,
        (select count(*) from old where old not in (select new from new) and old not in (select old from renamed))
            as entities_vanished,
        (select count(*) from sized where records = old_records and records = new_records) as entities_unchanged,
        (select coalesce(sum(records), 0) from moved where old != new) as records_renamed
"""
_BY_RECORD = """
    select {counts}
    from (select *, true as is_known from {known})
    {joins}
    group by a_source, a_id
    order by a_source, a_id
"""
_JOIN = "full join (select *, true as is_{number} from ({pairs})) using (a_source, a_id, b_source, b_id)"
_COUNTS = "count(*) filter (is_known and is_{number}), count(*) filter (is_{number}), count(*) filter (is_known)"
_EXAMPLES = """
    select left_source || ':' || left_id::varchar, right_source || ':' || right_id::varchar
    from {of} anti join {others} using ({keys})
    order by all
    limit {limit}
"""


def changes(snapshot: Snapshot, before: Decided, after: Decided) -> Changes:
    """Compare what two students decide."""
    keys = ", ".join(PAIR_KEYS)
    found = _row(snapshot, _PAIRS.format(keys=keys, before=before.matches, after=after.matches))
    if before.entities and after.entities:
        found |= _row(snapshot, _ENTITIES.format(before=before.entities, after=after.entities))
    examples = {}
    for what, of, others in (("gained", after, before), ("lost", before, after)):
        query = _EXAMPLES.format(of=of.matches, others=others.matches, keys=keys, limit=EXAMPLES)
        examples[what] = [list(pair) for pair in snapshot.connection.execute(query).fetchall()]
    return Changes(**found, examples=examples)


def against_gold(
    snapshot: Snapshot, challenger: Decided, current: Decided | None, margin: float, seed: int = 0
) -> AgainstGold:
    """Measure matches against the known ones of a snapshot, of which there is one at least.

    Records are drawn again with replacement, each with its pairs. Known matches that blocking missed count as missed.
    `margin` is what `Difference.risk` goes by.
    """
    students = [challenger, current] if current else [challenger]
    rows = _by_record(snapshot, students)
    whole, drawn = rows.sum(axis=0), resampled(rows, seed)
    values = [float(measures(*whole[i : i + 3])["f1"]) for i in range(0, len(whole), 3)]
    draws = [measures(*drawn[:, i : i + 3].T)["f1"] for i in range(0, len(whole), 3)]
    estimates = [estimate(*both) for both in zip(values, draws, strict=True)]
    known = snapshot.count(snapshot.relation(KNOWN))
    if current is None:
        return AgainstGold(known, estimates[0])
    apart = draws[0] - draws[1]
    return AgainstGold(
        known=known,
        challenger=estimates[0],
        current=estimates[1],
        difference=estimate(values[0] - values[1], apart),
        risk=float((apart < -margin).mean()),
    )


def fingerprint(snapshot: Snapshot) -> str:
    """A hash of the known matches, whatever their order."""
    content = "count(*) || ' ' || bit_xor(md5_number_lower(concat_ws(chr(31), *columns(*))))"
    return str(snapshot.table(KNOWN).aggregate(content).fetchall()[0][0])


def _by_record(snapshot: Snapshot, students: Sequence[Decided]) -> np.ndarray:
    """For each record and each student: how many of its matches are right, how many it has, how many are known."""
    joins, counts = [], []
    for i, student in enumerate(students):
        pairs = comparable_pairs(snapshot.connection.sql(f"from {student.matches}")).sql_query()
        joins.append(_JOIN.format(number=i, pairs=pairs))
        counts.append(_COUNTS.format(number=i))
    query = _BY_RECORD.format(known=snapshot.relation(KNOWN), counts=", ".join(counts), joins=" ".join(joins))
    columns = snapshot.connection.sql(query).to_arrow_table().columns
    return np.column_stack([column.to_numpy() for column in columns]).astype(np.float64)


def _row(snapshot: Snapshot, query: str) -> dict[str, Any]:
    """The one row of a query, by its columns."""
    (row,) = snapshot.connection.sql(query).to_arrow_table().to_pylist()
    return {name: float(value) if name == "pairs_changed" else int(value) for name, value in row.items()}
