"""Labelling asks once, keeps what arrived, and gives rows of the shape of er_labels."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from distiller_udf.errors import LabelError, TeacherUnreachable
from distiller_udf.labelling import Progress, answer_questions, imported_labels, label_tuples
from distiller_udf.labels import LabelStore
from distiller_udf.prompts import Answer, Question


@dataclass
class Exact:
    """A teacher that knows equal records; counts what it was asked, may fail, and may log to a file."""

    name: str = "exact"
    parameters: dict[str, object] = field(default_factory=dict)
    free: bool = False
    seconds: float = 0.0
    fails_at: int | None = None
    log: Path | None = None
    asked: list[Question] = field(default_factory=list)
    prepared: list[pa.Table] = field(default_factory=list)

    def prepare(self, pairs: pa.Table) -> None:
        self.prepared.append(pairs)

    def answer(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Answer]]:
        for question in questions:
            if len(self.asked) == self.fails_at:
                raise TeacherUnreachable("nobody answers at http://127.0.0.1:1/v1; start the server")
            self.asked.append(question)
            time.sleep(self.seconds)
            if self.log:
                with self.log.open("a") as file:
                    file.write(f"{question.query}\n")
            yield question, self.reply(question)

    def reply(self, question: Question) -> Answer:
        if "break" in question.query:
            return Answer(None, error="no answer: the server said 500", failed=True)
        if "odd" in question.query:
            return Answer(None, cost_usd=0.5, error="abstained: the reply is empty")
        if question.query in question.candidates:
            return Answer(question.candidates.index(question.query) + 1, 0.9, input_tokens=10, output_tokens=5)
        return Answer(0, cost_usd=0.25)


def tuples_of(rows: list[tuple[object, str, list[tuple[object, str]]]]) -> pa.Table:
    """Rows of er_tuples as DuckDB would hand them over; ids take the type of the first."""
    kind = pa.array([rows[0][0]]).type
    record = pa.struct([("name", pa.string()), ("price", pa.float64())])
    candidate = pa.struct([("source", pa.string()), ("id", kind), ("record", record)])
    return pa.table(
        {
            "left_source": pa.array(["left"] * len(rows)),
            "left_id": pa.array([row[0] for row in rows], kind),
            "query": pa.array([{"name": row[1], "price": None} for row in rows], record),
            "candidates": pa.array(
                [[{"source": "right", "id": i, "record": {"name": n}} for i, n in row[2]] for row in rows],
                pa.list_(candidate),
            ),
            "rank": pa.array(range(len(rows))),
        }
    )


TUPLES = tuples_of(
    [
        (1, "a", [(10, "x"), (11, "a")]),
        (2, "b", [(12, "x")]),
        (3, "odd", [(10, "x"), (11, "a")]),
        (4, "a", [(13, "x"), (14, "a")]),
        (5, "a", []),
    ]
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LabelStore]:
    with LabelStore(tmp_path / "labels.sqlite") as opened:
        yield opened


def test_rows_have_the_shape_of_er_labels(store: LabelStore) -> None:
    teacher = Exact()
    table = label_tuples(TUPLES, teacher=teacher, store=store)
    assert table.column_names == [
        *("label_key", "left_source", "left_id", "teacher", "choice", "right_source", "right_id", "confidence"),
        *("probabilities", "explanation", "cost_usd", "error", "query", "options"),
    ]
    assert table["left_id"].type == table["right_id"].type == pa.int64()
    assert table["left_id"].to_pylist() == [1, 2, 3, 4, 5]
    assert table["choice"].to_pylist() == [2, 0, None, 2, 0]
    assert table["right_id"].to_pylist() == [11, None, None, 14, None]
    assert table["right_source"].to_pylist() == ["right", None, None, "right", None]
    assert table["error"].to_pylist() == [None, None, "abstained: the reply is empty", None, None]
    assert table["query"].to_pylist()[:2] == ['{"name":"a"}', '{"name":"b"}']
    assert table["options"].to_pylist()[0] == [
        {"source": "right", "id": 10, "record": '{"name":"x"}'},
        {"source": "right", "id": 11, "record": '{"name":"a"}'},
    ]
    assert table["options"].to_pylist()[4] == []
    # Tuples 1 and 4 show the same texts, tuple 5 has nothing to ask about.
    assert len(teacher.asked) == 3


def test_duckdb_can_read_the_rows(store: LabelStore) -> None:
    table = label_tuples(TUPLES, teacher=Exact(), store=store)
    with duckdb.connect() as connection:
        connection.register("labels", table)
        chosen = connection.sql("select left_id, options[choice].id from labels where choice > 0 order by 1").fetchall()
    assert chosen == [(1, 11), (4, 14)]


def test_a_second_run_asks_nothing_and_gives_the_same(store: LabelStore) -> None:
    first = label_tuples(TUPLES, teacher=Exact(), store=store)
    again = Exact()
    seen: list[Progress] = []
    assert label_tuples(TUPLES, teacher=again, store=store, progress=seen.append).equals(first)
    assert again.asked == []
    assert seen == [Progress(total=4, cached=4)]
    changed = tuples_of([(1, "a", [(10, "x"), (11, "a")]), (2, "b", [(12, "y")])])
    label_tuples(changed, teacher=again, store=store)
    assert [question.query for question in again.asked] == ['{"name":"b"}']


def test_a_teacher_sees_the_pairs_before_its_keys_are_made(store: LabelStore) -> None:
    class Fitted(Exact):
        def prepare(self, pairs: pa.Table) -> None:
            self.parameters = {"pairs": pairs.num_rows}

    def pairs(rows: int) -> Callable[[], pa.Table]:
        return lambda: pa.table({"left_record": ["{}"] * rows, "right_record": ["{}"] * rows})

    first, second, third = Fitted(), Fitted(), Fitted()
    one = label_tuples(TUPLES, teacher=first, store=store, pairs=pairs(1))
    assert label_tuples(TUPLES, teacher=second, store=store, pairs=pairs(1)).equals(one)
    other = label_tuples(TUPLES, teacher=third, store=store, pairs=pairs(2))
    assert [len(teacher.asked) for teacher in (first, second, third)] == [3, 0, 3]
    assert not set(one["label_key"].to_pylist()) & set(other["label_key"].to_pylist())
    label_tuples(TUPLES.slice(0, 0), teacher=Fitted(), store=store, pairs=lambda: pytest.fail("nothing is asked"))


def test_without_pairs_the_tuples_are_the_pairs(store: LabelStore) -> None:
    teacher = Exact()
    label_tuples(TUPLES, teacher=teacher, store=store)
    (pairs,) = teacher.prepared
    assert pairs["left_id"].to_pylist() == [1, 1, 2, 3, 3, 4, 4]
    assert pairs["left_record"].to_pylist()[2:4] == ['{"name":"b"}', '{"name":"odd"}']


def test_progress_counts_questions_tokens_and_dollars(store: LabelStore) -> None:
    label_tuples(TUPLES.slice(0, 1), teacher=Exact(), store=store)
    seen: list[Progress] = []
    rows = tuples_of(
        [(1, "a", [(10, "x"), (11, "a")]), (2, "b", [(1, "x")]), (3, "odd", [(1, "x")]), (6, "break", [(1, "x")])]
    )
    label_tuples(rows, teacher=Exact(), store=store, progress=seen.append)
    assert [progress.answered + progress.failed for progress in seen] == [0, 1, 2, 3]
    assert seen[-1] == Progress(total=4, cached=1, answered=2, abstained=1, failed=1, cost_usd=0.75)
    seen.clear()
    label_tuples(tuples_of([(1, "z", [(1, "z")])]), teacher=Exact(), store=store, progress=seen.append)
    assert (seen[-1].tokens, seen[-1].cost_usd, seen[-1].cost_unknown) == (15, 0.0, 1)


def test_a_failed_question_gives_no_row_is_reported_and_asked_again(
    store: LabelStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rows = tuples_of([(1, "break", [(1, "x")]), (2, "b", [(1, "x")])])
    table = label_tuples(rows, teacher=Exact(), store=store)
    assert table["left_id"].to_pylist() == [2]
    assert table.schema == label_tuples(TUPLES, teacher=Exact(), store=store).schema
    said = {record.levelname: record.getMessage() for record in caplog.records[:3]}
    assert said["INFO"] == "exact: 1 answered (0 abstained), 0 answered before, 1 failed, cost 0.2500 USD"
    assert said["WARNING"].startswith("1 of 2 questions to exact failed")
    assert said["WARNING"].endswith("the first: no answer: the server said 500")
    again = Exact()
    label_tuples(rows, teacher=again, store=store)
    assert [question.query for question in again.asked] == ['{"name":"break"}']


@pytest.mark.parametrize("free", [False, True])
def test_a_teacher_failing_midway_keeps_what_arrived(store: LabelStore, free: bool) -> None:
    rows = tuples_of([(i, f"n{i}", [(1, "x")]) for i in range(1_200)])
    with pytest.raises(TeacherUnreachable, match=r"start the server \(\d[\d,]* of 1,200 answers arrived and are kept"):
        label_tuples(rows, teacher=Exact(fails_at=700, free=free), store=store)
    kept = store.export().num_rows
    assert kept == (500 if free else 700), "a free teacher may lose up to one transaction"
    again = Exact()
    label_tuples(rows, teacher=again, store=store)
    assert len(again.asked) == 1_200 - kept


def test_a_teacher_that_passes_over_a_question(store: LabelStore) -> None:
    class Lazy(Exact):
        def answer(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Answer]]:
            yield from super().answer(questions[1:])

    answers = answer_questions([Question(f"q{i}", ("x",)) for i in range(3)], teacher=Lazy(), store=store)
    assert [answer.choice for answer in answers] == [None, 0, 0]
    assert answers[0].failed
    assert "passed over" in str(answers[0].error)


@pytest.mark.parametrize("left_id", [7, 'O\'Neil "x"', uuid.UUID(int=5).bytes, 1.5])
def test_ids_keep_their_type(store: LabelStore, left_id: object) -> None:
    table = label_tuples(tuples_of([(left_id, "a", [(left_id, "a")])]), teacher=Exact(), store=store)
    assert table["left_id"].to_pylist() == table["right_id"].to_pylist() == [left_id]


def test_slices_chunks_nulls_and_no_rows(store: LabelStore) -> None:
    whole = label_tuples(TUPLES, teacher=Exact(), store=store)
    assert label_tuples(TUPLES.slice(1, 3), teacher=Exact(), store=store).equals(whole.slice(1, 3))
    chunked = pa.concat_tables([TUPLES.slice(0, 2), TUPLES.slice(2)])
    assert label_tuples(chunked, teacher=Exact(), store=store).equals(whole)
    reader = TUPLES.to_reader(max_chunksize=2)
    assert label_tuples(reader, teacher=Exact(), store=store).equals(whole)
    nothing = label_tuples(TUPLES.slice(0, 0), teacher=Exact(), store=store)
    assert nothing.num_rows == 0
    assert nothing.schema == whole.schema
    empty = TUPLES.slice(0, 1).set_column(2, "query", pa.nulls(1, TUPLES["query"].type))
    empty = empty.set_column(3, "candidates", pa.nulls(1, TUPLES["candidates"].type))
    row = label_tuples(empty, teacher=Exact(), store=store).to_pylist()[0]
    assert (row["choice"], row["error"], row["options"]) == (None, "abstained: the record is empty", [])


@pytest.mark.parametrize("column", ["left_id", "query", "candidates"])
def test_a_missing_column_is_named(store: LabelStore, column: str) -> None:
    with pytest.raises(LabelError, match=column):
        label_tuples(TUPLES.drop_columns([column]), teacher=Exact(), store=store)


def _label(path: Path, log: Path, seconds: float) -> None:
    rows = tuples_of([(i, f"n{i}", [(1, "x"), (2, f"n{i}" if i % 2 else "y")]) for i in range(120)])
    with LabelStore(path) as store:
        label_tuples(rows, teacher=Exact(seconds=seconds, log=log), store=store)


def test_killed_and_resumed_asks_only_what_is_missing(tmp_path: Path) -> None:
    path, log = tmp_path / "labels.sqlite", tmp_path / "log"
    context = multiprocessing.get_context("fork")
    for wanted in (15, 50, 90):
        process = context.Process(target=_label, args=(path, log, 0.005))
        process.start()
        while not log.exists() or len(log.read_text().splitlines()) < wanted:
            time.sleep(0.002)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
    _label(path, log, 0.0)
    asked = log.read_text().splitlines()
    # The answer that was on its way when the process died may have to be asked again; no other.
    assert len(asked) - len(set(asked)) <= 3
    assert len(set(asked)) == 120
    with LabelStore(path) as store, LabelStore(tmp_path / "other.sqlite") as other:
        rows = tuples_of([(i, f"n{i}", [(1, "x"), (2, f"n{i}" if i % 2 else "y")]) for i in range(120)])
        resumed = label_tuples(rows, teacher=Exact(fails_at=0), store=store)
        assert resumed.equals(label_tuples(rows, teacher=Exact(), store=other))


def test_two_processes_label_into_one_store(tmp_path: Path) -> None:
    path = tmp_path / "labels.sqlite"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_label, args=(path, tmp_path / f"log{i}", 0.001)) for i in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    with LabelStore(path) as store:
        assert store.export().num_rows == 120


def records_of(rows: list[tuple[str, object, str]]) -> pa.Table:
    return pa.table(
        {
            "source": [row[0] for row in rows],
            "id": [row[1] for row in rows],
            "record": [{"name": row[2]} for row in rows],
        }
    )


def import_rows(store: LabelStore, *rows: dict[str, object]) -> None:
    store.import_labels(pa.Table.from_pylist([{"teacher": "qwen", **row} for row in rows]))


RECORDS = records_of([("abt", 1, "a"), ("abt", 2, "b"), ("buy", 1, "x"), ("buy", 2, "a!"), ("buy", 3, "y")])


def test_imported_labels_find_their_records(store: LabelStore) -> None:
    import_rows(
        store,
        {"left_id": 1, "options": [3, 2], "answer": 2, "confidence": 0.7},
        {"left_id": 2, "options": [1], "answer": 0, "confidence": None},
    )
    table, report = imported_labels(store, RECORDS)
    rows = table.to_pylist()
    assert (report.total, report.used, report.options_dropped) == (2, 2, 0)
    assert table.schema.equals(label_tuples(TUPLES.slice(0, 0), teacher=Exact(), store=store).schema)
    assert (rows[0]["left_source"], rows[0]["left_id"], rows[0]["query"]) == ("abt", 1, '{"name":"a"}')
    assert (rows[0]["right_source"], rows[0]["right_id"], rows[0]["confidence"]) == ("buy", 2, 0.7)
    assert rows[0]["options"][1] == {"source": "buy", "id": 2, "record": '{"name":"a!"}'}
    assert (rows[1]["choice"], rows[1]["right_id"], rows[1]["cost_usd"]) == (0, None, None)
    assert rows[0]["label_key"] != rows[1]["label_key"]
    assert imported_labels(store, RECORDS, teacher="nobody")[0].num_rows == 0


def test_imported_labels_with_unknown_records_are_counted(store: LabelStore) -> None:
    import_rows(
        store,
        {"left_id": 99, "options": [1], "answer": 0},
        {"left_id": 1, "options": [98, 3], "answer": 1},
        {"left_id": 2, "options": [98, 97, 3], "answer": 3},
    )
    table, report = imported_labels(store, RECORDS)
    assert (report.total, report.used, report.options_dropped) == (3, 1, 2)
    assert len(report.examples) == 2
    assert "left_id 99" in " ".join(report.examples)
    assert table.to_pylist()[0]["choice"] == 1
    assert table.to_pylist()[0]["right_id"] == 3


def test_imported_labels_of_named_or_several_sources(store: LabelStore) -> None:
    import_rows(
        store,
        {"left_id": "1", "left_source": "buy", "options": ["2"], "answer": 1, "right_source": "abt"},
        {"left_id": "only", "left_source": None, "options": ["2"], "answer": 1, "right_source": "abt"},
        {"left_id": "2", "left_source": None, "options": ["2"], "answer": 1, "right_source": "abt"},
    )
    records = records_of(
        [(s, str(i), f"{s}{i}") for s in ("abt", "buy", "web") for i in (1, 2)] + [("web", "only", "o")]
    )
    table, report = imported_labels(store, records)
    found = {(row["left_source"], row["left_id"]): row["right_source"] for row in table.to_pylist()}
    assert found == {("buy", "1"): "abt", ("web", "only"): "abt"}
    assert report.used == 2, "id 2 without a source is in all three"


def test_imported_labels_of_one_table(store: LabelStore) -> None:
    import_rows(store, {"left_id": 1, "options": [2, 3], "right_id": 3})
    records = records_of([("people", i, f"p{i}") for i in (1, 2, 3)])
    row = imported_labels(store, records)[0].to_pylist()[0]
    assert (row["left_source"], row["right_source"], row["right_id"], row["choice"]) == ("people", "people", 3, 2)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("timestamp", "2024-01-02 03:04:05.5"),
        ("timestamp_ns", "2024-01-02 03:04:05.123456789"),
        ("timestamptz", "2024-01-02 03:04:05.5+00"),
        ("blob", "\\xDE\\xAD"),
        ("double", "1e+20"),
        ("double", "100000000000000000000"),
        ("double", "12"),
        ("decimal(6, 1)", "12"),
        ("bigint", "12.0"),
        ("hugeint", "170141183460469231731687303715884105727"),
        ("uuid", "00000000-0000-0000-0000-000000000005"),
        ("varchar", "12.0"),
    ],
)
def test_imported_ids_of_any_type_are_found_by_the_text_that_duckdb_gives_them(
    store: LabelStore, kind: str, value: str
) -> None:
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        typed = f"cast('{'12' if kind == 'bigint' else value}' as {kind})"
        records = connection.sql(
            f"select unnest(['l', 'r']) as source, {typed} as id, cast(id as varchar) as id_text,"
            " {'name': source} as record"
        ).to_arrow_table()
    import_rows(store, {"left_id": value, "options": [value], "answer": 1})
    assert imported_labels(store, records)[1].used == 1


def test_an_id_as_duckdb_writes_it_comes_before_other_ways_to_write_one(store: LabelStore) -> None:
    records = records_of([("l", "1", "a"), ("r", "x", "first"), ("r", "y", "second")])
    records = records.append_column("id_text", pa.array(["1", "y", "z"]))
    import_rows(store, {"left_id": "1", "options": ["y"], "answer": 1})
    assert imported_labels(store, records)[0]["right_id"].to_pylist() == ["x"]
