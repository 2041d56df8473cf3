"""Self-training: unlabelled tuples on which the student is clear teach it what the labelled ones look unlike.

The selection shows the teacher an unusual part of the data (say, the most similar records). A student trained on
that part alone misjudges the rest. So it decides unlabelled tuples itself and learns from those with a clear winner;
the others are left out, because "none" there may only mean "unlike anything labelled".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distiller_udf.records import Records

from .boosting import Rows

WEIGHT = 0.2
"""Weight of a self-labelled pair; the teacher's have 1."""

CLEAR = 0.25
"""Choice probability from which the best candidate of a tuple counts as its match."""

MAX_ROWS = 20_000
"""Unlabelled pairs to learn from: more only takes longer."""


@dataclass(frozen=True)
class Unlabelled:
    """Unlabelled candidate pairs in features, with their tuple and the number of their right record."""

    matrix: np.ndarray
    tuples: np.ndarray
    rights: np.ndarray


def unlabelled_rows(
    left: Records, right: Records, tuples: np.ndarray, labelled: Records, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the candidate pairs of whole unlabelled tuples, at most about MAX_ROWS, and their right records.

    A tuple whose left record was labelled is left out.
    """
    known = set(labelled.take(labelled.distinct[0]).texts())
    first, inverse = left.distinct
    is_known = np.asarray([text in known for text in left.take(first).texts()], dtype=bool)[inverse]
    _, group = np.unique(tuples, return_inverse=True)
    is_known = (np.bincount(group, is_known) > 0)[group] if len(group) else is_known
    free = np.unique(group[~is_known])
    shuffled = np.random.default_rng(seed).permutation(free)
    enough = np.searchsorted(np.cumsum(np.bincount(group, minlength=1)[shuffled]), MAX_ROWS, side="right")
    rows = np.flatnonzero(np.isin(group, shuffled[:enough]))
    return rows, right.take(rows).distinct[1]


def self_labelled(unlabelled: Unlabelled, choices: np.ndarray) -> Rows:
    """The tuples with a clear winner, labelled by it: the best of its tuple and the best for its right record."""
    winner = (choices >= CLEAR) & best_of(choices, unlabelled.tuples) & best_of(choices, unlabelled.rights)
    rows = np.isin(unlabelled.tuples, unlabelled.tuples[winner])
    labels = winner[rows].astype(np.float64)
    return Rows(unlabelled.matrix[rows], labels, np.full(len(labels), WEIGHT), unlabelled.tuples[rows])


def best_of(scores: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Boolean mask: the first best row of each group."""
    order = np.lexsort((-scores, groups))
    first = np.ones(len(order), dtype=bool)
    first[1:] = groups[order[1:]] != groups[order[:-1]]
    mask = np.zeros(len(order), dtype=bool)
    mask[order[first]] = True
    return mask
