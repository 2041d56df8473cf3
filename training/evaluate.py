"""Which threshold serves decisions best, and which row of a group is the likeliest."""

from __future__ import annotations

import numpy as np

LARGEST = float(np.nextafter(1.0, 0.0))
"""No threshold is 1: a student may be that sure, but not more."""


def f1_threshold(probabilities: np.ndarray) -> float:
    """The threshold that maximises the expected F1 of calibrated probabilities.

    With calibrated probabilities the best threshold is half the best F1 (Lipton, Elkan and Naryanaswamy, 2014),
    which smooths what the few labels themselves would say.
    """
    ranked = np.sort(probabilities)[::-1]
    if len(ranked) == 0 or ranked.sum() <= 0:
        return 0.5
    f1 = 2 * np.cumsum(ranked) / (np.arange(1, len(ranked) + 1) + ranked.sum())
    return float(np.clip(f1.max() / 2, 0.05, 0.5))


def precision_threshold(
    probabilities: np.ndarray, truth: np.ndarray, target: float, weights: np.ndarray | None = None
) -> float:
    """The lowest threshold from which on decisions keep the precision `target`, judged by held-out labels in [0, 1].

    `weights` say how much each label counts, 1 without them. Where no threshold keeps it, the highest one that is left:
    only what is surer than all that was labelled matches.
    """
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    weights = np.ones(len(truth)) if weights is None else weights
    precision = np.cumsum((weights * truth)[order]) / np.cumsum(weights[order])
    # Pairs of equal probability are decided alike, so that only the last of them can be a threshold.
    last = np.append(ranked[1:] != ranked[:-1], True)
    kept = np.flatnonzero(last & (precision >= target))
    found = ranked[kept[-1]] if len(kept) else np.nextafter(ranked.max(initial=0.5), 1.0)
    return float(np.clip(found, 1e-6, LARGEST))


def best_of(scores: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Boolean mask: the first best row of each group."""
    order = np.lexsort((-scores, groups))
    first = np.ones(len(order), dtype=bool)
    first[1:] = groups[order[1:]] != groups[order[:-1]]
    mask = np.zeros(len(order), dtype=bool)
    mask[order[first]] = True
    return mask
