"""The label store: every answer that was paid for, in one SQLite file beside the warehouse.

An answer is durable when `put` returns, whatever happens to the process next. Its key is the content of the question
and who was asked, so all models and projects that point at one store share it, several processes at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from distiller_udf.database import Database
from distiller_udf.errors import LabelError
from distiller_udf.imported import ImportedLabel, ImportResult, check_labels, id_text, listed
from distiller_udf.prompts import Answer, Asked, Question

APPLICATION_ID = 0x64554446
"""Marks an SQLite file as ours, in its header."""

SCHEMA_VERSION = 1
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
        self._database = Database(self.path, "label store", APPLICATION_ID, SCHEMA_VERSION, _SCHEMA)

    def __repr__(self) -> str:
        return f"LabelStore({str(self.path)!r})"

    def __enter__(self) -> LabelStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; the store opens again when it is used again."""
        self._database.close()

    def get(self, keys: Iterable[str]) -> dict[str, Answer]:
        """The stored answers among `keys`."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, Answer] = {}
        with self._database.using():
            for start in range(0, len(wanted), _KEYS_A_QUERY):
                part = wanted[start : start + _KEYS_A_QUERY]
                # One JSON parameter instead of many: no limit on their number, nothing pasted into the SQL.
                rows = self._database.connection().execute(
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
        with self._database.using(), self._database.writing() as connection:
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
        with self._database.using(), self._database.writing() as connection:
            before = {row[:3]: row[3:] for row in connection.execute(_IMPORTED_ROWS)}
            new = {key: _imported_row(label) for key, label in unique.items()}
            connection.executemany(_IMPORT, [(*key, *values) for key, values in new.items()])
        added = sum(key not in before for key in new)
        unchanged = sum(before.get(key) == values for key, values in new.items())
        return ImportResult(added, len(new) - added - unchanged, unchanged, tuple(problems))

    def imported(self, teacher: str | None = None) -> pa.Table:
        """The imported labels of one teacher, or of all: `IMPORTED_SCHEMA`, ordered by teacher and left record."""
        names = IMPORTED_SCHEMA.names
        with self._database.using():
            rows = self._database.connection().execute(
                f"select {', '.join(names)} from imported where ?1 is null or teacher = ?1 "  # noqa: S608
                "order by teacher, left_source, left_id",
                [teacher],
            )
            return _table(rows, IMPORTED_SCHEMA, lists=("options",))

    def export(self) -> pa.Table:
        """All answers as a table (`EXPORT_SCHEMA`), oldest first; imported labels come from `export_imported`."""
        return self._answers("order by rowid")

    def newest(self, limit: int) -> pa.Table:
        """The last `limit` answers (`EXPORT_SCHEMA`), newest first."""
        return self._answers("order by rowid desc limit ?", max(0, limit))

    def export_imported(self, teacher: str | None = None) -> pa.Table:
        """The imported labels of one teacher, or of all, in the shape that `import_labels` takes.

        What `distiller labels export` writes of them, `distiller labels import` reads back.
        """
        table = self.imported(teacher)
        return table.rename_columns(["answer" if name == "choice" else name for name in table.column_names])

    def _answers(self, which: str, *values: Any) -> pa.Table:
        columns = ["key", *EXPORT_SCHEMA.names[1:]]
        with self._database.using():
            rows = self._database.connection().execute(f"select {', '.join(columns)} from labels {which}", values)  # noqa: S608
            return _table(rows, EXPORT_SCHEMA, lists=("candidates", "probabilities"))

    def summary(self) -> list[TeacherSummary]:
        """What the store holds, teacher by teacher."""
        with self._database.using():
            return [
                TeacherSummary(row[0], bool(row[1]), *row[2:]) for row in self._database.connection().execute(_SUMMARY)
            ]

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
        with self._database.using():
            with self._database.writing() as connection:
                deleted = connection.execute(statement, values).rowcount
            # Otherwise what was erased would stay readable in the write-ahead log for a while.
            self._database.connection().execute("pragma wal_checkpoint(truncate)")
        return deleted


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
        *(question.key(teacher), question.prompt_version, teacher.name, parameters, question.query, candidates),
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
