"""The strategies random, max and top2: a score for each left record, the highest and the lowest ones."""

from __future__ import annotations

import numpy as np

from distiller_udf.selection.profiles import Chosen, Pool, in_turns


def at_random(wanted: int) -> Chosen:
    """The first of the draw, without scores."""
    return Chosen(np.arange(wanted), np.full(wanted, np.nan))


def extremes(pool: Pool, strategy: str, wanted: int, from_top: int) -> Chosen:
    """The highest and the lowest best similarities (max), or leads of the best over the second (top2), in turns."""
    scores = pool.best if strategy == "max" else pool.best - pool.second
    ranked = np.lexsort((pool.draw, -scores))  # the draw breaks ties
    rows = in_turns(ranked[:from_top], ranked[::-1][: wanted - from_top])
    return Chosen(rows, scores[rows])
