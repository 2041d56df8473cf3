"""All pairs that training sees, labelled or not: which compete for the same record, and how one of them is chosen.

A pair is judged alone by a model that learned from all candidates, most of which are no match; that a candidate is the
best of its tuple, and that the teacher finds a match in nine tuples of ten, is in no pair. Two numbers, fitted to the
teachers' choices, bring it in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distiller_udf.constraint import Constraint
from distiller_udf.records import Records
from distiller_udf.students.choice import Choice, among_groups, pair_numbers
from distiller_udf.students.odds import sigmoid

from .labelled import LabelledPairs

MAX_ROWS = 50_000
"""Unlabelled pairs to learn from: more only takes longer."""

SPREAD = {"sharpness": 0.5, "offset": 2.0}
"""Standard deviations of the prior: of the sharpness's logarithm around 0 and of the offset around 0."""

_FLOOR = 1e-4


@dataclass(frozen=True)
class Pool:
    """Labelled pairs, then unlabelled ones; `lefts` and `rights` number their ends, in this order.

    Pairs that share an end compete for it: a left end is a tuple, a right end a record, where that may have one match
    only; otherwise a record within a tuple. `left` and `right` are the unlabelled pairs' records, of whole tuples.
    """

    left: Records
    right: Records
    lefts: np.ndarray
    rights: np.ndarray
    constraint: Constraint = Constraint.ONE_TO_ONE

    @classmethod
    def of(
        cls,
        pairs: LabelledPairs,
        left: Records,
        right: Records,
        tuples: np.ndarray | None,
        seed: int,
        constraint: Constraint = Constraint.ONE_TO_ONE,
    ) -> Pool:
        """Take at most about MAX_ROWS candidate pairs of tuples whose left record was not labelled.

        Row i of `left` and `right` is a candidate pair; rows that share an integer in `tuples` are a tuple, without it
        those of the same left record. Right records are told apart by their content.
        """
        groups = left.distinct[1] if tuples is None else np.unique(tuples, return_inverse=True)[1]
        rows = _unlabelled(left, groups, pairs.left, seed)
        left, right = left.take(rows), right.take(rows)
        _, questions = np.unique(pairs.tuples, return_inverse=True)
        lefts = np.concatenate([questions, groups[rows] + questions.max(initial=-1) + 1])
        codes: dict[str, int] = {}
        rights = np.concatenate([_codes(side, codes) for side in (pairs.right, right)])
        if not constraint.limits_left:
            lefts = np.concatenate([_codes(side, codes) for side in (pairs.left, left)])
        elif not constraint.limits_right:
            rights = pair_numbers(lefts, rights)
        return cls(left, right, lefts, rights, constraint)

    def of_labelled(self, rows: np.ndarray) -> Pool:
        """The labelled pairs at the given positions alone."""
        none = np.zeros(0, dtype=np.int64)
        return Pool(self.left.take(none), self.right.take(none), self.lefts[rows], self.rights[rows], self.constraint)


def _unlabelled(left: Records, groups: np.ndarray, labelled: Records, seed: int) -> np.ndarray:
    """Positions of the pairs of some unlabelled tuples; one whose left record was labelled is left out."""
    known = set(labelled.take(labelled.distinct[0]).texts())
    first, inverse = left.distinct
    is_known = np.asarray([text in known for text in left.take(first).texts()], dtype=bool)[inverse]
    is_known = (np.bincount(groups, is_known) > 0)[groups] if len(groups) else is_known
    free = np.unique(groups[~is_known])
    shuffled = np.random.default_rng(seed).permutation(free)
    enough = np.searchsorted(np.cumsum(np.bincount(groups, minlength=1)[shuffled]), MAX_ROWS, side="right")
    return np.asarray(np.flatnonzero(np.isin(groups, shuffled[:enough])))


def _codes(records: Records, codes: dict[str, int]) -> np.ndarray:
    """A number for each record's content, the same for the same content."""
    first, inverse = records.distinct
    numbers = [codes.setdefault(text, len(codes)) for text in records.take(first).texts()]
    return np.asarray(np.asarray(numbers, dtype=np.int64)[inverse])


def among_rivals(
    log_odds: np.ndarray, labels: np.ndarray, tuples: np.ndarray, pool: Pool, threshold: float = 0.5
) -> tuple[Choice | None, np.ndarray]:
    """How the pairs of a pool compete, and the probabilities that follow; without a constraint nothing is fitted.

    Labels and tuples are those of the pool's first pairs. `threshold` is what a pair by itself has to reach.
    """
    probabilities = sigmoid(log_odds)
    if not pool.constraint.limits_left:
        return None, among_groups(probabilities, threshold, pool.lefts, pool.rights)
    # Where right records do not compete, no unlabelled tuple has a say in a labelled one.
    known = slice(None) if pool.constraint.limits_right else slice(len(labels))
    choice = fit_choice(log_odds[known], pool.lefts[known], pool.rights[known], labels, tuples)
    return choice, choice.probabilities(probabilities, pool.lefts, pool.rights)


def fit_choice(
    log_odds: np.ndarray, lefts: np.ndarray, rights: np.ndarray | None, labels: np.ndarray, tuples: np.ndarray
) -> Choice:
    """The choice under which the labelled tuples' answers are likeliest, given a weak prior.

    The first len(`labels`) pairs are labelled, `labels` in [0, 1], and belong to `tuples`, numbered from 0; their log
    odds come from models that have not seen them. The others only compete.
    """
    from scipy.optimize import minimize

    probabilities = sigmoid(log_odds)
    none = np.clip(1.0 - np.bincount(tuples, labels), 0.0, 1.0)

    def loss(parameters: np.ndarray) -> float:
        choice = Choice(float(np.exp(parameters[0])), float(parameters[1]))
        found = np.clip(choice.probabilities(probabilities, lefts, rights)[: len(labels)], _FLOOR, 1 - _FLOOR)
        left_over = np.clip(1.0 - np.bincount(tuples, found), _FLOOR, 1.0)
        likelihood = labels @ np.log(found) + none @ np.log(left_over)
        prior = (parameters[0] / SPREAD["sharpness"]) ** 2 + (parameters[1] / SPREAD["offset"]) ** 2
        return float(prior / 2 - likelihood)

    options = {"maxiter": 80, "xatol": 0.01, "fatol": 0.01}
    best = minimize(loss, np.array([0.0, 1.0]), method="Nelder-Mead", options=options).x
    return Choice(float(np.exp(best[0])), float(best[1]))
