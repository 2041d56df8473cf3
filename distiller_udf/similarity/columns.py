"""What kind of values a column holds, and which column of one side is comparable with which of the other.

Columns are matched by their values: two columns belong together when candidate pairs agree on them more than
pairs put together at random. Names count only where the values cannot tell. A column that belongs to none of the other
side is no evidence: it is in no comparison.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from distiller_udf.records import TEXT_COLUMN, Column, Records
from distiller_udf.similarity.quantities import POINT, decimal_sign, decimal_votes, parse_date, parse_quantity, told_by
from distiller_udf.similarity.vectors import Rarity, ValueCache

SAMPLED_VALUES = 1_000
SAMPLED_PAIRS = 3_000
MAX_COMPARISONS = 12
LONG_CHARACTERS = 80
MINIMUM_LIFT = 0.05
"""How much better candidates must agree on two columns than random pairs do."""

LIKELY_LIFT, LIKELY_NAMES = 0.01, 0.6
"""From this lift, or likeness of their names, on two columns may belong together although the values do not tell."""

_CODE = re.compile(r"0\d+|\d{10,}")

COMPLEMENTARY = 0.05
"""Two columns stand in for each other when at most this share of either's values meets a value of the other."""


@dataclass(frozen=True)
class Comparison:
    """Columns of the left record that are compared with columns of the right one.

    `kind` is `record` (all compared columns as one text), `name` (the first of these columns that is filled), or one
    column against one: `text`, `long`, `number`, `date`. An explanation also knows `plain` (a record that was given as
    plain text, with all columns of the other), and columns that only one side has. `decimals` are the decimal signs of
    both sides, for numbers such as `1.299`.
    """

    kind: str
    left_columns: tuple[str, ...]
    right_columns: tuple[str, ...]
    decimals: tuple[str, str] = (POINT, POINT)

    @property
    def left(self) -> str:
        """The columns of the left record, for people."""
        return "+".join(self.left_columns)

    @property
    def right(self) -> str:
        """The columns of the right record, for people."""
        return "+".join(self.right_columns)

    @property
    def label(self) -> str:
        """How it is called in feature names and sentences: `name`, `phone~tel` where the sides call it so, or `fax`."""
        if self.kind in ("record", "plain"):
            return {"record": "record", "plain": TEXT_COLUMN}[self.kind]
        return "~".join(dict.fromkeys(side for side in (self.left, self.right) if side))

    @property
    def state(self) -> list[Any]:
        """The comparison as JSON holds it."""
        return [self.kind, list(self.left_columns), list(self.right_columns), "".join(self.decimals)]

    @classmethod
    def of(cls, state: Sequence[Any]) -> Comparison:
        """The comparison of a `state`. Raises ValueError or TypeError for anything else."""
        kind, left, right, (left_decimal, right_decimal) = state
        return cls(kind, tuple(left), tuple(right), (left_decimal, right_decimal))


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
class ColumnShape:
    """What a column looks like: its kind, the share of rows filled and the share of its values that are distinct.

    `words` is how many words a value has, `decimal` the decimal sign of numbers.
    """

    kind: str
    filled: float
    distinct: float
    words: float
    decimal: str = POINT

    @property
    def identifying(self) -> float:
        """How well the column alone would name a record, in [0, 1]; numbers and dates do not name."""
        if self.kind in ("number", "date"):
            return 0.0
        # A lone word is often a brand, a town or a code; a sentence is often a description.
        weight = {"text": 1.0 if self.words >= 1.5 else 0.6, "long": 0.5}[self.kind]
        return self.distinct * weight


def shape(column: Column) -> ColumnShape:
    """Look at a sample of a column's values."""
    rows = max(len(column.codes), 1)
    present = np.unique(column.codes[column.codes >= 0])
    values = [column.values[c] for c in present[:: max(len(present) // SAMPLED_VALUES, 1)]]
    filled = float((column.codes >= 0).sum()) / rows
    words = float(np.mean([len(v.split()) for v in values])) if values else 0.0
    kind = _kind(values)
    decimal = decimal_sign(values) if kind == "number" else POINT
    return ColumnShape(kind, filled, len(present) / max(filled * rows, 1), words, decimal)


def _kind(values: list[str]) -> str:
    if not values:
        return "text"
    dates = np.mean([parse_date(v)[0] == parse_date(v)[0] for v in values])
    if dates >= 0.8:
        return "date"
    # Telephone numbers and codes are no quantities: nobody writes those with a zero before, or with so many digits.
    units = Counter(found.unit for v in values if (found := parse_quantity(v)).is_number and not _CODE.fullmatch(v))
    if units and max(units.values()) >= 0.8 * len(values):
        return "number"
    return "long" if np.mean([len(v) for v in values]) > LONG_CHARACTERS else "text"


@dataclass(frozen=True)
class Matching:
    """Which columns are compared: the first of the `comparisons` is of all columns that have a partner, as one text.

    `alone` are the other columns of the left and of the right side, `likely` those among them that might go together
    (left, right). `crowded` are comparisons for which there was no room.
    """

    comparisons: tuple[Comparison, ...]
    alone: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    likely: tuple[tuple[str, str], ...] = ()
    crowded: tuple[Comparison, ...] = ()

    def compared(self, left: Records, right: Records) -> tuple[Records, Records]:
        """Both sides with the columns that are compared."""
        whole = self.comparisons[0]
        return left.with_columns(whole.left_columns), right.with_columns(whole.right_columns)

    def warning(self) -> str | None:
        """The columns that nobody compares, in a sentence; None where all are compared."""
        sides = zip(("left", "right"), self.alone, strict=True)
        named = "; ".join(f"{side}: {', '.join(columns)}" for side, columns in sides if columns)
        likely = ", ".join(f"{a} might go with {b}" for a, b in self.likely)
        said = [f"nobody compares {named}{f' ({likely})' if likely else ''}"] if named else []
        if self.crowded:
            said.append(f"compared as a part of the whole record alone: {', '.join(c.label for c in self.crowded)}")
        return "; ".join(said) or None


def filled_columns(left: Records, right: Records, one_table: bool) -> tuple[Records, Records]:
    """Both sides with the columns that they fill: er_pairs has those of all sources on both, and a side fills its own.

    Where both sides are of `one_table`, what either fills belongs to both.
    """
    own = left.with_values(), right.with_values()
    if not one_table:
        return own
    filled = {name for side in own for name in side.names}
    names = [name for name in left.names if name in filled] + [n for n in own[1].names if n not in left.names]
    return left.with_columns(names), right.with_columns(names)


def match_columns(left: Records, right: Records, seed: int = 0) -> Matching:
    """Choose the comparisons for candidate pairs (row i of both sides is one pair).

    Sides with the same columns are compared column by column by name, so that the order of the two records makes
    no difference. Otherwise columns are matched by their values.
    """
    if set(left.names) == set(right.names):
        # In one order too: whole records are compared as texts of their columns.
        right = right.with_columns(left.names)
        stacked = {n: left.columns[n].to_list() + right.columns[n].to_list() for n in left.names}
        both = {n: shape(Column.from_values(values)) for n, values in stacked.items()}
        merged = tuple(dict.fromkeys((*_names(left, both), *_names(right, both))))
        name = Comparison("name", merged, merged) if merged else None
        alike = _Shapes(both, both)
        namesakes = [(n, n) for n in both if both[n].filled > 0]
        lifts = _lifts(left, right, alike, seed, namesakes)
        namesakes.sort(key=lambda pair: (-round(lifts[pair], 2), -both[pair[0]].filled))
        singles = [replace(alike.comparison(pair), decimals=_decimals(left, right, pair[0])) for pair in namesakes]
        return _chosen(Comparison("record", left.names, left.names), name, singles)
    shapes = _Shapes(*({n: shape(c) for n, c in side.columns.items()} for side in (left, right)))
    lifts = _lifts(left, right, shapes, seed, [(a, b) for a in shapes.left for b in shapes.right])
    belonging = {pair: lift for pair, lift in lifts.items() if lift > MINIMUM_LIFT or _same_name(*pair)}
    name = _name_view(left, right, shapes, belonging)
    pairs = [*belonging, *((a, b) for a in name.left_columns for b in name.right_columns)] if name else [*belonging]
    if not pairs:  # nothing tells what belongs together, so records can only be compared as a whole
        return _chosen(Comparison("record", left.names, right.names), None, [])
    sides = [tuple(n for n in side.names if n in {pair[i] for pair in pairs}) for i, side in enumerate((left, right))]
    found = _chosen(Comparison("record", sides[0], sides[1]), name, _by_values(belonging, shapes))
    alone = [tuple(n for n in side.names if n not in known) for side, known in zip((left, right), sides, strict=True)]
    return replace(found, alone=(alone[0], alone[1]), likely=_likely(alone[0], alone[1], lifts))


def _chosen(whole: Comparison, name: Comparison | None, singles: Sequence[Comparison]) -> Matching:
    """The comparisons, as far as there is room for them."""
    first = [whole] if name is None else [whole, name]
    if name is not None:
        singles = [c for c in singles if (c.left_columns, c.right_columns) != (name.left_columns, name.right_columns)]
    return Matching((*first, *singles[:MAX_COMPARISONS]), crowded=tuple(singles[MAX_COMPARISONS:]))


@dataclass(frozen=True)
class _Shapes:
    """What the columns of both sides look like."""

    left: Mapping[str, ColumnShape]
    right: Mapping[str, ColumnShape]

    def kind(self, pair: tuple[str, str]) -> str:
        """How a left column is compared with a right one: values of two kinds as they are written."""
        a, b = self.left[pair[0]].kind, self.right[pair[1]].kind
        return a if a == b else "long" if "long" in (a, b) else "text"

    def comparison(self, pair: tuple[str, str]) -> Comparison:
        """How a left column is compared with a right one."""
        decimals = self.left[pair[0]].decimal, self.right[pair[1]].decimal
        return Comparison(self.kind(pair), (pair[0],), (pair[1],), decimals)


def _by_values(lifts: Mapping[tuple[str, str], float], shapes: _Shapes) -> list[Comparison]:
    """Columns that are for each other (nearly) the best of the other side, or share their name; the strongest first."""
    best_left = {a: max(v for (x, _), v in lifts.items() if x == a) for a, _ in lifts}
    best_right = {b: max(v for (_, y), v in lifts.items() if y == b) for _, b in lifts}
    kept = [
        pair
        for pair, lift in lifts.items()
        if _same_name(*pair) or lift >= 0.7 * max(best_left[pair[0]], best_right[pair[1]])
    ]
    kept.sort(key=lambda pair: -lifts[pair])
    return list(map(shapes.comparison, kept))


def _same_name(left: str, right: str) -> bool:
    return left.casefold() == right.casefold()


def _decimals(left: Records, right: Records, name: str) -> tuple[str, str]:
    """The decimal signs of a column that both sides have: each its own where both leave no doubt, else one."""
    votes = [decimal_votes(side.columns[name].values) for side in (left, right)]
    own = [told_by(vote) for vote in votes]
    one = told_by(votes[0] + votes[1]) or POINT
    return (own[0], own[1]) if own[0] and own[1] else (one, one)


def _lifts(
    left: Records, right: Records, shapes: _Shapes, seed: int, pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], float]:
    """How much better candidates agree on pairs of a left and a right column than records put together at random."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(left))[:SAMPLED_PAIRS]
    left, right, shuffled = left.take(rows), right.take(rows), right.take(rng.permutation(rows))
    distinct = (row for side in (left, right) for row in side.take(side.distinct[0]).to_dicts())
    cache = ValueCache(Rarity.fit([" ".join(filter(None, row.values())) for row in distinct]))
    return {
        (a, b): _lift(shapes.comparison((a, b)), left.columns[a], right.columns[b], shuffled.columns[b], cache)
        for a, b in pairs
    }


def _likely(
    left: Sequence[str], right: Sequence[str], lifts: Mapping[tuple[str, str], float]
) -> tuple[tuple[str, str], ...]:
    """Columns without a partner that may belong together: they agree a little, or are named alike."""
    from rapidfuzz import fuzz

    likely = {}
    for pair in ((a, b) for a in left for b in right):
        alike = fuzz.ratio(pair[0].casefold(), pair[1].casefold()) / 100
        if lifts[pair] >= LIKELY_LIFT or alike >= LIKELY_NAMES:
            likely[pair] = (lifts[pair] >= LIKELY_LIFT, max(lifts[pair], alike))
    best = [
        max((p for p in likely if p[i] == name), key=likely.__getitem__)
        for i in (0, 1)
        for name in {p[i] for p in likely}
    ]
    return tuple(pair for pair in likely if pair in best)


def _lift(comparison: Comparison, left: Column, right: Column, shuffled: Column, cache: ValueCache) -> float:
    """How much better the best fifth of candidates agree than the best fifth of random pairs, in [-1, 1]."""
    agreement = _agreement(comparison, left, right, cache)
    chance = _agreement(comparison, left, shuffled, cache)
    if len(agreement) < 3 or len(chance) < 3:
        return 0.0
    return _top_mean(agreement) - _top_mean(chance)


def _top_mean(values: np.ndarray) -> float:
    return float(np.sort(values)[-max(len(values) // 5, 1) :].mean())


def _agreement(comparison: Comparison, left: Column, right: Column, cache: ValueCache) -> np.ndarray:
    kind = comparison.kind
    both = (left.codes >= 0) & (right.codes >= 0)
    a, b = left.codes[both], right.codes[both]
    if kind in ("text", "long"):
        left_rows, right_rows = cache.rows(left.values), cache.rows(right.values)
        return cache.gram_overlap(left_rows[a], right_rows[b])[0]
    x, y = (
        np.asarray([parse_date(v)[0] if kind == "date" else parse_quantity(v, decimal).number for v in column.values])
        for column, decimal in zip((left, right), comparison.decimals, strict=True)
    )
    x, y = x[a], y[b]
    return np.asarray(np.isclose(x, y, rtol=0.01 if kind == "number" else 0.0), dtype=float)


def _name_view(
    left: Records, right: Records, shapes: _Shapes, lifts: Mapping[tuple[str, str], float]
) -> Comparison | None:
    """The pair of columns that names a record best on both sides, each with the columns that stand in for it."""

    def strength(pair: tuple[str, str]) -> float:
        a, b = shapes.left[pair[0]], shapes.right[pair[1]]
        return float(lifts[pair] * np.sqrt(a.identifying * a.filled * b.identifying * b.filled))

    named = [pair for pair in lifts if strength(pair) > 0]
    if not named:
        return None
    a, b = max(named, key=strength)
    return Comparison("name", _stand_ins(left, shapes.left, a), _stand_ins(right, shapes.right, b))


def _names(records: Records, shapes: Mapping[str, ColumnShape]) -> tuple[str, ...]:
    ranked = sorted(records.names, key=lambda n: -shapes[n].identifying * np.sqrt(shapes[n].filled))
    if not ranked or shapes[ranked[0]].identifying == 0:
        return ()
    return _stand_ins(records, shapes, ranked[0])


def _stand_ins(records: Records, shapes: Mapping[str, ColumnShape], first: str) -> tuple[str, ...]:
    """`first` and the identifying columns that are filled only where the ones before are not."""
    chosen = [first]
    taken = records.columns[first].codes >= 0
    for name in sorted(shapes, key=lambda n: -shapes[n].filled):
        filled = records.columns[name].codes >= 0
        share = max(filled.sum(), 1)
        alike = shapes[name].identifying >= 0.3 * shapes[first].identifying and shapes[name].kind == "text"
        if name not in chosen and alike and filled.any() and (filled & taken).sum() <= COMPLEMENTARY * share:
            chosen.append(name)
            taken |= filled
    return tuple(chosen)
