"""The label store: every answer that was paid for, in one SQLite file beside the warehouse.

An answer is durable when `put` returns, whatever happens to the process next. Its key is the content of the question
and who was asked, so all models and projects that point at one store share it, several processes at once.
"""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from distiller_udf.english import counted
from distiller_udf.errors import LabelError
from distiller_udf.files.database import Database
from distiller_udf.labels import erasure, rows
from distiller_udf.labels.claims import Claims
from distiller_udf.labels.erasure import Deleted
from distiller_udf.labels.importing import Held, ImportResult, changes_of, later_than
from distiller_udf.labels.reading import PEOPLE, listed, read_labels
from distiller_udf.labels.rows import APPLICATION_ID, MIGRATIONS, SCHEMA, SCHEMA_VERSION
from distiller_udf.labels.table import Key, Label, parsed_time, table_of
from distiller_udf.prompts import Answer, Answerer, Question

_KEYS_A_QUERY = 500
_QUESTIONS_A_COMMIT = 5_000


@dataclass(frozen=True)
class TeacherSummary:
    """What the store holds of one teacher and kind of question: `labels` = `matches` + `nones` + `abstained`.

    `cost_usd` is the sum over the labels whose price is known; `cost_unknown` counts the others (never taken as 0).
    """

    teacher: str
    ask: str
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
        self._database = Database(self.path, "label store", APPLICATION_ID, SCHEMA_VERSION, SCHEMA, MIGRATIONS)

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
                cursor = self._database.connection().execute(
                    f"select key, {rows.ANSWER_COLUMNS} from labels where key in (select value from json_each(?))",  # noqa: S608
                    [json.dumps(part)],
                )
                found.update((key, rows.stored_answer(values)) for key, *values in cursor)
        return found

    def put(self, question: Question, teacher: Answerer, answer: Answer) -> Answer:
        """Store one answer; it is durable on return. See `put_many`."""
        return self.put_many([(question, answer)], teacher)[0]

    def put_many(self, answered: Sequence[tuple[Question, Answer]], teacher: Answerer) -> list[Answer]:
        """Store answers in one transaction, all durable on return.

        Returns what the store now holds for each: where another process was first, its answer stays. Answers that
        `failed` are passed through unstored, because they cost nothing and are to be asked again.
        """
        new = [rows.answer_row(question, teacher, answer) for question, answer in answered if not answer.failed]
        with self._database.using(), self._database.writing() as connection:
            rows.insert_answers(connection, new)
        held = self.get(row[0] for row in new)
        return [answer if answer.failed else held.get(q.key(teacher), answer) for q, answer in answered]

    def mention(self, shown: Iterable[tuple[str, Sequence[Key]]]) -> None:
        """Note which records questions show, before they are asked: a question's key, and its records' sources and ids
        (as text), the query's first and then its candidates' in their order.

        Without it `delete_record` cannot find their answers, and `export` cannot say whom they are about. What is noted
        already may be given again.
        """
        remaining = iter(shown)
        while part := list(itertools.islice(remaining, _QUESTIONS_A_COMMIT)):
            with self._database.using(), self._database.writing() as connection:
                rows.put_places(connection, part)

    def claims(self) -> Claims:
        """The claims of a new run: which questions it alone is asking."""
        return Claims(self._database)

    def secret(self) -> bytes:
        """32 random bytes, made once a store: the key of the pseudonyms. They are never exported or shown."""
        wanted = "select value from secrets where name = 'pseudonyms'"
        with self._database.using():
            found = self._database.connection().execute(wanted).fetchone()
            if found is None:
                with self._database.writing() as connection:
                    connection.execute(
                        "insert into secrets (name, value) values ('pseudonyms', ?) on conflict do nothing",
                        [secrets.token_bytes(32)],
                    )
                    found = connection.execute(wanted).fetchone()  # another process may have been faster
        return bytes(found[0])

    def import_labels(
        self, table: pa.Table, *, teacher: str = PEOPLE, sources: Sequence[str] = (), skip_bad_rows: bool = False
    ) -> ImportResult:
        """Take over labels from a table of any shape that `reading.py` describes: all of them or none.

        What `export` gave comes back as it was; an answer that was edited is corrected. Other labels go by their
        records' ids: another answer to the same question, or of the same pair, takes the place of the one before.
        Answers that contradict each other within the table are not used and are named in the result. `teacher` is who
        gave the labels that name nobody, `sources` are those of the project: a label that names none means the first on
        its left and the last on its right. With `skip_bad_rows` rows that cannot be used are left out and named, too.
        Raises LabelError naming the rows that are wrong.
        """
        names = {name.strip().lower(): name for name in table.column_names}
        keys = table[names["label_key"]].to_pylist() if "label_key" in names else []
        with self._database.using():
            held = Held.read(self._database.connection(), keys)
        labels, problems = read_labels(table, teacher=teacher, former=held.former)
        if problems and not skip_bad_rows:
            raise LabelError(
                f"{len(problems):,} of {counted(table.num_rows, 'row')} cannot be imported, so nothing was: "
                f"{listed(problems)}. "
                "Correct them, or leave them out with --skip-bad-rows"
            )
        with self._database.using(), self._database.writing() as connection:
            times = "select (select max(stored_at) from brought), (select max(created_at) from labels)"
            now = later_than(*connection.execute(times).fetchone())
            changes, result = changes_of(labels, problems, held, now, sources)
            changes.write(connection)
        return result

    def imported(self, teacher: str | None = None) -> list[Label]:
        """The labels that were imported by ids, of one teacher or of all, in the order in which they came."""
        with self._database.using():
            return [label for _, label in rows.brought(self._database.connection(), teacher)]

    def export(self) -> pa.Table:
        """All answers, the oldest first, and then all imported labels (`EXPORT_SCHEMA`); `import_labels` reads it.

        An answer is there once for each left record that it is about, and once without ids where these are unknown.
        """
        with self._database.using():
            answers = list(rows.answers(self._database.connection(), "order by rowid"))
        return table_of([*answers, *self.imported()])

    def newest(self, limit: int) -> pa.Table:
        """The last `limit` answers (`EXPORT_SCHEMA`), newest or newly corrected first, once for each left record."""
        which = "order by created_at desc, rowid desc limit ?"
        with self._database.using():
            return table_of(rows.answers(self._database.connection(), which, [max(0, limit)]))

    def latest(self, limit: int) -> list[dict[str, Any]]:
        """The last `limit` labels of any origin as rows of `EXPORT_SCHEMA`, newest first.

        Beside these columns there is `origin`: `asked`, `corrected` (by an import) or `imported`.
        """
        with self._database.using():
            query = "select key from labels where corrected_at is not null"
            corrected = {key for (key,) in self._database.connection().execute(query)}
        found = [
            {**row, "origin": "corrected" if row["label_key"] in corrected else "asked"}
            for row in self.newest(limit).to_pylist()
        ]
        brought = sorted(self.imported(), key=lambda label: label.stored_at or "")[-limit:] if limit > 0 else []
        found += [{**row, "origin": "imported"} for row in table_of(brought).to_pylist()]
        return sorted(found, key=lambda row: row["stored_at"] or "", reverse=True)[: max(0, limit)]

    def last_import(self) -> datetime | None:
        """When labels were imported or answers corrected last; None where nobody did either."""
        times = "select max(stored_at) as at from brought union all select max(corrected_at) from labels"
        query = f"select max(at) from ({times})"  # noqa: S608
        with self._database.using():
            return parsed_time(self._database.connection().execute(query).fetchone()[0])

    def summary(self) -> list[TeacherSummary]:
        """What the store holds, teacher by teacher."""
        with self._database.using():
            return [
                TeacherSummary(row[0], row[1], bool(row[2]), *row[3:])
                for row in self._database.connection().execute(_SUMMARY)
            ]

    def delete(self, find: erasure.Find, *, dry_run: bool = False) -> Deleted:
        """Erase all that `find` (`of_record`, `of_text` or `containing`) finds, or only count it.

        Once it returns, no byte of it is left in the store's files.
        """
        with self._database.using():
            if dry_run:
                connection = self._database.connection()
                return erasure.count(connection, find(connection))
            with self._database.writing() as connection:
                deleted = erasure.erase(connection, find(connection))
            self._database.forget()
        return deleted

    def unmentioned(self) -> int:
        """How many answers have no mention: those of an older version, and of questions without ids."""
        with self._database.using():
            found = self._database.connection().execute(
                "select count(*) from labels where not exists (select 1 from places where places.key = labels.key)"
            )
            return int(found.fetchone()[0])


_SUMMARY = """
select teacher, ask, 0, count(*), count(*) filter (where choice > 0), count(*) filter (where choice = 0),
    count(*) filter (where choice is null),
    coalesce(sum(cost_usd), 0.0), sum(cost_usd is null), coalesce(sum(input_tokens), 0),
    coalesce(sum(output_tokens), 0), min(created_at), max(created_at)
from labels group by teacher, ask
union all
select teacher, ask, 1, count(*), count(*) filter (where choice > 0), count(*) filter (where choice = 0),
    count(*) filter (where choice is null),
    0.0, count(*), 0, 0, min(stored_at), max(stored_at)
from brought group by teacher, ask
order by 1, 3, 2
"""
