"""Calibrate what a fine-tuned model says, on the pairs that it was not trained on."""

from __future__ import annotations

import numpy as np

SPREAD = {"slope": 0.5, "intercept": 1.0}
"""Standard deviations of the prior: of the slope's logarithm around 0 and of the intercept around 0."""


def calibration(log_odds: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the logistic curve through held-out log odds (Platt, 1999), under a strong prior.

    `labels` are in [0, 1]. A model that was trained by its log odds' own loss means them as they are: the prior is that
    nothing changes. A few dozen held-out pairs are often told apart without a mistake, which would make any model
    certain if there were no prior. The slope is above 0.
    """
    from scipy.optimize import minimize

    def loss(parameters: np.ndarray) -> float:
        calibrated = np.exp(parameters[0]) * log_odds + parameters[1]
        prior = (parameters[0] / SPREAD["slope"]) ** 2 + (parameters[1] / SPREAD["intercept"]) ** 2
        return float(weights @ losses(calibrated, labels) + prior / 2)

    best = minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-6}).x
    return float(np.exp(best[0])), float(best[1])


def losses(log_odds: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The binary cross-entropy of each pair: minus the log-probability of its soft label."""
    return np.asarray(np.logaddexp(0.0, log_odds) - labels * log_odds)
