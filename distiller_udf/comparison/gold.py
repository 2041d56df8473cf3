"""Decisions on all pairs against known matches: F1 with its interval, of two students and of their difference."""

from __future__ import annotations

import numpy as np

from distiller_udf.comparison.comparison import AgainstGold
from distiller_udf.comparison.decisions import encoded
from distiller_udf.comparison.figures import estimate, measures, resampled


def against_gold(
    known: np.ndarray, challenger: np.ndarray, current: np.ndarray | None, margin: float, seed: int = 0
) -> AgainstGold:
    """Measure matches (pairs of record numbers) against known ones; left records are drawn again with replacement.

    Known matches that blocking missed count as missed. `margin` is what `Difference.risk` goes by.
    """
    students = [pairs for pairs in (challenger, current) if pairs is not None]
    rows = np.hstack([by_left_record(known, pairs, [known, *students]) for pairs in students])
    whole, drawn = rows.sum(axis=0), resampled(rows, seed)
    values = [float(measures(*whole[i : i + 3])["f1"]) for i in range(0, len(whole), 3)]
    draws = [measures(*drawn[:, i : i + 3].T)["f1"] for i in range(0, len(whole), 3)]
    estimates = [estimate(*both) for both in zip(values, draws, strict=True)]
    if current is None:
        return AgainstGold(len(known), estimates[0])
    apart = draws[0] - draws[1]
    return AgainstGold(
        known=len(known),
        challenger=estimates[0],
        current=estimates[1],
        difference=estimate(values[0] - values[1], apart),
        risk=float((apart < -margin).mean()),
    )


def by_left_record(known: np.ndarray, matched: np.ndarray, units: list[np.ndarray]) -> np.ndarray:
    """Of each left record in `units`: how many of its matches are right, how many it has, how many are known."""
    lefts = np.unique(np.concatenate([pairs[:, 0] for pairs in units]))

    def counted(pairs: np.ndarray) -> np.ndarray:
        return np.bincount(np.searchsorted(lefts, pairs[:, 0]), minlength=len(lefts))

    right = matched[np.isin(encoded(matched), encoded(known))]
    return np.column_stack([counted(right), counted(matched), counted(known)]).astype(np.float64)
