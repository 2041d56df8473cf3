"""Learning from unlabelled tuples: it helps where labels cover the extremes alone, and does not without rivals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from distiller_udf.constraint import Constraint
from distiller_udf.records import Records
from distiller_udf.settings import checked
from distiller_udf.settings.training import PairSettings
from distiller_udf.students.odds import logit
from distiller_udf.training.fit.pair_model import Rows
from distiller_udf.training.fit.pairwise import Fitted, fit_pairs, with_unchosen
from distiller_udf.training.pool import Pool, among_rivals

CANDIDATES = 4
FEATURES = 3
SETTINGS = {"rounds": 20, "folds": 3}


class World:
    """Left records with four candidates, of which the first is the match; records meet on both sides.

    Feature 0 is large for what is alike anyway, match or not: the labelled extremes show that alone. Feature 1 tells
    matches from rivals in the middle.
    """

    def __init__(self, seed: int, tuples: int = 400, labelled: int = 40) -> None:
        rng = np.random.default_rng(seed)
        self.truth = np.tile(np.arange(CANDIDATES) == 0, tuples)
        self.tuples = np.repeat(np.arange(tuples), CANDIDATES)
        rights = rng.integers(0, tuples, len(self.truth))
        self.rights = np.where(self.truth, self.tuples, rights)
        extreme = self.tuples < labelled
        easy = np.where(self.truth, 4.0, -4.0)
        hidden = np.where(self.truth, 1.0, -1.0) + rng.normal(0, 0.8, len(self.truth))
        seen = np.where(extreme, easy, rng.normal(0, 1.0, len(self.truth)))
        self.matrix = np.column_stack([seen, hidden, rng.normal(0, 1, len(self.truth))]).astype(np.float32)
        # Where the extremes lie, the telling feature is missing half of the time.
        self.matrix[extreme & (rng.random(len(extreme)) < 0.7), 1] = np.nan
        self.labelled = extreme

    @property
    def rows(self) -> Rows:
        known = self.labelled
        return Rows(self.matrix[known], self.truth[known].astype(float), np.ones(int(known.sum())), self.tuples[known])

    @property
    def pool(self) -> Pool:
        names = Records.from_texts([f"r{i}" for i in range(int((~self.labelled).sum()))])
        return Pool(names, names, self.tuples, self.rights)

    def fitted(self, **settings: int) -> Fitted:
        chosen = checked(PairSettings, {**SETTINGS, **settings})
        return fit_pairs(self.rows, self.matrix[~self.labelled], self.pool, [1] * FEATURES, chosen)

    def accuracy(self, fitted: Fitted) -> float:
        """How often the best candidate of an unlabelled tuple is the match, by pairs alone."""
        scores = fitted.model.log_odds(self.matrix[~self.labelled]).reshape(-1, CANDIDATES)
        return float((scores.argmax(axis=1) == 0).mean())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_helps_where_labels_cover_the_extremes_alone(seed: int) -> None:
    world = World(seed)
    without, with_it = (world.accuracy(world.fitted(self_training=turns)) for turns in (0, 3))
    assert with_it > without + 0.05


def test_the_log_odds_are_those_of_the_whole_pool_in_its_order() -> None:
    world = World(0, tuples=60)
    fitted = world.fitted(self_training=1)
    assert fitted.log_odds.shape == (len(world.truth),)
    rest = fitted.model.log_odds(world.matrix[~world.labelled])
    np.testing.assert_array_equal(fitted.log_odds[world.labelled.sum() :], rest)
    labelled = fitted.model.log_odds(world.matrix[world.labelled])
    assert not np.array_equal(fitted.log_odds[: world.labelled.sum()], labelled), "these come from unseeing models"


def test_without_unlabelled_pairs_turns_change_nothing() -> None:
    world = World(0, tuples=40)
    assert not (~world.labelled).any()
    settings = (checked(PairSettings, {**SETTINGS, "self_training": turns}) for turns in (0, 3))
    none = Records.from_texts([])
    pool = Pool(none, none, world.tuples, world.rights)
    one, other = (fit_pairs(world.rows, world.matrix[:0], pool, [1] * FEATURES, s) for s in settings)
    np.testing.assert_array_equal(one.log_odds, other.log_odds)


def test_guesses_to_start_from_are_learnt() -> None:
    world = World(1, tuples=200)
    pool, rest = world.pool, world.matrix[~world.labelled]
    chosen = checked(PairSettings, {**SETTINGS, "self_training": 0})
    truth = world.truth[~world.labelled].astype(float)
    told = fit_pairs(world.rows, rest, pool, [1] * FEATURES, chosen, truth)
    misled = fit_pairs(world.rows, rest, pool, [1] * FEATURES, chosen, 1 - truth)
    assert world.accuracy(told) > world.accuracy(world.fitted(self_training=0))
    assert world.accuracy(told) > world.accuracy(misled) + 0.05


def test_progress_rises_turn_by_turn() -> None:
    world = World(0, tuples=60)
    chosen = checked(PairSettings, {**SETTINGS, "self_training": 2})
    said: list[float] = []
    fit_pairs(world.rows, world.matrix[~world.labelled], world.pool, [1] * FEATURES, chosen, report=said.append)
    assert said == sorted(said)
    assert len(said) == 3
    assert 0 <= said[0] <= said[-1] <= 1


def test_what_it_learns_from_itself_are_choices_by_both_sides() -> None:
    """A right record that two unlabelled tuples claim is no sure match for either, whatever their log odds."""
    labels = np.tile([1.0, 0.0], 10)
    tuples = np.repeat(np.arange(10), 2)
    rows = Rows(np.zeros((20, 1), np.float32), labels, np.ones(20), tuples)
    names = Records.from_texts(["a", "b", "c"])
    lefts = np.concatenate([tuples, [100, 101, 102]])
    rights = np.concatenate([np.arange(20), [50, 50, 60]])
    log_odds = np.concatenate([np.where(labels > 0, 3.0, -3.0), [2.0, 2.0, 2.0]])
    choice, chosen = among_rivals(log_odds, rows.labels, rows.tuples, Pool(names, names, lefts, rights))
    assert choice is not None
    assert choice.sharpness > 0
    assert chosen[20] == pytest.approx(chosen[21])
    assert chosen[20] < 0.5 < chosen[22]
    assert logit(chosen[:20])[labels > 0].min() > logit(chosen[:20])[labels == 0].max()


def test_without_a_constraint_no_rival_tells_that_a_pair_does_not_match() -> None:
    world = World(0, tuples=60)
    pool = replace(world.pool, constraint=Constraint.NONE)
    one, other = (
        fit_pairs(world.rows, world.matrix[~world.labelled], pool, [1] * FEATURES, checked(PairSettings, settings))
        for settings in ({**SETTINGS, "self_training": 0}, {**SETTINGS, "self_training": 3})
    )
    np.testing.assert_array_equal(one.log_odds, other.log_odds)


def test_candidates_that_were_not_chosen_count_for_what_they_likely_are() -> None:
    """Half of the matches were chosen, which was left to chance; the others look just like them."""
    rng = np.random.default_rng(0)
    match = rng.random(4000) < 0.5
    chosen = match & (rng.random(4000) < 0.5)
    # What a model learns that takes them for non-matches: half of what looks like a match was chosen.
    probabilities = np.where(match, 0.5, 0.01)
    told = with_unchosen(probabilities, chosen.astype(float), np.where(chosen, 1.0, 0.25))
    assert told[chosen].min() == 1.0
    assert told[match & ~chosen].mean() == pytest.approx(1.0, abs=0.05)
    assert told[~match].mean() < 0.05
    every = np.ones(4000)
    np.testing.assert_array_equal(with_unchosen(probabilities, chosen.astype(float), every), chosen)
