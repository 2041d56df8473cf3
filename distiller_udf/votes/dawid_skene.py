"""Votes, each for none or one of a unit's candidates; how reliable who gave them is, and what the truth probably is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

ABSTAINED = -1
"""The choice of a teacher, or the winner of a vote, where there is none."""

PRIOR_GOOD, PRIOR_BAD = 4.0, 1.0
"""Pseudo-counts of every reliability: as if each teacher had been seen four times right and once wrong. They keep two
teachers and a handful of labels sane, and nobody starts below chance; a hundred labels outweigh them."""

PRIOR_CLASS = 1.0
TOLERANCE, MAX_ROUNDS = 1e-9, 500


@dataclass(frozen=True)
class Ballots:
    """Votes of a number of `teachers`: one entry a vote in `unit`, `teacher`, `voted` (0 = none, else the candidate).

    `sizes` is the number of candidates of each unit. A unit has one slot for none and one for each candidate; the slots
    of all units lie one after the other, a unit's first at `starts`.
    """

    teachers: int
    unit: np.ndarray
    teacher: np.ndarray
    voted: np.ndarray
    sizes: np.ndarray

    @cached_property
    def starts(self) -> np.ndarray:
        """The slot for none of each unit."""
        return np.asarray(np.cumsum(self.sizes + 1) - self.sizes - 1)

    @cached_property
    def slots(self) -> np.ndarray:
        """The slot that each vote is for."""
        return np.asarray(self.starts[self.unit] + self.voted)

    @cached_property
    def tally(self) -> np.ndarray:
        """How many votes each slot has."""
        return np.bincount(self.slots, minlength=int((self.sizes + 1).sum()))

    @cached_property
    def total(self) -> np.ndarray:
        """How many votes each unit has."""
        return np.bincount(self.unit, minlength=len(self.sizes))

    @cached_property
    def compared(self) -> np.ndarray:
        """The units with candidates that two teachers at least have voted on."""
        return np.asarray((self.sizes > 0) & (self.total > 1))

    def per_slot(self, values: np.ndarray) -> np.ndarray:
        """One value a unit, repeated for its slots."""
        return np.repeat(values, self.sizes + 1)

    def sums(self, slots: np.ndarray) -> np.ndarray:
        """The sum over each unit's slots."""
        return np.add.reduceat(slots, self.starts)

    def best(self, slots: np.ndarray) -> np.ndarray:
        """The largest value among each unit's slots."""
        return np.maximum.reduceat(slots, self.starts)

    def of(self, slots: np.ndarray, winner: np.ndarray) -> np.ndarray:
        """The value of each unit's winner; the largest one where there is no winner."""
        return np.where(winner == ABSTAINED, self.best(slots), slots[self.starts + np.maximum(winner, 0)])


@dataclass(frozen=True)
class Reliability:
    """For each teacher, the probability of its answers given the truth; `posterior` of each slot.

    `none_given_none`: it says none where none is right. `none_given_match`: it says none where a candidate is right.
    `right_among`: it says the right candidate where one is right and it names any. `prior_none` is the share of units
    of which none is right. `trace` is the log of likelihood and prior after each round; it never falls.
    """

    none_given_none: np.ndarray
    none_given_match: np.ndarray
    right_among: np.ndarray
    prior_none: float
    posterior: np.ndarray
    trace: tuple[float, ...]


def estimate(ballots: Ballots) -> Reliability:
    """Expectation maximisation (Dawid & Skene, Applied Statistics 28(1), 1979), with parameters tied over candidates.

    A candidate has no meaning beyond its question, so instead of a confusion matrix a teacher has three
    probabilities (see `Reliability`); a wrong candidate is any of the others alike, and before the votes each candidate
    is as likely as the next. Starts from the shares of the votes; deterministic.

    The parameters are those of the units that two teachers at least have voted on: a lone vote tells nothing of who
    gave it, and only gets a posterior. A teacher whom nobody is compared with has those of the pseudo-counts.
    """
    total = ballots.per_slot(ballots.total)
    even = 1.0 / ballots.per_slot(ballots.sizes + 1.0)
    posterior = np.divide(ballots.tally, total, out=even, where=total > 0)
    trace: list[float] = []
    while True:
        a, n, q, none = _maximise(ballots, posterior)
        posterior, likelihoods = _expect(ballots, a, n, q, none)
        trace.append(float(likelihoods[ballots.compared].sum()) + _log_prior(a, n, q, none))
        if len(trace) >= MAX_ROUNDS or (len(trace) > 1 and trace[-1] - trace[-2] <= TOLERANCE * (1 + abs(trace[-1]))):
            return Reliability(a, n, q, none, posterior, tuple(trace))


def _maximise(ballots: Ballots, posterior: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """The most probable parameters given what the truth probably is of the compared units.

    `a` = says none | none, `n` = says none | a candidate, `q` = the right one | a candidate, names any; the prior.
    """
    compared, says_none = ballots.compared, ballots.voted == 0
    none = posterior[ballots.starts]
    counts = compared[ballots.unit].astype(np.float64)
    truth_none = none[ballots.unit] * counts
    truth_match = (1 - none[ballots.unit]) * counts
    several = ~says_none & (ballots.sizes[ballots.unit] > 1)
    right = posterior[ballots.slots] * counts * several

    def share(part: np.ndarray, whole: np.ndarray, good: float, bad: float) -> np.ndarray:
        hits = np.bincount(ballots.teacher, part, ballots.teachers) + good
        return np.asarray(hits / (np.bincount(ballots.teacher, whole, ballots.teachers) + good + bad))

    a = share(truth_none * says_none, truth_none, PRIOR_GOOD, PRIOR_BAD)
    n = share(truth_match * says_none, truth_match, PRIOR_BAD, PRIOR_GOOD)
    q = share(right, truth_match * several, PRIOR_GOOD, PRIOR_BAD)
    return a, n, q, float((none[compared].sum() + PRIOR_CLASS) / (compared.sum() + 2 * PRIOR_CLASS))


def _expect(
    ballots: Ballots, a: np.ndarray, n: np.ndarray, q: np.ndarray, none: float
) -> tuple[np.ndarray, np.ndarray]:
    """The posterior of every slot, and the log-likelihood of each unit's votes."""
    size = np.maximum(ballots.sizes, 1).astype(np.float64)
    k, t, units = size[ballots.unit], ballots.teacher, len(size)
    says_none = ballots.voted == 0
    wrong = np.where(k > 1, np.log((1 - q[t]) / np.maximum(k - 1, 1)), 0.0)
    right = np.where(k > 1, np.log(q)[t], 0.0)
    if_none = np.where(says_none, np.log(a)[t], np.log((1 - a[t]) / k))
    if_other = np.where(says_none, np.log(n)[t], np.log(1 - n)[t] + wrong)
    log_none = np.log(none) + np.bincount(ballots.unit, if_none, units)
    log_match = np.log((1 - none) / size) + np.bincount(ballots.unit, if_other, units)
    logs = ballots.per_slot(log_match)
    logs += np.bincount(ballots.slots, np.where(says_none, 0.0, right - wrong), len(logs))
    logs[ballots.starts] = np.where(ballots.sizes > 0, log_none, 0.0)
    top = ballots.best(logs)
    weights = np.exp(logs - ballots.per_slot(top))
    sums = ballots.sums(weights)
    return weights / ballots.per_slot(sums), np.asarray(np.log(sums) + top)


def _log_prior(a: np.ndarray, n: np.ndarray, q: np.ndarray, none: float) -> float:
    good = np.log(a).sum() + np.log(1 - n).sum() + np.log(q).sum()
    bad = np.log(1 - a).sum() + np.log(n).sum() + np.log(1 - q).sum()
    return float(PRIOR_GOOD * good + PRIOR_BAD * bad + PRIOR_CLASS * (np.log(none) + np.log(1 - none)))
