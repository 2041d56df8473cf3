"""What the teachers' answers come to: question by question, or pair by pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from distiller_udf.records import one_array
from distiller_udf.votes.ballots import Ballots
from distiller_udf.votes.dawid_skene import estimate
from distiller_udf.votes.questions import UNANSWERED, Questions
from distiller_udf.votes.winners import ABSTAINED, majority, most_probable, unanimous


@dataclass(frozen=True)
class Decided:
    """The result: `choice` (-1 = abstained), `confidence`, `agreement` a question (NaN = NULL), `p` a candidate."""

    choice: np.ndarray
    confidence: np.ndarray
    agreement: np.ndarray
    p: np.ndarray


@dataclass(frozen=True)
class Count:
    """How units were voted on: the `winner` of each (-1 = abstained), how many of the votes in `total` are `agreeing`
    with it (or with the most frequent answer where there is none), and with dawid_skene the `posterior` of each slot.
    """

    winner: np.ndarray
    agreeing: np.ndarray
    total: np.ndarray
    posterior: np.ndarray | None


def count(ballots: Ballots, method: str, teachers: int, needed: int) -> Count:
    """Count the votes of so many teachers; `needed` is how many votes unanimity takes."""
    posterior = estimate(ballots, teachers).posterior if method == "dawid_skene" else None
    if posterior is not None:
        winner = most_probable(ballots, posterior)
    else:
        winner = unanimous(ballots, needed) if method == "unanimous" else majority(ballots)
    tally = ballots.tally
    of_winner = tally[ballots.starts + np.maximum(winner, 0)]
    agreeing = np.where(winner == ABSTAINED, ballots.best(tally), of_winner)
    return Count(winner, agreeing, ballots.sums(tally), posterior)


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """A share, NaN of nothing."""
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0))


def mean_confidence(asked: Questions, choice: np.ndarray) -> np.ndarray:
    """The mean confidence of the teachers who chose what the vote chose."""
    if "confidence" not in asked.labels.column_names:
        return np.full(len(choice), np.nan)
    given = one_array(asked.labels["confidence"]).cast(pa.float64()).to_numpy(zero_copy_only=False)
    heard = np.isfinite(given) & (asked.choice == choice[asked.question]) & (asked.choice != UNANSWERED)
    sums = np.bincount(asked.question[heard], given[heard], len(choice))
    return ratio(sums, np.bincount(asked.question[heard], minlength=len(choice)))
