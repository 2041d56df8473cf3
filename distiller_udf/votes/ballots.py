"""Votes about units, each for none or for one of the unit's candidates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

ABSTAINED = -1
"""The choice of a teacher, or the winner of a vote, where there is none."""


@dataclass(frozen=True)
class Ballots:
    """Votes of a number of `teachers`: one entry a vote in `unit`, `teacher`, `voted` (0 = none, else the candidate).

    `sizes` is the number of candidates of each unit. A unit has one slot for none and one for each candidate; the slots
    of all units lie one after the other, a unit's first at `starts`.
    """

    teachers: int
    unit: np.ndarray
    teacher: np.ndarray
    voted: np.ndarray
    sizes: np.ndarray

    @cached_property
    def starts(self) -> np.ndarray:
        """The slot for none of each unit."""
        return np.asarray(np.cumsum(self.sizes + 1) - self.sizes - 1)

    @cached_property
    def slots(self) -> np.ndarray:
        """The slot that each vote is for."""
        return np.asarray(self.starts[self.unit] + self.voted)

    @cached_property
    def tally(self) -> np.ndarray:
        """How many votes each slot has."""
        return np.bincount(self.slots, minlength=int((self.sizes + 1).sum()))

    @cached_property
    def total(self) -> np.ndarray:
        """How many votes each unit has."""
        return np.bincount(self.unit, minlength=len(self.sizes))

    @cached_property
    def compared(self) -> np.ndarray:
        """The units with candidates that two teachers at least have voted on."""
        return np.asarray((self.sizes > 0) & (self.total > 1))

    def per_slot(self, values: np.ndarray) -> np.ndarray:
        """One value a unit, repeated for its slots."""
        return np.repeat(values, self.sizes + 1)

    def sums(self, slots: np.ndarray) -> np.ndarray:
        """The sum over each unit's slots."""
        return np.add.reduceat(slots, self.starts)

    def best(self, slots: np.ndarray) -> np.ndarray:
        """The largest value among each unit's slots."""
        return np.maximum.reduceat(slots, self.starts)

    def of(self, slots: np.ndarray, winner: np.ndarray) -> np.ndarray:
        """The value of each unit's winner; the largest one where there is no winner."""
        return np.where(winner == ABSTAINED, self.best(slots), slots[self.starts + np.maximum(winner, 0)])
