"""Choices: competing pairs get the share of all sets of matches in which no record occurs twice."""

from __future__ import annotations

import math
from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller_udf.constraint import Constraint
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.choice import Choice, choose_alone, choose_linked, marginals
from distiller_udf.students.odds import MAXIMUM_LOGIT, logit, sigmoid

Pairs = list[tuple[int, int]]


def enumerated(log_odds: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Each pair's share of all matchings, every one of them weighed by the product of its odds."""
    odds = np.exp(log_odds)
    shares, total = np.zeros(len(pairs)), 0.0
    rows = range(len(pairs))
    for chosen in chain.from_iterable(combinations(rows, size) for size in range(len(pairs) + 1)):
        lefts, rights = ({pairs[i][side] for i in chosen} for side in (0, 1))
        if len(lefts) == len(rights) == len(chosen):
            weight = float(np.prod(odds[list(chosen)]))
            total += weight
            shares[list(chosen)] += weight
    return shares / total


def found(log_odds: np.ndarray, pairs: Pairs) -> np.ndarray:
    ends = np.asarray(pairs).reshape(-1, 2)
    return marginals(log_odds, ends[:, 0], ends[:, 1])


@st.composite
def forests(draw: st.DrawFn) -> Pairs:
    """Pairs without a cycle: each new record is tied to one that is there already, or stands apart."""
    sides = [0]
    pairs: Pairs = []
    for number in range(1, draw(st.integers(2, 11))):
        to = draw(st.integers(-1, number - 1))
        sides.append(1 - sides[to] if to >= 0 else 0)
        if to >= 0:
            pairs.append((to, number) if sides[to] == 0 else (number, to))
    return pairs


def drawn_odds(count: int) -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(-6, 6), min_size=count, max_size=count)


@settings(max_examples=60)
@given(st.data())
def test_without_cycles_they_are_exact(data: st.DataObject) -> None:
    pairs = data.draw(forests())
    log_odds = np.asarray(data.draw(drawn_odds(len(pairs))))
    np.testing.assert_allclose(found(log_odds, pairs), enumerated(log_odds, pairs), atol=2e-4)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 11])
@pytest.mark.parametrize("spread", [2.0, 12.0])
def test_on_a_path_passes_that_go_on_are_exact(length: int, spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [((i + 1) // 2, i // 2) for i in range(length)]
    draws = [np.clip(np.random.default_rng(seed).normal(0, spread, length), -20, 20) for seed in range(5)]
    expected = [enumerated(log_odds, pairs) for log_odds in draws]
    for log_odds, exact in zip(draws, expected, strict=True):
        np.testing.assert_allclose(found(log_odds, pairs), exact, atol=1e-4)
    monkeypatch.setattr("distiller_udf.students.choice.TOLERANCE", 0.0)
    for log_odds, exact in zip(draws, expected, strict=True):
        np.testing.assert_allclose(found(log_odds, pairs), exact, atol=1e-9)


def test_on_small_graphs_with_cycles_they_are_close() -> None:
    rng = np.random.default_rng(4)
    errors, naive = [], []
    for _ in range(60):
        pairs = [(i, j) for i in range(4) for j in range(4) if rng.random() < 0.6]
        log_odds = rng.normal(-1, 2, len(pairs))
        exact = enumerated(log_odds, pairs)
        errors.append(np.abs(found(log_odds, pairs) - exact))
        naive.append(np.abs(sigmoid(log_odds) - exact))
    error = np.concatenate(errors)
    assert error.mean() < 0.01
    assert np.quantile(error, 0.95) < 0.05
    assert error.mean() < np.concatenate(naive).mean() / 10


def test_a_graph_of_equal_pairs_is_symmetric_and_no_record_is_used_twice() -> None:
    pairs = [(i, j) for i in range(5) for j in range(5)]
    same = found(np.full(25, 2.0), pairs)
    assert np.ptp(same) < 1e-9
    assert same[0] * 5 <= 1
    strong = found(np.where([i == j for i, j in pairs], 12.0, 3.0), pairs)
    assert strong[::6].min() > 0.9
    for side in (0, 1):
        assert np.bincount(np.asarray(pairs)[:, side], strong).max() <= 1 + 1e-3


def test_without_rights_it_is_the_softmax_over_the_candidates_and_none() -> None:
    rng = np.random.default_rng(2)
    probabilities, lefts = rng.random(40), rng.integers(0, 9, 40)
    for choice in (Choice(), Choice(1.7, -0.4)):
        odds = np.exp(choice.sharpness * logit(probabilities) + choice.offset)
        expected = odds / (1 + np.bincount(lefts, odds)[lefts])
        np.testing.assert_allclose(choice.probabilities(probabilities, lefts), expected, atol=1e-9)


def test_a_pair_without_rivals_keeps_its_probability() -> None:
    probabilities = np.asarray([0.01, 0.5, 0.97])
    for rights in (None, np.arange(3)):
        np.testing.assert_allclose(Choice().probabilities(probabilities, np.arange(3), rights), probabilities)


def random_pairs(seed: int, count: int = 200, records: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    pairs = np.unique(rng.integers(0, records, (count, 2)), axis=0)
    rng.shuffle(pairs)
    return rng.random(len(pairs)), pairs[:, 0], pairs[:, 1]


def test_neither_the_order_of_rows_nor_the_names_of_records_matter() -> None:
    probabilities, lefts, rights = random_pairs(1)
    whole = Choice(1.2, 0.3).probabilities(probabilities, lefts, rights)
    order = np.random.default_rng(0).permutation(len(whole))
    again = Choice(1.2, 0.3).probabilities(probabilities[order], 7 - 3 * lefts[order], rights[order] * 10**9)
    np.testing.assert_allclose(again, whole[order], atol=1e-9)


def test_left_and_right_play_the_same_part() -> None:
    probabilities, lefts, rights = random_pairs(3)
    one, other = (Choice().probabilities(probabilities, *ends) for ends in ((lefts, rights), (rights, lefts)))
    np.testing.assert_allclose(one, other, atol=2e-3)


def test_a_rival_lowers_and_a_rival_of_the_rival_lifts() -> None:
    alone = found(np.asarray([1.0]), [(0, 0)])[0]
    with_rival = found(np.asarray([1.0, 2.0]), [(0, 0), (1, 0)])[0]
    with_rescue = found(np.asarray([1.0, 2.0, 6.0]), [(0, 0), (1, 0), (1, 1)])[0]
    assert with_rival < with_rescue < alone


def test_components_do_not_see_each_other() -> None:
    probabilities, lefts, rights = random_pairs(5, 30, 10)
    more, more_lefts, more_rights = random_pairs(6, 300, 40)
    alone = Choice().probabilities(probabilities, lefts, rights)
    ends = np.concatenate([lefts, more_lefts + 100]), np.concatenate([rights, more_rights + 100])
    beside = Choice().probabilities(np.concatenate([probabilities, more]), *ends)
    # Passes end together, so that a component may be given some more than it needs.
    np.testing.assert_allclose(beside[: len(alone)], alone, atol=1e-3)


def test_what_has_no_probability_has_no_choice_and_is_no_rival() -> None:
    probabilities, lefts, rights = np.asarray([0.7, np.nan, 0.4]), np.asarray([0, 0, 0]), np.asarray([0, 1, 2])
    for ends in (None, rights):
        chosen = Choice().probabilities(probabilities, lefts, ends)
        assert np.isnan(chosen).tolist() == [False, True, False]
        known = np.asarray([0, 2])
        alone = Choice().probabilities(probabilities[known], lefts[known], None if ends is None else ends[known])
        np.testing.assert_array_equal(chosen[known], alone)
    assert np.isnan(Choice().probabilities(np.full(3, np.nan), lefts, rights)).all()
    assert probabilities[1] != probabilities[1], "the input stays as it was"


def test_nothing_gives_nothing() -> None:
    none, no_ends = np.zeros(0), np.zeros(0, dtype=np.int64)
    assert marginals(none, no_ends, no_ends).shape == (0,)
    assert Choice().probabilities(none, no_ends).shape == (0,)
    assert Choice().probabilities(none, no_ends, no_ends).shape == (0,)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.floats(0, 1) | st.just(float("nan")), st.integers(0, 5), st.integers(0, 5)), max_size=30))
def test_they_are_probabilities_whatever_comes(rows: list[tuple[float, int, int]]) -> None:
    table = np.asarray(rows, dtype=float).reshape(-1, 3)
    for choice in (Choice(), Choice(8.0, 30.0), Choice(0.01, -30.0)):
        for rights in (None, table[:, 2].astype(int)):
            chosen = choice.probabilities(table[:, 0], table[:, 1].astype(int), rights)
            np.testing.assert_array_equal(np.isnan(chosen), np.isnan(table[:, 0]))
            known = chosen[~np.isnan(chosen)]
            assert ((known >= 0) & (known <= 1)).all()
            if rights is None and len(known):
                left = table[~np.isnan(chosen), 1].astype(int)
                assert np.bincount(left, known).max() <= 1 + 1e-9


def test_copies_of_a_pair_do_not_compete() -> None:
    lefts, rights = np.array([0, 0, 0, 1, 1]), np.array([5, 5, 6, 5, 7])
    probabilities = sigmoid(np.array([3.0, 3.0, -1.0, 1.0, 0.5]))
    with_copies = Choice().probabilities(probabilities, lefts, rights)
    without = Choice().probabilities(probabilities[1:], lefts[1:], rights[1:])
    np.testing.assert_allclose(with_copies, [without[0], *without], atol=1e-9)
    info = StudentInfo("lexical", "v", ("a",), ("a",), 0.5, 0.5, choice={"alone": {"sharpness": 1.0, "offset": 0.0}})
    alone = choose_alone(info, probabilities, lefts, rights)
    odds = np.exp([3.0, -1.0])
    np.testing.assert_allclose(alone[:3], (odds / (1 + odds.sum()))[[0, 0, 1]], atol=1e-6)


@pytest.mark.parametrize("strength", [8.0, 10.0])
def test_long_chains_of_strong_rivals_settle(strength: float) -> None:
    """Against the sums over all matchings of a path: a pair more is left out, or its neighbour is."""
    pairs, odds = 60, math.exp(strength)
    sums = [1.0, 1.0 + odds]
    while len(sums) <= pairs:
        sums.append(sums[-1] + odds * sums[-2])
    exact = [odds * sums[max(i - 1, 0)] * sums[max(pairs - i - 2, 0)] / sums[pairs] for i in range(pairs)]
    order = np.arange(pairs)
    found = marginals(np.full(pairs, strength), (order + 1) // 2, order // 2)
    np.testing.assert_allclose(found, exact, atol=1e-3)


def test_a_student_chooses_alone_linked_or_not_at_all() -> None:
    state = {"alone": {"sharpness": 1.0, "offset": 0.0}, "linked": {"sharpness": 2.0, "offset": -1.0}}
    info = StudentInfo("lexical", "v", ("a",), ("a",), 0.5, 0.5, choice=state)
    probabilities, lefts, rights = random_pairs(7, 20, 6)
    alone = choose_alone(info, probabilities, lefts, np.arange(len(lefts)))
    np.testing.assert_array_equal(alone, Choice().probabilities(probabilities, lefts))
    linked = Choice(2.0, -1.0).probabilities(probabilities, lefts, rights)
    np.testing.assert_array_equal(choose_linked(info, probabilities, lefts, rights), linked)
    several = StudentInfo("lexical", "v", ("a",), ("a",), 0.5, 0.5, Constraint.NONE)
    chosen = choose_alone(several, probabilities, lefts, rights)
    np.testing.assert_array_equal(chosen, probabilities)
    assert chosen is not probabilities


def test_a_tuple_by_itself_goes_by_what_is_known_of_it() -> None:
    for constraint in Constraint:
        threshold = 0.4 if constraint.limits_left else 0.3
        assert StudentInfo("lexical", "v", ("a",), ("a",), 0.3, 0.4, constraint).tuple_threshold == threshold


def test_log_odds_and_probabilities_are_inverse_and_bounded() -> None:
    scores = np.linspace(-15, 15, 61)
    np.testing.assert_allclose(logit(sigmoid(scores)), scores, atol=1e-6)
    assert np.abs(logit(np.asarray([0.0, 1.0]))).max() <= MAXIMUM_LOGIT
    least, even, most = sigmoid(np.asarray([-1e9, 0.0, 1e9])).tolist()
    assert 0 < least < 1e-15
    assert even == 0.5
    assert 1 - 1e-15 < most < 1
    assert np.isnan(logit(np.asarray([np.nan]))).all()
