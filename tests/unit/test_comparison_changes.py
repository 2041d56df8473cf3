"""What changes downstream, and how scores become matches and entities: cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from distiller_udf.comparison import RecordNumbers, Rules, Scored, changes, entities, matches
from distiller_udf.comparison.changes import entity_changes
from distiller_udf.students.base import StudentInfo

ALONE = StudentInfo("lexical", "v1", ("name",), ("name",), 0.5, 0.5)
"""Without odds for rivals: a pair's choice is its probability."""


def of(*groups: str) -> np.ndarray:
    """The first record of each record's entity; records are letters from a."""
    first = {letter: min(group) for group in groups for letter in group}
    return np.asarray([ord(first[letter]) - ord("a") for letter in sorted(first)])


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (["ab", "c"], ["ab", "c"], {"unchanged": 2}),
        (["a", "b", "c"], ["ab", "c"], {"merged": 1, "vanished": 1, "unchanged": 1}),
        (["ab", "c"], ["a", "b", "c"], {"split": 1, "appeared": 1, "unchanged": 1}),
        # a leaves: most of the entity lives on, as b. The name a stays, as that of a alone.
        (["abc"], ["a", "bc"], {"split": 1, "renamed": 1}),
        (["a", "bc"], ["abc"], {"merged": 1, "renamed": 1}),
        (["ab", "cd"], ["abcd"], {"merged": 1, "vanished": 1}),
        (["abcd"], ["ab", "cd"], {"split": 1, "appeared": 1}),
        # b changes sides: both old ones are split or not, and both new ones are merged or not.
        (["ab", "c"], ["a", "bc"], {"split": 1, "merged": 1}),
    ],
    ids=str,
)
def test_entities_merge_split_and_are_renamed(before: list[str], after: list[str], expected: dict[str, int]) -> None:
    found = entity_changes(of(*before), of(*after))
    named = {name.removeprefix("entities_"): n for name, n in found.items() if n and name.startswith("entities_")}
    assert named == expected


def test_records_renamed_are_those_with_another_entity_id() -> None:
    assert entity_changes(of("abc"), of("a", "bc"))["records_renamed"] == 2
    assert entity_changes(of("ab", "cd"), of("abcd"))["records_renamed"] == 2
    # c keeps its id, although b, which is before it in order, comes into its entity.
    assert entity_changes(of("ab", "c"), of("a", "bc"))["records_renamed"] == 1


def test_pairs_gained_lost_and_kept() -> None:
    before, after = np.asarray([[0, 1], [2, 3]]), np.asarray([[0, 1], [2, 4], [2, 5]])
    found = changes(before, after, entities(before, 6), entities(after, 6), list("abcdef"))
    assert (found.pairs_gained, found.pairs_lost, found.pairs_kept) == (2, 1, 1)
    assert found.pairs_changed == pytest.approx(3 / 4)
    assert found.examples == {"gained": [["c", "e"], ["c", "f"]], "lost": [["c", "d"]]}


def test_chains_of_matches_are_one_entity_named_after_its_first_record() -> None:
    assert entities(np.asarray([[3, 4], [1, 3], [2, 5]]), 7).tolist() == [0, 1, 2, 1, 1, 2, 6]


RECORDS = RecordNumbers(np.asarray([0, 0, 0, 1, 1, 1]), np.arange(6), list("abcdef"))
"""a, b and c of one source, d, e and f of another."""


def scored(*rows: tuple[int, int, float]) -> Scored:
    probabilities = np.asarray([p for *_, p in rows], dtype=float)
    pairs = [(left, right) for left, right, _ in rows]
    ties = np.asarray([sorted(pairs).index(pair) for pair in pairs])
    return Scored(np.asarray(pairs), probabilities, probabilities, ties)


PAIRS = scored((0, 3, 0.9), (0, 4, 0.8), (1, 3, 0.7), (1, 4, 0.6), (2, 5, 0.4), (2, 3, np.nan))


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (Rules("none"), [[0, 3], [0, 4], [1, 3], [1, 4]]),
        (Rules("many_to_one"), [[0, 3], [1, 3]]),
        (Rules("one_to_one"), [[0, 3], [1, 4]]),
        (Rules("one_to_one", threshold=0.3), [[0, 3], [1, 4], [2, 5]]),
        (Rules("one_to_one", must=np.asarray([[1, 3]])), [[0, 4], [1, 3]]),
        (Rules("many_to_one", must=np.asarray([[1, 4]])), [[0, 3], [1, 4]]),
        (Rules("none", cannot=np.asarray([[0, 3], [1, 4]])), [[0, 4], [1, 3]]),
        (Rules("one_to_one", cannot=np.asarray([[0, 3]])), [[0, 4], [1, 3]]),
    ],
    ids=["none", "many to one", "one to one", "threshold", "must", "must of one side", "cannot", "cannot greedy"],
)
def test_scores_become_matches_under_a_constraint(rules: Rules, expected: list[list[int]]) -> None:
    assert matches(PAIRS, RECORDS, ALONE, rules).tolist() == expected


def test_equal_pairs_are_taken_in_the_order_of_their_records() -> None:
    equal = scored((1, 3, 0.8), (0, 3, 0.8), (0, 4, 0.8))
    assert matches(equal, RECORDS, ALONE, Rules("one_to_one")).tolist() == [[0, 3]]


def test_no_pairs_are_no_matches() -> None:
    nothing = Scored(np.zeros((0, 2), dtype=np.int64), np.zeros(0), np.zeros(0), np.zeros(0))
    for constraint in ("none", "many_to_one", "one_to_one"):
        assert matches(nothing, RECORDS, ALONE, Rules(constraint)).shape == (0, 2)
