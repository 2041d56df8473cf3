"""Calibrate choices: how much a pair's odds count among its rivals, from the tuples that teachers answered.

A pair is judged alone by a model that learned from all candidates, most of which are no match; that a candidate is the
best of its tuple, and that the teacher finds a match in nine tuples of ten, is in no pair. Two numbers, fitted to the
teachers' choices, bring it in.
"""

from __future__ import annotations

import numpy as np

from distiller_udf.students.choice import Choice
from distiller_udf.students.odds import sigmoid

SPREAD = {"sharpness": 0.5, "offset": 2.0}
"""Standard deviations of the prior: of the sharpness's logarithm around 0 and of the offset around 0."""

_FLOOR = 1e-4


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
