"""What each column adds to a pair's log odds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from distiller_udf.records import TEXT_COLUMN, Column, Records
from distiller_udf.similarity.columns import Comparison
from distiller_udf.students.explain.shapley import LogOdds, game, orders

SHIFTS = 8
"""So many cyclic shifts of the columns are tried, each forwards and backwards, where there are many columns."""


MAX_ROWS = 20_000
"""Rows that are scored at once."""


@dataclass(frozen=True)
class Group:
    """Columns of the left and of the right records that belong together; one player.

    `kind` is that of their comparison: `number` and `date` are read as one value, anything else as words; `plain` where
    a record was given as plain text, which is compared with all columns of the other.
    """

    left: tuple[str, ...]
    right: tuple[str, ...]
    kind: str = "text"

    @property
    def label(self) -> str:
        """`name` where both sides call it so, `phone~tel` where they do not, `fax` where one side alone has it."""
        if self.kind == "plain":
            return TEXT_COLUMN
        sides = dict.fromkeys("+".join(side) for side in (self.left, self.right) if side)
        return "~".join(sides)


def column_groups(left: Sequence[str], right: Sequence[str], comparisons: Sequence[Comparison]) -> list[Group]:
    """Every column in one group: with the column it is compared with most, else with its namesake, else alone."""
    left, right = tuple(left), tuple(right)
    kinds = {(c.left_columns, c.right_columns): c.kind for c in comparisons if c.kind not in ("record", "name")}
    namesakes = [Group((name,), (name,), kinds.get(((name,), (name,)), "text")) for name in left if name in right]
    if set(left) == set(right):
        return namesakes
    matched = [Group(c.left_columns, c.right_columns, c.kind) for c in comparisons if c.kind != "record"]
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
    coalitions, shares = game(orders(len(groups), SHIFTS), len(groups))
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


def _blanked(records: Records, times: int, present: np.ndarray, groups: Sequence[tuple[str, ...]]) -> Records:
    """Each record `times` over, row by row without the columns of the groups that are not `present`."""
    rows = np.repeat(np.arange(len(records)), times)
    columns = {}
    for name, column in records.columns.items():
        position = next(i for i, names in enumerate(groups) if name in names)
        own = Column.from_values(column.to_list())  # the values of these rows alone
        columns[name] = Column(np.where(present[:, position], own.codes[rows], np.int32(-1)), own.values)
    return replace(records.take(rows), columns=columns)
