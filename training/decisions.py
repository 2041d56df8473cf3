"""From log odds to decisions: calibrated choices, thresholds, and how good both are expected to be."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from distiller_udf.students.odds import sigmoid

from .choosing import fit_choice
from .data import LabelledPairs
from .evaluate import (
    best_of,
    expected_calibration_error,
    f1_threshold,
    precision_recall_f1,
    precision_threshold,
)
from .pool import Pool
from .settings import TrainingSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decisions:
    """What the manifest says of decisions: thresholds, `choice` (see `StudentInfo`) and expected `metrics`."""

    threshold: float
    choice_threshold: float
    choice: dict[str, dict[str, float]]
    metrics: dict[str, Any]


def decided(log_odds: np.ndarray, pairs: LabelledPairs, pool: Pool, settings: TrainingSettings) -> Decisions:
    """Calibrate, choose thresholds and measure. `log_odds` are the pool's, the labelled pairs' from unseeing models."""
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
    heard, chosen = probabilities[:labelled], choices[:labelled]
    best = np.ones(labelled, dtype=bool) if settings.multi else best_of(chosen, pairs.tuples)
    # All pairs speak here, labelled or not: the selection's share of matches is not the data's.
    thresholds = f1_threshold(probabilities), f1_threshold(choices)
    if (target := settings.target_precision) is not None:
        thresholds = (
            max(thresholds[0], precision_threshold(heard, pairs.labels, target)),
            max(thresholds[1], precision_threshold(chosen[best], pairs.labels[best], target)),
        )
        if not (best & (chosen >= thresholds[1])).any():
            logger.warning(
                "no threshold keeps a precision of %s on the %d labelled tuples, so hardly anything will match; "
                "lower target_precision, or label more",
                target,
                pairs.questions,
            )
    judged = {
        "pair": precision_recall_f1(heard >= thresholds[0], pairs.labels),
        "choice": precision_recall_f1(best & (chosen >= thresholds[1]), pairs.labels),
    }
    metrics: dict[str, Any] = {
        "labelled_tuples": pairs.questions,
        "labelled_pairs": labelled,
        "labelled_matches": int((pairs.labels >= 0.5).sum()),
        "unlabelled_pairs": len(log_odds) - labelled,
        "pair_calibration_error": expected_calibration_error(heard, pairs.labels),
        "choice_calibration_error": expected_calibration_error(chosen, pairs.labels),
    }
    for kind, values in judged.items():
        metrics |= {f"{kind}_{name}": v for name, v in zip(("precision", "recall", "f1"), values, strict=True)}
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in metrics.items()}
    return Decisions(*thresholds, choice, rounded)
