"""Rows of the label store's tables: labels, answers and the records that questions show, written and read back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from distiller_udf.labels.table import Key, Label, Provenance
from distiller_udf.prompts import Answer, Answerer, Question, parameters_text
from distiller_udf.records import content_hash

ANSWER_COLUMNS = "choice, confidence, probabilities, explanation, cost_usd, input_tokens, output_tokens, seconds, error"

_ASKED_COLUMNS = "key, ask, chosen, prompt_version, teacher, parameters, query, candidates"
_BROUGHT_COLUMNS = (
    "teacher, left_source, left_id, ask, options, choice, confidence, probabilities, explanation, explanations, "
    "stored_at"
)
_SPENT = ("input_tokens", "output_tokens", "cost_usd", "seconds", "error")
_Values = Sequence[Any]


def answer_row(question: Question, teacher: Answerer, answer: Answer) -> tuple[Any, ...]:
    """One row of `labels`, its key first; the answer's columns in the order of `ANSWER_COLUMNS`."""
    return (
        *(question.key(teacher), question.ask, question.chosen, question.prompt_version),
        *(teacher.name, parameters_text(teacher), question.query, _json(question.candidates)),
        *(answer.choice, answer.confidence, _json(answer.probabilities), answer.explanation, answer.cost_usd),
        *(answer.input_tokens, answer.output_tokens, answer.seconds, answer.error),
    )


def stored_answer(values: _Values) -> Answer:
    """The values of `ANSWER_COLUMNS` as the answer that they are."""
    choice, confidence, probabilities, *rest = values
    return Answer(choice, confidence, _tuple(probabilities), *rest)


def insert_answers(connection: sqlite3.Connection, rows: Iterable[_Values]) -> None:
    """Write rows of `labels`; where there is an answer already, it stays."""
    _insert(connection, "labels", f"{_ASKED_COLUMNS}, {ANSWER_COLUMNS}", rows, "on conflict (key) do nothing")


def answers(connection: sqlite3.Connection, which: str, values: _Values = ()) -> Iterator[Label]:
    """Answers as labels, one for all records that have the texts of each question, or one without ids; `which` selects
    and orders them."""
    cursor = connection.execute(
        f"select {_ASKED_COLUMNS}, {ANSWER_COLUMNS}, created_at from labels {which}",  # noqa: S608
        values,
    )
    for key, ask, chosen, version, teacher, parameters, query, candidates, *answer, created_at in cursor.fetchall():
        given, records = stored_answer(answer), tuple(json.loads(candidates))
        spent = {name: getattr(given, name) for name in _SPENT}
        for left, *options in _shown(connection, key, len(records)) or [[("", None)] * (1 + len(records))]:
            yield Label(
                teacher=teacher,
                left=left,
                options=tuple(options),
                choice=given.choice,
                ask=ask,
                confidence=given.confidence,
                probabilities=given.probabilities,
                explanation=given.explanation,
                query=query,
                records=records,
                stored_at=created_at,
                asked=Provenance(key, version, parameters, chosen, **spent),
            )


def put_answers(connection: sqlite3.Connection, labels: Iterable[Label]) -> None:
    """Put answers back as they were exported."""
    columns = f"{_ASKED_COLUMNS}, {ANSWER_COLUMNS}, created_at"
    rows = [
        (
            *(asked.key, label.ask, asked.chosen, asked.prompt_version),
            *(label.teacher, asked.parameters, label.query, _json(label.records or ())),
            *_answer_values(label, asked),
            label.stored_at,
        )
        for label in labels
        if (asked := label.asked)
    ]
    timed = [row for row in rows if row[-1] is not None]
    _insert(connection, "labels", columns, timed, "on conflict (key) do nothing")
    insert_answers(connection, [row[:-1] for row in rows if row[-1] is None])


def correct_answers(connection: sqlite3.Connection, labels: Iterable[Label]) -> None:
    """Put other answers in the place of those that are there."""
    assigned = ", ".join(f"{name} = ?" for name in f"{ANSWER_COLUMNS}, created_at".split(", "))
    connection.executemany(
        f"update labels set {assigned} where key = ?",  # noqa: S608
        [(*_answer_values(label, asked), label.stored_at, asked.key) for label in labels if (asked := label.asked)],
    )


def shown_by(label: Label) -> tuple[str, list[Key]]:
    """The key of a label's question, and the records that it shows, the left one first."""
    return label.asked.key if label.asked else "", [label.left, *label.options]


def put_places(connection: sqlite3.Connection, shown: Iterable[tuple[str, Sequence[Key]]]) -> None:
    """Note which records (source and id) each question shows, by its key; what is noted already may be given again."""
    rows = [
        (key, mark, place, source, record_id)
        for key, records in shown
        for mark in [content_hash(*(text or "" for record in records for text in record))[:16]]
        for place, (source, record_id) in enumerate(records)
        if record_id is not None
    ]
    _insert(connection, "places", "key, shown, place, source, id", rows, "on conflict do nothing")


def brought(connection: sqlite3.Connection, teacher: str | None = None) -> Iterator[tuple[int, Label]]:
    """The labels that somebody brought, or those of one teacher, by their numbers, in the order in which they came."""
    cursor = connection.execute(
        f"select number, {_BROUGHT_COLUMNS} from brought where ?1 is null or teacher = ?1 order by number",  # noqa: S608
        [teacher],
    )
    for number, who, source, left, ask, options, choice, confidence, probabilities, why, reasons, stored in cursor:
        yield (
            number,
            Label(
                teacher=who,
                left=(source, left),
                options=tuple((of, key) for of, key in json.loads(options)),
                choice=choice,
                ask=ask,
                confidence=confidence,
                probabilities=_tuple(probabilities),
                explanation=why,
                explanations=_tuple(reasons),
                stored_at=stored,
            ),
        )


def put_brought(connection: sqlite3.Connection, labels: Iterable[tuple[int | None, Label]]) -> None:
    """Write labels: those with a number take the place of the one of that number."""
    rows = [
        (
            *(number, label.teacher, *label.left, label.ask, _json(label.options), label.choice, label.confidence),
            *(_json(label.probabilities), label.explanation, _json(label.explanations), label.stored_at),
        )
        for number, label in labels
    ]
    marks = ", ".join("?" for _ in _BROUGHT_COLUMNS.split(", "))
    connection.executemany(f"insert or replace into brought (number, {_BROUGHT_COLUMNS}) values (?, {marks})", rows)  # noqa: S608


def _shown(connection: sqlite3.Connection, key: str, candidates: int) -> list[list[Key]]:
    """The records that a question shows, in their places, once for all that have the same texts."""
    shown: dict[str, list[Key]] = {}
    for mark, source, record_id in connection.execute(
        "select shown, source, id from places where key = ? and shown != '' order by shown, place", [key]
    ):
        shown.setdefault(mark, []).append((source, record_id))
    return [records for records in shown.values() if len(records) == 1 + candidates]


def _answer_values(label: Label, asked: Provenance) -> tuple[Any, ...]:
    return (
        *(label.choice, label.confidence, _json(label.probabilities), label.explanation, asked.cost_usd),
        *(asked.input_tokens, asked.output_tokens, asked.seconds, asked.error),
    )


def _insert(connection: sqlite3.Connection, table: str, columns: str, rows: Iterable[_Values], conflict: str) -> None:
    marks = ", ".join("?" for _ in columns.split(", "))
    connection.executemany(f"insert into {table} ({columns}) values ({marks}) {conflict}", rows)  # noqa: S608


def _json(values: Sequence[Any] | None) -> str | None:
    return None if values is None else json.dumps(values, ensure_ascii=False)


def _tuple(text: str | None) -> tuple[Any, ...] | None:
    return None if text is None else tuple(json.loads(text))
