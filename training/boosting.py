"""Cross-fitted gradient-boosted trees: every labelled row is also scored by models that have not seen its tuple."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Boosting:
    """How trees are grown. `folds` × `repeats` models are trained and averaged; `rounds` trees each."""

    seed: int = 0
    folds: int = 5
    repeats: int = 1
    rounds: int = 100
    learning_rate: float = 0.1
    leaves: int = 4
    leaf_size: int = 10


@dataclass(frozen=True)
class Rows:
    """Rows to learn from: `matrix` (rows, features), `labels` in [0, 1], `weights`, and the tuple each belongs to."""

    matrix: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    tuples: np.ndarray

    def take(self, rows: np.ndarray) -> Rows:
        """The rows given by mask or position."""
        return Rows(self.matrix[rows], self.labels[rows], self.weights[rows], self.tuples[rows])


@dataclass(frozen=True)
class CrossFit:
    """The models, and every labelled row's raw score from those that have not seen its tuple."""

    boosters: list[Any]
    held_out: np.ndarray

    def raw(self, matrix: np.ndarray) -> np.ndarray:
        """Mean raw score of rows that no model has seen."""
        return np.asarray(np.mean([b.predict(matrix, raw_score=True) for b in self.boosters], axis=0))


def cross_fit(rows: Rows, directions: list[int], settings: Boosting, extra: Rows | None = None) -> CrossFit:
    """Train folds × repeats models by tuple; `extra` rows are learnt by every model and never held out."""
    boosters, held_out = [], np.zeros(len(rows.labels))
    folds = min(settings.folds, len(np.unique(rows.tuples)))
    for repeat in range(settings.repeats):
        fold = _folds(rows, folds, settings.seed + repeat)
        for k in range(folds):
            outside = fold == k
            known = rows.take(~outside) if extra is None else _joined(rows.take(~outside), extra)
            booster = _booster(known, directions, settings, seed=settings.seed * 1000 + repeat * folds + k)
            held_out[outside] += booster.predict(rows.matrix[outside], raw_score=True)
            boosters.append(booster)
    return CrossFit(boosters, held_out / settings.repeats)


def platt(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the logistic curve through held-out scores (Platt, 1999): two numbers cannot overfit."""
    from sklearn.linear_model import LogisticRegression

    doubled = np.concatenate([scores, scores])[:, None]
    targets = np.repeat([1, 0], len(scores))
    soft = np.concatenate([labels * weights, (1 - labels) * weights])
    model = LogisticRegression(C=10.0).fit(doubled, targets, sample_weight=soft)
    slope = float(model.coef_[0, 0])
    # A falling curve means that the held-out scores say nothing; keep their order, let the intercept do the rest.
    return (slope, float(model.intercept_[0])) if slope > 0.1 else (0.1, float(model.intercept_[0]))


def _folds(rows: Rows, folds: int, seed: int) -> np.ndarray:
    """A fold number for each row: whole tuples, those with a match spread evenly over the folds."""
    _, group = np.unique(rows.tuples, return_inverse=True)
    matched = np.bincount(group, rows.labels) >= 0.5
    order = np.random.default_rng(seed).permutation(len(matched))
    order = order[np.argsort(matched[order], kind="stable")]
    fold = np.empty(len(matched), dtype=np.int64)
    fold[order] = np.arange(len(matched)) % folds
    return np.asarray(fold[group])


def _joined(first: Rows, second: Rows) -> Rows:
    return Rows(
        np.concatenate([first.matrix, second.matrix]),
        np.concatenate([first.labels, second.labels]),
        np.concatenate([first.weights, second.weights]),
        np.concatenate([first.tuples, second.tuples]),
    )


def _booster(rows: Rows, directions: list[int], settings: Boosting, seed: int) -> Any:
    import lightgbm

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
    data = lightgbm.Dataset(rows.matrix, rows.labels, weight=rows.weights)
    return lightgbm.train(parameters, data, num_boost_round=settings.rounds)
