"""How reliable each teacher is and what the truth probably is, estimated together from the votes alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distiller_udf.votes.ballots import Ballots

PRIOR_GOOD, PRIOR_BAD = 4.0, 1.0
"""Pseudo-counts of every reliability: as if each teacher had been seen four times right and once wrong. They keep two
teachers and a handful of labels sane, and nobody starts below chance; a hundred labels outweigh them."""

PRIOR_CLASS = 1.0
TOLERANCE, MAX_ROUNDS = 1e-9, 500


@dataclass(frozen=True)
class Reliability:
    """`posterior` of each slot; for each teacher, the probability of its answers given the truth.

    `none_given_none`: it says none where none is right. `none_given_match`: it says none where a candidate is right.
    `right_among`: it says the right candidate where one is right and it names any. `prior_none` is the share of units
    of which none is right. `trace` is the log of likelihood and prior after each round; it never falls.
    """

    posterior: np.ndarray
    none_given_none: np.ndarray
    none_given_match: np.ndarray
    right_among: np.ndarray
    prior_none: float
    trace: tuple[float, ...]


def estimate(ballots: Ballots, teachers: int) -> Reliability:
    """Expectation maximisation (Dawid & Skene, Applied Statistics 28(1), 1979), with parameters tied over candidates.

    A candidate has no meaning beyond its question, so instead of a confusion matrix a teacher has three
    probabilities (see `Reliability`); a wrong candidate is any of the others alike, and before the votes each candidate
    is as likely as the next. Starts from the shares of the votes; deterministic.

    The parameters are those of the units that two teachers at least have voted on: a lone vote tells nothing of who
    gave it, and only gets a posterior. A teacher whom nobody is compared with has those of the pseudo-counts.
    """
    votes = ballots.tally.astype(np.float64)
    total = ballots.per_slot(ballots.sums(votes))
    even = 1.0 / ballots.per_slot(ballots.sizes + 1.0)
    posterior = np.divide(votes, total, out=even, where=total > 0)
    trace: list[float] = []
    compared = compared_units(ballots)
    while True:
        model = _maximise(ballots, teachers, posterior, compared)
        posterior, likelihoods = _expect(ballots, model)
        trace.append(float(likelihoods[compared].sum()) + _log_prior(model))
        if len(trace) >= MAX_ROUNDS or (len(trace) > 1 and trace[-1] - trace[-2] <= TOLERANCE * (1 + abs(trace[-1]))):
            return Reliability(posterior, model.a, model.n, model.q, model.none, tuple(trace))


def compared_units(ballots: Ballots) -> np.ndarray:
    """The units with candidates that two teachers at least have voted on."""
    return np.asarray((ballots.sizes > 0) & (ballots.sums(ballots.tally) > 1))


@dataclass(frozen=True)
class _Model:
    """`a` = says none | none, `n` = says none | a candidate, `q` = the right one | a candidate, names any."""

    a: np.ndarray
    n: np.ndarray
    q: np.ndarray
    none: float


def _maximise(ballots: Ballots, teachers: int, posterior: np.ndarray, compared: np.ndarray) -> _Model:
    """The most probable parameters given what the truth probably is of the compared units."""
    none = posterior[ballots.starts]
    counts = compared[ballots.unit].astype(np.float64)
    truth_none = none[ballots.unit] * counts
    truth_match = (1 - none[ballots.unit]) * counts
    says_none = ballots.voted == 0
    several = (ballots.voted > 0) & (ballots.sizes[ballots.unit] > 1)
    right = np.where(several, posterior[ballots.slots] * counts, 0.0)
    named = np.where(several, truth_match, 0.0)

    def share(part: np.ndarray, whole: np.ndarray, good: float, bad: float) -> np.ndarray:
        hits = np.bincount(ballots.teacher, part, teachers) + good
        return np.asarray(hits / (np.bincount(ballots.teacher, whole, teachers) + good + bad))

    return _Model(
        a=share(truth_none * says_none, truth_none, PRIOR_GOOD, PRIOR_BAD),
        n=share(truth_match * says_none, truth_match, PRIOR_BAD, PRIOR_GOOD),
        q=share(right, named, PRIOR_GOOD, PRIOR_BAD),
        none=float((none[compared].sum() + PRIOR_CLASS) / (compared.sum() + 2 * PRIOR_CLASS)),
    )


def _expect(ballots: Ballots, model: _Model) -> tuple[np.ndarray, np.ndarray]:
    """The posterior of every slot, and the log-likelihood of each unit's votes."""
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
    return weights / ballots.per_slot(sums), np.asarray(np.log(sums) + top)


def _log_prior(model: _Model) -> float:
    good = np.log(model.a).sum() + np.log(1 - model.n).sum() + np.log(model.q).sum()
    bad = np.log(1 - model.a).sum() + np.log(model.n).sum() + np.log(1 - model.q).sum()
    return float(PRIOR_GOOD * good + PRIOR_BAD * bad + PRIOR_CLASS * (np.log(model.none) + np.log(1 - model.none)))
