"""What labels say of pairs of records, taken together: each judgement once, the latest where one was corrected.

A teacher who says yes and no to the same pair at the same time contradicts itself: neither counts. What is left becomes
one row of `er_labels` a left record and teacher, whatever the order in which the labels came.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from distiller_udf.labels.table import EVEN, SAID, Label
from distiller_udf.prompts import Asking, Posed, Question

Record: TypeAlias = Any
"""A record, named in any way that is the same for the same record."""

PairName = Callable[[Record, Record], Hashable]
"""The name of the pair of a left record and an option, None where that is one record."""

Name = tuple[str, Hashable]
"""Who judges, and the pair."""

_NEWEST = "9999"


@dataclass(frozen=True)
class Found:
    """A label and the records that it is about."""

    label: Label
    left: Record
    options: tuple[Record, ...]

    @property
    def is_tuple(self) -> bool:
        """Whether one of several options was to be chosen."""
        return self.label.ask == "select" and len(self.options) > 1

    @property
    def chosen(self) -> Record | None:
        """The option that was chosen."""
        return self.options[self.label.choice - 1] if self.label.choice else None

    @property
    def time(self) -> str:
        """When it was said, as a text that sorts: what teachers were asked is older than what anybody brought."""
        return "" if self.label.asked else self.label.stored_at or _NEWEST


@dataclass(frozen=True)
class Contradiction:
    """Answers of one teacher that cannot both be right, with the labels that give them."""

    teacher: str
    about: str
    answers: Mapping[str, tuple[Found, ...]]

    def __str__(self) -> str:
        said = " and ".join(f"{answer}{_rows(found)}" for answer, found in self.answers.items())
        return f"{self.teacher} says of {self.about} {said}"


@dataclass(frozen=True)
class Judgements:
    """The probability of each pair that is judged and when that was said, and what is contradicted.

    `disputed` pairs have no probability; `void` are the positions of labels that answer their question in two ways.
    """

    pairs: Mapping[Name, float]
    times: Mapping[Name, str]
    disputed: frozenset[Name]
    void: frozenset[int]
    contradictions: tuple[Contradiction, ...]

    @classmethod
    def of(cls, labels: Sequence[Found], pair: PairName) -> Judgements:
        """Gather what is said of each pair."""
        void, contradictions = _answered_twice(labels)
        said: dict[Name, list[tuple[float, Found, int]]] = defaultdict(list)
        for number, each in enumerate(labels):
            if number not in void:
                for position, p in enumerate(each.label.said):
                    named = pair(each.left, each.options[position])
                    if p is not None and named is not None:
                        said[each.label.teacher, named].append((p, each, position))
        pairs, times, disputed = {}, {}, set()
        for name, everything in said.items():
            times[name] = max(each.time for _, each, _ in everything)
            now = [judged for judged in everything if judged[1].time == times[name]]
            mean = math.fsum(p for p, _, _ in now) / len(now)
            found = _contradiction(now)
            if found is not None:
                contradictions.append(found)
            if found is not None or mean == EVEN:
                disputed.add(name)
            else:
                pairs[name] = mean
        return cls(pairs, times, frozenset(disputed), frozenset(void), tuple(contradictions))


def undisputed(labels: Sequence[Found], pair: PairName) -> tuple[list[Label], tuple[Contradiction, ...]]:
    """The labels without what they contradict each other in; those of which nothing is left are gone."""
    judged = Judgements.of(labels, pair)
    kept = (
        each.label.without([(each.label.teacher, pair(each.left, o)) in judged.disputed for o in each.options])
        for number, each in enumerate(labels)
        if number not in judged.void
    )
    return [label for label in kept if label is not None], judged.contradictions


def in_one_answer(labels: Sequence[Found]) -> list[Found]:
    """The labels, with a teacher's answers to several orders of one tuple as one answer."""
    asked: dict[Hashable, list[Found]] = defaultdict(list)
    for number, each in enumerate(labels):
        of_orders = each.is_tuple and each.label.asked is not None
        asked[(each.label.teacher, each.left, frozenset(each.options)) if of_orders else number].append(each)
    return [group[0] if len(group) == 1 else _combined(group) for group in asked.values()]


def _combined(group: Sequence[Found]) -> Found:
    """One answer of those to several orders, as `er_labels` has it."""
    first = min(group, key=lambda each: each.label.asked.key if each.label.asked else "")
    places = {option: i for i, option in enumerate(first.options)}
    posed = [
        Posed(Question("", tuple(map(str, each.options))), tuple(places[option] for option in each.options))
        for each in group
    ]
    one = Asking().combine(len(first.options), posed, [each.label.answer for each in group])
    told = {name: getattr(one, name) for name in SAID if name != "explanations"}
    return replace(first, label=replace(first.label, **told))


def _answered_twice(labels: Sequence[Found]) -> tuple[set[int], list[Contradiction]]:
    """The positions of tuples that do not count, being corrected or contradicted; and the contradictions."""
    asked: dict[Hashable, list[int]] = defaultdict(list)
    for number, each in enumerate(labels):
        if each.is_tuple and each.chosen is not None and each.label.asked is None:
            asked[each.label.teacher, each.left, frozenset(each.options)].append(number)
    void, contradictions = set(), []
    for numbers in asked.values():
        time = max(labels[number].time for number in numbers)
        void |= {number for number in numbers if labels[number].time < time}  # corrected
        now = [labels[number] for number in numbers if labels[number].time == time]
        if len({each.chosen for each in now}) > 1:
            void |= set(numbers)
            said = {f"{_option(each)}": tuple(e for e in now if e.chosen == each.chosen) for each in now}
            contradictions.append(Contradiction(now[0].label.teacher, _left(now[0]), dict(sorted(said.items()))))
    return void, contradictions


def _contradiction(now: Sequence[tuple[float, Found, int]]) -> Contradiction | None:
    """Yes and no to one pair, unless that is what a teacher said when it was asked in several ways."""
    yes, no = (tuple(each for p, each, _ in now if p != EVEN and (p > EVEN) == wanted) for wanted in (True, False))
    if not yes or not no or all(each.label.asked for each in (*yes, *no)):
        return None
    _, first, position = now[0]
    about = f"{_left(first)} and right_id {first.label.options[position][1]}"
    return Contradiction(first.label.teacher, about, {"that they match": yes, "that they do not": no})


def _left(each: Found) -> str:
    return f"left_id {each.label.left[1]}"


def _option(each: Found) -> str:
    return f"that it is {each.label.options[(each.label.choice or 1) - 1][1]}"


def _rows(found: Sequence[Found]) -> str:
    rows = sorted(each.label.row for each in found if each.label.row is not None)
    return f" (row{'s' * (len(rows) > 1)} {', '.join(map(str, rows))})" if rows else ""
