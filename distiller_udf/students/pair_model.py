"""The model of a pair: a line through its features, corrected by gradient-boosted trees, then calibrated.

The line carries on where no label was: the selection shows teachers the clear cases, and trees alone give all that lies
between them one value. The trees see what a line cannot.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

THREADS = os.cpu_count() or 1

CLIP = 4.0
"""Standard deviations from the mean beyond which a feature counts as that far."""


@dataclass(frozen=True)
class Scale:
    """How features become comparable: standardised, clipped, 0 where missing, and a column that says so.

    `mean` and `deviation` have one value a feature; `gaps` are the positions of the features that may be missing.
    """

    mean: np.ndarray
    deviation: np.ndarray
    gaps: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray) -> Scale:
        """Over rows of features in which NaN is missing."""
        missing = np.isnan(features)
        count = np.maximum((~missing).sum(axis=0), 1)
        mean = np.where(missing, 0.0, features).sum(axis=0, dtype=np.float64) / count
        squares = np.where(missing, 0.0, features - mean) ** 2
        deviation = np.sqrt(squares.sum(axis=0, dtype=np.float64) / count)
        return cls(mean, np.where(deviation > 1e-6, deviation, 1.0), np.flatnonzero(missing.any(axis=0)))

    def apply(self, features: np.ndarray) -> np.ndarray:
        """Shape (rows, features + gaps)."""
        scaled = np.clip((features - self.mean) / self.deviation, -CLIP, CLIP)
        missing = np.isnan(scaled)
        scaled[missing] = 0.0
        return np.column_stack([scaled, missing[:, self.gaps]])


@dataclass(frozen=True)
class Line:
    """Log odds as a weighted sum: `weights` has one value a column of `scale.apply`."""

    scale: Scale
    weights: np.ndarray
    bias: float

    def __call__(self, features: np.ndarray) -> np.ndarray:
        # Summed row by row: a matrix product rounds differently from batch to batch, columns from layout to layout.
        weighed = np.ascontiguousarray(self.scale.apply(features) * self.weights)
        return np.asarray(weighed.sum(axis=1) + self.bias)


@dataclass(frozen=True)
class PairModel:
    """Log odds = slope * (line + mean of the boosters) + intercept."""

    line: Line
    boosters: Sequence[Any]
    slope: float = 1.0
    intercept: float = 0.0

    def raw(self, features: np.ndarray) -> np.ndarray:
        """The score of each row before calibration."""
        score = self.line(features)
        if self.boosters:
            trees = [b.predict(features, raw_score=True, num_threads=THREADS) for b in self.boosters]
            score = score + np.mean(trees, axis=0)
        return np.asarray(score, dtype=np.float64)

    def log_odds(self, features: np.ndarray) -> np.ndarray:
        """Calibrated log odds of each row of `features`, shape (rows, features)."""
        return self.slope * self.raw(features) + self.intercept

    def save(self, folder: Path, name: str) -> dict[str, Any]:
        """Write the boosters as LightGBM text and return what else is needed to load them."""
        for i, booster in enumerate(self.boosters):
            # Written here rather than by LightGBM, which says nothing when the disk is full.
            (folder / f"{name}_{i}.txt").write_text(booster.model_to_string(), encoding="utf-8")
        return {
            "boosters": len(self.boosters),
            "slope": self.slope,
            "intercept": self.intercept,
            "bias": self.line.bias,
            "weights": self.line.weights.tolist(),
            "mean": self.line.scale.mean.tolist(),
            "deviation": self.line.scale.deviation.tolist(),
            "gaps": self.line.scale.gaps.tolist(),
        }

    @classmethod
    def load(cls, folder: Path, name: str, state: Mapping[str, Any]) -> PairModel:
        """Read what `save` wrote."""
        import lightgbm

        scale = Scale(np.array(state["mean"]), np.array(state["deviation"]), np.array(state["gaps"], dtype=np.int64))
        boosters = [lightgbm.Booster(model_file=folder / f"{name}_{i}.txt") for i in range(state["boosters"])]
        line = Line(scale, np.array(state["weights"]), float(state["bias"]))
        return cls(line, boosters, state["slope"], state["intercept"])
