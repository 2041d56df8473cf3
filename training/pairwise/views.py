"""What each kind of student sees of a pair, and how its models are fitted to that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from distiller_udf.records import Records

from ..material import Material, Report, Trained, model_name
from ..settings import EncodedPairSettings, PairSettings
from .rows import Rows
from .self_training import fit_pairs, unlabelled

if TYPE_CHECKING:
    from distiller_udf.encoding import EncoderFeatures

Featured: TypeAlias = "Material[PairSettings]"
Encoded: TypeAlias = "Material[EncodedPairSettings]"


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
    once = replace(material.settings, self_training=min(1, material.settings.self_training))
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
