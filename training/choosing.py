"""Calibrate choices: how much a pair's odds count among its rivals, from the tuples that teachers answered.

A pair is judged alone by a model that learned from all candidates, most of which are no match; that a candidate is the
best of its tuple, and that the teacher finds a match in nine tuples of ten, is in no pair. Two numbers, fitted to the
teachers' choices, bring it in.
"""

from __future__ import annotations

import numpy as np

from distiller_udf.students.choice import Choice, among_groups
from distiller_udf.students.odds import sigmoid

from .pool import Pool

SPREAD = {"sharpness": 0.5, "offset": 2.0}
"""Standard deviations of the prior: of the sharpness's logarithm around 0 and of the offset around 0."""

_FLOOR = 1e-4


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
