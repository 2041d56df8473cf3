"""The vote on whole questions: which candidate, or none?"""

from __future__ import annotations

import numpy as np

from distiller_udf.votes.decisions import Count, Decided, count, mean_confidence, ratio
from distiller_udf.votes.questions import UNANSWERED, Questions
from distiller_udf.votes.winners import ABSTAINED


def by_question(asked: Questions, method: str, needed: int) -> Decided:
    """What each question's votes come to; nothing for those whose pairs were asked by themselves."""
    counted = count(asked.selecting, method, len(asked.names), needed)
    agreement = ratio(counted.agreeing, counted.total)
    if counted.posterior is not None:
        return _most_probable(asked, counted, counted.posterior, agreement)
    confidence = mean_confidence(asked, counted.winner)
    return Decided(counted.winner, confidence, agreement, _mean_distribution(asked, agreement))


def _most_probable(asked: Questions, counted: Count, posterior: np.ndarray, agreement: np.ndarray) -> Decided:
    """The posterior of every candidate, and that of the winner, none or a candidate, as confidence."""
    starts = asked.selecting.starts
    of_winner = posterior[starts + np.maximum(counted.winner, 0)]
    p = np.delete(posterior, starts)
    p[(counted.total == 0)[asked.slot_question]] = np.nan
    confidence = np.where(counted.winner == ABSTAINED, np.nan, of_winner)
    return Decided(counted.winner, confidence, agreement, p)


def _mean_distribution(asked: Questions, agreement: np.ndarray) -> np.ndarray:
    """The mean over a question's answers of the teachers' probabilities, of 1 for the choice where they gave none."""
    told = asked.choice[asked.row]
    hard = asked.slot == asked.offsets[asked.question[asked.row]] + told - 1
    given = np.bincount(asked.row, np.isfinite(asked.p), len(asked.question)) == asked.sizes[asked.question]
    p = np.where(given[asked.row], asked.p, hard)
    votes = told != UNANSWERED
    slots = len(asked.slot_question)
    mean = ratio(np.bincount(asked.slot[votes], p[votes], slots), np.bincount(asked.slot[votes], minlength=slots))
    # A plain answer of all stays a plain answer: in deduplication, what was not chosen may match as well.
    soft = np.bincount(asked.question, given & (asked.choice != UNANSWERED), len(asked.sizes)) > 0
    return np.asarray(np.where((soft | ~(agreement == 1.0))[asked.slot_question], mean, np.nan))
