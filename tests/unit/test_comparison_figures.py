"""Figures with their intervals, against values worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from distiller_udf.metrics.figures import (
    Judged,
    calibration_error,
    counts,
    difference,
    figures,
    intervals,
    log_loss,
    measures,
    resampled,
    wilson,
)
from distiller_udf.metrics.label_errors import chance_of_error


def judged(rows: list[tuple[int, float, bool, float]], weights: list[float] | None = None) -> Judged:
    """Rows of (tuple, probability, matched, label)."""
    tuples, probabilities, matched, labels = (np.asarray(column) for column in zip(*rows, strict=True))
    return Judged(probabilities, matched, labels, np.asarray(weights or [1.0] * len(rows)), tuples)


# Tuple 0: found. Tuple 1: the wrong one. Tuple 2: rightly none. Tuple 3: missed.
HAND = judged(
    [
        (0, 0.9, True, 1),
        (0, 0.1, False, 0),
        (1, 0.8, True, 0),
        (1, 0.3, False, 1),
        (2, 0.2, False, 0),
        (3, 0.4, False, 1),
    ]
)


def many(right: list[bool]) -> Judged:
    """One true pair a tuple, found or missed."""
    return judged([(i, 0.9 if found else 0.1, found, 1.0) for i, found in enumerate(right)])


def test_figures_are_those_worked_by_hand() -> None:
    found = figures(HAND)
    assert found.precision.value == pytest.approx(1 / 2)
    assert found.recall.value == pytest.approx(1 / 3)
    assert found.f1.value == pytest.approx(2 / 5)
    assert found.select_accuracy.value == pytest.approx(2 / 4)
    losses = [0.9, 0.9, 0.2, 0.3, 0.8, 0.4]
    assert found.log_loss == pytest.approx(-sum(map(math.log, losses)) / 6)
    # Every probability has a bin of its own: 0.1, 0.1, 0.8, 0.7, 0.2, 0.6 off.
    assert found.calibration_error == pytest.approx(2.5 / 6)


def test_tuples_are_counted_one_by_one() -> None:
    assert counts(HAND).tolist() == [[1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    assert measures(0, 0, 0) == {"f1": 0, "precision": 0, "recall": 0}


def test_a_candidate_of_little_weight_beside_the_chosen_one_settles_no_tuple() -> None:
    beside = judged([(0, 0.9, True, 1), (0, 0.8, True, 0)], [1.0, 0.25])
    assert counts(beside).tolist() == [[1.0, 1.25, 1.0, 1.0]]


def test_opposite_errors_in_one_bin_cancel_in_the_calibration_error() -> None:
    assert calibration_error(judged([(0, 0.55, True, 1), (1, 0.55, True, 0)])) == pytest.approx(0.05)
    assert log_loss(judged([(0, 1.0, True, 1)])) == pytest.approx(0, abs=1e-5)


def test_draws_take_as_many_tuples_as_there_are() -> None:
    sums = resampled(np.ones((7, 2)), seed=1, resamples=50)
    assert (sums == 7).all()
    assert (resampled(counts(HAND), 3) == resampled(counts(HAND), 3)).all()
    assert (resampled(counts(HAND), 3) != resampled(counts(HAND), 4)).any()


def test_the_interval_of_a_recall_is_that_of_a_binomial() -> None:
    """60 of 100 found: the binomial's own 2.5 % and 97.5 % are 50 and 69 or 70."""
    found = figures(many([True] * 60 + [False] * 40)).recall
    assert found.value == pytest.approx(0.6)
    assert found.low == pytest.approx(0.50, abs=0.015)
    assert found.high == pytest.approx(0.695, abs=0.015)


def test_no_error_among_few_is_no_certainty() -> None:
    """60 of 60: the rule of three has the lower end at about 1 - 3 / 60, the bootstrap at 1."""
    for found in (figures(many([True] * 60)).recall, figures(many([True] * 60)).f1):
        assert found.value == found.high == 1
        assert found.low == pytest.approx(0.95, abs=0.02)
    assert figures(many([True] * 6)).recall.low < 0.65


def test_labels_of_two_minds_count_for_what_they_say() -> None:
    doubtful = judged([(0, 0.9, True, 0.75), (1, 0.9, True, 1.0)])
    assert figures(doubtful).precision.value == pytest.approx(0.875)


def noisy(rng: np.random.Generator, tuples: int, wrong: float) -> tuple[Judged, dict[str, float]]:
    """A student that is right about the clear tuples and unsure of others, by labels of which a share is wrong."""
    hard = rng.random(tuples) < 0.15
    log_odds = np.where(hard, rng.normal(0, 1.5, tuples), np.where(rng.random(tuples) < 0.7, 4.0, -4.0))
    probabilities = 1 / (1 + np.exp(-log_odds))
    true = rng.random(tuples) < probabilities
    labels = np.where(rng.random(tuples) < wrong, ~true, true).astype(float)
    matched = probabilities >= 0.4
    ones = np.ones(tuples)
    truth = measures((true & matched).sum(), matched.sum(), true.sum())
    return Judged(probabilities, matched, labels, ones, np.arange(tuples)), truth


@pytest.mark.parametrize(("tuples", "wrong"), [(60, 0.0), (60, 0.05), (300, 0.05)])
def test_intervals_hold_what_is_true_though_labels_are_not(tuples: int, wrong: float) -> None:
    """What is true of many more tuples of the same kind lies in nearly all intervals, and these say something."""
    _, truth = noisy(np.random.default_rng(0), 200_000, 0.0)
    held, width = [], []
    for seed in range(15):
        found = intervals(noisy(np.random.default_rng(seed + 1), tuples, wrong)[0], seed)
        held += [found[name].low <= truth[name] <= found[name].high for name in truth]
        width += [found[name].high - found[name].low for name in truth]
    assert np.mean(held) >= 0.9
    assert np.mean(width) < 0.2


def test_a_student_that_is_wrong_is_not_excused_by_wrong_labels() -> None:
    """Half of what it matches is wrong, and it was unsure: labels that deny it are no errors."""
    rng = np.random.default_rng(0)
    unsure = rng.uniform(0.4, 0.6, 200)
    labels = (rng.random(200) < 0.5).astype(float)
    every = np.ones(200, dtype=bool)
    assert chance_of_error(unsure, labels, np.ones(200)).max() < 0.2
    assert figures(Judged(unsure, every, labels, np.ones(200), np.arange(200))).precision.high < 0.62


def test_a_guess_tells_nothing() -> None:
    told = chance_of_error(np.array([0.9, 0.9, 0.1]), np.array([1.0, 0.0, 0.0]), np.array([1.0, 0.25, 1.0]))
    assert told[1] == 1.0
    assert max(told[0], told[2]) < 0.5


def test_students_that_decide_alike_do_not_differ_at_all() -> None:
    apart = difference(HAND, HAND, margin=0.01)
    assert (apart.f1.value, apart.f1.low, apart.f1.high, apart.risk) == (0, 0, 0, 0)


def test_the_difference_is_drawn_in_pairs() -> None:
    """Both miss the same 40 tuples and the challenger two more: only these two vary."""
    new, old = many([True] * 58 + [False] * 42), many([True] * 60 + [False] * 40)
    apart = difference(new, old, margin=0.0)
    assert apart.select_accuracy.value == pytest.approx(-0.02)
    assert -0.06 <= apart.select_accuracy.low < apart.select_accuracy.high <= 0
    # At least one of the two is drawn: 1 - 0.98 ** 100.
    assert apart.risk == pytest.approx(1 - 0.98**100, abs=0.03)
    assert difference(old, new, margin=0.0).risk == 0


def test_no_tuples_are_no_reason_to_fail() -> None:
    nothing = Judged(*(np.zeros(0) for _ in range(4)), np.zeros(0, dtype=np.int64))
    nothing = Judged(
        nothing.probabilities, nothing.matched.astype(bool), nothing.labels, nothing.weights, nothing.tuples
    )
    assert figures(nothing).f1.value == 0
    assert figures(nothing).calibration_error == 0


@pytest.mark.parametrize("of", [1, 7, 142, 1_000_003])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_an_interval_holds_its_share(share: float, of: int) -> None:
    low, high = wilson(share, of)
    assert low <= share <= high
