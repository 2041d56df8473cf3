"""Train the lexical student: labels → similarity features → cross-fitted trees → calibration → thresholds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from distiller_udf.errors import SettingsError, TrainingError
from distiller_udf.records import Records
from distiller_udf.similarity import PairFeatures
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.context import CONTEXT, context_features, sigmoid
from distiller_udf.students.lexical import KIND, Ensemble, LexicalStudent

from .boosting import Boosting, Rows, cross_fit, platt
from .data import LabelledPairs, labelled_pairs, read_candidates
from .evaluate import expected_calibration_error, f1_threshold, precision_recall_f1
from .self_training import Unlabelled, best_of, self_labelled, unlabelled_rows

logger = logging.getLogger(__name__)

Progress = Callable[[str, float], None]

MINIMUM_TUPLES = 4


@dataclass(frozen=True)
class LexicalSettings(Boosting):
    """How the lexical student is trained; the defaults are meant for any data.

    `multi`: several candidates of a tuple may match, as in deduplication. `self_training`: how many times the
    student learns from its own clear decisions on unlabelled tuples (0 = labels only; unused with `multi`).
    `max_candidates` bounds the unlabelled pairs that are read.
    """

    multi: bool = False
    self_training: int = 1
    max_candidates: int = 200_000

    @classmethod
    def of(cls, settings: Mapping[str, Any] | None) -> LexicalSettings:
        """Check settings by name; raises SettingsError for one that is unknown."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(settings or {}) - known)
        if unknown:
            raise SettingsError(
                f"unknown setting for the lexical student: {', '.join(unknown)}; allowed: {', '.join(sorted(known))}"
            )
        return cls(**(settings or {}))


@dataclass(frozen=True)
class Fitted:
    """The two models and the held-out probabilities of the labelled pairs."""

    pair: Ensemble
    choice: Ensemble | None
    probabilities: np.ndarray
    chosen: np.ndarray

    def choose(self, matrix: np.ndarray, tuples: np.ndarray) -> np.ndarray:
        """Choice probabilities of unlabelled pairs given in features."""
        probabilities = sigmoid(self.pair.log_odds(matrix))
        if self.choice is None:
            return probabilities
        return sigmoid(self.choice.log_odds(context_features(probabilities, tuples)))


def train(
    labels: pa.Table,
    folder: Path,
    candidates: Iterable[pa.RecordBatch] | None = None,
    settings: Mapping[str, Any] | None = None,
    version: str = KIND,
    trained_from: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> StudentInfo:
    """Train a lexical student into the empty `folder` and return its manifest.

    `labels` has the shape of `er_labels`. `candidates` are batches of unlabelled pairs (`left`, `right`, optional
    integer `tuple`): they tell how rare words are, which columns belong together, and what the unlabelled rest looks
    like. `progress` is called with a step's name and the share done.
    Raises TrainingError when the labels cannot carry a student, SettingsError for an unknown setting.
    """
    chosen = LexicalSettings.of(settings)
    report = progress or (lambda step, share: logger.info("%s (%.0f %%)", step, 100 * share))
    report("reading labels", 0.0)
    pairs = labelled_pairs(labels, chosen.multi)
    _check(pairs)
    unlabelled = read_candidates(candidates, chosen.max_candidates) if candidates is not None else None
    left, right, tuples = unlabelled if unlabelled is not None else (pairs.left, pairs.right, None)
    # er_pairs has the columns of all sources on both sides; a side is compared by those that it fills.
    left, right = left.with_values(), right.with_values()
    report("fitting similarity features", 0.1)
    features = PairFeatures.fit(left, right)
    rows = _rows(features, pairs, left, right)
    rest = None
    if unlabelled is not None and chosen.self_training and not chosen.multi:
        rest = _unlabelled(features, left, right, tuples, pairs, chosen.seed)
    fitted = _fit(rows, features.directions, rest, chosen, report)
    report("writing the student", 0.95)
    thresholds = f1_threshold(fitted.probabilities), f1_threshold(fitted.chosen)
    info = StudentInfo(
        kind=KIND,
        version=version,
        left_columns=left.names,
        right_columns=right.names,
        threshold=thresholds[0],
        choice_threshold=thresholds[1],
        trained_from=dict(trained_from or {}),
        metrics=_metrics(rows, fitted, thresholds),
        settings=asdict(chosen),
    )
    folder.mkdir(parents=True, exist_ok=True)
    LexicalStudent(info, features, fitted.pair, fitted.choice).save(folder)
    info = info.write(folder)
    report("done", 1.0)
    return info


def _check(pairs: LabelledPairs) -> None:
    """Raise TrainingError where nothing could be learnt."""
    positive = int((pairs.labels >= 0.5).sum())
    if pairs.questions < MINIMUM_TUPLES:
        raise TrainingError(
            f"{pairs.questions} labelled tuples are too few to train on; label at least {MINIMUM_TUPLES}, better 50; "
            "where a budget ended the asking, raise it or run again"
        )
    if positive == 0:
        raise TrainingError(
            f"the teacher found no match in {pairs.questions} tuples, so there is nothing to learn; check that "
            "blocking proposes true matches, or label more records with another selection"
        )
    if positive == len(pairs):
        raise TrainingError(
            f"all {len(pairs)} labelled pairs are matches, so there is nothing to tell them from; "
            "let blocking propose more candidates a record, or label records that have no match"
        )


def _rows(features: PairFeatures, pairs: LabelledPairs, left: Records, right: Records) -> Rows:
    # A label's records carry their filled columns only; the candidates know all.
    matrix = features.transform(pairs.left.with_columns(left.names), pairs.right.with_columns(right.names))
    return Rows(matrix, pairs.labels, pairs.weights, pairs.tuples)


def _unlabelled(
    features: PairFeatures,
    left: Records,
    right: Records,
    tuples: np.ndarray | None,
    pairs: LabelledPairs,
    seed: int,
) -> Unlabelled:
    tuples = left.distinct[1] if tuples is None else tuples
    rows, rights = unlabelled_rows(left, right, tuples, pairs.left, seed)
    return Unlabelled(features.transform(left.take(rows), right.take(rows)), tuples[rows], rights)


def _fit(
    rows: Rows, directions: list[int], rest: Unlabelled | None, settings: LexicalSettings, report: Progress
) -> Fitted:
    """Fit on the labels, then again with what the student itself decided about the rest."""
    report("training on labels", 0.3)
    fitted = _fit_once(rows, directions, None, settings)
    if rest is None or len(rest.tuples) == 0:
        return fitted
    for turn in range(settings.self_training):
        report("training on unlabelled pairs", 0.5 + 0.4 * turn / settings.self_training)
        extra = self_labelled(rest, fitted.choose(rest.matrix, rest.tuples))
        fitted = _fit_once(rows, directions, extra, settings)
    return fitted


def _fit_once(rows: Rows, directions: list[int], extra: Rows | None, settings: LexicalSettings) -> Fitted:
    fit = cross_fit(rows, directions, settings, extra)
    pair = Ensemble(fit.boosters, *platt(fit.held_out, rows.labels, rows.weights))
    probabilities = sigmoid(pair.slope * fit.held_out + pair.intercept)
    if settings.multi:
        return Fitted(pair, None, probabilities, probabilities)
    context = Rows(context_features(probabilities, rows.tuples), rows.labels, rows.weights, rows.tuples)
    fit = cross_fit(context, list(CONTEXT.values()), settings)
    choice = Ensemble(fit.boosters, *platt(fit.held_out, rows.labels, rows.weights))
    return Fitted(pair, choice, probabilities, sigmoid(choice.slope * fit.held_out + choice.intercept))


def _metrics(rows: Rows, fitted: Fitted, thresholds: tuple[float, float]) -> dict[str, Any]:
    """Expected figures against the teacher's answers, all from tuples that the models have not seen."""
    decided = best_of(fitted.chosen, rows.tuples) & (fitted.chosen >= thresholds[1])
    judged = {
        "pair": precision_recall_f1(fitted.probabilities >= thresholds[0], rows.labels),
        "choice": precision_recall_f1(decided, rows.labels),
    }
    result: dict[str, Any] = {
        "labelled_tuples": len(np.unique(rows.tuples)),
        "labelled_pairs": len(rows.labels),
        "labelled_matches": int((rows.labels >= 0.5).sum()),
        "pair_calibration_error": expected_calibration_error(fitted.probabilities, rows.labels),
        "choice_calibration_error": expected_calibration_error(fitted.chosen, rows.labels),
    }
    for kind, values in judged.items():
        result |= {f"{kind}_{name}": v for name, v in zip(("precision", "recall", "f1"), values, strict=True)}
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in result.items()}
