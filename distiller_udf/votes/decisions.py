"""What the teachers' answers come to: question by question, or pair by pair where pairs were asked by themselves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from distiller_udf.votes.dawid_skene import ABSTAINED, Ballots, estimate
from distiller_udf.votes.questions import Questions, column, last_of_each

NO, YES = 0, 1
NEAR_TIE = 0.1
"""dawid_skene abstains where the best answer's posterior is ahead of the next one's by less than this."""


@dataclass(frozen=True)
class Decided:
    """The result: `choice` (-1 = abstained), `confidence`, `agreement` a question (NaN = NULL), `p` a candidate."""

    choice: np.ndarray
    confidence: np.ndarray
    agreement: np.ndarray
    p: np.ndarray


def decide(asked: Questions, method: str, needed: int) -> Decided:
    """The vote on each question; `needed` is how many answers unanimity takes."""
    whole = _by_question(asked, method, needed)
    if not asked.is_match.any():
        return whole
    pairs, match = _by_pair(asked, method, needed), asked.is_match
    return Decided(
        choice=np.where(match, pairs.choice, whole.choice),
        confidence=np.where(match, pairs.confidence, whole.confidence),
        agreement=np.where(match, pairs.agreement, whole.agreement),
        p=np.where(match[asked.slot_question], pairs.p, whole.p),
    )


def _by_question(asked: Questions, method: str, needed: int) -> Decided:
    """Which candidate, or none? Nothing for the questions whose pairs were asked by themselves."""
    ballots = asked.selecting
    winner, p, posterior = _count(asked, ballots, method, needed)
    agreement = _ratio(ballots.of(ballots.tally, winner), ballots.total)
    if posterior is None:
        confidence = _mean_confidence(asked, winner)
        # A plain answer of all stays one: in deduplication, what was not chosen may match as well.
        known = (np.bincount(asked.question, asked.is_soft, len(winner)) > 0) | (agreement != 1)
    else:
        confidence = np.where(winner == ABSTAINED, np.nan, ballots.of(posterior, winner))
        known = ballots.total > 0
    return Decided(winner, confidence, agreement, np.where(known[asked.slot_question], p, np.nan))


def _by_pair(asked: Questions, method: str, needed: int) -> Decided:
    """Yes or no to each pair, and what that makes of the question: only questions with `is_match` mean anything."""
    ballots, of, questions = asked.matching, asked.slot_question, len(asked.sizes)
    winner, p, posterior = _count(asked, ballots, method, needed)
    p = np.where(winner == ABSTAINED, np.nan, p)
    agreeing = ballots.of(ballots.tally, winner)
    if posterior is None:
        choice = _best_pairs(asked, winner, _ratio(agreeing, ballots.total), p, needed if method == "unanimous" else 1)
        confidence = _mean_confidence(asked, choice)
    else:
        choice = _best_pairs(asked, winner, p, p, 1)
        # The posterior of the pair that is most likely yes, or of no to it where even that is no.
        top = np.zeros(questions)
        np.fmax.at(top, of, p)
        confidence = np.where(choice == ABSTAINED, np.nan, np.where(choice == 0, 1 - top, top))
    agreement = _ratio(np.bincount(of, agreeing, questions), np.bincount(of, ballots.total, questions))
    agreement[(asked.sizes == 0) & (asked.answers > 0)] = 1.0
    return Decided(choice, confidence, agreement, p)


def _best_pairs(asked: Questions, winner: np.ndarray, share: np.ndarray, p: np.ndarray, needed: int) -> np.ndarray:
    """The best pair that is one; none where every pair is no, and enough have answered; otherwise the vote abstains.

    The best is the one with the largest share, then the most probable one, then the one that is shown first.
    """
    of = asked.slot_question
    open_pairs = np.bincount(of, winner != NO, len(asked.sizes))
    choice = np.where((open_pairs == 0) & (asked.answers >= needed), 0, ABSTAINED)
    yes = np.flatnonzero(winner == YES)
    best = yes[last_of_each(of[yes], share[yes], p[yes], -yes)]
    choice[of[best]] = best - asked.offsets[of[best]] + 1
    return choice


def _count(
    asked: Questions, ballots: Ballots, method: str, needed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The winner of each unit, `p` of each candidate, and with dawid_skene the posterior of each slot.

    A unit is won by the one slot that leads it, if that has a vote.
    """
    tally, posterior = ballots.tally, None
    if method == "dawid_skene":
        posterior = estimate(ballots).posterior
        leads = posterior > ballots.per_slot(ballots.best(posterior) - NEAR_TIE)
    elif method == "unanimous":
        leads = (tally == ballots.per_slot(ballots.total)) & (tally >= needed)
    else:
        leads = tally == ballots.per_slot(ballots.best(tally))
    lone = ballots.sums(leads.astype(np.int64)) == 1
    slots = np.flatnonzero(leads & ballots.per_slot(lone) & (tally > 0))
    unit = ballots.per_slot(np.arange(len(lone)))[slots]
    winner = np.full(len(lone), ABSTAINED)
    winner[unit] = slots - ballots.starts[unit]
    if posterior is None:
        return winner, _means(asked.slot, asked.p, len(asked.slot_question)), None
    return winner, np.delete(posterior, ballots.starts), posterior


def _mean_confidence(asked: Questions, choice: np.ndarray) -> np.ndarray:
    """The mean confidence of the teachers who chose what the vote chose."""
    given = np.asarray(column(asked.labels, "confidence", pa.float64()), dtype=np.float64)
    return _means(asked.question, np.where(asked.agree(choice), given, np.nan), len(choice))


def _means(group: np.ndarray, values: np.ndarray, groups: int) -> np.ndarray:
    """The mean of each group's values that are known."""
    known = np.isfinite(values)
    return _ratio(np.bincount(group[known], values[known], groups), np.bincount(group[known], minlength=groups))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """A share, NaN of nothing."""
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0))
