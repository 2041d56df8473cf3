"""What changes downstream, and what decisions are worth by known matches: cases worked by hand."""

from __future__ import annotations

import random

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller_udf.metrics.figures import Estimate
from distiller_udf.project.dbt import Graph
from distiller_udf.training.schedule.changes import against_gold, changes, fingerprint
from distiller_udf.training.schedule.comparison import AgainstGold, Changes
from distiller_udf.training.schedule.snapshot import Decided, Snapshot

Pairs = list[tuple[int, int]]


def snapshot() -> Snapshot:
    connection = duckdb.connect()
    connection.execute("attach ':memory:' as er_copies")
    return Snapshot(connection, {}, lambda: Graph({}, ()))


def decided(made: Snapshot, name: str, entities: str, pairs: Pairs = ()) -> Decided:
    """Decisions over records of one source: `a=ab c=c` are the entity a, of the records a and b, and the entity c."""
    rows = [(record, entity[0]) for entity in entities.split() for record in entity[2:]]
    made.connection.execute(f"create table {name}_entities (source varchar, id varchar, entity_id varchar)")
    made.connection.executemany(f"insert into {name}_entities values ('s', ?, ?)", rows or [("z", "z")])
    made.connection.execute(
        f"create table {name}_matches (left_source varchar, left_id int, right_source varchar, right_id int)"
    )
    if pairs:
        made.connection.executemany(f"insert into {name}_matches values ('s', ?, 's', ?)", pairs)
    return Decided(f"{name}_matches", f"{name}_entities")


def compared(before: str, after: str) -> Changes:
    made = snapshot()
    return changes(made, decided(made, "before", before), decided(made, "after", after))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a=ab c=c", "a=ab c=c", {"unchanged": 2}),
        ("a=a b=b c=c", "a=ab c=c", {"merged": 1, "vanished": 1, "unchanged": 1}),
        ("a=ab c=c", "a=a b=b c=c", {"split": 1, "appeared": 1, "unchanged": 1}),
        # a leaves: most of the entity lives on, as b. The name a stays, as that of a alone.
        ("a=abc", "a=a b=bc", {"split": 1, "renamed": 1}),
        ("a=a b=bc", "a=abc", {"merged": 1, "renamed": 1}),
        ("a=ab c=cd", "a=abcd", {"merged": 1, "vanished": 1}),
        ("a=abcd", "a=ab c=cd", {"split": 1, "appeared": 1}),
        # b changes sides: both old ones are split or not, and both new ones are merged or not.
        ("a=ab c=c", "a=a c=bc", {"split": 1, "merged": 1}),
    ],
    ids=str,
)
def test_entities_merge_split_and_are_renamed(before: str, after: str, expected: dict[str, int]) -> None:
    found = vars(compared(before, after))
    named = {name.removeprefix("entities_"): n for name, n in found.items() if n and name.startswith("entities_")}
    assert named == expected


def test_records_renamed_are_those_with_another_entity_id() -> None:
    assert compared("a=abc", "a=a b=bc").records_renamed == 2
    assert compared("a=ab c=cd", "a=abcd").records_renamed == 2


def test_pairs_gained_lost_and_kept() -> None:
    made = snapshot()
    before = decided(made, "before", "", [(0, 1), (2, 3)])
    after = decided(made, "after", "", [(0, 1), (2, 4), (2, 5)])
    found = changes(made, before, after)
    assert (found.pairs_gained, found.pairs_lost, found.pairs_kept) == (2, 1, 1)
    assert found.pairs_changed == pytest.approx(3 / 4)
    assert found.examples == {"gained": [["s:2", "s:4"], ["s:2", "s:5"]], "lost": [["s:2", "s:3"]]}
    without = changes(made, Decided(before.matches, None), Decided(after.matches, None))
    assert (without.pairs_gained, without.entities_merged, without.records_renamed) == (2, None, None)
    nothing = [decided(made, name, "") for name in ("none", "neither")]
    assert changes(made, *nothing).pairs_changed == 0


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_changes_are_those_that_sets_show(seed: int) -> None:
    rng = random.Random(seed)
    records = "abcdefgh"
    made, sides = snapshot(), []
    for name in ("before", "after"):
        ids = {record: rng.choice(records[:4]) for record in records}
        groups = " ".join(f"{i}={''.join(r for r in records if ids[r] == i)}" for i in sorted(set(ids.values())))
        pairs = {(rng.randrange(5), 5 + rng.randrange(5)) for _ in range(rng.randrange(8))}
        sides.append((decided(made, name, groups, sorted(pairs)), pairs, ids))
    (before, old_pairs, old), (after, new_pairs, new) = sides
    found = changes(made, before, after)
    assert (found.pairs_gained, found.pairs_lost) == (len(new_pairs - old_pairs), len(old_pairs - new_pairs))
    assert found.records_renamed == sum(old[record] != new[record] for record in records)
    groups = {i: {r for r in records if old[r] == i} for i in set(old.values())}
    now = {i: {r for r in records if new[r] == i} for i in set(new.values())}
    assert found.entities_split == sum(len({new[r] for r in members}) > 1 for members in groups.values())
    assert found.entities_merged == sum(len({old[r] for r in members}) > 1 for members in now.values())
    assert found.entities_unchanged == sum(members in now.values() for members in groups.values())


def known(made: Snapshot, pairs: str) -> Snapshot:
    """The snapshot with these pairs, as SQL's VALUES, for known matches."""
    made.connection.execute(f"create table gold as from (values {pairs}) t(left_id, right_id)")
    return Snapshot(made.connection, {"er_gold": "gold"}, made.models).with_known(("s", "s"))


def test_matches_are_measured_against_known_ones_by_record() -> None:
    made = known(snapshot(), "(0, 5), (6, 1), (2, 7), (2, 7), (9, 9)")
    new = decided(made, "new", "", [(0, 5), (1, 7)])
    old = decided(made, "old", "", [(0, 5), (1, 6), (3, 8)])
    found = against_gold(made, new, old, margin=0.0)
    assert found.known == 3
    assert found.challenger.value == pytest.approx(2 * 1 / (2 + 3))
    assert found.current is not None
    assert found.current.value == pytest.approx(2 * 2 / (3 + 3))
    assert found.difference is not None
    assert found.difference.value == pytest.approx(0.4 - 2 / 3)
    # Where record 1 or 3 is drawn, one of them right and the other wrong, they differ; 1 alone is what makes new worse.
    assert 0.5 < (found.risk or 0) < 1
    right = decided(made, "right", "", [(0, 5), (1, 6), (2, 7)])
    assert against_gold(made, right, None, margin=0.0) == AgainstGold(3, Estimate(1.0, 1.0, 1.0))


def test_the_order_of_known_matches_makes_no_other_hash() -> None:
    hashes = [fingerprint(known(snapshot(), pairs)) for pairs in ("(0, 5), (1, 6)", "(6, 1), (0, 5)", "(0, 5), (1, 7)")]
    assert hashes[0] == hashes[1] != hashes[2]


def test_no_known_pair_is_no_known_match() -> None:
    assert "er_known_pairs" not in known(snapshot(), "(1, 1), (null, 2)")
