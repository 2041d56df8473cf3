"""Which left records the teachers are asked about: pure functions of one row a left record that has candidates."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pyarrow as pa

from distiller_udf.constraint import Constraint
from distiller_udf.errors import one_of
from distiller_udf.records import one_array
from distiller_udf.selection.strategies import (
    LeftRecords,
    Selection,
    clustered,
    extremes,
    least_sure,
    uncertainty,
)

__all__ = ["STRATEGIES", "select", "uncertainty"]

STRATEGIES = ("random", "max", "top2", "kmeans", "hierarchical", "uncertain")


def select(
    table: pa.Table,
    *,
    strategy: str = "random",
    share: float = 0.1,
    minimum: int = 0,
    positive_ratio: float = 0.5,
    bins: int = 10,
    rounds: int = 4,
    seed: int = 42,
    constraint: Constraint = Constraint.ONE_TO_ONE,
) -> pa.Table:
    """The selected left records: `left_source`, `left_id`, `strategy`, `rank` (from 1), `score` and `round` (from 1).

    `table` has one row a left record: `left_source`, `left_id` (of any type), `id_text` (the id as text) and
    `similarities` (LIST of its candidates' similarities, from 0 to 1). `uncertain` also reads, where they are,
    `probabilities` (LIST of what the current student gives its candidates, NULL where it has not scored them),
    `selected` (by an earlier run), the `round` of that, and `labelled` (asked and answered, be it by an abstention;
    where it is missing, all that is selected counts as labelled).

    - random: drawn by a hash of the record's key and the seed.
    - max, top2: the highest and the lowest scores: the best similarity, or its lead over the second best.
    - kmeans, hierarchical: histograms of the similarities (the share of the candidates in each of `bins` from 0 to 1)
      are clustered into two; the cluster whose best similarities are higher on average holds the likely matches, and
      both are drawn from at random (DistillER, arXiv 2602.05452).
    - uncertain: a random first round, then, run by run, another one of `rounds` of those the student is least sure of,
      beside all that was asked before, until the share is reached. See `uncertainty`.

    `share` and `minimum` say how many, as far as there are so many; `positive_ratio` of them come from the likely
    matches (not in random and uncertain); likely matches and the others take turns in `rank`. The `constraint` says
    what `uncertain` is unsure of. The result does not
    depend on the order of the rows. Raises SettingsError for an unknown strategy.
    """
    one_of("the selection strategy", strategy, STRATEGIES)
    records = LeftRecords.of(table, seed)
    wanted = min(len(records), max(_share(len(records), share), minimum))
    from_top = _share(wanted, positive_ratio)
    if strategy == "random":
        chosen = Selection(np.arange(wanted), np.full(wanted, np.nan))  # the first of the draw
    elif strategy == "uncertain":
        chosen = least_sure(records, wanted, rounds, constraint)
    elif strategy in ("kmeans", "hierarchical"):
        chosen = clustered(records, strategy, wanted, from_top, bins, seed)
    else:
        chosen = extremes(records, strategy, wanted, from_top)
    return _as_table(table, records, strategy, chosen)


def _share(count: int, share: float) -> int:
    """A share of so many, rounded up; in decimals, so that a tenth of 70 is 7."""
    return math.ceil(count * Decimal(repr(float(share))))


def _as_table(table: pa.Table, records: LeftRecords, strategy: str, chosen: Selection) -> pa.Table:
    at = pa.array(records.row[chosen.rows])
    rounds = np.ones(len(at), dtype=np.int64) if chosen.rounds is None else chosen.rounds
    return pa.table(
        {
            "left_source": one_array(table["left_source"]).take(at),
            "left_id": one_array(table["left_id"]).take(at),
            "strategy": pa.array([strategy] * len(at), pa.string()),
            "rank": pa.array(np.arange(1, len(at) + 1), pa.int64()),
            "score": pa.array(chosen.scores, pa.float64(), mask=np.isnan(chosen.scores)),
            "round": pa.array(rounds, pa.int64()),
        }
    )
