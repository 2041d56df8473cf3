"""The strategy uncertain: a random first round, then, run by run, those of which the current student is least sure."""

from __future__ import annotations

import math

import numpy as np
import pyarrow.compute as pc

from distiller_udf.constraint import Constraint
from distiller_udf.records import one_array
from distiller_udf.selection.profiles import Chosen, Pool, lists

SMALLEST_ROUND = 20
"""A round asks about so many records at least: a student learns nothing from fewer."""

STRATA = 4
"""A round is spread evenly over so many groups of left records, by their best similarity."""


def least_sure(pool: Pool, wanted: int, rounds: int, constraint: Constraint) -> Chosen:
    """What was asked before, and another round of the least sure; the score is the uncertainty."""
    unsure = _unsure(pool, constraint)
    asked_in, labelled = _asked_in(pool), _flags(pool, "labelled")
    before = np.flatnonzero(asked_in > 0)
    before = before[np.argsort(~labelled[before], kind="stable")][:wanted]
    new = np.setdiff1d(np.arange(len(pool)), before)
    if len(before):
        new = _spread(pool, unsure, new)
    size = max(math.ceil(wanted / rounds), SMALLEST_ROUND)
    new = new[: min(wanted - len(before), _growth(asked_in[before], labelled[before], size))]
    rows = np.concatenate([before, new])
    this_round = int(asked_in[before].max(initial=0)) + 1
    return Chosen(rows, unsure[rows], np.where(asked_in[rows] > 0, asked_in[rows], this_round))


def uncertainty(
    probabilities: np.ndarray, starts: np.ndarray, constraint: Constraint = Constraint.ONE_TO_ONE
) -> np.ndarray:
    """How unsure the student is of each left record: 1 less the lead of its best answer over the next best; 1 = a tie.

    `probabilities` of all candidates one after the other, the first of each left record at `starts`. A student gives
    each candidate a probability of its own; given that at most one is right, a candidate weighs its odds p / (1 - p)
    against 1 for none (Bernoullis conditioned on at most one success). Without a constraint every candidate is a
    question of its own, and the least sure one counts. NaN where a record has no probability.

    The entropy of the same distribution prefers records with many unlikely candidates to those between two answers.
    """
    counts = np.diff(np.append(starts, len(probabilities)))
    member = np.repeat(np.arange(len(starts)), counts)
    known = np.bincount(member, np.isfinite(probabilities), len(starts)) > 0
    if not constraint.limits_left:
        most = np.zeros(len(starts))
        np.maximum.at(most, member, np.nan_to_num(1 - np.abs(2 * probabilities - 1)))
        return np.where(known, most, np.nan)
    odds = np.clip(probabilities, 1e-9, 1 - 1e-9)
    odds = np.where(np.isfinite(odds), odds / (1 - odds), 0.0)
    largest = np.zeros((len(starts), 3))
    largest[:, 0] = 1.0  # none
    order = np.lexsort((-odds, member))
    for place in (0, 1):
        has = counts > place
        largest[has, 1 + place] = odds[order[starts[has] + place]]
    largest = np.sort(largest, axis=1)
    total = 1 + np.bincount(member, odds, len(starts))
    return np.where(known, 1 - (largest[:, 2] - largest[:, 1]) / total, np.nan)


def _growth(asked_in: np.ndarray, labelled: np.ndarray, size: int) -> int:
    """How many a run adds to what was asked before: a round, less what the last round still waits for.

    As long as nothing of the last round is answered, nothing is added: a run without answers uses up no round. What
    never gets an answer counts once, in the round after its own, and never for more than half of that: it cannot keep
    the share from being reached.
    """
    if not len(asked_in):
        return size
    of_last = labelled[asked_in == asked_in.max()]
    if not of_last.any():
        return 0
    return max(size - int((~of_last).sum()), math.ceil(size / 2))


def _asked_in(pool: Pool) -> np.ndarray:
    """The round in which each profile was asked about, 0 = in none; what was only labelled belongs to the first.

    Where it is not known what is labelled, all that was selected is taken to be.
    """
    selected = _flags(pool, "selected")
    rounds = np.ones(len(pool), dtype=np.int64)
    if "round" in pool.profiles.column_names:
        given = pc.fill_null(one_array(pool.profiles["round"]).cast("int64"), 1)
        rounds = np.maximum(given.to_numpy(zero_copy_only=False), 1)
    return np.where(selected, rounds, _flags(pool, "labelled").astype(np.int64))


def _flags(pool: Pool, name: str) -> np.ndarray:
    """A column of truth values; false where a value is missing, and `selected` where `labelled` is."""
    if name == "labelled" and name not in pool.profiles.column_names:
        name = "selected"
    if name not in pool.profiles.column_names:
        return np.zeros(len(pool), dtype=bool)
    flags = pc.fill_null(one_array(pool.profiles[name]), False)
    return np.asarray(flags.to_numpy(zero_copy_only=False), dtype=bool)


def _unsure(pool: Pool, constraint: Constraint) -> np.ndarray:
    """The uncertainty of each profile, NaN where the student has not scored it."""
    if "probabilities" not in pool.profiles.column_names:
        return np.full(len(pool), np.nan)
    probabilities, starts, _ = lists(pool.profiles["probabilities"])
    return uncertainty(probabilities, starts, constraint)


def _spread(pool: Pool, unsure: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Profiles by their uncertainty, each group of similarity in turn; those without a score rank by chance.

    The least sure records resemble each other; a round of nothing else would teach one thing many times.
    """
    ordered = rows[np.lexsort((pool.draw[rows], pool.best[rows]))]
    stratum = np.empty(len(pool), dtype=np.int64)
    stratum[ordered] = np.arange(len(ordered)) * STRATA // max(len(ordered), 1)
    score = _with_chance(pool, unsure, rows)
    ranked = rows[np.lexsort((pool.draw[rows], -score[rows], stratum[rows]))]
    first = np.searchsorted(stratum[ranked], np.arange(STRATA))
    turn = np.arange(len(ranked)) - first[stratum[ranked]]
    return np.asarray(ranked[np.lexsort((-score[ranked], turn))])


def _with_chance(pool: Pool, unsure: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """An unscored profile gets the uncertainty of a scored one that is drawn for it: neither first nor last."""
    score: np.ndarray = unsure.copy()
    unknown = rows[np.isnan(score[rows])]
    known = np.sort(score[rows][~np.isnan(score[rows])])
    chance = np.asarray([int(draw[:8], 16) / 16**8 for draw in pool.draw[unknown]])
    score[unknown] = known[(chance * len(known)).astype(np.int64)] if len(known) else chance
    return score
