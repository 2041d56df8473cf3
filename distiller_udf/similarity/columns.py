"""What kind of values a column holds, and which column of one side is comparable with which of the other.

Columns are matched by their values: two columns belong together when candidate pairs agree on them more than
pairs put together at random. Names count only where the values cannot tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distiller_udf.records import Column, Records
from distiller_udf.similarity.text import parse_date, parse_number
from distiller_udf.similarity.vectors import ValueCache

SAMPLED_VALUES = 1_000
SAMPLED_PAIRS = 3_000
MAX_COMPARISONS = 12
LONG_CHARACTERS = 80
MINIMUM_LIFT = 0.05
"""How much better candidates must agree on two columns than random pairs do."""

COMPLEMENTARY = 0.05
"""Two columns stand in for each other when at most this share of either's values meets a value of the other."""


@dataclass(frozen=True)
class Comparison:
    """Columns of the left record that are compared with columns of the right one.

    `kind` is `record` (all columns as one text), `name` (the first of these columns that is filled), or one
    column against one: `text`, `long`, `number`, `date`.
    """

    kind: str
    left_columns: tuple[str, ...]
    right_columns: tuple[str, ...]

    @property
    def left(self) -> str:
        return "+".join(self.left_columns)

    @property
    def right(self) -> str:
        return "+".join(self.right_columns)

    @property
    def label(self) -> str:
        """How the comparison is called in feature names and sentences."""
        if self.kind == "record":
            return "record"
        return self.left if self.left == self.right else f"{self.left}~{self.right}"

    @property
    def state(self) -> list[Any]:
        """The comparison as JSON holds it."""
        return [self.kind, list(self.left_columns), list(self.right_columns)]

    @classmethod
    def of(cls, state: Sequence[Any]) -> Comparison:
        """The comparison of a `state`. Raises ValueError or TypeError for anything else."""
        kind, left, right = state
        return cls(kind, tuple(left), tuple(right))


class ComparedFeatures:
    """Which features pairs have: those of the kinds of their comparisons, `kinds`, each with its direction.

    `comparisons` say which columns are compared, `names` are the features in order (`comparison:feature`), `groups`
    gives each feature's comparison by its position (-1: the pair as a whole), and `directions` how the probability of a
    match may move with it (1 up, -1 down, 0 either way).
    """

    def __init__(self, comparisons: Sequence[Comparison], kinds: Mapping[str, Mapping[str, int]]) -> None:
        self.comparisons = list(comparisons)
        self.names: list[str] = []
        self.directions: list[int] = []
        self.groups: list[int] = []
        for position, comparison in enumerate(self.comparisons):
            self._add(comparison.label, position, kinds.get(comparison.kind, {}))

    def _add(self, label: str, group: int, features: Mapping[str, int]) -> None:
        self.names += [f"{label}:{name}" for name in features]
        self.directions += features.values()
        self.groups += [group] * len(features)


@dataclass(frozen=True)
class ColumnProfile:
    """What a column looks like: its kind, the share of rows filled and the share of its values that are distinct."""

    kind: str
    filled: float
    distinct: float
    words: float

    @property
    def identifying(self) -> float:
        """How well the column alone would name a record, in [0, 1]; numbers and dates do not name."""
        if self.kind in ("number", "date"):
            return 0.0
        # A lone word is often a brand, a town or a code; a sentence is often a description.
        shape = {"text": 1.0 if self.words >= 1.5 else 0.6, "long": 0.5}[self.kind]
        return self.distinct * shape


def _profile(column: Column) -> ColumnProfile:
    """Look at a sample of a column's values."""
    rows = max(len(column.codes), 1)
    present = np.unique(column.codes[column.codes >= 0])
    values = [column.values[c] for c in present[:: max(len(present) // SAMPLED_VALUES, 1)]]
    filled = float((column.codes >= 0).sum()) / rows
    words = float(np.mean([len(v.split()) for v in values])) if values else 0.0
    return ColumnProfile(_kind(values), filled, len(present) / max(filled * rows, 1), words)


def _kind(values: list[str]) -> str:
    if not values:
        return "text"
    dates = np.mean([parse_date(v)[0] == parse_date(v)[0] for v in values])
    if dates >= 0.8:
        return "date"
    numbers = [v for v in values if parse_number(v) == parse_number(v) and sum(map(str.isalpha, v)) <= 3]
    if len(numbers) >= 0.8 * len(values):
        return "number"
    return "long" if np.mean([len(v) for v in values]) > LONG_CHARACTERS else "text"


def match_columns(left: Records, right: Records, cache: ValueCache, seed: int = 0) -> list[Comparison]:
    """Choose the comparisons for candidate pairs (row i of both sides is one pair).

    Sides with the same columns are compared column by column by name, so that the order of the two records makes
    no difference. Otherwise columns are matched by their values.
    """
    if set(left.names) == set(right.names):
        # In one order too: whole records are compared as texts of their columns.
        right = right.with_columns(left.names)
    profiles = {s: {n: _profile(c) for n, c in r.columns.items()} for s, r in (("left", left), ("right", right))}
    if left.names == right.names:
        both = {n: _profile(_stacked(left.columns[n], right.columns[n])) for n in left.names}
        singles = _by_name(both)
        names = _names(left, both), _names(right, both)
        merged = tuple(dict.fromkeys((*names[0], *names[1])))
        name = Comparison("name", merged, merged) if merged else None
    else:
        singles, best = _by_values(left, right, profiles, cache, seed)
        name = _name_view(left, right, profiles, best)
    comparisons = [Comparison("record", left.names, right.names)]
    if name is not None:
        comparisons.append(name)
        singles = [c for c in singles if (c.left_columns, c.right_columns) != (name.left_columns, name.right_columns)]
    return comparisons + singles[:MAX_COMPARISONS]


def _by_name(profiles: dict[str, ColumnProfile]) -> list[Comparison]:
    ranked = sorted(profiles.items(), key=lambda item: -item[1].filled)
    return [Comparison(p.kind, (n,), (n,)) for n, p in ranked if p.filled > 0]


def _by_values(
    left: Records, right: Records, profiles: dict[str, dict[str, ColumnProfile]], cache: ValueCache, seed: int
) -> tuple[list[Comparison], dict[tuple[str, str], float]]:
    """The comparisons, strongest first, and the strength of every pair of columns that was measured."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(left))[:SAMPLED_PAIRS]
    left, right, shuffled = left.take(rows), right.take(rows), right.take(rng.permutation(rows))
    lifts: dict[tuple[str, str], float] = {}
    for a, pa in profiles["left"].items():
        for b, pb in profiles["right"].items():
            kind = _common_kind(pa.kind, pb.kind)
            if kind is not None:
                lift = _lift(kind, left.columns[a], right.columns[b], shuffled.columns[b], cache)
                if lift > MINIMUM_LIFT or a.casefold() == b.casefold():
                    lifts[a, b] = lift
    best_left = {a: max(v for (x, _), v in lifts.items() if x == a) for a, _ in lifts}
    best_right = {b: max(v for (_, y), v in lifts.items() if y == b) for _, b in lifts}
    kept = [
        pair
        for pair, lift in lifts.items()
        if pair[0].casefold() == pair[1].casefold() or lift >= 0.7 * max(best_left[pair[0]], best_right[pair[1]])
    ]
    kept.sort(key=lambda pair: -lifts[pair])
    kinds = {(a, b): _common_kind(profiles["left"][a].kind, profiles["right"][b].kind) for a, b in kept}
    return [Comparison(kinds[a, b] or "text", (a,), (b,)) for a, b in kept], lifts


def _common_kind(left: str, right: str) -> str | None:
    if left == right:
        return left
    return "long" if {left, right} == {"text", "long"} else None


def _lift(kind: str, left: Column, right: Column, shuffled: Column, cache: ValueCache) -> float:
    """How much better the best fifth of candidates agree than the best fifth of random pairs, in [-1, 1]."""
    agreement = _agreement(kind, left, right, cache)
    chance = _agreement(kind, left, shuffled, cache)
    if len(agreement) < 3 or len(chance) < 3:
        return 0.0
    return _top_mean(agreement) - _top_mean(chance)


def _top_mean(values: np.ndarray) -> float:
    return float(np.sort(values)[-max(len(values) // 5, 1) :].mean())


def _agreement(kind: str, left: Column, right: Column, cache: ValueCache) -> np.ndarray:
    both = (left.codes >= 0) & (right.codes >= 0)
    a, b = left.codes[both], right.codes[both]
    if kind in ("text", "long"):
        left_rows, right_rows = cache.rows(left.values), cache.rows(right.values)
        return cache.gram_overlap(left_rows[a], right_rows[b])[0]
    parse = (lambda v: parse_date(v)[0]) if kind == "date" else parse_number
    x = np.asarray([parse(v) for v in left.values], dtype=float)[a]
    y = np.asarray([parse(v) for v in right.values], dtype=float)[b]
    return np.asarray(np.isclose(x, y, rtol=0.01 if kind == "number" else 0.0), dtype=float)


def _name_view(
    left: Records, right: Records, profiles: dict[str, dict[str, ColumnProfile]], lifts: dict[tuple[str, str], float]
) -> Comparison | None:
    """The pair of columns that names a record best on both sides, each with the columns that stand in for it."""

    def strength(pair: tuple[str, str]) -> float:
        a, b = profiles["left"][pair[0]], profiles["right"][pair[1]]
        return float(lifts[pair] * np.sqrt(a.identifying * a.filled * b.identifying * b.filled))

    named = [pair for pair in lifts if strength(pair) > 0]
    if not named:
        return None
    a, b = max(named, key=strength)
    return Comparison("name", _stand_ins(left, profiles["left"], a), _stand_ins(right, profiles["right"], b))


def _names(records: Records, profiles: dict[str, ColumnProfile]) -> tuple[str, ...]:
    ranked = sorted(records.names, key=lambda n: -profiles[n].identifying * np.sqrt(profiles[n].filled))
    if not ranked or profiles[ranked[0]].identifying == 0:
        return ()
    return _stand_ins(records, profiles, ranked[0])


def _stand_ins(records: Records, profiles: dict[str, ColumnProfile], first: str) -> tuple[str, ...]:
    """`first` and the identifying columns that are filled only where the ones before are not."""
    chosen = [first]
    taken = records.columns[first].codes >= 0
    for name in sorted(profiles, key=lambda n: -profiles[n].filled):
        filled = records.columns[name].codes >= 0
        share = max(filled.sum(), 1)
        alike = profiles[name].identifying >= 0.3 * profiles[first].identifying and profiles[name].kind == "text"
        if name not in chosen and alike and filled.any() and (filled & taken).sum() <= COMPLEMENTARY * share:
            chosen.append(name)
            taken |= filled
    return tuple(chosen)


def _stacked(left: Column, right: Column) -> Column:
    return Column.from_values(left.to_list() + right.to_list())
