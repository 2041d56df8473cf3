"""What decisions on held-out tuples are worth, with bootstrap intervals, and by how much two students differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RESAMPLES = 2_000
CONFIDENCE = 0.95


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
    """A student's figures; the intervals come from tuples drawn again with replacement."""
    values, drawn = _measured(counts(judged), seed)
    known = {name: estimate(values[name], drawn[name]) for name in values}
    return Figures(**known, calibration_error=calibration_error(judged), log_loss=log_loss(judged))


def difference(challenger: Judged, current: Judged, margin: float, seed: int = 0) -> Difference:
    """How two students differ that were judged on the same pairs: both see the same tuples in every draw."""
    (new, new_drawn), (old, old_drawn) = (_measured(counts(judged), seed) for judged in (challenger, current))
    apart = {name: (new[name] - old[name], new_drawn[name] - old_drawn[name]) for name in ("f1", "select_accuracy")}
    estimates = {name: estimate(*both) for name, both in apart.items()}
    return Difference(**estimates, risk=float((apart["f1"][1] < -margin).mean()))


def counts(judged: Judged) -> np.ndarray:
    """Of each tuple: the weight of right matches, of matches, of true pairs, and 1 where all is decided as labelled.

    A pair is a match to the teachers where its label is a half or more.
    """
    true = judged.labels >= 0.5
    size = int(judged.tuples.max(initial=-1)) + 1

    def summed(rows: np.ndarray) -> np.ndarray:
        return np.bincount(judged.tuples, judged.weights * rows, minlength=size)

    # Beside a chosen candidate others may match too (deduplication): they are labelled with less weight than 1.
    wrong = np.bincount(judged.tuples, (true != judged.matched) & (judged.weights >= 1), minlength=size)
    return np.column_stack([summed(true & judged.matched), summed(judged.matched), summed(true), wrong == 0])


def measures(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall and F1 from sums of the first three columns of `counts`; 0 where undefined."""
    right, matched, true = (sums[..., i] for i in range(3))
    return {
        "f1": 2 * right / np.maximum(matched + true, 1e-12),
        "precision": right / np.maximum(matched, 1e-12),
        "recall": right / np.maximum(true, 1e-12),
    }


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


def _measured(rows: np.ndarray, seed: int) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Every measure of all tuples, and of each draw."""
    drawn, size = resampled(rows, seed), max(len(rows), 1)

    def all_of(sums: np.ndarray) -> dict[str, np.ndarray]:
        return {**measures(sums), "select_accuracy": sums[..., 3] / size}

    return {name: float(value) for name, value in all_of(rows.sum(axis=0)).items()}, all_of(drawn)


def estimate(value: float, drawn: np.ndarray) -> Estimate:
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [outside, 1 - outside])
    return Estimate(float(value), float(low), float(high))
