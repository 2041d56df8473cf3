"""Erasing a person from the label store: what mentions a record or a text, and removing it without a trace."""

from __future__ import annotations

import json
import sqlite3
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from distiller_udf.errors import LabelError
from distiller_udf.records.ids import id_text


@dataclass(frozen=True)
class Deleted:
    """How many answers and imported labels were erased, or would be."""

    answers: int
    imported: int


@dataclass(frozen=True)
class Mentions:
    """What mentions somebody: keys of questions, answered or not, and numbers of imported labels."""

    keys: frozenset[str]
    imported: tuple[int, ...] = ()


Find = Callable[[sqlite3.Connection], Mentions]
"""Looks for what is to be erased, inside the transaction that erases it."""


def of_record(source: str | None, record_id: Any) -> Find:
    """All answers and imported labels that mention the record of this id; without a source, any record that has it.

    Answers are found by what `LabelStore.mention` noted; `LabelStore.unmentioned` counts those that cannot be found
    this way. Raises LabelError where the id is NULL.
    """
    text = id_text(record_id)
    if text is None:
        raise LabelError("the id of the record to delete is NULL; give its id")

    def find(connection: sqlite3.Connection) -> Mentions:
        mentioned = connection.execute(
            "select distinct key from places where id = ?1 and (?2 is null or source = ?2)", [text, source]
        )
        imported = connection.execute(
            # An imported label that names no source may mean any.
            "select number from brought where (left_id = ?1 and (?2 is null or left_source in (?2, ''))) or "
            "exists (select 1 from json_each(options) where json_extract(value, '$[1]') = ?1 "
            "and (?2 is null or json_extract(value, '$[0]') in (?2, '')))",
            [text, source],
        )
        return Mentions(frozenset(key for (key,) in mentioned), tuple(row for (row,) in imported))

    return find


def of_text(record_text: str) -> Find:
    """All answers whose query or candidates are this record (canonical text)."""

    def find(connection: sqlite3.Connection) -> Mentions:
        rows = connection.execute(
            "select key from labels where query = ?1 or exists (select 1 from json_each(candidates) where value = ?1)",
            [record_text],
        )
        return Mentions(frozenset(key for (key,) in rows))

    return find


def containing(text: str) -> Find:
    """All in which this text stands, in any case, escaped or not: records, ids, explanations, messages with a reply.

    Raises LabelError for a text of white space, which stands everywhere.
    """
    if not text.strip():
        raise LabelError("there is no text to look for; give at least one letter")
    forms = _forms(text)

    def holds(*values: str | None) -> bool:
        return any(form in plain for value in values if value for plain in (_plain(value),) for form in forms)

    def find(connection: sqlite3.Connection) -> Mentions:
        keys = {
            key
            for key, query, candidates, *said in connection.execute(
                "select key, query, candidates, explanation, error from labels"
            )
            if holds(query, *json.loads(candidates), *said)
        }
        ids = {value for (value,) in connection.execute("select distinct id from places") if holds(value)}
        mentioned = connection.execute(
            "select key from places where id in (select value from json_each(?))", [json.dumps(sorted(ids))]
        )
        imported = tuple(
            number
            for number, left_id, options, explanation, explanations in connection.execute(
                "select number, left_id, options, explanation, explanations from brought"
            )
            if holds(left_id, *(key for _, key in json.loads(options)), explanation, *json.loads(explanations or "[]"))
        )
        return Mentions(frozenset(keys.union(key for (key,) in mentioned)), imported)

    return find


def count(connection: sqlite3.Connection, found: Mentions) -> Deleted:
    """What erasing would erase."""
    answers = connection.execute(
        "select count(*) from labels where key in (select value from json_each(?))", [_keys(found)]
    ).fetchone()[0]
    return Deleted(answers, len(found.imported))


def erase(connection: sqlite3.Connection, found: Mentions) -> Deleted:
    """Erase what was found, and the places of all its keys, whether or not they were ever answered."""
    keys = _keys(found)
    answers = connection.execute("delete from labels where key in (select value from json_each(?))", [keys]).rowcount
    connection.execute("delete from places where key in (select value from json_each(?))", [keys])
    imported = connection.execute(
        "delete from brought where number in (select value from json_each(?))", [json.dumps(found.imported)]
    ).rowcount
    return Deleted(answers, imported)


def _keys(found: Mentions) -> str:
    return json.dumps(sorted(found.keys))


def _plain(text: str) -> str:
    """A text for comparing: composed, and without the difference of capitals."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _forms(text: str) -> set[str]:
    """How a text may be written: as it is, or escaped as a JSON string, once or within another."""
    text = unicodedata.normalize("NFC", text)
    forms = {text, text.lower(), text.upper()}  # all three, because the escape of a letter tells capitals apart
    for _ in range(2):
        forms |= {json.dumps(form, ensure_ascii=ascii_only)[1:-1] for form in forms for ascii_only in (False, True)}
    return {_plain(form) for form in forms}
