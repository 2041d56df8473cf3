"""The constraint: how many records one record may match. One value, from the project to the last decision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")


class Constraint(str, Enum):
    """What a match excludes, among the records of one other source.

    `one_to_one`: any further match of either record. `many_to_one` and `one_to_many`: any further match of the record
    that is one of many, which is that of the source declared first or last; the other may have many. `none`: nothing,
    as in deduplication.

    The record that has one match at most is the left one of a pair: under `one_to_many` pairs name the source that is
    declared last first, and all else is as under `many_to_one`.
    """

    ONE_TO_ONE = "one_to_one"
    MANY_TO_ONE = "many_to_one"
    ONE_TO_MANY = "one_to_many"
    NONE = "none"

    def __str__(self) -> str:
        return self.value

    @property
    def limits_left(self) -> bool:
        """Whether a left record has one match at most, so that its candidates compete."""
        return self is not Constraint.NONE

    @property
    def limits_right(self) -> bool:
        """Whether a right record has one match at most, so that those who want it compete."""
        return self is Constraint.ONE_TO_ONE

    def ordered(self, sources: Iterable[T]) -> list[T]:
        """Sources in the order in which a pair names them, given the one in which they are declared."""
        declared = list(sources)
        return declared[::-1] if self is Constraint.ONE_TO_MANY else declared

    @classmethod
    def of_sides(cls, sides: Iterable[tuple[object, object]]) -> Constraint:
        """What pairs suggest, given the sources of both their records: none where most are of one, else one to one."""
        within = [left is not None and left == right for left, right in sides]
        return cls.NONE if 2 * sum(within) > len(within) else cls.ONE_TO_ONE


def sides(questions: pa.Table, options: str = "options") -> Iterator[tuple[object, object]]:
    """The source of the left record and that of each option, pair by pair, of rows of er_labels or er_tuples."""
    if {"left_source", options} <= set(questions.column_names):
        for row in questions.select(["left_source", options]).to_pylist():
            yield from ((row["left_source"], option.get("source")) for option in row[options] or ())
