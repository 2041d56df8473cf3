"""The label store: every answer that was paid for, in one SQLite file beside the warehouse.

An answer is durable when `put` returns, whatever happens to the process next. Its key is the content of the question
and who was asked, so all models and projects that point at one store share it, several processes at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from distiller_udf.errors import LabelError
from distiller_udf.imported import ImportedLabel, ImportResult, check_labels, id_text, listed
from distiller_udf.prompts import PROMPT_VERSION, Answer, Asked, Question

APPLICATION_ID = 0x64554446
"""Marks an SQLite file as ours, in its header."""

SCHEMA_VERSION = 1
BUSY_SECONDS = 60.0
"""How long a process waits for another one that is writing to the store."""

_KEYS_A_QUERY = 500

_SCHEMA = """
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
_ANSWER_COLUMNS = (
    "choice, confidence, probabilities, explanation, cost_usd, input_tokens, output_tokens, seconds, error"
)

EXPORT_SCHEMA = pa.schema(
    [
        ("label_key", pa.string()),
        ("prompt_version", pa.string()),
        ("teacher", pa.string()),
        ("parameters", pa.string()),
        ("query", pa.string()),
        ("candidates", pa.list_(pa.string())),
        ("choice", pa.int32()),
        ("confidence", pa.float64()),
        ("probabilities", pa.list_(pa.float64())),
        ("explanation", pa.string()),
        ("cost_usd", pa.float64()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("seconds", pa.float64()),
        ("error", pa.string()),
        ("created_at", pa.string()),
    ]
)

IMPORTED_SCHEMA = pa.schema(
    [
        ("teacher", pa.string()),
        ("left_source", pa.string()),
        ("left_id", pa.string()),
        ("right_source", pa.string()),
        ("options", pa.list_(pa.string())),
        ("choice", pa.int32()),
        ("confidence", pa.float64()),
        ("explanation", pa.string()),
        ("imported_at", pa.string()),
    ]
)


@dataclass(frozen=True)
class TeacherSummary:
    """What the store holds of one teacher: `labels` = `matches` + `nones` + `abstained`.

    `cost_usd` is the sum over the labels whose price is known; `cost_unknown` counts the others (never taken as 0).
    """

    teacher: str
    imported: bool
    labels: int
    matches: int
    nones: int
    abstained: int
    cost_usd: float
    cost_unknown: int
    input_tokens: int
    output_tokens: int
    first: str
    last: str


class LabelStore:
    """Answers by key, in the SQLite file `path`; made on first use, shared by threads and processes.

    Raises LabelError when the file is damaged, foreign, from a newer version or cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        try:
            with self._errors():
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._prepare(self._connection())
        except LabelError:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"LabelStore({str(self.path)!r})"

    def __enter__(self) -> LabelStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; the store opens again when it is used again."""
        opened, self._opened = self._opened, []
        self._local = threading.local()
        for connection in opened:
            connection.close()

    def get(self, keys: Iterable[str]) -> dict[str, Answer]:
        """The stored answers among `keys`."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, Answer] = {}
        with self._errors():
            for start in range(0, len(wanted), _KEYS_A_QUERY):
                part = wanted[start : start + _KEYS_A_QUERY]
                # One JSON parameter instead of many: no limit on their number, nothing pasted into the SQL.
                rows = self._connection().execute(
                    f"select key, {_ANSWER_COLUMNS} from labels where key in (select value from json_each(?))",  # noqa: S608
                    [json.dumps(part)],
                )
                found.update((key, _answer(values)) for key, *values in rows)
        return found

    def put(self, question: Question, teacher: Asked, answer: Answer) -> Answer:
        """Store one answer; it is durable on return. See `put_many`."""
        return self.put_many([(question, answer)], teacher)[0]

    def put_many(self, answered: Sequence[tuple[Question, Answer]], teacher: Asked) -> list[Answer]:
        """Store answers in one transaction, all durable on return.

        Returns what the store now holds for each: where another process was first, its answer stays. Answers that
        `failed` are passed through unstored, because they cost nothing and are to be asked again.
        """
        rows = [_row(question, teacher, answer) for question, answer in answered if not answer.failed]
        with self._errors(), self._writing() as connection:
            connection.executemany(
                "insert into labels (key, prompt_version, teacher, parameters, query, candidates, "  # noqa: S608
                f"{_ANSWER_COLUMNS}) values ({', '.join('?' * 15)}) on conflict (key) do nothing",
                rows,
            )
        held = self.get(row[0] for row in rows)
        return [answer if answer.failed else held[q.key(teacher)] for q, answer in answered]

    def import_labels(self, table: pa.Table, *, skip_bad_rows: bool = False) -> ImportResult:
        """Take over labels from a table of the shape described in `imported.py`: all of them or none.

        A left record has one label a teacher: importing it again updates it. With `skip_bad_rows` rows that
        cannot be used are left out and named in the result. Raises LabelError naming the rows that are wrong.
        """
        labels, problems = check_labels(table)
        if problems and not skip_bad_rows:
            raise LabelError(
                f"{len(problems):,} of {table.num_rows:,} rows cannot be imported, so nothing was: {listed(problems)}. "
                "Correct them, or leave them out by skipping bad rows"
            )
        # The last row wins where a file answers the same left record twice.
        unique = {(label.teacher, label.left_source, label.left_id): label for label in labels}
        with self._errors(), self._writing() as connection:
            before = {row[:3]: row[3:] for row in connection.execute(_IMPORTED_ROWS)}
            new = {key: _imported_row(label) for key, label in unique.items()}
            connection.executemany(_IMPORT, [(*key, *values) for key, values in new.items()])
        added = sum(key not in before for key in new)
        unchanged = sum(before.get(key) == values for key, values in new.items())
        return ImportResult(added, len(new) - added - unchanged, unchanged, tuple(problems))

    def imported(self, teacher: str | None = None) -> pa.Table:
        """The imported labels of one teacher, or of all: `IMPORTED_SCHEMA`, ordered by teacher and left record."""
        names = IMPORTED_SCHEMA.names
        with self._errors():
            rows = self._connection().execute(
                f"select {', '.join(names)} from imported where ?1 is null or teacher = ?1 "  # noqa: S608
                "order by teacher, left_source, left_id",
                [teacher],
            )
            return _table(rows, IMPORTED_SCHEMA, lists=("options",))

    def rows(self) -> Iterator[dict[str, Any]]:
        """All answers as dicts with the columns of `EXPORT_SCHEMA`, oldest first."""
        for batch in self.export().to_batches(max_chunksize=1_000):
            yield from batch.to_pylist()

    def export(self) -> pa.Table:
        """All answers as a table (`EXPORT_SCHEMA`), oldest first."""
        columns = ["key", *EXPORT_SCHEMA.names[1:]]
        with self._errors():
            rows = self._connection().execute(f"select {', '.join(columns)} from labels order by rowid")  # noqa: S608
            return _table(rows, EXPORT_SCHEMA, lists=("candidates", "probabilities"))

    def summary(self) -> list[TeacherSummary]:
        """What the store holds, teacher by teacher."""
        with self._errors():
            return [TeacherSummary(row[0], bool(row[1]), *row[2:]) for row in self._connection().execute(_SUMMARY)]

    def delete(self, record_text: str) -> int:
        """Erase every answer whose query or candidates contain this record (canonical text); how many there were."""
        return self._erase(
            "delete from labels where query = ?1 or exists (select 1 from json_each(candidates) where value = ?1)",
            [record_text],
        )

    def delete_imported(self, record_id: Any, source: str | None = None) -> int:
        """Erase every imported label that mentions this id (of this source, if given); how many there were."""
        return self._erase(
            "delete from imported where (left_id = ?1 and (?2 is null or left_source = ?2)) or ((?2 is null or "
            "right_source = ?2) and exists (select 1 from json_each(options) where value = ?1))",
            [id_text(record_id), source],
        )

    def _erase(self, statement: str, values: list[Any]) -> int:
        with self._errors():
            with self._writing() as connection:
                deleted = connection.execute(statement, values).rowcount
            # Otherwise what was erased would stay readable in the write-ahead log for a while.
            self._connection().execute("pragma wal_checkpoint(truncate)")
        return deleted

    def _connection(self) -> sqlite3.Connection:
        """This thread's own connection; a forked child never uses its parent's."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None or self._local.pid != os.getpid():
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            connection.execute("pragma synchronous = full")
            connection.execute("pragma secure_delete = on")
            self._local.connection, self._local.pid = connection, os.getpid()
            self._opened.append(connection)
        return connection

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: committed when the block ends, undone when it raises."""
        connection = self._connection()
        # immediate: waiting for another writer must happen here, not in the middle of the transaction.
        connection.execute("begin immediate")
        try:
            yield connection
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make the tables in an empty file; refuse any file that is not ours."""
        if self._version(connection) == 0:
            _use_wal(connection)
            with self._writing():
                if self._version(connection) == 0:  # another process may have been faster
                    for statement in _SCHEMA.split(";"):
                        connection.execute(statement)
                    connection.execute(f"pragma application_id = {APPLICATION_ID}")
                    connection.execute(f"pragma user_version = {SCHEMA_VERSION}")

    def _version(self, connection: sqlite3.Connection) -> int:
        """The file's schema version, 0 for an empty file; LabelError for a file that cannot be used."""
        application, version, tables = connection.execute(
            "select (select application_id from pragma_application_id), (select user_version from pragma_user_version),"
            " (select count(*) from sqlite_master)"
        ).fetchone()
        if application == 0 and version == 0 and tables == 0:
            return 0
        if application != APPLICATION_ID:
            raise LabelError(f"{self.path} is an SQLite file but no label store; choose another path for the labels")
        if version > SCHEMA_VERSION:
            raise LabelError(
                f"the label store {self.path} was written by a newer distiller-udf (format {version}, this one reads "
                f"{SCHEMA_VERSION}); upgrade distiller-udf"
            )
        return int(version)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Say in a sentence what SQLite's errors mean for the store."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise LabelError(f"the label store {self.path} {_meaning(error)} ({error})") from error


_IMPORTED_ROWS = (
    "select teacher, left_source, left_id, right_source, options, choice, confidence, explanation from imported"
)
_IMPORT = (
    "insert into imported (teacher, left_source, left_id, right_source, options, choice, confidence, explanation) "
    "values (?, ?, ?, ?, ?, ?, ?, ?) on conflict (teacher, left_source, left_id) do update set "
    "right_source = excluded.right_source, options = excluded.options, choice = excluded.choice, "
    "confidence = excluded.confidence, explanation = excluded.explanation, imported_at = excluded.imported_at"
)
_SUMMARY = """
select teacher, 0, count(*), sum(choice > 0), sum(choice = 0), sum(choice is null),
    coalesce(sum(cost_usd), 0.0), sum(cost_usd is null), coalesce(sum(input_tokens), 0),
    coalesce(sum(output_tokens), 0), min(created_at), max(created_at)
from labels group by teacher
union all
select teacher, 1, count(*), coalesce(sum(choice > 0), 0), coalesce(sum(choice = 0), 0), sum(choice is null),
    0.0, count(*), 0, 0, min(imported_at), max(imported_at)
from imported group by teacher
order by 1, 2
"""


def _row(question: Question, teacher: Asked, answer: Answer) -> tuple[Any, ...]:
    parameters = json.dumps(teacher.parameters, sort_keys=True, ensure_ascii=False, default=str)
    candidates = json.dumps(question.candidates, ensure_ascii=False)
    probabilities = None if answer.probabilities is None else json.dumps(answer.probabilities)
    return (
        *(question.key(teacher), PROMPT_VERSION, teacher.name, parameters, question.query, candidates),
        *(answer.choice, answer.confidence, probabilities, answer.explanation, answer.cost_usd),
        *(answer.input_tokens, answer.output_tokens, answer.seconds, answer.error),
    )


def _answer(values: Sequence[Any]) -> Answer:
    choice, confidence, probabilities, *rest = values
    return Answer(choice, confidence, tuple(json.loads(probabilities)) if probabilities else None, *rest)


def _imported_row(label: ImportedLabel) -> tuple[Any, ...]:
    options = json.dumps(label.options, ensure_ascii=False)
    return (label.right_source, options, label.choice, label.confidence, label.explanation)


def _table(rows: Iterable[Sequence[Any]], schema: pa.Schema, lists: Sequence[str]) -> pa.Table:
    """Rows as Arrow; the columns in `lists` are JSON lists in the store."""
    columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in schema]
    for name in lists:
        position = schema.get_field_index(name)
        columns[position] = [None if text is None else json.loads(text) for text in columns[position]]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log; SQLite does not wait by itself while another process does the same."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _meaning(error: Exception) -> str:
    text = str(error).lower()
    if "full" in text or getattr(error, "errno", None) == 28:
        return "cannot be written because the disk is full; free some space and run again, nothing stored is lost"
    if "readonly" in text or "read-only" in text or "permission" in text:
        return "cannot be written; make the file and its folder writable, or choose another path"
    if "unable to open" in text or isinstance(error, OSError):
        return "cannot be opened; check that its folder exists and can be written"
    if "locked" in text or "busy" in text:
        return f"stayed locked by another process for {BUSY_SECONDS:.0f} s; run again when that one has ended"
    if "not a database" in text:
        return "is no SQLite file; choose another path for the labels"
    return "is damaged; restore it from a copy, or choose another path and ask again"
