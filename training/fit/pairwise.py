"""Students that are a pair model over features: what each kind sees of a pair, and what unlabelled pairs teach it.

The selection shows the teacher an unusual part of the data (say, the most and the least similar records); a student
trained on that part alone misjudges the rest. So the student decides the unlabelled tuples, records competing from both
sides, and learns from its own probabilities beside the labels; some turns of that are expectation maximisation over
the matches that nobody labelled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from distiller_udf.records import Records
from distiller_udf.settings.training import EncodedPairSettings, PairSettings
from distiller_udf.students.odds import sigmoid
from distiller_udf.students.pair_model import PairModel, Scale

from ..material import Material, Report, Trained, model_name
from ..pool import Pool, among_rivals
from .calibration import PENALISED, calibration
from .pair_model import CrossFit, Rows, cross_fit

if TYPE_CHECKING:
    from distiller_udf.encoding import EncoderFeatures

Featured: TypeAlias = "Material[PairSettings]"
Encoded: TypeAlias = "Material[EncodedPairSettings]"

WEIGHT = 0.2
"""Weight of a self-labelled pair; the teacher's have 1."""


def lexical(material: Featured, report: Report) -> Trained:
    """The lexical student: similarities alone."""
    from distiller_udf.students.kinds import LexicalStudent

    rows, rest = _seen(material, material.similarity.transform)
    directions = material.similarity.directions
    fitted = fit_pairs(rows, rest, material.pool, directions, material.settings, report=_part(report, 0.2, 0.9))
    return Trained(
        fitted.log_odds, lambda info: LexicalStudent(info, material.similarity, fitted.model), labels=fitted.labels
    )


def encoder(material: Encoded, report: Report) -> Trained:
    """The encoder student: what a pretrained encoder makes of the records' tokens."""
    from distiller_udf.students.kinds import EncoderStudent

    report("encoding records", 0.2)
    encoding = _encoding(material)
    rows, rest = _seen(material, encoding.transform)
    directions = encoding.directions
    fitted = fit_pairs(rows, rest, material.pool, directions, material.settings, report=_part(report, 0.6, 0.9))
    return Trained(
        fitted.log_odds,
        lambda info: EncoderStudent(info, material.similarity, fitted.model, encoding=encoding),
        labels=fitted.labels,
        base_model=model_name(material.settings.encoder),
    )


def blend(material: Encoded, report: Report) -> Trained:
    """The blend: a lexical model, and where it is unsure a second one that also sees the encoder's features."""
    from distiller_udf.students.kinds import CLEAR, BlendStudent

    rows, rest = _seen(material, material.similarity.transform)
    directions = material.similarity.directions
    first = fit_pairs(rows, rest, material.pool, directions, material.settings, report=_part(report, 0.2, 0.4))
    report("encoding records", 0.4)
    encoding = _encoding(material)
    met = _seen(material, encoding.transform)
    both = Rows(np.column_stack([rows.matrix, met[0].matrix]), rows.labels, rows.weights, rows.tuples)
    guesses = None
    if len(rest) and material.settings.self_training and material.settings.constraint.limits_left:
        guesses = unlabelled(first.log_odds, rows, material.pool)
    # The first model has settled what the unlabelled pairs are; more turns would lead the second one away from it.
    once = material.settings.model_copy(update={"self_training": min(1, material.settings.self_training)})
    second = fit_pairs(
        both,
        np.column_stack([rest, met[1]]),
        material.pool,
        [*directions, *encoding.directions],
        once,
        guesses,
        _part(report, 0.7, 0.9),
    )
    log_odds = np.where(np.abs(first.log_odds) < CLEAR, second.log_odds, first.log_odds)
    return Trained(
        log_odds,
        lambda info: BlendStudent(info, material.similarity, first.model, second.model, encoding=encoding),
        labels=first.labels,
        base_model=model_name(material.settings.encoder),
    )


def _seen(material: Featured, transform: Callable[[Records, Records], np.ndarray]) -> tuple[Rows, np.ndarray]:
    """The labelled pairs as rows, and the features of the pool's unlabelled pairs."""
    pairs, pool = material.pairs, material.pool
    rows = Rows(transform(pairs.left, pairs.right), pairs.labels, pairs.weights, pairs.tuples)
    return rows, transform(pool.left, pool.right)


def _encoding(material: Encoded) -> EncoderFeatures:
    from distiller_udf.encoding import EncoderFeatures

    settings = material.settings
    return EncoderFeatures.fit(
        material.left,
        material.right,
        material.similarity.comparisons,
        settings.encoder,
        max_length=settings.max_length,
        local_only=settings.local_only,
    )


def _part(report: Report, begin: float, end: float) -> Callable[[float], None]:
    return lambda share: report("training on labels and unlabelled pairs", begin + (end - begin) * share)


@dataclass(frozen=True)
class Fitted:
    """A pair model, and the log odds that it gives the pool (labelled pairs by parts that have not seen them).

    `labels` are what the labels were taken to say.
    """

    model: PairModel
    labels: np.ndarray
    log_odds: np.ndarray


def fit_pairs(
    rows: Rows,
    rest: np.ndarray,
    pool: Pool,
    directions: list[int],
    settings: PairSettings,
    guesses: np.ndarray | None = None,
    report: Callable[[float], None] = lambda share: None,
) -> Fitted:
    """Fit a pair model on labelled `rows` and, in turns, on what it says of the unlabelled pairs `rest`.

    `rest` has the features of the pool's unlabelled pairs. `guesses` are probabilities of theirs to start from.
    `report` is called with the share done.
    """
    scale = Scale.fit(np.concatenate([rows.matrix, rest]))
    turns = settings.self_training if len(rest) and pool.constraint.limits_left else 0
    extra = None if guesses is None else _guessed(rest, guesses, pool)
    for turn in range(turns + 1):
        report(turn / (turns + 1))
        fit = cross_fit(rows, directions, settings, scale, extra)
        log_odds = np.concatenate([fit.held_out, fit.model.log_odds(rest)]) if len(rest) else fit.held_out
        if turn < turns:
            extra = _guessed(rest, unlabelled(log_odds, rows, pool), pool)
    if not pool.constraint.limits_left:
        return _recalibrated(fit, rows, rest)
    return Fitted(fit.model, rows.labels, log_odds)


def _recalibrated(fit: CrossFit, rows: Rows, rest: np.ndarray) -> Fitted:
    """The same model, its probabilities those of being a match rather than of being the one that was chosen."""
    labels = with_unchosen(sigmoid(fit.held_out), rows.labels, rows.weights)
    raw = (fit.held_out - fit.model.intercept) / fit.model.slope
    slope, intercept = calibration(raw, labels, np.where(rows.weights < 1, 1.0, rows.weights), PENALISED)
    model = replace(fit.model, slope=slope, intercept=intercept)
    return Fitted(model, labels, np.concatenate([slope * raw + intercept, model.log_odds(rest)]))


def unlabelled(log_odds: np.ndarray, rows: Rows, pool: Pool) -> np.ndarray:
    """The probabilities of the pool's unlabelled pairs among their rivals."""
    return among_rivals(log_odds, rows.labels, rows.tuples, pool)[1][len(rows.labels) :]


def _guessed(rest: np.ndarray, guesses: np.ndarray, pool: Pool) -> Rows:
    return Rows(rest, guesses, np.full(len(rest), WEIGHT), pool.lefts[len(pool.lefts) - len(rest) :])


def with_unchosen(probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The labels, those of candidates that were merely not chosen (of a weight below 1) being what they likely are.

    `probabilities` of having been chosen come from a model that took these for non-matches, and has not seen the pair.
    If it was left to chance which of several matches was chosen, matches are so in one share, and the chance of an
    unchosen one follows (Elkan and Noto 2008, "Learning classifiers from only positive and unlabeled data").
    """
    unchosen = weights < 1
    chosen = (labels >= 0.5) & ~unchosen
    if not unchosen.any() or not chosen.any():
        return labels
    share = np.average(probabilities[chosen])
    odds = probabilities / (1 - probabilities)
    return np.where(unchosen, np.clip((1 - share) / share * odds, 0.0, 1.0), labels)
