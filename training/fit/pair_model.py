"""Cross-fitted pair models: every labelled row is also scored by models that have not seen its tuple."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from distiller_udf.settings.training import PairSettings
from distiller_udf.students.pair_model import Line, PairModel, Scale

from .calibration import PENALISED, calibration

STEPS = 100

_BOUNDS = {1: (0.0, None), -1: (None, 0.0), 0: (None, None)}
"""What each feature's weight may be, by its direction."""


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


@dataclass(frozen=True)
class CrossFit:
    """The calibrated model, and every labelled row's log odds from the parts that have not seen its tuple."""

    model: PairModel
    held_out: np.ndarray


def cross_fit(
    rows: Rows, directions: list[int], settings: PairSettings, scale: Scale, extra: Rows | None = None
) -> CrossFit:
    """Fit folds × repeats models by tuple; `extra` rows are learnt by every model and never held out."""
    lines: list[Line] = []
    boosters: list[Any] = []
    held_out = np.zeros(len(rows.labels))
    folds = min(settings.folds, len(np.unique(rows.tuples)))
    for repeat in range(settings.repeats):
        fold = _folds(rows, folds, settings.seed + repeat)
        for k in range(folds):
            outside = fold == k
            known = rows.take(~outside)
            known = known if extra is None else known.joined(extra)
            line = fit_line(known, directions, scale, settings.ridge)
            trees = _boosters(known, line, directions, settings, settings.seed * 1000 + repeat * folds + k)
            held_out[outside] += PairModel(line, trees).raw(rows.matrix[outside])
            lines.append(line)
            boosters += trees
    held_out /= settings.repeats
    slope, intercept = calibration(held_out, rows.labels, rows.weights, PENALISED)
    return CrossFit(PairModel(mean_line(lines), boosters, slope, intercept), slope * held_out + intercept)


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


def _folds(rows: Rows, folds: int, seed: int) -> np.ndarray:
    """A fold number for each row: whole tuples, those with a match spread evenly over the folds."""
    _, group = np.unique(rows.tuples, return_inverse=True)
    matched = np.bincount(group, rows.labels) >= 0.5
    order = np.random.default_rng(seed).permutation(len(matched))
    order = order[np.argsort(matched[order], kind="stable")]
    fold = np.empty(len(matched), dtype=np.int64)
    fold[order] = np.arange(len(matched)) % folds
    return np.asarray(fold[group])


def _boosters(rows: Rows, line: Line, directions: list[int], settings: PairSettings, seed: int) -> list[Any]:
    """The trees that correct a line, as one booster; none without rounds."""
    import lightgbm

    if settings.rounds == 0:
        return []

    parameters = {
        "objective": "cross_entropy",
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": max(1, min(settings.leaf_size, len(rows.labels) // 10)),
        "lambda_l2": 5.0,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        # More similarity never speaks against a match: what a hundred noisy labels seem to say otherwise is noise.
        "monotone_constraints": directions,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        # A few thousand rows: more threads would wait for one another longer than they work.
        "num_threads": 1,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(rows.matrix, rows.labels, weight=rows.weights, init_score=line(rows.matrix))
    return [lightgbm.train(parameters, data, num_boost_round=settings.rounds)]
