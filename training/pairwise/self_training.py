"""Self-training: what the student says of unlabelled tuples, with how sure it is, teaches it what labelled ones lack.

The selection shows the teacher an unusual part of the data (say, the most and the least similar records); a student
trained on that part alone misjudges the rest. So the student decides the unlabelled tuples, records competing from both
sides, and learns from its own probabilities beside the labels; some turns of that are expectation maximisation over
the matches that nobody labelled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from distiller_udf.students.choice import Choice
from distiller_udf.students.odds import sigmoid
from distiller_udf.students.pair_model import PairModel, Scale

from ..choosing import fit_choice
from ..pool import Pool
from ..settings import PairSettings
from .boosting import cross_fit
from .rows import Rows

WEIGHT = 0.2
"""Weight of a self-labelled pair; the teacher's have 1."""


@dataclass(frozen=True)
class Fitted:
    """A pair model, and the log odds that it gives the pool (labelled pairs by parts that have not seen them)."""

    model: PairModel
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
    turns = settings.self_training if len(rest) else 0
    extra = None if guesses is None else _guessed(rest, guesses, pool)
    for turn in range(turns + 1):
        report(turn / (turns + 1))
        fit = cross_fit(rows, directions, settings, scale, extra)
        log_odds = np.concatenate([fit.held_out, fit.model.log_odds(rest)]) if len(rest) else fit.held_out
        if turn < turns:
            extra = _guessed(rest, linked(log_odds, rows, pool)[1][len(rows.labels) :], pool)
    return Fitted(fit.model, log_odds)


def linked(log_odds: np.ndarray, rows: Rows, pool: Pool) -> tuple[Choice, np.ndarray]:
    """How pairs of the pool compete from both sides, and the choice probabilities that follow."""
    choice = fit_choice(log_odds, pool.lefts, pool.rights, rows.labels, rows.tuples)
    return choice, choice.probabilities(sigmoid(log_odds), pool.lefts, pool.rights)


def _guessed(rest: np.ndarray, guesses: np.ndarray, pool: Pool) -> Rows:
    return Rows(rest, guesses, np.full(len(rest), WEIGHT), pool.lefts[len(pool.lefts) - len(rest) :])
