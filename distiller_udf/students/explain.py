"""What each column adds to a pair's log odds, and the sentence that says so.

Shapley values with the columns as players, after Štrumbelj and Kononenko, "An Efficient Explanation of Individual
Classifications using Game Theory", Journal of Machine Learning Research 11 (2010): a column's contribution is how
much it changes the log odds when it joins the columns before it, averaged over orders of the columns. Columns that
have not joined yet are NULL on both sides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from distiller_udf.records import TEXT_COLUMN, Column, Records
from distiller_udf.similarity.columns import Comparison
from distiller_udf.students.context import sigmoid

EXACT_GROUPS = 4
"""Up to this many groups every order is tried, which makes the Shapley values exact."""

MAX_SHIFTS = 8
"""Above, so many cyclic shifts of the columns are tried, each forwards and backwards."""

MAX_ROWS = 20_000
"""Rows that are scored at once."""

MINIMUM_CONTRIBUTION = 0.05
"""Log odds below which a column is not worth a word."""

MAX_NAMED = 5
"""Columns named on each side of a sentence."""

CERTAIN = 1e-6
"""How close to 0 or 1 a probability is still written out."""

LogOdds = Callable[[Records, Records], np.ndarray]


@dataclass(frozen=True)
class Group:
    """Columns of the left and of the right records that belong together; one player."""

    left: tuple[str, ...]
    right: tuple[str, ...]

    @property
    def label(self) -> str:
        """`name` where both sides call it so, `phone~tel` where they do not, `fax` where one side alone has it."""
        if (TEXT_COLUMN,) in (self.left, self.right) and len(self.left + self.right) > 2:
            return TEXT_COLUMN
        sides = dict.fromkeys("+".join(side) for side in (self.left, self.right) if side)
        return "~".join(sides)


def column_groups(left: Sequence[str], right: Sequence[str], comparisons: Sequence[Comparison]) -> list[Group]:
    """Every column in one group: with the column it is compared with most, else with its namesake, else alone."""
    left, right = tuple(left), tuple(right)
    if (TEXT_COLUMN,) in (left, right):
        return [Group(left, right)]
    if set(left) == set(right):
        return [Group((name,), (name,)) for name in left]
    matched = [Group(c.left_columns, c.right_columns) for c in comparisons if c.kind != "record"]
    namesakes = [Group((name,), (name,)) for name in left if name in right]
    alone = [*(Group((name,), ()) for name in left), *(Group((), (name,)) for name in right)]
    groups: list[Group] = []
    free = set(left), set(right)
    for group in (*matched, *namesakes, *alone):
        if free[0].issuperset(group.left) and free[1].issuperset(group.right):
            groups.append(group)
            free[0].difference_update(group.left)
            free[1].difference_update(group.right)
    return groups


def contributions(log_odds: LogOdds, left: Records, right: Records, groups: Sequence[Group]) -> np.ndarray:
    """Each group's share of a pair's log odds, the baseline (no column at all) last: shape (pairs, groups + 1).

    A row adds up to what `log_odds` gives for the pair.
    """
    coalitions, shares = _game(_orders(len(groups)), len(groups))
    step = max(MAX_ROWS // len(coalitions), 1)
    values = np.zeros((len(left), len(coalitions)))
    for start in range(0, len(left), step):
        pairs = np.arange(start, min(start + step, len(left)))
        present = np.tile(coalitions, (len(pairs), 1))
        sides = (
            _blanked(left.take(pairs), len(coalitions), present, [g.left for g in groups]),
            _blanked(right.take(pairs), len(coalitions), present, [g.right for g in groups]),
        )
        values[pairs] = log_odds(*sides).reshape(len(pairs), -1)
    return np.asarray(values @ shares)


def sentence(labels: Sequence[str], parts: np.ndarray) -> str:
    """A pair's probability, then the columns that spoke for and against a match, strongest first.

    `labels` names the groups and `parts` holds their contributions and the baseline, in log odds.
    """
    probability = float(sigmoid(np.asarray(parts.sum())))
    same = probability >= 0.5
    order = np.argsort(-np.abs(parts[: len(labels)]), kind="stable")
    said = [(labels[i], float(parts[i])) for i in order if abs(parts[i]) >= MINIMUM_CONTRIBUTION]
    pros = _side("for", [item for item in said if item[1] > 0])
    cons = _side("against", [item for item in said if item[1] < 0])
    first, second = (pros, cons) if same else (cons, pros)
    if not first:
        second = f"{second}, but not enough" if second else f"no column speaks {'against' if same else 'for'} a match"
    verdict = "Likely the same" if same else "Likely different"
    return f"{verdict} (probability {_written(probability)}): {'; '.join(filter(None, (first, second)))}."


def _side(word: str, items: Sequence[tuple[str, float]]) -> str:
    if not items:
        return ""
    named = ", ".join(f"{label} ({value:+.1f})" for label, value in items[:MAX_NAMED])
    more = f" and {len(items) - MAX_NAMED} more" if len(items) > MAX_NAMED else ""
    return f"{named}{more} speak{'s' if len(items) == 1 else ''} {word} a match"


def _written(probability: float) -> str:
    """With at least four decimals, and as many as tell it from 0 and 1."""
    doubt = min(probability, 1 - probability)
    if doubt < CERTAIN:
        return "above 0.999999" if probability > 0.5 else "below 0.000001"
    return f"{probability:.{max(4, -math.floor(math.log10(doubt)))}f}"


def _orders(count: int) -> list[tuple[int, ...]]:
    """The orders in which groups join: the same ones always, and each with its reverse."""
    if count <= EXACT_GROUPS:
        return list(permutations(range(count)))
    starts = [i * count // min(count, MAX_SHIFTS) for i in range(min(count, MAX_SHIFTS))]
    shifts = [tuple((start + i) % count for i in range(count)) for start in starts]
    return [*shifts, *(order[::-1] for order in shifts)]


def _game(orders: Sequence[tuple[int, ...]], count: int) -> tuple[np.ndarray, np.ndarray]:
    """The sets of groups that the orders pass through, and how their values become contributions.

    The sets are rows of a boolean array, the empty one first; values (pairs, sets) times the second array,
    (sets, groups + 1), are the contributions and the baseline.
    """
    index: dict[frozenset[int], int] = {frozenset(): 0}
    steps = []
    for order in orders:
        for position, group in enumerate(order):
            joined = frozenset(order[: position + 1])
            steps.append((group, index[joined - {group}], index.setdefault(joined, len(index))))
    coalitions = np.asarray([[g in members for g in range(count)] for members in index], dtype=bool)
    shares = np.zeros((len(index), count + 1))
    shares[0, count] = 1.0
    for group, before, after in steps:
        shares[before, group] -= 1 / len(orders)
        shares[after, group] += 1 / len(orders)
    return coalitions, shares


def _blanked(records: Records, times: int, present: np.ndarray, groups: Sequence[tuple[str, ...]]) -> Records:
    """Each record `times` over, row by row without the columns of the groups that are not `present`."""
    rows = np.repeat(np.arange(len(records)), times)
    columns = {}
    for name, column in records.columns.items():
        position = next(i for i, names in enumerate(groups) if name in names)
        own = Column.from_values(column.to_list())  # the values of these rows alone
        columns[name] = Column(np.where(present[:, position], own.codes[rows], np.int32(-1)), own.values)
    return Records(columns, len(rows))
