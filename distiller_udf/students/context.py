"""A pair among its rivals: what the other candidates of the same left record say about it."""

from __future__ import annotations

import numpy as np

CONTEXT = {"logit": 1, "gap": 1, "rivals": -1, "rank": -1, "candidates": 0}
"""Context features in order, and how the choice probability may move with each (1 up, -1 down, 0 either way)."""

MAXIMUM_LOGIT = 12.0


def logit(probabilities: np.ndarray) -> np.ndarray:
    """Log odds, kept within ±MAXIMUM_LOGIT."""
    clipped = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-9, 1 - 1e-9)
    return np.asarray(np.clip(np.log(clipped / (1 - clipped)), -MAXIMUM_LOGIT, MAXIMUM_LOGIT))


def sigmoid(scores: np.ndarray) -> np.ndarray:
    """The probability of log odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(scores, -40.0, 40.0))))


def context_features(probabilities: np.ndarray, tuples: np.ndarray) -> np.ndarray:
    """Context features of each row from pair probabilities alone: float64, shape (rows, len(CONTEXT)).

    `tuples` holds one integer a row; rows that share it compete. `logit` is the row's own evidence, `gap` how far
    it leads the best other row (or trails it), `rivals` the log odds that some other row is the match.
    """
    scores = logit(probabilities)
    rows = len(scores)
    if rows == 0:
        return np.zeros((0, len(CONTEXT)))
    _, group = np.unique(tuples, return_inverse=True)
    counts = np.bincount(group)
    starts = np.cumsum(counts) - counts
    order = np.lexsort((-scores, group))
    rank = np.empty(rows)
    rank[order] = np.arange(rows) - np.repeat(starts, counts)
    ranked = scores[order]
    best = ranked[starts]
    second = np.full(len(counts), -MAXIMUM_LOGIT)
    several = counts > 1
    second[several] = ranked[starts[several] + 1]
    best_other = np.where(rank == 0, second[group], best[group])
    # Equal rows must get equal features, so rank counts only the rows that are strictly better.
    rank = _strictly_better(scores, group, rank, order)
    odds = np.exp(scores)
    rivals = np.log(np.maximum(np.bincount(group, odds)[group] - odds, 1e-6))
    return np.column_stack([scores, scores - best_other, rivals, rank, counts[group]])


def _strictly_better(scores: np.ndarray, group: np.ndarray, rank: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The rank of each row with ties sharing the best one."""
    first = np.ones(len(order), dtype=bool)
    first[1:] = (scores[order[1:]] != scores[order[:-1]]) | (group[order[1:]] != group[order[:-1]])
    leader = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    shared = np.empty(len(order))
    shared[order] = rank[order][leader]
    return shared
