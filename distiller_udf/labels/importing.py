"""Bringing labels into a store: answers that were exported come back as answers, all else goes by its records' ids."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from distiller_udf.english import counted
from distiller_udf.labels import rows
from distiller_udf.labels.judgements import Found, undisputed
from distiller_udf.labels.table import Key, Label, parsed_time
from distiller_udf.prompts import label_key

NO_IDS = "no record is named (left_id, or the id of an option, is NULL), and it is no whole answer of a store"
REASONS = "a reason for an answer of another store is no label"

QuestionName = tuple[str, Key, frozenset[Key]]


@dataclass(frozen=True)
class ImportResult:
    """What an import did, in labels; and what is wrong with the rows that it left out.

    `repeated` rows say what another row has said. `rejected` rows are bad, those in `contradictions` say yes and no to
    one pair, and those in `passed_over` name no records.
    """

    added: int
    updated: int
    unchanged: int
    repeated: int = 0
    rejected: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True)
class Held:
    """What a store holds of what is to be imported: answers by their keys, brought labels by their questions."""

    answers: Mapping[str, Label]
    brought: Mapping[QuestionName, tuple[int, Label]]

    @classmethod
    def read(cls, connection: sqlite3.Connection, keys: Iterable[str | None]) -> Held:
        wanted = json.dumps(sorted({str(key) for key in keys if key is not None}))
        answers = rows.answers(connection, "where key in (select value from json_each(?)) order by rowid", [wanted])
        brought = {label.question: (number, label) for number, label in rows.brought(connection)}
        return cls({label.asked.key: label for label in answers if label.asked}, brought)

    def former(self, label: Label) -> Label | None:
        """The label of the same question that the store has."""
        answer = self.answer(label)
        if answer is not None:
            return answer
        _, brought = self.brought.get(label.question, (0, None))
        return brought

    def answer(self, label: Label) -> Label | None:
        """The stored answer that a label is, edited or not."""
        stored = self.answers.get(label.asked.key) if label.asked else None
        same = stored is not None and (stored.query, stored.records) == (label.query, label.records)
        return stored if same and stored and stored.teacher == label.teacher else None


@dataclass
class Changes:
    """What an import writes: answers that are new or corrected, and labels to bring, by the numbers of those that they
    take the place of."""

    answers: list[Label] = field(default_factory=list)
    corrected: list[Label] = field(default_factory=list)
    shown: list[Label] = field(default_factory=list)
    brought: list[tuple[int | None, Label]] = field(default_factory=list)

    def write(self, connection: sqlite3.Connection) -> None:
        rows.insert_answers(connection, map(rows.label_row, self.answers))
        rows.correct_answers(connection, self.corrected)
        rows.put_places(connection, (rows.shown_by(label) for label in self.shown))
        rows.put_brought(connection, self.brought)


def changes_of(
    labels: Sequence[Label], problems: Sequence[str], held: Held, now: str, sources: Sequence[str] = ()
) -> tuple[Changes, ImportResult]:
    """What is to be written of the labels of one file, which come `now`, and what that comes to.

    A label that names no source is about the first of one or two `sources` on its left, about the last on its right.
    """
    answers, brought, passed_over = _sorted_out(labels, held, now)
    changes, counts = Changes(), Counter[str]()
    contradictions = list(_answers(answers, held, now, changes, counts))
    first, last = (sources[0], sources[-1]) if 1 <= len(sources) <= 2 else ("", "")
    found = [
        Found(label, _named(label.left, first), tuple(_named(option, last) for option in label.options))
        for label in brought
    ]
    contradictions += _brought(found, held, now, changes, counts)
    result = ImportResult(
        counts["added"],
        counts["updated"],
        counts["unchanged"],
        counts["repeated"],
        rejected=tuple(problems),
        contradictions=tuple(contradictions),
        passed_over=tuple(f"{counted(count, 'row')}: {reason}" for reason, count in passed_over.items()),
    )
    return changes, result


def later_than(*times: str | None) -> str:
    """Now, in UTC, and in any case later than these times: two imports never have the same."""
    known = [time for text in times if (time := parsed_time(text)) is not None]
    now: datetime = max([datetime.now(timezone.utc), *(time + timedelta(microseconds=1) for time in known)])
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _sorted_out(labels: Iterable[Label], held: Held, now: str) -> tuple[list[Label], list[Label], Counter[str]]:
    """The labels that are answers of a store, those that are brought by ids, and why others are neither."""
    answers, brought, passed_over = [], [], Counter[str]()
    for label in labels:
        if label.asked and (held.answer(label) is not None or _is_whole(label)):
            answers.append(label)
        elif label.ask == "justify":
            passed_over[REASONS] += 1
        elif label.left[1] is None or any(key is None for _, key in label.options):
            passed_over[NO_IDS] += 1
        else:
            brought.append(replace(label, asked=None, query=None, records=None, stored_at=label.stored_at or now))
    return answers, brought, passed_over


def _is_whole(label: Label) -> bool:
    """Whether a label holds all that its key was made of."""
    asked, records = label.asked, label.records or ()
    if asked is None or label.query is None or None in records or len(records) != len(label.options):
        return False
    texts = [str(record) for record in records]
    made = label_key(asked.prompt_version, asked.chosen, label.teacher, asked.parameters, label.query, texts)
    return made == asked.key


def _answers(labels: Sequence[Label], held: Held, now: str, changes: Changes, counts: Counter[str]) -> Iterator[str]:
    """Take in answers: one may be there several times, for records with the same texts. Yields contradictions."""
    by_key: dict[str, list[Label]] = defaultdict(list)
    for label in labels:
        if label.asked:
            by_key[label.asked.key].append(label)
    for key, same in by_key.items():
        stored = held.answers.get(key)
        edited = [label for label in same if stored is None or not _says_the_same(label, stored)]
        if len({_said(label) for label in edited}) > 1:
            numbers = ", ".join(str(label.row) for label in edited)
            yield f"rows {numbers} give different answers to one question of {edited[0].teacher}"
            continue
        changes.shown += [label for label in same if label.left[1] is not None]
        if not edited:
            counts["unchanged"] += 1
        elif stored is None:
            changes.answers.append(edited[0])
            counts["added"] += 1
        else:
            changes.corrected.append(replace(_corrected(edited[0], stored), stored_at=now))
            counts["updated"] += 1


def _brought(labels: Sequence[Found], held: Held, now: str, changes: Changes, counts: Counter[str]) -> Iterator[str]:
    """Take in labels by ids. Yields contradictions."""
    kept, contradictions = undisputed(labels, _pair)
    unique: dict[QuestionName, Label] = {}
    for label in sorted(kept, key=_weight):
        counts["repeated"] += label.question in unique
        unique[label.question] = label
    for label in (unique[question] for question in dict.fromkeys(label.question for label in kept)):
        number, stored = held.brought.get(label.question, (None, None))
        if stored is None:
            changes.brought.append((None, label))
            counts["added"] += 1
        elif _says_the_same(label, stored):
            counts["unchanged"] += 1
        else:
            changes.brought.append((number, replace(_corrected(label, stored), stored_at=now)))
            counts["updated"] += 1
    yield from map(str, contradictions)


def _weight(label: Label) -> tuple[Any, ...]:
    """Of several labels of one question, and of one answer, the last in this order is kept: whatever order they had."""
    return (
        label.stored_at or "",
        label.choice is not None,
        label.confidence or 0.0,
        label.explanation or "",
        str(label.options),
    )


def _named(key: Key, source: str) -> Key:
    return key[0] or source, key[1]


def _pair(left: Key, option: Key) -> Hashable:
    """The pair of two records by their ids. Which is left matters where it also says of which source they are."""
    if not left[0] or not option[0]:
        return left, option
    return None if left == option else frozenset((left, option))


def _says_the_same(label: Label, stored: Label) -> bool:
    """Whether a label was not edited since it was stored.

    A row that was exported before its answer was corrected, and corrected in the file too, still has beside it what
    went with the answer before.
    """
    return _said(label) == _said(stored) or (label.is_older_than(stored) and _chosen(label) == _chosen(stored))


def _chosen(label: Label) -> Key | int | None:
    return label.options[label.choice - 1] if label.choice else label.choice


def _said(label: Label) -> tuple[Any, ...]:
    """What a label says: option by option, whatever their order."""
    values = label.probabilities or (None,) * len(label.options)
    reasons = label.explanations or (None,) * len(label.options)
    each = zip(label.options, values, reasons, strict=True)
    shape = label.ask if len(label.options) > 1 else ""
    where = (label.choice,) if label.asked else (shape, _chosen(label), tuple(sorted(each, key=str)))
    own = (label.probabilities, label.error) if label.asked else ()
    return *where, label.confidence, label.explanation, *own


def _corrected(label: Label, former: Label) -> Label:
    """A label whose answer was changed, without what still speaks of the answer before."""
    if label.choice == former.choice:
        return label
    names = ("confidence", "probabilities", "explanation", "explanations")
    stale: dict[str, Any] = {name: None for name in names if getattr(label, name) == getattr(former, name)}
    corrected = replace(label, **stale)
    if label.asked and label.error == former.error:
        corrected = replace(corrected, error="abstained: corrected by hand" if label.choice is None else None)
    return corrected
