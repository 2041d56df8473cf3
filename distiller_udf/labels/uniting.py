"""All labels of a left record and teacher as one row of `er_labels`, whatever the order in which they came."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from distiller_udf.labels.judgements import Contradiction, Found, Judgements, Name, Record, in_one_answer
from distiller_udf.labels.table import EVEN
from distiller_udf.prompts import Answer

UNSAID = "abstained: nothing is said of some of the candidates"
SILENT = Answer(None, error="abstained: the imported label has no answer")


@dataclass(frozen=True)
class Row:
    """What becomes a row of `er_labels`: one left record, and what one teacher says of its options."""

    teacher: str
    left: Record
    options: tuple[Record, ...]
    answer: Answer
    ask: str


def united(
    labels: Sequence[Found],
    *,
    place: Callable[[Record], Any],
    source: Callable[[Record], Any],
    constraint: str = "one_to_one",
) -> tuple[list[Row], tuple[Contradiction, ...]]:
    """One row a left record and teacher, by all that the labels say, and what they contradict each other in.

    A tuple that is all a teacher says of a record stays a choice among its options; everything else becomes a
    probability an option (`ask` is match). `place` orders records as er_pairs does, so that the first of a pair is the
    left one; `source` is the first part of that order. What was shown beside a match and not chosen is none, where the
    `constraint` (a word of `Constraint`) leaves a record one match in each source.
    """
    combined = in_one_answer(labels)
    judged = Judgements.of(combined, lambda left, option: None if left == option else _pair(left, option))
    standing = sorted((e for number, e in enumerate(combined) if number not in judged.void), key=_age(place))
    return _Union(standing, judged, place, source, constraint).rows(), judged.contradictions


@dataclass(frozen=True)
class _Union:
    """The labels on their way to rows, the older ones first."""

    labels: Sequence[Found]
    judged: Judgements
    place: Callable[[Record], Any]
    source: Callable[[Record], Any]
    constraint: str

    def rows(self) -> list[Row]:
        """The rows, by left record and teacher."""
        teachers = defaultdict(set)
        for who, left in (*self.tuples, *self.pairs):
            teachers[left].add(who)
        found: list[Row] = []
        for left in sorted(teachers, key=self.place):
            known = sorted(teachers[left])
            own = [self._as_it_is(who, left) or self._by_pair(who, left, self._options(who, left)) for who in known]
            shown = {frozenset(row.options) for row in own}
            if len(shown) > 1 and any(row.ask == "match" for row in own):
                # With the same options for all teachers, every judgement is a vote.
                options = frozenset(option for who in known for option in self._options(who, left))
                own = [self._by_pair(who, left, options) for who in known]
            found += own
        return found + self._abstentions({(row.teacher, row.left) for row in found})

    @cached_property
    def p(self) -> dict[Name, float]:
        """The probability of each pair; 0 for what was shown beside a choice, unless something later is said of it."""
        found, times = dict(self.judged.pairs), dict(self.judged.times)
        chosen = [each for each in self.labels if each.is_tuple and each.chosen is not None]
        for each in reversed(chosen):
            if found.get(_name(each, each.chosen), 0.0) > EVEN:
                for option in each.options:
                    name = _name(each, option)
                    is_newer = name not in times or times[name] < each.time
                    if option != each.chosen and is_newer and self._rivals(each, option):
                        found[name], times[name] = 0.0, each.time
        return found

    def _rivals(self, each: Found, option: Record) -> bool:
        """Whether an option that was not chosen cannot match beside the chosen one."""
        if self.constraint == "none" or self.source(option) != self.source(each.chosen):
            return False
        return self.constraint == "one_to_one" or not self._is_turned(each)

    def _is_turned(self, each: Found) -> bool:
        """Whether the left record of a tuple belongs on the right: its source comes after those of its options."""
        return any(self.source(each.left) > self.source(option) for option in each.options)

    def _stands(self, each: Found) -> bool:
        """Whether a tuple's answer has been neither corrected nor contradicted."""
        if each.chosen is not None:
            return self.p.get(_name(each, each.chosen), 0.0) > EVEN
        return each.label.choice == 0 and any(_name(each, option) in self.p for option in each.options)

    @cached_property
    def tuples(self) -> dict[tuple[str, Record], list[Found]]:
        """The tuples that stand, by teacher and left record; the same question once."""
        found: dict[tuple[str, Record], dict[frozenset[Record], Found]] = defaultdict(dict)
        for each in self.labels:
            if each.is_tuple and self._stands(each) and not self._is_turned(each):
                found[each.label.teacher, each.left][frozenset(each.options)] = each
        return {key: list(questions.values()) for key, questions in found.items()}

    @cached_property
    def pairs(self) -> dict[tuple[str, Record], set[Record]]:
        """The options of single pairs, by teacher and left record: that whose tuple has the pair, or the first one."""
        found: dict[tuple[str, Record], set[Record]] = defaultdict(set)
        for each in self.labels:
            if each.is_tuple and not (self._is_turned(each) and self._stands(each)):
                continue
            who = each.label.teacher
            for option in each.options:
                if _name(each, option) in self.p:
                    left, right = sorted((each.left, option), key=self.place)
                    if self._in_tuple(who, right, left) and not self._in_tuple(who, left, right):
                        left, right = right, left
                    found[who, left].add(right)
        return dict(found)

    def _in_tuple(self, who: str, left: Record, right: Record) -> bool:
        return any(right in each.options for each in self.tuples.get((who, left), ()))

    def _as_it_is(self, who: str, left: Record) -> Row | None:
        """The row of the only tuple of a record, where that says all that is said; None where there is more."""
        tuples, pairs = self.tuples.get((who, left), []), self.pairs.get((who, left), set())
        if len(tuples) != 1 or not pairs <= set(tuples[0].options):
            return None
        (each,) = tuples
        for option, own in zip(each.options, each.label.said, strict=True):
            p = self.p.get(_name(each, option))
            is_implied = own is None and (p is None or (p < EVEN and self._rivals(each, option)))
            if not is_implied and (own is None or p is None or (own > EVEN) != (p > EVEN)):
                return None
        return Row(who, left, each.options, each.label.answer, "select")

    def _options(self, who: str, left: Record) -> frozenset[Record]:
        """The options of which something is known, and those that were shown beside a match."""
        shown = (
            option
            for each in self.tuples.get((who, left), ())
            for option in each.options
            if each.chosen is not None or _name(each, option) in self.p
        )
        return frozenset((*self.pairs.get((who, left), ()), *shown))

    def _by_pair(self, who: str, left: Record, shown: frozenset[Record]) -> Row:
        """The row of a record with a probability an option."""
        options = tuple(sorted(shown, key=self.place))
        p = tuple(self.p.get((who, _pair(left, option))) for option in options)
        reasons = tuple(self._reasons.get((who, _pair(left, option))) for option in options)
        likeliest = max((known for known in p if known is not None), default=EVEN)
        best = p.index(likeliest) if likeliest > EVEN else None
        choice = 0 if best is None and None not in p else None if best is None else best + 1
        answer = Answer(
            choice,
            None if best is None else likeliest,
            p,
            None if best is None else reasons[best],
            error=UNSAID if choice is None else None,
            explanations=reasons if any(reasons) else None,
        )
        return Row(who, left, options, answer, "match")

    @cached_property
    def _reasons(self) -> dict[Name, str]:
        """The latest reason that was given of each pair."""
        found = {}
        for each in self.labels:
            label = each.label
            own = label.explanations or (None,) * len(each.options)
            for number, (option, reason) in enumerate(zip(each.options, own, strict=True), 1):
                told = reason or (label.explanation if label.choice == number or len(own) == 1 else None)
                if told:
                    found[_name(each, option)] = told
        return found

    def _abstentions(self, told: set[tuple[str, Record]]) -> list[Row]:
        """A row for each left record of which a teacher says nothing of any option."""
        silent = {
            (each.label.teacher, each.left): each
            for each in self.labels
            if each.label.choice is None or not each.options
        }
        return [
            Row(who, left, each.options, SILENT if each.options else Answer(each.label.choice), "select")
            for (who, left), each in sorted(silent.items(), key=lambda item: (self.place(item[0][1]), item[0][0]))
            if (who, left) not in told
        ]


def _age(place: Callable[[Record], Any]) -> Callable[[Found], Any]:
    """A key that sorts the older first, and what is of the same time in an order that does not depend on its own."""

    def key(each: Found) -> tuple[Any, ...]:
        label = each.label
        return each.time, label.confidence or 0.0, label.explanation or "", [place(o) for o in each.options]

    return key


def _pair(left: Record, right: Record) -> Hashable:
    return frozenset((left, right))


def _name(each: Found, option: Record) -> Name:
    return each.label.teacher, _pair(each.left, option)
