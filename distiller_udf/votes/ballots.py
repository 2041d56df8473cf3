"""Votes about units, each for none or for one of the unit's candidates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ballots:
    """Votes about units: `unit`, `teacher` and `voted` (0 = none, else the candidate, from 1) have one entry a vote.

    `sizes` is the number of candidates of each unit. A unit has one slot for none and one for each candidate; the slots
    of all units lie one after the other, a unit's first at `starts`.
    """

    unit: np.ndarray
    teacher: np.ndarray
    voted: np.ndarray
    sizes: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """The slot for none of each unit."""
        return np.concatenate([[0], np.cumsum(self.sizes + 1)])[:-1].astype(np.int64)

    @property
    def slots(self) -> np.ndarray:
        """The slot that each vote is for."""
        return np.asarray(self.starts[self.unit] + self.voted)

    @property
    def tally(self) -> np.ndarray:
        """How many votes each slot has."""
        return np.bincount(self.slots, minlength=int((self.sizes + 1).sum()))

    def per_slot(self, values: np.ndarray) -> np.ndarray:
        """One value a unit, repeated for its slots."""
        return np.repeat(values, self.sizes + 1)

    def sums(self, slots: np.ndarray) -> np.ndarray:
        """The sum over each unit's slots."""
        return np.add.reduceat(slots, self.starts) if len(self.sizes) else np.zeros(0)

    def best(self, slots: np.ndarray) -> np.ndarray:
        """The largest value among each unit's slots."""
        return np.maximum.reduceat(slots, self.starts) if len(self.sizes) else np.zeros(0)
