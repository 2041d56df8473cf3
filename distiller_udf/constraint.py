"""The constraint: how many records one record may match. One value, from the project to the last decision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

AUTO = "auto"


class Constraint(str, Enum):
    """What a match excludes, among the records of one other source.

    `one_to_one`: any further match of either record. `many_to_one`: any further match of the left record; the right one
    may have many. `none`: nothing, as in deduplication.
    """

    ONE_TO_ONE = "one_to_one"
    MANY_TO_ONE = "many_to_one"
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

    @classmethod
    def of(cls, settings: Mapping[str, Any], sides: Iterable[tuple[object, object]] = ()) -> Constraint:
        """What er_constraint, er_task and er_sources say, as the macro `_er_constraint` resolves them.

        Where they say nothing, because no sources are declared, it goes by the `sides` of pairs, the source of the left
        record and that of the right one: none where most pairs are of one source, otherwise one to one.
        """
        if settings["constraint"] != AUTO:
            return cls(settings["constraint"])
        if settings["task"] == AUTO and not settings["sources"]:
            within = [left is not None and left == right for left, right in sides]
            return cls.NONE if 2 * sum(within) > len(within) else cls.ONE_TO_ONE
        return cls.ONE_TO_ONE if task(settings) == "link" else cls.NONE


def sides(questions: pa.Table, options: str = "options") -> Iterator[tuple[object, object]]:
    """The source of the left record and that of each option, pair by pair, of rows of er_labels or er_tuples."""
    if {"left_source", options} <= set(questions.column_names):
        for row in questions.select(["left_source", options]).to_pylist():
            yield from ((row["left_source"], option.get("source")) for option in row[options] or ())


def task(settings: Mapping[str, Any]) -> str:
    """`link`, `dedupe` or `link_and_dedupe`, from er_task and er_sources as the macro `_er_task` resolves them."""
    if settings["task"] != AUTO:
        return str(settings["task"])
    return "link" if len(settings["sources"]) > 1 else "dedupe"
