"""Average linkage: against the textbook's way over a whole matrix, and what its levels mean."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller_udf.constraint import Constraint
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.choice import among_groups, choose_linked
from distiller_udf.students.linkage import UNPROPOSED, average_linkage

Pairs = list[tuple[int, int]]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, Pairs, list[float]]:
    """Records, some pairs of them, each once and the smaller first, and their evidence; no two means are equal."""
    records = draw(st.integers(2, 9))
    every = [(i, j) for i in range(records) for j in range(i + 1, records)]
    pairs = draw(st.lists(st.sampled_from(every), min_size=1, max_size=len(every), unique=True))
    steps = draw(st.lists(st.integers(-40, 40), min_size=len(pairs), max_size=len(pairs), unique=True))
    return records, pairs, [step / 8 + math.sqrt(2 + place) / 1e4 for place, step in enumerate(steps)]


def joined_one_by_one(records: int, pairs: Pairs, evidence: list[float]) -> list[set[int]]:
    """The groups: as long as any two are for it on the mean of all pairs between them, the best two become one."""
    known = dict(zip(pairs, evidence, strict=True))
    only = [({i for i, _ in pairs} - {j for _, j in pairs}), ({j for _, j in pairs} - {i for i, _ in pairs})]
    groups = [{record} for record in range(records)]

    def between(a: set[int], b: set[int]) -> float:
        found = [known.get((min(i, j), max(i, j))) for i in a for j in b]
        told = [value for value in found if value is not None]
        if not told:
            return -np.inf
        possible = max(len(found) - sum(len(a & side) * len(b & side) for side in only), len(told))
        return (sum(told) + UNPROPOSED * (possible - len(told))) / possible

    while True:
        ranked = [(between(a, b), i, j) for i, a in enumerate(groups) for j, b in enumerate(groups) if i < j]
        best, i, j = max(ranked, default=(0.0, 0, 0))
        if best <= 0:
            return groups
        groups[i] |= groups.pop(j)


def connected(records: int, pairs: Pairs) -> list[set[int]]:
    groups = [{record} for record in range(records)]
    for i, j in pairs:
        a, b = (next(group for group in groups if record in group) for record in (i, j))
        if a is not b:
            a |= b
            groups.remove(b)
    return groups


def as_sets(groups: list[set[int]]) -> set[frozenset[int]]:
    return {frozenset(group) for group in groups}


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_pairs_above_zero_connect_what_joining_one_by_one_joins(graph: tuple[int, Pairs, list[float]]) -> None:
    records, pairs, evidence = graph
    levels = average_linkage(np.asarray(evidence), *np.asarray(pairs).T)
    found = connected(records, [pair for pair, level in zip(pairs, levels, strict=True) if level > 0])
    assert as_sets(found) == as_sets(joined_one_by_one(records, pairs, evidence))


@settings(max_examples=100, deadline=None)
@given(graphs(), st.floats(0.0, 4.0))
def test_a_higher_level_only_takes_groups_apart(graph: tuple[int, Pairs, list[float]], level: float) -> None:
    records, pairs, evidence = graph
    levels = average_linkage(np.asarray(evidence), *np.asarray(pairs).T)
    coarse = connected(records, [pair for pair, at in zip(pairs, levels, strict=True) if at > 0])
    fine = connected(records, [pair for pair, at in zip(pairs, levels, strict=True) if at > level])
    assert all(any(small <= large for large in coarse) for small in fine)
    inside = [any({i, j} <= group for group in coarse) for i, j in pairs]
    assert inside == (levels > 0).tolist(), "who ends in one group is above, who does not is below"


def test_the_order_of_pairs_and_sides_and_copies_make_no_difference() -> None:
    rng = np.random.default_rng(0)
    lefts, rights = np.triu_indices(40, 1)
    kept = rng.random(len(lefts)) < 0.3
    lefts, rights, evidence = lefts[kept], rights[kept], rng.normal(0, 2, kept.sum())
    levels = average_linkage(evidence, lefts, rights)
    order = rng.permutation(len(evidence))
    np.testing.assert_allclose(average_linkage(evidence[order], lefts[order], rights[order]), levels[order])
    twice = [np.concatenate([values, values]) for values in (evidence, lefts, rights)]
    np.testing.assert_allclose(average_linkage(*twice), np.concatenate([levels, levels]))


def test_a_chain_is_broken_where_its_ends_deny_each_other() -> None:
    """a – b – c, a weak link between b and c, and a certainty that a is not c."""
    levels = average_linkage(np.array([3.0, 1.0, -6.0]), np.array([0, 1, 0]), np.array([1, 2, 2]))
    assert levels[0] == 3.0
    assert levels[1] == levels[2] == pytest.approx(-2.5)


def test_two_groups_stay_apart_that_one_pair_connects() -> None:
    groups = [(i, j) for start in (0, 5) for i in range(start, start + 5) for j in range(i + 1, start + 5)]
    pairs = np.asarray([*groups, (4, 5)])
    levels = average_linkage(np.full(len(pairs), 2.0), *pairs.T)
    assert (levels[:-1] > 0).all()
    assert levels[-1] < 0, "of 25 pairs between them 24 were never proposed"


def test_records_that_are_on_one_side_only_are_no_pairs_that_are_missing() -> None:
    """Two tables: nobody ever asked whether two records of the same one are the same."""
    lefts, rights = np.array([0, 0, 1, 1]), np.array([2, 3, 2, 3])
    assert (average_linkage(np.full(4, 0.4), lefts, rights) == 0.4).all()


def test_a_student_without_a_constraint_sees_groups() -> None:
    info = StudentInfo("lexical", "v", ("a",), ("a",), 0.4, 0.4, Constraint.NONE)
    pairs, lefts, rights = (
        np.array([0.95, 0.8, 0.01, np.nan, 0.7]),
        np.array([7, 8, 7, 7, 9]),
        np.array([8, 9, 9, 10, 9]),
    )
    chosen = choose_linked(info, pairs, lefts, rights)
    np.testing.assert_array_equal(chosen, among_groups(pairs, 0.4, lefts, rights))
    assert np.isnan(chosen[3])
    assert chosen[0] == pytest.approx(0.95)
    assert chosen[1] == chosen[2] < 0.4, "the second pair would join two that deny each other"
    assert chosen[4] == pytest.approx(0.7), "copies of one record have no company"
    assert len(among_groups(np.zeros(0), 0.4, np.zeros(0, dtype=int), np.zeros(0, dtype=int))) == 0
