"""All pairs that training sees, labelled or not, and which of them compete for the same record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distiller_udf.constraint import Constraint
from distiller_udf.records import Records
from distiller_udf.students.choice import pair_numbers

from .data import LabelledPairs

MAX_ROWS = 50_000
"""Unlabelled pairs to learn from: more only takes longer."""


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

    def labelled_only(self) -> Pool:
        """The pool without its unlabelled pairs."""
        return self.of_labelled(np.arange(len(self.lefts) - len(self.left)))

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
