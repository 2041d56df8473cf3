"""Cross-fitted pair models: every labelled row is also scored by models that have not seen its tuple."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from distiller_udf.students.odds import sigmoid
from distiller_udf.students.pair_model import Line, PairModel, Scale

from .linear import fit_line, mean_line
from .rows import Rows

LEAST_SLOPE = 0.1
"""How much of its scores a model keeps whose held-out scores say nothing."""


@dataclass(frozen=True)
class Boosting:
    """How a pair model is fitted: a line with the penalty `ridge`, then `rounds` trees that correct it.

    `folds` × `repeats` of them are fitted and averaged. The penalty is a normal prior on each weight, of standard
    deviation 1 / sqrt(`ridge`) (standardised features): none decides alone, and those that agree share the say.
    """

    seed: int = 0
    folds: int = 5
    repeats: int = 1
    ridge: float = 50.0
    rounds: int = 50
    learning_rate: float = 0.1
    leaves: int = 4
    leaf_size: int = 10


@dataclass(frozen=True)
class CrossFit:
    """The calibrated model, and every labelled row's log odds from the parts that have not seen its tuple."""

    model: PairModel
    held_out: np.ndarray


def cross_fit(
    rows: Rows, directions: list[int], settings: Boosting, scale: Scale, extra: Rows | None = None
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
    slope, intercept = platt(held_out, rows.labels, rows.weights)
    return CrossFit(PairModel(mean_line(lines), boosters, slope, intercept), slope * held_out + intercept)


def platt(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the logistic curve through held-out scores (Platt, 1999): two numbers cannot overfit."""
    from sklearn.linear_model import LogisticRegression

    doubled = np.concatenate([scores, scores])[:, None]
    targets = np.repeat([1, 0], len(scores))
    soft = np.concatenate([labels * weights, (1 - labels) * weights])
    model = LogisticRegression(C=10.0).fit(doubled, targets, sample_weight=soft)
    slope = float(model.coef_[0, 0])
    if slope > LEAST_SLOPE:
        return slope, float(model.intercept_[0])
    # A falling curve means that the held-out scores say nothing: their order stays, the mean is that of the labels.
    return LEAST_SLOPE, _intercept(LEAST_SLOPE * scores, labels, weights)


def _intercept(log_odds: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """What must be added to log odds for their mean probability to be that of the labels."""
    from scipy.optimize import brentq

    share = np.clip(np.average(labels, weights=weights), 1e-4, 1 - 1e-4)
    bound = float(np.abs(log_odds).max()) + 10.0
    return float(brentq(lambda by: np.average(sigmoid(log_odds + by), weights=weights) - share, -bound, bound))


def _folds(rows: Rows, folds: int, seed: int) -> np.ndarray:
    """A fold number for each row: whole tuples, those with a match spread evenly over the folds."""
    _, group = np.unique(rows.tuples, return_inverse=True)
    matched = np.bincount(group, rows.labels) >= 0.5
    order = np.random.default_rng(seed).permutation(len(matched))
    order = order[np.argsort(matched[order], kind="stable")]
    fold = np.empty(len(matched), dtype=np.int64)
    fold[order] = np.arange(len(matched)) % folds
    return np.asarray(fold[group])


def _boosters(rows: Rows, line: Line, directions: list[int], settings: Boosting, seed: int) -> list[Any]:
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
