"""From the odds of pairs to the probability of a choice: candidates of a record compete with each other and with none.

Where a record matches at most one other, pairs exclude each other. The probability of a set of matches is then
proportional to the product of its pairs' odds, over all sets in which no record occurs twice (the monomer-dimer model),
and a pair's probability is its share of all these sets. Belief propagation finds it in a few passes over the pairs
(Bayati, Gamarnik, Katz, Nair and Tetali 2007, "Simple deterministic approximation algorithms for counting matchings").
Where only the left record's candidates are known, this is the softmax over them and none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from distiller_udf.students.base import StudentInfo
from distiller_udf.students.linkage import average_linkage
from distiller_udf.students.odds import logit, sigmoid

PASSES = 300
TOLERANCE = 1e-4
"""Passes stop when no pair's log odds change by more; chains of strong equal rivals take the most passes."""

_MAXIMUM = 30.0


@dataclass(frozen=True)
class Choice:
    """How the log odds of pairs, each judged alone, become odds of a match among rivals: sharpness * log odds + offset.

    A student has two: for tuples seen one by one (`alone`) and for all of them together (`linked`), where records
    compete from both sides.
    """

    sharpness: float = 1.0
    offset: float = 0.0

    @classmethod
    def read(cls, state: Mapping[str, float]) -> Choice:
        """From the manifest's mapping."""
        return cls(float(state["sharpness"]), float(state["offset"]))

    def probabilities(self, pairs: np.ndarray, lefts: np.ndarray, rights: np.ndarray | None = None) -> np.ndarray:
        """The probability that each pair is the match of its records, NaN where its own probability is.

        `pairs` are the probabilities of the pairs alone; those that share an integer in `lefts` have the left record in
        common, likewise `rights` (without it, no pairs do). Pairs that share both are copies of one pair: they do not
        compete, and have the same probability.
        """
        result: np.ndarray = np.array(pairs, dtype=np.float64)
        known = np.flatnonzero(~np.isnan(result))
        if len(known):
            left_ends = np.unique(np.asarray(lefts)[known], return_inverse=True)[1]
            right_ends = np.arange(len(known))
            if rights is not None:
                right_ends = np.unique(np.asarray(rights)[known], return_inverse=True)[1]
            _, first, copies = np.unique(pair_numbers(left_ends, right_ends), return_index=True, return_inverse=True)
            log_odds = self.sharpness * logit(result[known][first]) + self.offset
            result[known] = marginals(log_odds, left_ends[first], right_ends[first])[copies]
        return result


def choose_alone(info: StudentInfo, pairs: np.ndarray, tuples: np.ndarray, rights: np.ndarray) -> np.ndarray:
    """The choice probabilities of pairs where only the candidates of the same tuple compete; NaN stays NaN.

    Pairs of a tuple that share an integer in `rights` are copies (`Records.distinct` numbers them by content); see
    `Choice.probabilities`. Without a constraint nothing competes and they are those of the pairs.
    """
    state = info.choice.get("alone")
    if state is None:
        return np.array(pairs, dtype=np.float64)
    numbered = (np.unique(ends, return_inverse=True)[1] for ends in (tuples, rights))
    return Choice.read(state).probabilities(pairs, tuples, pair_numbers(*numbered))


def choose_linked(info: StudentInfo, pairs: np.ndarray, lefts: np.ndarray, rights: np.ndarray) -> np.ndarray:
    """The choice probabilities of pairs that are all known; see `Choice.probabilities`, `among_groups`.

    Without a constraint the same record has the same number in `lefts` and in `rights`.
    """
    if not info.constraint.limits_left:
        return among_groups(pairs, info.threshold, lefts, rights)
    state = info.choice.get("linked")
    if state is None:
        return np.array(pairs, dtype=np.float64)
    return Choice.read(state).probabilities(pairs, lefts, rights)


def among_groups(pairs: np.ndarray, threshold: float, lefts: np.ndarray, rights: np.ndarray) -> np.ndarray:
    """The probability of each pair given all others where any number may be one entity; see `average_linkage`.

    `pairs` are the probabilities of the pairs alone, NaN where there is none, and `threshold` is where they begin to
    speak for a match. Records are numbered by the same numbers on both sides.
    """
    result: np.ndarray = np.array(pairs, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(result))
    if len(known):
        zero = logit(np.asarray(threshold))
        numbers = np.unique(np.concatenate([lefts[known], rights[known]]), return_inverse=True)[1].reshape(2, -1)
        result[known] = sigmoid(zero + average_linkage(logit(result[known]) - zero, *numbers))
    return result


def marginals(log_odds: np.ndarray, lefts: np.ndarray, rights: np.ndarray) -> np.ndarray:
    """The probability of each pair where no record may be in two matches: shape as `log_odds`.

    No pair occurs twice. Exact, to `TOLERANCE`, where the pairs form no cycles, otherwise close.
    """
    odds = np.exp(np.clip(log_odds, -_MAXIMUM, _MAXIMUM))
    _, lefts = np.unique(lefts, return_inverse=True)
    _, rights = np.unique(rights, return_inverse=True)
    to_left, joint = np.ones(len(odds)), odds
    for _ in range(PASSES):
        before = joint
        to_right = _free(odds * to_left, lefts)
        to_left = _free(odds * to_right, rights)
        joint = odds * to_right * to_left
        if np.abs(np.log(joint / before)).max(initial=0.0) < TOLERANCE:
            break
    return np.asarray(joint / (1.0 + joint))


def pair_numbers(lefts: np.ndarray, rights: np.ndarray) -> np.ndarray:
    """One number for each pair of numbers from 0, the same for the same pair."""
    return np.asarray(lefts * (rights.max(initial=0) + 1) + rights)


def _free(claims: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The probability that a record is free for a pair as far as its other pairs are concerned."""
    others = np.bincount(ends, claims)[ends] - claims
    # The subtraction leaves a rounding error of the largest claim, which may be far above what the others sum to.
    return np.asarray(1.0 / (1.0 + np.maximum(others, 0.0)))
