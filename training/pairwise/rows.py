"""Rows to learn from: what every way of training pairs is given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rows:
    """`matrix` (rows, features), `labels` in [0, 1], `weights`, and the tuple each row belongs to."""

    matrix: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    tuples: np.ndarray

    def take(self, rows: np.ndarray) -> Rows:
        """The rows given by mask or position."""
        return Rows(self.matrix[rows], self.labels[rows], self.weights[rows], self.tuples[rows])

    def joined(self, other: Rows) -> Rows:
        """These rows, then the others."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Rows(*(np.concatenate(pair) for pair in pairs))
