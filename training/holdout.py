"""Which labelled pairs are kept from training, for a model that is trained once and judged on the rest."""

from __future__ import annotations

import numpy as np

from distiller_udf.errors import TrainingError
from distiller_udf.records import content_hash

from .data import LabelledPairs


def held_out(pairs: LabelledPairs, share: float, seed: int) -> np.ndarray:
    """Boolean mask of the pairs of about a `share` of the tuples, which are not trained on.

    Tuples about the same left record stay together. Those with a match and those without are divided one by one, so
    that both parts have some of each where there are two. Which ones is a matter of their content and the seed, never
    of the order of rows. Raises TrainingError where all tuples are about one record.
    """
    first, record = pairs.left.distinct
    matched = np.bincount(record, pairs.labels >= 0.5) > 0
    names = [content_hash(str(seed), text) for text in pairs.left.take(first).texts()]
    if len(names) < 2:
        raise TrainingError(
            "all labelled tuples are about one record, so nothing is left to judge the student by; label other records"
        )
    drawn = np.asarray(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)
    kept = [_first(part, share) for part in (drawn[matched[drawn]], drawn[~matched[drawn]])]
    chosen = np.concatenate(kept)
    # One record with a match and one without: training needs the match.
    return np.isin(record, chosen if len(chosen) else drawn[~matched[drawn]])


def _first(drawn: np.ndarray, share: float) -> np.ndarray:
    """A share of what was drawn, at least one, and never all."""
    return drawn[: min(max(1, round(share * len(drawn))), len(drawn) - 1)] if len(drawn) > 1 else drawn[:0]
