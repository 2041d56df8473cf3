"""Fit the line of a pair model: logistic regression in which more similarity never speaks against a match."""

from __future__ import annotations

import numpy as np

from distiller_udf.students.pair_model import Line, Scale

from .rows import Rows

STEPS = 100


def fit_line(rows: Rows, directions: list[int], scale: Scale, ridge: float) -> Line:
    """Weighted logistic regression with the penalty `ridge` / 2 * weights², by bounded quasi-Newton steps (L-BFGS-B).

    `directions` bound each feature's weight: 1 = not below 0, -1 = not above 0, 0 = free.
    """
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    inputs = scale.apply(rows.matrix)
    free = [(None, None)] * (inputs.shape[1] - len(directions) + 1)
    bounds = [_BOUNDS[direction] for direction in directions] + free

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = parameters[:-1], parameters[-1]
        scores = inputs @ weights + bias
        errors = np.logaddexp(0.0, scores) - rows.labels * scores
        slopes = rows.weights * (1.0 / (1.0 + np.exp(-np.clip(scores, -40, 40))) - rows.labels)
        value = rows.weights @ errors + ridge / 2 * weights @ weights
        return float(value), np.append(inputs.T @ slopes + ridge * weights, slopes.sum())

    start = np.zeros(inputs.shape[1] + 1)
    # Hundreds of small products: several threads would wait for one another longer than they work.
    with threadpool_limits(1, user_api="blas"):
        found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": STEPS}).x
    return Line(scale, found[:-1], float(found[-1]))


def mean_line(lines: list[Line]) -> Line:
    """The line whose score is the mean of theirs; they share a scale."""
    weights = np.mean([line.weights for line in lines], axis=0)
    return Line(lines[0].scale, weights, float(np.mean([line.bias for line in lines])))


_BOUNDS = {1: (0.0, None), -1: (None, 0.0), 0: (None, None)}
