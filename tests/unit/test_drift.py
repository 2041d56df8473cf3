"""Drift: intervals, stability indices and profiles against values worked by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from conftest import make_people

from distiller_udf.records import Records
from distiller_udf.training.schedule.drift import agreement, share
from distiller_udf.training.schedule.profile import PairProfile, count_words, psi, shifts


def test_the_interval_is_wilsons() -> None:
    # Newcombe 1998, table I: 81 of 263 and 0 of 20.
    found = share(81, 263)
    assert found is not None
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)
    none = share(0, 20)
    assert none is not None
    assert (none.low, round(none.high, 4)) == (0.0, 0.1611)
    assert share(0, 0) is None


def test_the_stability_index_is_that_worked_by_hand() -> None:
    more, less = 90.5 / 101, 10.5 / 101  # half a case in every bin
    expected = (more - 0.5) * math.log(more / 0.5) + (less - 0.5) * math.log(less / 0.5)
    assert psi([50, 50], [90, 10]) == pytest.approx(expected)
    assert psi([10, 20, 10], [10, 20, 10]) == 0
    assert psi([50, 50], [100, 0]) > 1  # an empty bin is finite


def test_agreement_is_told_apart_for_matches_and_for_none() -> None:
    ours = [frozenset({"a"}), frozenset({"b"}), frozenset(), frozenset(), frozenset({"c", "d"})]
    theirs = ["a", "x", None, "y", "d"]
    found = agreement(ours, theirs)
    assert found is not None
    assert (found.all.value, found.all.of) == (pytest.approx(3 / 5), 5)
    assert found.on_matches is not None
    assert (found.on_matches.value, found.on_matches.of) == (pytest.approx(2 / 3), 3)
    assert found.on_none is not None
    assert (found.on_none.value, found.on_none.of) == (0.5, 2)
    assert found.recall is not None
    assert (found.recall.value, found.recall.of) == (0.5, 4)
    assert agreement([], []) is None


def records(rows: list[dict[str, str | None]]) -> Records:
    return Records.from_dicts(rows).with_columns(["name", "town", "born"])


def of_people(count: int, seed: int, probabilities: np.ndarray | None = None) -> tuple[PairProfile, Records, Records]:
    people = make_people(count, seed)
    left, right = records(people.left), records(people.right)
    given = np.linspace(0, 1, count) if probabilities is None else probabilities
    return PairProfile.of(left, right, given), left, right


def test_a_profile_counts_what_is_there(tmp_path: Path) -> None:
    rows: list[dict[str, str | None]] = [
        {"name": "Ada", "town": None, "born": "1815-12-10"},
        {"name": "Grace Hopper", "town": None, "born": "1906-12-09"},
        {"name": "Grace Hopper", "town": None, "born": "1906-12-09"},
    ]
    made = PairProfile.of(records(rows), records(rows[:1]), np.asarray([0.05, 0.95, 1.0, np.nan]))
    assert made.probabilities == (1, 0, 0, 0, 0, 0, 0, 0, 0, 2)
    name = made.columns["left name"]
    assert (name.filled, name.rows, name.lengths[1], name.lengths[4]) == (2, 2, 1, 1)
    assert made.columns["left town"].filled == 0
    assert made.unseen_share({"ada": 3, "grace": 1}) == 0
    assert made.unseen_share({"ada": 1, "charles": 3}) == pytest.approx(0.75)
    made.write(tmp_path)
    assert PairProfile.read(tmp_path) == made


def test_a_profile_that_is_missing_or_foreign_is_none(tmp_path: Path) -> None:
    assert PairProfile.read(tmp_path) is None
    (tmp_path / "profile.json").write_text('{"format": 99}')
    assert PairProfile.read(tmp_path) is None
    (tmp_path / "profile.json").write_text("{")
    assert PairProfile.read(tmp_path) is None


def moved(then: PairProfile, now: PairProfile, left: Records, right: Records) -> dict[str, float]:
    """What has moved farther than chance may."""
    found = shifts(then, now, then.unseen_share(count_words([left, right])))
    return {shift.what: shift.psi for shift in found if shift.psi > max(0.2, shift.chance)}


def test_other_people_of_the_same_kind_are_no_drift() -> None:
    then, *_ = of_people(400, seed=1)
    now, left, right = of_people(300, seed=2)
    assert moved(then, now, left, right) == {}


def test_what_has_moved_is_named() -> None:
    then, *_ = of_people(400, seed=1)
    people = make_people(300, seed=2)
    other = [{**p, "name": "Doktor von und zu " + "".join(reversed(str(p["name"]))), "town": None} for p in people.left]
    left, right = records(other), records(people.right)
    now = PairProfile.of(left, right, np.full(300, 0.5))
    found = moved(then, now, left, right)
    assert set(found) == {"probabilities", "left town: filled", "left name: length", "new words"}


def test_few_records_are_not_taken_for_drift() -> None:
    then, *_ = of_people(400, seed=1)
    for seed in range(2, 12):
        now, left, right = of_people(12, seed, np.random.default_rng(seed).random(12))
        assert moved(then, now, left, right) == {}, seed
