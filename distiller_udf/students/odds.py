"""Probabilities as log odds, the unit in which evidence adds up."""

from __future__ import annotations

import numpy as np

MAXIMUM_LOGIT = 20.0


def logit(probabilities: np.ndarray) -> np.ndarray:
    """Log odds, kept within ±MAXIMUM_LOGIT."""
    clipped = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-9, 1 - 1e-9)
    return np.asarray(np.clip(np.log(clipped / (1 - clipped)), -MAXIMUM_LOGIT, MAXIMUM_LOGIT))


def sigmoid(scores: np.ndarray) -> np.ndarray:
    """The probability of log odds, below 1 and above 0."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(scores, -35.0, 35.0))))
