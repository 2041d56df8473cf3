"""Which of its slots wins each unit, by each way of counting."""

from __future__ import annotations

import numpy as np

from distiller_udf.votes.ballots import Ballots

ABSTAINED = -1
NEAR_TIE = 0.1
"""dawid_skene abstains where the best answer's posterior is ahead of the next one's by less than this."""


def majority(ballots: Ballots) -> np.ndarray:
    """The winner of each unit is what most votes are for (0 = none, else the candidate; -1 = a tie, or no vote)."""
    tally = ballots.tally
    return _alone(ballots, tally == ballots.per_slot(ballots.best(tally)))


def unanimous(ballots: Ballots, needed: int) -> np.ndarray:
    """The winner of each unit is what all votes are for, where there are as many as are needed."""
    tally = ballots.tally
    return _alone(ballots, (tally == ballots.per_slot(ballots.sums(tally))) & (tally >= needed))


def most_probable(ballots: Ballots, posterior: np.ndarray) -> np.ndarray:
    """The winner of each unit is what is most probable, where it is ahead of all else; what nobody said cannot win."""
    return _alone(ballots, posterior > ballots.per_slot(ballots.best(posterior) - NEAR_TIE))


def _alone(ballots: Ballots, leads: np.ndarray) -> np.ndarray:
    """The slot of each unit that leads, if it is the only one and has a vote."""
    only = ballots.per_slot(ballots.sums(leads.astype(np.int64)) == 1)
    slots = np.flatnonzero(leads & only & (ballots.tally > 0))
    unit = np.repeat(np.arange(len(ballots.sizes)), ballots.sizes + 1)[slots]
    winner = np.full(len(ballots.sizes), ABSTAINED, dtype=np.int64)
    winner[unit] = slots - ballots.starts[unit]
    return winner
