"""What decisions on held-out tuples are worth, with bootstrap intervals, and by how much two students differ."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from distiller_udf.metrics.label_errors import chance_of_error

RESAMPLES = 2_000
CONFIDENCE = 0.95
Z = 1.959963984540054
"""Of an interval of that confidence."""

DOUBTFUL = 0.2
"""A label may well be wrong that is so with this probability."""


@dataclass(frozen=True)
class Judged:
    """What one student decides on labelled pairs, row i one pair.

    `probabilities` are those that decide, `matched` what came of them; `labels` in [0, 1] and `weights` are the
    teachers'. Rows of one question share their number in `tuples`, counted from 0 without gaps.
    """

    probabilities: np.ndarray
    matched: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    tuples: np.ndarray


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval of 95 %."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Figures:
    """A student's figures. `select_accuracy` is the share of tuples whose choice, or none, is the teachers'.

    `calibration_error` and `log_loss` are of the probabilities that decide.
    """

    f1: Estimate
    precision: Estimate
    recall: Estimate
    select_accuracy: Estimate
    calibration_error: float
    log_loss: float


@dataclass(frozen=True)
class Difference:
    """The challenger's figures less the current student's, resampled together.

    `risk` is the probability that the challenger's F1 is worse by more than the margin.
    """

    f1: Estimate
    select_accuracy: Estimate
    risk: float


def figures(judged: Judged, seed: int = 0) -> Figures:
    """A student's figures; see `intervals`."""
    known = intervals(judged, seed)
    return Figures(**known, calibration_error=calibration_error(judged), log_loss=log_loss(judged))


def intervals(judged: Judged, seed: int = 0) -> dict[str, Estimate]:
    """Precision, recall, F1 and select accuracy with intervals that are to hold what is true, by their names.

    An interval reaches as far as tuples that are drawn again with replacement tell (Efron 1979), and at least as far as
    that of a share of so many tuples (Wilson 1927): without an error among 60 the bootstrap knows of none. Upwards it
    goes on to what would be found if labels were wrong that may well be (see `chance_of_error`).
    """
    doubtful = chance_of_error(judged.probabilities, judged.labels, judged.weights) >= DOUBTFUL
    at_best = replace(judged, labels=np.where(doubtful, judged.matched, judged.labels))
    as_told, best = counts(judged), counts(at_best)
    drawn = resampled(np.hstack([as_told, best]), seed)
    low, high = _bounds(as_told, drawn[:, :4]), _bounds(best, drawn[:, 4:])
    return {name: Estimate(low[name].value, low[name].low, max(low[name].high, high[name].high)) for name in low}


def difference(challenger: Judged, current: Judged, margin: float, seed: int = 0) -> Difference:
    """How two students differ that were judged on the same pairs: both see the same tuples in every draw."""
    both = [counts(judged) for judged in (challenger, current)]
    (new, new_drawn), (old, old_drawn) = (_measured(rows, resampled(rows, seed)) for rows in both)
    apart = {name: (new[name] - old[name], new_drawn[name] - old_drawn[name]) for name in ("f1", "select_accuracy")}
    estimates = {name: estimate(*both) for name, both in apart.items()}
    return Difference(**estimates, risk=float((apart["f1"][1] < -margin).mean()))


def counts(judged: Judged) -> np.ndarray:
    """Of each tuple: the weight of right matches, of matches, of true pairs, and 1 where all is decided as labelled.

    A pair of which teachers are of two minds counts for what its label is.
    """
    size = int(judged.tuples.max(initial=-1)) + 1

    def summed(values: np.ndarray) -> np.ndarray:
        return np.bincount(judged.tuples, judged.weights * values, minlength=size)

    # Beside a chosen candidate others may match too (deduplication): they are labelled with less weight than 1.
    wrong = ((judged.labels >= 0.5) != judged.matched) & (judged.weights >= 1)
    settled = np.bincount(judged.tuples, wrong, minlength=size) == 0
    return np.column_stack(
        [summed(judged.labels * judged.matched), summed(judged.matched), summed(judged.labels), settled]
    )


def measures(right: Any, matched: Any, true: Any) -> dict[str, Any]:
    """Precision, recall and F1 of so many right matches, matches and true pairs: numbers or arrays; 0 where undefined.

    The one place where they are computed, besides the macro `er_metrics`.
    """
    return {
        "f1": 2 * right / np.maximum(matched + true, 1e-12),
        "precision": right / np.maximum(matched, 1e-12),
        "recall": right / np.maximum(true, 1e-12),
    }


def wilson(share: float, of: float) -> tuple[float, float]:
    """The interval of 95 % of a share of so many cases (Wilson 1927); all there is, of none."""
    if of <= 0:
        return 0.0, 1.0
    spread = Z * Z / of
    centre = (share + spread / 2) / (1 + spread)
    half = Z * math.sqrt(max(share * (1 - share), 0.0) / of + spread / (4 * of)) / (1 + spread)
    # The share itself is always within; at 0 and 1 rounding would leave it out.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def resampled(rows: np.ndarray, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """Sums over as many rows as there are, drawn with replacement: shape (resamples, columns).

    The same seed and number of rows give the same draws (Efron 1979), so that two students are compared in pairs.
    """
    rng = np.random.default_rng(seed)
    size = len(rows)
    sums = np.empty((resamples, rows.shape[1]))
    for i in range(resamples):
        sums[i] = np.bincount(rng.integers(0, size, size), minlength=size) @ rows if size else 0.0
    return sums


def calibration_error(judged: Judged) -> float:
    """The expected calibration error of the probabilities that decide."""
    return expected_calibration_error(judged.probabilities, judged.labels, judged.weights)


def expected_calibration_error(
    probabilities: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None, bins: int = 10
) -> float:
    """Mean gap between probability and observed rate over equal-width bins, weighted by bin size; 0 of no pairs.

    `weights` say how much each label counts, 1 without them.
    """
    if len(probabilities) == 0:
        return 0.0
    weights = np.ones(len(truth)) if weights is None else weights
    bucket = np.minimum((probabilities * bins).astype(int), bins - 1)
    gaps = np.abs(np.bincount(bucket, weights * (probabilities - truth), minlength=bins))
    return float(gaps.sum() / weights.sum())


def log_loss(judged: Judged) -> float:
    """The mean cross entropy of the labels, in nats; 0 of no pairs."""
    if len(judged.labels) == 0:
        return 0.0
    p = np.clip(judged.probabilities, 1e-6, 1 - 1e-6)
    losses = -(judged.labels * np.log(p) + (1 - judged.labels) * np.log(1 - p))
    return float(np.average(losses, weights=judged.weights))


def _measured(rows: np.ndarray, drawn: np.ndarray) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Every measure of all tuples, and of each draw."""

    def all_of(sums: np.ndarray) -> dict[str, np.ndarray]:
        return {**measures(*np.moveaxis(sums, -1, 0)[:3]), "select_accuracy": sums[..., 3] / max(len(rows), 1)}

    return {name: float(value) for name, value in all_of(rows.sum(axis=0)).items()}, all_of(drawn)


def _bounds(rows: np.ndarray, drawn: np.ndarray) -> dict[str, Estimate]:
    """The measures, with intervals by what was drawn and by the number of tuples that they are about."""
    values, draws = _measured(rows, drawn)
    right, matched, true, _ = rows.T
    concerned = {"precision": matched, "recall": true, "f1": matched + true - right, "select_accuracy": right * 0 + 1}
    found = {}
    for name, value in values.items():
        # F1 is no share, but it follows from one: that of the pairs matched or true that are both (Jaccard).
        share = value / (2 - value) if name == "f1" else value
        low, high = wilson(min(share, 1.0), float(np.minimum(concerned[name], 1.0).sum()))
        if name == "f1":
            low, high = 2 * low / (1 + low), 2 * high / (1 + high)
        by_draws = estimate(value, draws[name])
        found[name] = Estimate(value, min(by_draws.low, low), max(by_draws.high, high))
    return found


def estimate(value: float, drawn: np.ndarray) -> Estimate:
    """A figure with the interval of what was drawn."""
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [outside, 1 - outside])
    return Estimate(float(value), float(low), float(high))
