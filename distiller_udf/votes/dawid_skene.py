"""How reliable each teacher is and what the truth probably is, estimated together from the votes alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PRIOR_GOOD, PRIOR_BAD = 4.0, 1.0
"""Pseudo-counts of every reliability: as if each teacher had been seen four times right and once wrong. They keep two
teachers and a handful of labels sane, and nobody starts below chance; a hundred labels outweigh them."""

PRIOR_CLASS = 1.0
TOLERANCE, MAX_ROUNDS = 1e-9, 500


@dataclass(frozen=True)
class Ballots:
    """Votes about units: `unit`, `teacher` and `voted` (0 = none, else the candidate, from 1) have one entry a vote.

    `sizes` is the number of candidates of each unit. A unit has one slot for none and one for each candidate; the slots
    of all units lie one after the other, a unit's first at `starts`.
    """

    unit: np.ndarray
    teacher: np.ndarray
    voted: np.ndarray
    sizes: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """The slot for none of each unit."""
        return np.concatenate([[0], np.cumsum(self.sizes + 1)])[:-1].astype(np.int64)

    @property
    def slots(self) -> np.ndarray:
        """The slot that each vote is for."""
        return np.asarray(self.starts[self.unit] + self.voted)

    @property
    def tally(self) -> np.ndarray:
        """How many votes each slot has."""
        return np.bincount(self.slots, minlength=int((self.sizes + 1).sum()))

    def per_slot(self, values: np.ndarray) -> np.ndarray:
        """One value a unit, repeated for its slots."""
        return np.repeat(values, self.sizes + 1)

    def sums(self, slots: np.ndarray) -> np.ndarray:
        """The sum over each unit's slots."""
        return np.add.reduceat(slots, self.starts) if len(self.sizes) else np.zeros(0)

    def best(self, slots: np.ndarray) -> np.ndarray:
        """The largest value among each unit's slots."""
        return np.maximum.reduceat(slots, self.starts) if len(self.sizes) else np.zeros(0)


@dataclass(frozen=True)
class Estimate:
    """`posterior` of each slot; for each teacher, the probability of its answers given the truth.

    `none_when_none`: it says none where none is right. `none_when_match`: it says none where a candidate is right.
    `right_among`: it says the right candidate where one is right and it names any. `prior_none` is the share of units
    of which none is right. `trace` is the log of likelihood and prior after each round; it never falls.
    """

    posterior: np.ndarray
    none_when_none: np.ndarray
    none_when_match: np.ndarray
    right_among: np.ndarray
    prior_none: float
    trace: tuple[float, ...]


def estimate(ballots: Ballots, teachers: int) -> Estimate:
    """Expectation maximisation (Dawid & Skene, Applied Statistics 28(1), 1979), with parameters tied over candidates.

    A candidate has no meaning beyond its question, so instead of a confusion matrix a teacher has three
    probabilities (see `Estimate`); a wrong candidate is any of the others alike, and before the votes each candidate is
    as likely as the next. Starts from the shares of the votes; deterministic.
    """
    votes = ballots.tally.astype(np.float64)
    total = ballots.per_slot(ballots.sums(votes))
    even = 1.0 / ballots.per_slot(ballots.sizes + 1.0)
    posterior = np.divide(votes, total, out=even, where=total > 0)
    trace: list[float] = []
    while True:
        model = _maximise(ballots, teachers, posterior)
        posterior, likelihood = _expect(ballots, model)
        trace.append(likelihood + _log_prior(model))
        if len(trace) >= MAX_ROUNDS or (len(trace) > 1 and trace[-1] - trace[-2] <= TOLERANCE * (1 + abs(trace[-1]))):
            return Estimate(posterior, model.a, model.n, model.q, model.none, tuple(trace))


@dataclass(frozen=True)
class _Model:
    """`a` = says none | none, `n` = says none | a candidate, `q` = the right one | a candidate, names any."""

    a: np.ndarray
    n: np.ndarray
    q: np.ndarray
    none: float


def _maximise(ballots: Ballots, teachers: int, posterior: np.ndarray) -> _Model:
    """The most probable parameters given what the truth probably is."""
    asked = (ballots.sizes > 0) & (ballots.sums(ballots.tally) > 0)
    none = posterior[ballots.starts]
    open_vote = asked[ballots.unit].astype(np.float64)
    truth_none = none[ballots.unit] * open_vote
    truth_match = (1 - none[ballots.unit]) * open_vote
    says_none = ballots.voted == 0
    several = (ballots.voted > 0) & (ballots.sizes[ballots.unit] > 1)
    right = np.where(several, posterior[ballots.slots], 0.0)
    named = np.where(several, truth_match, 0.0)

    def share(part: np.ndarray, whole: np.ndarray, good: float, bad: float) -> np.ndarray:
        hits = np.bincount(ballots.teacher, part, teachers) + good
        return np.asarray(hits / (np.bincount(ballots.teacher, whole, teachers) + good + bad))

    return _Model(
        a=share(truth_none * says_none, truth_none, PRIOR_GOOD, PRIOR_BAD),
        n=share(truth_match * says_none, truth_match, PRIOR_BAD, PRIOR_GOOD),
        q=share(right, named, PRIOR_GOOD, PRIOR_BAD),
        none=float((none[asked].sum() + PRIOR_CLASS) / (asked.sum() + 2 * PRIOR_CLASS)),
    )


def _expect(ballots: Ballots, model: _Model) -> tuple[np.ndarray, float]:
    """The posterior of every slot, and the log-likelihood of all votes."""
    size = np.maximum(ballots.sizes, 1).astype(np.float64)
    k, t = size[ballots.unit], ballots.teacher
    says_none = ballots.voted == 0
    others = np.maximum(k - 1, 1)
    wrong = np.where(k > 1, np.log((1 - model.q[t]) / others), 0.0)
    right = np.where(k > 1, np.log(model.q[t]), 0.0)
    if_none = np.where(says_none, np.log(model.a[t]), np.log((1 - model.a[t]) / k))
    if_other = np.where(says_none, np.log(model.n[t]), np.log(1 - model.n[t]) + wrong)
    units = len(ballots.sizes)
    log_none = np.log(model.none) + np.bincount(ballots.unit, if_none, units)
    log_match = np.log((1 - model.none) / size) + np.bincount(ballots.unit, if_other, units)
    logs = ballots.per_slot(log_match)
    logs += np.bincount(ballots.slots, np.where(says_none, 0.0, right - wrong), len(logs))
    logs[ballots.starts] = np.where(ballots.sizes > 0, log_none, 0.0)
    top = ballots.best(logs)
    weights = np.exp(logs - ballots.per_slot(top))
    sums = ballots.sums(weights)
    return weights / ballots.per_slot(sums), float((np.log(sums) + top).sum())


def _log_prior(model: _Model) -> float:
    good = np.log(model.a).sum() + np.log(1 - model.n).sum() + np.log(model.q).sum()
    bad = np.log(1 - model.a).sum() + np.log(model.n).sum() + np.log(1 - model.q).sum()
    return float(PRIOR_GOOD * good + PRIOR_BAD * bad + PRIOR_CLASS * (np.log(model.none) + np.log(1 - model.none)))
