"""From log odds to decisions: calibrated choices, thresholds, and how good both are expected to be."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from distiller_udf.comparison.figures import expected_calibration_error
from distiller_udf.students.odds import sigmoid

from .choosing import fit_choice
from .data import LabelledPairs
from .evaluate import (
    best_of,
    f1_threshold,
    precision_recall_f1,
    precision_threshold,
)
from .pool import Pool
from .settings import CommonSettings

logger = logging.getLogger(__name__)

LITTLE = 0.1
"""Below this recall a target precision is worth a warning."""


@dataclass(frozen=True)
class Decisions:
    """What the manifest says of decisions: thresholds, `choice` (see `StudentInfo`) and expected `metrics`."""

    threshold: float
    choice_threshold: float
    choice: dict[str, dict[str, float]]
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Heard:
    """What students are judged by: the labelled pairs' probabilities from models that have not seen their tuples.

    `pairs` are those of the pairs alone, `choices` among their rivals; `best` marks the likeliest of each tuple.
    """

    pairs: np.ndarray
    choices: np.ndarray
    best: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


def decided(
    log_odds: np.ndarray,
    pairs: LabelledPairs,
    pool: Pool,
    settings: CommonSettings,
    alone: np.ndarray | None = None,
) -> Decisions:
    """Calibrate, choose thresholds and measure. `log_odds` are the pool's, the labelled pairs' from unseeing models.

    `alone` are those that a pair by itself is decided by, where they are others.
    """
    labelled = len(pairs)
    probabilities = sigmoid(log_odds)
    choices, choice = probabilities, {}
    if not settings.multi:
        asked = (pairs.labels, pairs.tuples)
        fitted = {
            "alone": fit_choice(log_odds[:labelled], pool.lefts[:labelled], None, *asked),
            "linked": fit_choice(log_odds, pool.lefts, pool.rights, *asked),
        }
        choices = fitted["linked"].probabilities(probabilities, pool.lefts, pool.rights)
        choice = {name: asdict(each) for name, each in fitted.items()}
    chosen = choices[:labelled]
    best = np.ones(labelled, dtype=bool) if settings.multi else best_of(chosen, pairs.tuples)
    by_itself = probabilities if alone is None else sigmoid(alone)
    heard = Heard(by_itself[:labelled], chosen, best, pairs.labels, pairs.weights)
    # All pairs speak here, labelled or not: the selection's share of matches is not the data's.
    thresholds = f1_threshold(by_itself), f1_threshold(choices)
    if settings.target_precision is not None:
        thresholds = _for_precision(thresholds, heard, settings.target_precision, pairs.questions)
    metrics = {**counts(pairs), "unlabelled_pairs": len(log_odds) - labelled, **_figures(heard, thresholds)}
    return Decisions(*thresholds, choice, metrics)


def counts(pairs: LabelledPairs) -> dict[str, int]:
    """How much was labelled."""
    return {
        "labelled_tuples": pairs.questions,
        "labelled_pairs": len(pairs),
        "labelled_matches": int((pairs.labels >= 0.5).sum()),
    }


def _for_precision(thresholds: tuple[float, float], heard: Heard, target: float, questions: int) -> tuple[float, float]:
    """The thresholds of pairs and of choices, raised to where what was labelled keeps a precision."""
    best = heard.best
    raised = (
        max(thresholds[0], precision_threshold(heard.pairs, heard.labels, target, heard.weights)),
        max(
            thresholds[1],
            precision_threshold(heard.choices[best], heard.labels[best], target, heard.weights[best]),
        ),
    )
    _, recall, _ = precision_recall_f1(best & (heard.choices >= raised[1]), heard.labels, heard.weights)
    if recall < LITTLE:
        logger.warning(
            "a precision of %s on the %d labelled tuples leaves %.0f %% of their matches; "
            "lower target_precision, or label more",
            target,
            questions,
            100 * recall,
        )
    return raised


def _figures(heard: Heard, thresholds: tuple[float, float]) -> dict[str, float]:
    """Precision, recall, F1 and calibration of pairs and of choices."""
    labels, weights = heard.labels, heard.weights
    judged = {
        "pair": (heard.pairs, heard.pairs >= thresholds[0]),
        "choice": (heard.choices, heard.best & (heard.choices >= thresholds[1])),
    }
    figures: dict[str, float] = {}
    for kind, (probabilities, matched) in judged.items():
        figures[f"{kind}_calibration_error"] = expected_calibration_error(probabilities, labels, weights)
        for name, value in zip(
            ("precision", "recall", "f1"), precision_recall_f1(matched, labels, weights), strict=True
        ):
            figures[f"{kind}_{name}"] = value
    return {name: round(value, 4) for name, value in figures.items()}
