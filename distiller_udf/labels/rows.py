"""The label store's tables, and their rows: labels, answers and the records that questions show."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from distiller_udf.labels.table import Key, Label, Provenance
from distiller_udf.prompts import Answer, Answerer, Question, parameters_text
from distiller_udf.records import content_hash

APPLICATION_ID = 0x64554446
"""Marks an SQLite file as ours, in its header."""

SCHEMA_VERSION = 4

_VERSION_1 = """
create table labels (
    key text primary key, prompt_version text not null, teacher text not null, parameters text not null,
    query text not null, candidates text not null,
    choice integer, confidence real, probabilities text, explanation text, cost_usd real,
    input_tokens integer, output_tokens integer, seconds real, error text,
    created_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
create index labels_by_query on labels (query);
create table imported (
    teacher text not null, left_source text not null, left_id text not null, right_source text not null,
    options text not null, choice integer, confidence real, explanation text,
    imported_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    primary key (teacher, left_source, left_id)
)
"""

_VERSION_2 = """
alter table labels add column ask text not null default 'select';
alter table labels add column chosen integer;
create table mentions (
    key text not null, source text not null, id text not null, primary key (key, source, id)
) without rowid;
create index mentions_by_record on mentions (id, source);
create table secrets (name text primary key, value blob not null) without rowid;
create table claims (key text primary key, owner text not null, expires_at real not null) without rowid;
create index claims_by_owner on claims (owner)
"""

# Which records a question shows: place 0 is the query's, then its options'; `shown` tells apart the records that have
# the same texts. Where it is empty, only which records they are is known. A label that somebody brought names records.
_VERSION_3 = """
create table places (
    key text not null, shown text not null, place integer not null, source text not null, id text not null,
    primary key (key, shown, place)
) without rowid;
create index places_by_record on places (id, source);
insert into places (key, shown, place, source, id)
    select key, '', row_number() over (partition by key order by source, id), source, id from mentions;
drop table mentions;
create table brought (
    number integer primary key, teacher text not null, left_source text not null, left_id text not null,
    ask text not null, options text not null, choice integer, confidence real, probabilities text,
    explanation text, explanations text, stored_at text not null
);
insert into brought (teacher, left_source, left_id, ask, options, choice, confidence, explanation, stored_at)
    select teacher, left_source, left_id, iif(json_array_length(options) = 1, 'match', 'select'),
        (select json_group_array(json_array(right_source, value)) from json_each(options)),
        choice, confidence, explanation, imported_at
    from imported order by teacher, left_source, left_id;
drop table imported
"""

# When an import put another answer in the place of the teacher's.
_VERSION_4 = "alter table labels add column corrected_at text"

MIGRATIONS: Mapping[int, str] = {1: _VERSION_2, 2: _VERSION_3, 3: _VERSION_4}
"""What makes the next version of a file of this version; nothing stored is lost by it."""

SCHEMA = ";".join((_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4))
"""A new file is version 1 and its migrations, so that both ways lead to the very same tables."""

_ANSWER = (
    *("choice", "confidence", "probabilities", "explanation"),
    *("cost_usd", "input_tokens", "output_tokens", "seconds", "error"),
)
ANSWER_COLUMNS = ", ".join(_ANSWER)
_ASKED_COLUMNS = "key, ask, chosen, prompt_version, teacher, parameters, query, candidates"
_BROUGHT_COLUMNS = (
    "teacher, left_source, left_id, ask, options, choice, confidence, probabilities, explanation, explanations, "
    "stored_at"
)
_Values = Sequence[Any]


def answer_row(question: Question, teacher: Answerer, answer: Answer) -> _Values:
    """An answer that is stored now, as `insert_answers` takes it; its key comes first."""
    return (
        *(question.key(teacher), question.ask, question.chosen, question.prompt_version),
        *(teacher.name, parameters_text(teacher), question.query, _json(question.candidates)),
        *(*_answer_values(answer), None),
    )


def label_row(label: Label) -> _Values:
    """An answer that was exported, as `insert_answers` takes it."""
    asked = label.asked or Provenance("", "", "")
    return (
        *(asked.key, label.ask, asked.chosen, asked.prompt_version),
        *(label.teacher, asked.parameters, label.query, _json(label.records or ())),
        *(*_answer_values(label), label.stored_at),
    )


def stored_answer(values: _Values) -> Answer:
    """The values of `ANSWER_COLUMNS` as the answer that they are."""
    return Answer(**_answered(values))


def insert_answers(connection: sqlite3.Connection, rows: Iterable[_Values]) -> None:
    """Write rows of `labels`; where there is an answer already, it stays."""
    columns = f"{_ASKED_COLUMNS}, {ANSWER_COLUMNS}, created_at"
    marks = f"{_marks(columns)[:-1]}coalesce(?, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))"
    connection.executemany(f"insert into labels ({columns}) values ({marks}) on conflict (key) do nothing", rows)  # noqa: S608


def answers(connection: sqlite3.Connection, which: str, values: _Values = ()) -> Iterator[Label]:
    """Answers as labels, one for all records that have the texts of each question, or one without ids; `which` selects
    and orders them."""
    cursor = connection.execute(
        f"select {_ASKED_COLUMNS}, created_at, {ANSWER_COLUMNS} from labels {which}",  # noqa: S608
        values,
    )
    for key, ask, chosen, version, teacher, parameters, query, candidates, created_at, *answer in cursor.fetchall():
        records = tuple(json.loads(candidates))
        for left, *options in _shown(connection, key, len(records)) or [[("", None)] * (1 + len(records))]:
            yield Label(
                **_answered(answer),
                teacher=teacher,
                left=left,
                options=tuple(options),
                ask=ask,
                query=query,
                records=records,
                stored_at=created_at,
                asked=Provenance(key, version, parameters, chosen),
            )


def correct_answers(connection: sqlite3.Connection, labels: Iterable[Label]) -> None:
    """Put other answers in the place of those that are there."""
    assigned = ", ".join(f"{name} = ?" for name in (*_ANSWER, "created_at", "corrected_at"))
    connection.executemany(
        f"update labels set {assigned} where key = ?",  # noqa: S608
        [
            (*_answer_values(label), label.stored_at, label.stored_at, label.asked.key)
            for label in labels
            if label.asked
        ],
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
    connection.executemany(
        "insert into places (key, shown, place, source, id) values (?, ?, ?, ?, ?) on conflict do nothing", rows
    )


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
    columns = f"number, {_BROUGHT_COLUMNS}"
    connection.executemany(f"insert or replace into brought ({columns}) values ({_marks(columns)})", rows)  # noqa: S608


def _shown(connection: sqlite3.Connection, key: str, candidates: int) -> list[list[Key]]:
    """The records that a question shows, in their places, once for all that have the same texts."""
    shown: dict[str, list[Key]] = {}
    for mark, source, record_id in connection.execute(
        "select shown, source, id from places where key = ? and shown != '' order by shown, place", [key]
    ):
        shown.setdefault(mark, []).append((source, record_id))
    return [records for records in shown.values() if len(records) == 1 + candidates]


def _answer_values(answer: Answer) -> _Values:
    values = vars(answer) | {"probabilities": _json(answer.probabilities)}
    return [values[name] for name in _ANSWER]


def _answered(values: _Values) -> dict[str, Any]:
    fields = dict(zip(_ANSWER, values, strict=True))
    return {**fields, "probabilities": _tuple(fields["probabilities"])}


def _marks(columns: str) -> str:
    return ", ".join("?" for _ in columns.split(", "))


def _json(values: Sequence[Any] | None) -> str | None:
    return None if values is None else json.dumps(values, ensure_ascii=False)


def _tuple(text: str | None) -> tuple[Any, ...] | None:
    return None if text is None else tuple(json.loads(text))
