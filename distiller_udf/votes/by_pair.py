"""The vote on pairs that were asked by themselves: yes or no to each, and what that makes of the question."""

from __future__ import annotations

import numpy as np

from distiller_udf.votes.decisions import Count, Decided, count, mean_confidence, ratio
from distiller_udf.votes.questions import Questions
from distiller_udf.votes.winners import ABSTAINED

YES, NO = 1, 0


def by_pair(asked: Questions, method: str, needed: int) -> Decided:
    """What the votes on each question's pairs come to; only the questions with `is_match` mean anything."""
    counted = count(asked.matching, method, len(asked.names), needed)
    p = _probabilities(asked, counted)
    best = _best_pairs(asked, counted, p)
    choice = _choices(asked, counted, best, needed if method == "unanimous" else 1)
    confidence = mean_confidence(asked, choice)
    if counted.posterior is not None:
        confidence = _confidence(asked, choice, p, confidence)
    return Decided(choice, confidence, _agreement(asked, counted), p)


def _probabilities(asked: Questions, counted: Count) -> np.ndarray:
    """The mean probability of each pair, or its posterior; NaN where the vote on it abstains."""
    known = np.isfinite(asked.p)
    slots = len(asked.slot_question)
    p = ratio(np.bincount(asked.slot[known], asked.p[known], slots), np.bincount(asked.slot[known], minlength=slots))
    if counted.posterior is not None:
        p = counted.posterior[YES::2]
    return np.where(counted.winner == ABSTAINED, np.nan, p)


def _best_pairs(asked: Questions, counted: Count, p: np.ndarray) -> np.ndarray:
    """The slots of the pairs that are one and better than all others of their question.

    With a posterior the most probable one; otherwise that of whose answers most say yes, then the most probable one;
    then the one that is shown first.
    """
    yes = np.flatnonzero(counted.winner == YES)
    share = ratio(counted.agreeing, counted.total)[yes] if counted.posterior is None else np.zeros(len(yes))
    of = asked.slot_question[yes]
    ranked = yes[np.lexsort((-yes, p[yes], share, of))]
    return np.asarray(ranked[np.flatnonzero(np.diff(asked.slot_question[ranked], append=-1))])


def _choices(asked: Questions, counted: Count, best: np.ndarray, needed: int) -> np.ndarray:
    """The best pair; none where every pair is no, and somebody answered; otherwise the vote abstains."""
    questions = len(asked.sizes)
    not_no = np.bincount(asked.slot_question, counted.winner != NO, questions)
    choice = np.where((not_no == 0) & (asked.answers >= needed), 0, ABSTAINED)
    of = asked.slot_question[best]
    choice[of] = best - asked.offsets[of] + 1
    return choice


def _confidence(asked: Questions, choice: np.ndarray, p: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """The posterior of the chosen pair; of none, that of no to the pair that is most likely yes."""
    of = asked.slot_question
    confidence = np.where(choice == 0, 1.0, otherwise)
    of_none = choice[of] == 0
    np.minimum.at(confidence, of[of_none], 1 - p[of_none])
    chosen = np.flatnonzero(choice > 0)
    confidence[chosen] = p[asked.offsets[chosen] + choice[chosen] - 1]
    return confidence


def _agreement(asked: Questions, counted: Count) -> np.ndarray:
    """The share of the answers to a question's pairs that are the results; 1 where there are no pairs."""
    questions = len(asked.sizes)
    agreeing = np.bincount(asked.slot_question, counted.agreeing, questions)
    shares = ratio(agreeing, np.bincount(asked.slot_question, counted.total, questions))
    return np.where((asked.sizes == 0) & (asked.answers > 0), 1.0, shares)
