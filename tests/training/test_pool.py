"""The pool of pairs that training sees: who is unlabelled, who competes with whom, and how many there are at most."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from distiller_udf.constraint import Constraint
from distiller_udf.records import Records, record_text
from distiller_udf.training.labelled import LabelledPairs, labelled_pairs
from distiller_udf.training.pool import Pool


def record(side: str, i: int) -> dict[str, str | None]:
    return {"name": f"{side} {i}", "town": None}


def labelled(tuples: list[tuple[int, list[int]]]) -> LabelledPairs:
    """Answered tuples: a left record and its candidates, of which the first is chosen."""
    rows = [
        {
            "left_source": "l",
            "left_id": left,
            "choice": 1,
            "query": record_text(record("left", left)),
            "options": [{"source": "r", "id": i, "record": record_text(record("right", i))} for i in rights],
        }
        for left, rights in tuples
    ]
    return labelled_pairs(pa.Table.from_pylist(rows))


def candidates(pairs: list[tuple[int, int]]) -> tuple[Records, Records]:
    left = Records.from_dicts([record("left", i) for i, _ in pairs])
    return left.with_values(), Records.from_dicts([record("right", j) for _, j in pairs]).with_values()


PAIRS = [(0, 0), (0, 1), (1, 1), (1, 2), (2, 0), (2, 3), (3, 3), (3, 4)]


def test_labelled_left_records_leave_the_unlabelled_pairs() -> None:
    pool = Pool.of(labelled([(0, [0, 1]), (2, [3])]), *candidates(PAIRS), None, 0)
    assert [row["name"] for row in pool.left.to_dicts()] == ["left 1", "left 1", "left 3", "left 3"]
    assert [row["name"] for row in pool.right.to_dicts()] == ["right 1", "right 2", "right 3", "right 4"]
    assert len(pool.lefts) == len(pool.rights) == 3 + 4


def test_columns_that_the_first_labels_lack_make_no_difference() -> None:
    """A label's record has only the columns that it fills, in order of first sight; the candidates' are all there."""
    people = [{"town": None, "name": "ann", "code": "1"}, {"town": "bonn", "name": "bob", "code": "2"}]
    rows = [
        {
            "left_source": "l",
            "left_id": i,
            "choice": 1,
            "query": record_text(person),
            "options": [{"source": "r", "id": i, "record": record_text(person)}],
        }
        for i, person in enumerate(people)
    ]
    names = ["town", "name", "code"]
    pairs = labelled_pairs(pa.Table.from_pylist(rows)).with_columns(names, names)
    both = Records.from_dicts([*people, {"town": "celle", "name": "cid", "code": "3"}])
    rights = both.take(np.array([0, 1, 1]))
    pool = Pool.of(pairs, both, rights, None, 0)
    assert [row["name"] for row in pool.left.to_dicts()] == ["cid"]
    assert pool.rights.tolist() == [0, 1, 1]


def test_records_are_numbered_by_tuple_and_by_content() -> None:
    pool = Pool.of(labelled([(0, [0, 1]), (2, [3])]), *candidates(PAIRS), None, 0)
    # Labelled: 0-0, 0-1, 2-3; unlabelled: 1-1, 1-2, 3-3, 3-4.
    assert pool.lefts[:3].tolist() == [0, 0, 1]
    assert len(set(pool.lefts.tolist())) == 4
    assert pool.lefts[3] == pool.lefts[4] != pool.lefts[5] == pool.lefts[6]
    zero, one, three, other_one, two, other_three, four = pool.rights.tolist()
    assert (one, three) == (other_one, other_three)
    assert len({zero, one, two, three, four}) == 5


def test_the_same_record_twice_is_two_tuples_where_they_are_given() -> None:
    pairs = [(1, 1), (1, 2), (1, 1), (1, 3)]
    tuples = np.asarray([10, 10, 20, 20])
    given = Pool.of(labelled([(0, [0])]), *candidates(pairs), tuples, 0)
    assert given.lefts[1] == given.lefts[2] != given.lefts[3] == given.lefts[4]
    without = Pool.of(labelled([(0, [0])]), *candidates(pairs), None, 0)
    assert len(set(without.lefts[1:].tolist())) == 1


def test_a_tuple_is_left_out_whole_and_nothing_else_is() -> None:
    tuples = np.asarray([7, 7, 8, 8, 9, 9, 9, 9])
    pool = Pool.of(labelled([(3, [3])]), *candidates(PAIRS), tuples, 0)
    # The tuple 9 holds a pair of the labelled record, so the whole of it is out.
    assert [row["name"] for row in pool.left.to_dicts()] == ["left 0", "left 0", "left 1", "left 1"]


@pytest.mark.parametrize("limit", [1, 10, 25, 10_000])
def test_it_is_bounded_of_whole_tuples_and_drawn_by_seed(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distiller_udf.training.pool.MAX_ROWS", limit)
    pairs = [(i, j) for i in range(50) for j in range(1 + i % 4)]
    left, right = candidates(pairs)
    pool = Pool.of(labelled([(0, [0])]), left, right, None, 0)
    assert len(pool.left) <= limit
    names = [row["name"] for row in pool.left.to_dicts()]
    for name in set(names):
        assert names.count(name) == 1 + int(str(name).split()[1]) % 4
    if limit < 100:
        assert len(pool.left) > limit - 4
        other = Pool.of(labelled([(0, [0])]), left, right, None, 1)
        assert limit == 1 or other.left.to_dicts() != pool.left.to_dicts()
    else:
        assert len(pool.left) == len(pairs) - 1
    again = Pool.of(labelled([(0, [0])]), left, right, None, 0)
    assert again.left.to_dicts() == pool.left.to_dicts()
    np.testing.assert_array_equal(again.rights, pool.rights)


def test_labels_alone_are_a_pool_without_unlabelled_pairs() -> None:
    pairs = labelled([(0, [0, 1]), (2, [0, 3])])
    pool = Pool.of(pairs, pairs.left, pairs.right, None, 0)
    assert len(pool.left) == len(pool.right) == 0
    assert pool.lefts.tolist() == [0, 0, 1, 1]
    assert pool.rights[0] == pool.rights[2] != pool.rights[1] != pool.rights[3]


def test_without_its_unlabelled_pairs_it_keeps_the_numbers_of_the_others() -> None:
    pool = Pool.of(labelled([(0, [0, 1])]), *candidates(PAIRS), None, 0)
    bare = pool.of_labelled(np.arange(2))
    assert len(pool.left) > 0 == len(bare.left) == len(bare.right)
    assert bare.lefts.tolist() == pool.lefts[:2].tolist()
    assert bare.rights.tolist() == pool.rights[:2].tolist()


def test_no_candidates_are_no_trouble() -> None:
    pool = Pool.of(labelled([(0, [0])]), *candidates([]), None, 0)
    assert len(pool.left) == 0
    assert pool.lefts.tolist() == [0]


def test_who_competes_with_whom_goes_by_the_constraint() -> None:
    """1 meets 1 and 2, 3 meets 3 and 4, 2 is labelled; right 3 is wanted twice."""
    rights_of = {}
    for constraint in Constraint:
        pool = Pool.of(labelled([(0, [0, 1]), (2, [3])]), *candidates(PAIRS), None, 0, constraint)
        rights_of[constraint] = pool.rights
        assert pool.constraint is constraint
        if constraint.limits_left:
            assert len(set(pool.lefts.tolist())) == 4
        assert pool.of_labelled(np.arange(2)).constraint is constraint
    assert rights_of[Constraint.ONE_TO_ONE][2] == rights_of[Constraint.ONE_TO_ONE][5]
    assert len(set(rights_of[Constraint.MANY_TO_ONE].tolist())) == 7, "nobody competes for a right record"


def test_without_a_constraint_a_record_is_the_same_on_both_sides() -> None:
    people = Records.from_dicts([{"name": name} for name in "abc"])
    pool = Pool.of(
        labelled([(9, [9])]), people.take(np.array([0, 1])), people.take(np.array([1, 2])), None, 0, Constraint.NONE
    )
    assert pool.lefts[2] == pool.rights[1]
    assert len({*pool.lefts[1:].tolist(), *pool.rights[1:].tolist()}) == 3
