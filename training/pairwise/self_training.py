"""Self-training: what the student says of unlabelled tuples, with how sure it is, teaches it what labelled ones lack.

The selection shows the teacher an unusual part of the data (say, the most and the least similar records); a student
trained on that part alone misjudges the rest. So the student decides the unlabelled tuples, records competing from both
sides, and learns from its own probabilities beside the labels; some turns of that are expectation maximisation over
the matches that nobody labelled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from distiller_udf.students.odds import sigmoid
from distiller_udf.students.pair_model import PairModel, Scale

from ..choosing import among_rivals
from ..pool import Pool
from ..settings import PairSettings
from ..unchosen import with_unchosen
from .boosting import CrossFit, cross_fit, platt
from .rows import Rows

WEIGHT = 0.2
"""Weight of a self-labelled pair; the teacher's have 1."""


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
    slope, intercept = platt(raw, labels, np.where(rows.weights < 1, 1.0, rows.weights))
    model = replace(fit.model, slope=slope, intercept=intercept)
    return Fitted(model, labels, np.concatenate([slope * raw + intercept, model.log_odds(rest)]))


def unlabelled(log_odds: np.ndarray, rows: Rows, pool: Pool) -> np.ndarray:
    """The probabilities of the pool's unlabelled pairs among their rivals."""
    return among_rivals(log_odds, rows.labels, rows.tuples, pool)[1][len(rows.labels) :]


def _guessed(rest: np.ndarray, guesses: np.ndarray, pool: Pool) -> Rows:
    return Rows(rest, guesses, np.full(len(rest), WEIGHT), pool.lefts[len(pool.lefts) - len(rest) :])
