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
from distiller_udf.students.lexical import KIND, THREADS, Ensemble, LexicalStudent
from distiller_udf.training.data import LabelledPairs, labelled_pairs, read_candidates
from distiller_udf.training.evaluate import expected_calibration_error, f1_threshold, precision_recall_f1

logger = logging.getLogger(__name__)

Progress = Callable[[str, float], None]

MINIMUM_TUPLES = 4


@dataclass(frozen=True)
class LexicalSettings:
    """How the lexical student is trained; the defaults are meant for any data.

    `multi`: several candidates of a tuple may match, as in deduplication. `folds` and `repeats` give the number of
    models that are averaged (folds × repeats). `max_candidates` bounds the unlabelled pairs that are looked at.
    """

    multi: bool = False
    seed: int = 0
    folds: int = 5
    repeats: int = 2
    rounds: int = 80
    learning_rate: float = 0.06
    leaves: int = 8
    leaf_size: int = 10
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
class CrossFit:
    """Models trained without one fold of tuples each, and every row's score from the models that have not seen it."""

    boosters: list[Any]
    held_out: np.ndarray


@dataclass(frozen=True)
class Fitted:
    """The two models, the thresholds on their probabilities, and what to expect of them."""

    pair: Ensemble
    choice: Ensemble | None
    thresholds: tuple[float, float]
    metrics: dict[str, Any]


def train(
    labels: pa.Table,
    folder: Path,
    candidates: Iterable[pa.RecordBatch] | None = None,
    settings: Mapping[str, Any] | None = None,
    version: str = "",
    trained_from: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> StudentInfo:
    """Train a lexical student into the empty `folder` and return its manifest.

    `labels` has the shape of `er_labels`; `candidates` are batches of unlabelled pairs (`left`, `right`, optional
    `tuple`) that tell how rare words are and which columns belong together. `progress` is called with a step's name
    and the share done. Raises TrainingError when the labels cannot carry a student.
    """
    chosen = LexicalSettings.of(settings)
    report = progress or (lambda step, share: logger.info("%s (%.0f %%)", step, 100 * share))
    report("reading labels", 0.0)
    pairs = labelled_pairs(labels, chosen.multi)
    _check(pairs)
    unlabelled = read_candidates(candidates, chosen.max_candidates) if candidates is not None else None
    pairs, left, right = _aligned(pairs, unlabelled)
    report("fitting similarity features", 0.1)
    features = PairFeatures.fit(left, right)
    fitted = _fit(features, pairs, chosen, report)
    report("writing the student", 0.95)
    info = StudentInfo(
        kind=KIND,
        version=version or KIND,
        left_columns=left.names,
        right_columns=right.names,
        threshold=fitted.thresholds[0],
        choice_threshold=fitted.thresholds[1],
        trained_from=dict(trained_from or {}),
        metrics=fitted.metrics,
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
            f"{pairs.questions} labelled tuples are too few to train on; label at least {MINIMUM_TUPLES}, better 50"
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


def _aligned(
    pairs: LabelledPairs, unlabelled: tuple[Records, Records, np.ndarray | None] | None
) -> tuple[LabelledPairs, Records, Records]:
    """The pairs with all columns, and the records that similarity features are fitted on."""
    left, right = (pairs.left, pairs.right) if unlabelled is None else unlabelled[:2]
    aligned = LabelledPairs(
        pairs.left.with_columns(left.names),
        pairs.right.with_columns(right.names),
        pairs.labels,
        pairs.weights,
        pairs.tuples,
    )
    return aligned, left, right


def _fit(features: PairFeatures, pairs: LabelledPairs, settings: LexicalSettings, report: Progress) -> Fitted:
    report("training on pairs", 0.3)
    matrix = features.transform(pairs.left, pairs.right)
    fit = _cross_fit(matrix, pairs, features.directions, settings)
    pair = Ensemble(fit.boosters, *_platt(fit.held_out, pairs))
    probabilities = sigmoid(pair.slope * fit.held_out + pair.intercept)
    choice, chosen = None, probabilities
    if not settings.multi:
        report("training on choices", 0.7)
        fit = _cross_fit(context_features(probabilities, pairs.tuples), pairs, list(CONTEXT.values()), settings)
        choice = Ensemble(fit.boosters, *_platt(fit.held_out, pairs))
        chosen = sigmoid(choice.slope * fit.held_out + choice.intercept)
    thresholds = f1_threshold(probabilities), f1_threshold(chosen)
    return Fitted(pair, choice, thresholds, _metrics(pairs, probabilities, chosen, thresholds))


def _cross_fit(matrix: np.ndarray, pairs: LabelledPairs, directions: list[int], settings: LexicalSettings) -> CrossFit:
    """Train folds × repeats models by tuple; their mean is the ensemble, what each has not seen its honest score."""
    boosters, held_out = [], np.zeros(len(pairs))
    folds = min(settings.folds, pairs.questions)
    for repeat in range(settings.repeats):
        fold = _folds(pairs, folds, settings.seed + repeat)
        for k in range(folds):
            inside = fold != k
            seed = settings.seed * 1000 + repeat * folds + k
            booster = _booster(matrix[inside], pairs.labels[inside], pairs.weights[inside], directions, settings, seed)
            boosters.append(booster)
            held_out[~inside] += booster.predict(matrix[~inside], raw_score=True, num_threads=THREADS)
    return CrossFit(boosters, held_out / settings.repeats)


def _folds(pairs: LabelledPairs, folds: int, seed: int) -> np.ndarray:
    """A fold number for each row: whole tuples, those with a match spread evenly over the folds."""
    matched = np.bincount(pairs.tuples, pairs.labels) >= 0.5
    order = np.random.default_rng(seed).permutation(len(matched))
    order = order[np.argsort(matched[order], kind="stable")]
    fold = np.empty(len(matched), dtype=np.int64)
    fold[order] = np.arange(len(matched)) % folds
    return np.asarray(fold[pairs.tuples])


def _booster(
    matrix: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    directions: list[int],
    settings: LexicalSettings,
    seed: int,
) -> Any:
    import lightgbm

    parameters = {
        "objective": "cross_entropy",
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": max(1, min(settings.leaf_size, len(labels) // 10)),
        "lambda_l2": 5.0,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        # More similarity never speaks against a match: what a hundred noisy labels seem to say otherwise is noise.
        "monotone_constraints": directions,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": THREADS,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(matrix, labels, weight=weights, free_raw_data=True)
    return lightgbm.train(parameters, data, num_boost_round=settings.rounds)


def _platt(scores: np.ndarray, pairs: LabelledPairs) -> tuple[float, float]:
    """Slope and intercept of the logistic curve through held-out scores (Platt, 1999): two numbers cannot overfit."""
    from sklearn.linear_model import LogisticRegression

    doubled = np.concatenate([scores, scores])[:, None]
    targets = np.repeat([1, 0], len(scores))
    soft = np.concatenate([pairs.labels * pairs.weights, (1 - pairs.labels) * pairs.weights])
    model = LogisticRegression(C=10.0).fit(doubled, targets, sample_weight=soft)
    slope = float(model.coef_[0, 0])
    # A falling curve means the held-out scores say nothing; keep their order and let the intercept do the rest.
    return (slope, float(model.intercept_[0])) if slope > 0 else (0.1, float(model.intercept_[0]))


def _metrics(
    pairs: LabelledPairs, probabilities: np.ndarray, chosen: np.ndarray, thresholds: tuple[float, float]
) -> dict[str, Any]:
    """Expected figures, all from tuples that the models have not seen, against the teacher's answers."""
    decided = _best_of_tuple(chosen, pairs.tuples) & (chosen >= thresholds[1])
    judged = {
        "pair": precision_recall_f1(probabilities >= thresholds[0], pairs.labels),
        "choice": precision_recall_f1(decided, pairs.labels),
    }
    result: dict[str, Any] = {"labelled_tuples": pairs.questions, "labelled_pairs": len(pairs)}
    result["labelled_matches"] = int((pairs.labels >= 0.5).sum())
    for kind, values in judged.items():
        result |= {f"{kind}_{name}": v for name, v in zip(("precision", "recall", "f1"), values, strict=True)}
    result["pair_calibration_error"] = expected_calibration_error(probabilities, pairs.labels)
    result["choice_calibration_error"] = expected_calibration_error(chosen, pairs.labels)
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in result.items()}


def _best_of_tuple(scores: np.ndarray, tuples: np.ndarray) -> np.ndarray:
    """Boolean mask: the first best row of each tuple."""
    order = np.lexsort((-scores, tuples))
    first = np.ones(len(order), dtype=bool)
    first[1:] = tuples[order[1:]] != tuples[order[:-1]]
    mask = np.zeros(len(order), dtype=bool)
    mask[order[first]] = True
    return mask
