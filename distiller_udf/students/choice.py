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
from distiller_udf.students.odds import logit

PASSES = 30
TOLERANCE = 1e-4
"""Passes stop when no message changes by more."""

_MAXIMUM = 25.0


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

    def probabilities(
        self, probabilities: np.ndarray, lefts: np.ndarray, rights: np.ndarray | None = None
    ) -> np.ndarray:
        """The probability that each pair is the match of its records, NaN where its own probability is.

        `probabilities` are those of the pairs alone; pairs that share an integer in `lefts` have the left record in
        common, likewise `rights`. Without `rights` only the candidates of one left record compete.
        """
        result: np.ndarray = np.array(probabilities, dtype=np.float64)
        known = np.flatnonzero(~np.isnan(result))
        if len(known):
            log_odds = self.sharpness * logit(result[known]) + self.offset
            right_ends = np.arange(len(known)) if rights is None else np.asarray(rights)[known]
            result[known] = marginals(log_odds, np.asarray(lefts)[known], right_ends)
        return result


def choose(
    info: StudentInfo, probabilities: np.ndarray, lefts: np.ndarray, rights: np.ndarray | None = None
) -> np.ndarray:
    """The choice probabilities of a student's pairs; see `Choice.probabilities`.

    Where the student was trained for several matches a record, nothing competes and they are those of the pairs.
    """
    state = info.choice.get("alone" if rights is None else "linked")
    if state is None:
        return np.array(probabilities, dtype=np.float64)
    return Choice.read(state).probabilities(probabilities, lefts, rights)


def marginals(log_odds: np.ndarray, lefts: np.ndarray, rights: np.ndarray) -> np.ndarray:
    """The probability of each pair where no record may be in two matches: shape as `log_odds`.

    Exact where the pairs form no cycles, otherwise close.
    """
    odds = np.exp(np.clip(log_odds, -_MAXIMUM, _MAXIMUM))
    _, lefts = np.unique(lefts, return_inverse=True)
    _, rights = np.unique(rights, return_inverse=True)
    to_right, to_left = np.ones(len(odds)), np.ones(len(odds))
    for _ in range(PASSES):
        before = to_left
        to_right = _free(odds * to_left, lefts)
        to_left = _free(odds * to_right, rights)
        if np.abs(to_left - before).max(initial=0.0) < TOLERANCE:
            break
    joint = odds * to_right * to_left
    return np.asarray(joint / (1.0 + joint))


def _free(claims: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The probability that a record is free for a pair as far as its other pairs are concerned."""
    others = np.bincount(ends, claims)[ends] - claims
    # The subtraction leaves a rounding error of the largest claim, which may be far above what the others sum to.
    return np.asarray(1.0 / (1.0 + np.maximum(others, 0.0)))
