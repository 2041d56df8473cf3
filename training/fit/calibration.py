"""Calibrate what a model says, on pairs that it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Prior:
    """Standard deviations of the slope's logarithm and of the intercept, around 0: nothing changes."""

    slope: float
    intercept: float


FINE_TUNED = Prior(0.5, 1.0)
"""A model that was trained by its log odds' own loss means them as they are."""

PENALISED = Prior(1.0, 3.0)
"""The penalty of a line draws its scores together, and a few labels let them say little."""


def calibration(
    log_odds: np.ndarray, labels: np.ndarray, weights: np.ndarray, prior: Prior = FINE_TUNED
) -> tuple[float, float]:
    """Slope and intercept of the logistic curve through held-out log odds (Platt, 1999), under a prior.

    `labels` are in [0, 1]. A few dozen held-out pairs are often told apart without a mistake, which would make any
    model certain if there were no prior. The slope is above 0: where scores say nothing, their order stays.
    """
    from scipy.optimize import minimize

    def loss(parameters: np.ndarray) -> float:
        calibrated = np.exp(parameters[0]) * log_odds + parameters[1]
        unlikely = (parameters[0] / prior.slope) ** 2 + (parameters[1] / prior.intercept) ** 2
        return float(weights @ losses(calibrated, labels) + unlikely / 2)

    best = minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-6}).x
    return float(np.exp(best[0])), float(best[1])


def losses(log_odds: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The binary cross-entropy of each pair: minus the log-probability of its soft label."""
    return np.asarray(np.logaddexp(0.0, log_odds) - labels * log_odds)
