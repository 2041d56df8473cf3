"""Labelling asks once, keeps what arrived, and gives rows of the shape of er_labels."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from exact_teacher import Exact, Looking, tuples_of

from distiller_udf.budget import Budget
from distiller_udf.errors import LabelError, TeacherUnreachable
from distiller_udf.labels import LabelStore, Progress, Run, answer_questions
from distiller_udf.prompts import Answer, Question

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
    table = Run([teacher], store).label(TUPLES)
    assert table.column_names == [
        *("label_key", "left_source", "left_id", "teacher", "ask", "orders", "seed", "choice", "right_source"),
        *("right_id", "confidence", "probabilities", "explanation", "explanations", "input_tokens", "output_tokens"),
        *("cost_usd", "error", "query", "options"),
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
    table = Run([Exact()], store).label(TUPLES)
    with duckdb.connect() as connection:
        connection.register("labels", table)
        chosen = connection.sql("select left_id, options[choice].id from labels where choice > 0 order by 1").fetchall()
    assert chosen == [(1, 11), (4, 14)]


def test_a_second_run_asks_nothing_and_gives_the_same(store: LabelStore) -> None:
    first = Run([Exact()], store).label(TUPLES)
    again = Exact()
    seen: list[Progress] = []
    assert Run([again], store).label(TUPLES, progress=seen.append).equals(first)
    assert again.asked == []
    assert seen == [Progress("exact", total=4, cached=4)]
    changed = tuples_of([(1, "a", [(10, "x"), (11, "a")]), (2, "b", [(12, "y")])])
    Run([again], store).label(changed)
    assert [question.query for question in again.asked] == ['{"name":"b"}']


def test_a_teacher_sees_the_pairs_before_its_keys_are_made(store: LabelStore) -> None:
    class Fitted(Exact):
        def prepare(self, pairs: pa.Table) -> None:
            self.parameters = {"pairs": pairs.num_rows}

    def pairs(rows: int) -> Callable[[], pa.Table]:
        return lambda: pa.table({"left_record": ["{}"] * rows, "right_record": ["{}"] * rows})

    first, second, third = Fitted(), Fitted(), Fitted()
    one = Run([first], store).label(TUPLES, pairs=pairs(1))
    assert Run([second], store).label(TUPLES, pairs=pairs(1)).equals(one)
    other = Run([third], store).label(TUPLES, pairs=pairs(2))
    assert [len(teacher.asked) for teacher in (first, second, third)] == [3, 0, 3]
    assert not set(one["label_key"].to_pylist()) & set(other["label_key"].to_pylist())
    Run([Fitted()], store).label(TUPLES.slice(0, 0), pairs=lambda: pytest.fail("nothing is asked"))


def test_without_pairs_the_tuples_are_the_pairs(store: LabelStore) -> None:
    teacher = Looking()
    Run([teacher], store).label(TUPLES)
    (pairs,) = teacher.prepared
    assert pairs["left_id"].to_pylist() == [1, 1, 2, 3, 3, 4, 4]
    assert pairs["left_record"].to_pylist()[2:4] == ['{"name":"b"}', '{"name":"odd"}']


def test_progress_counts_questions_tokens_and_dollars(store: LabelStore) -> None:
    Run([Exact()], store).label(TUPLES.slice(0, 1))
    seen: list[Progress] = []
    rows = tuples_of(
        [(1, "a", [(10, "x"), (11, "a")]), (2, "b", [(1, "x")]), (3, "odd", [(1, "x")]), (6, "break", [(1, "x")])]
    )
    Run([Exact()], store).label(rows, progress=seen.append)
    assert [progress.answered + progress.failed for progress in seen] == [0, 1, 2, 3]
    assert seen[-1] == Progress("exact", total=4, cached=1, answered=2, abstained=1, failed=1, cost_usd=0.75)
    seen.clear()
    Run([Exact()], store).label(tuples_of([(1, "z", [(1, "z")])]), progress=seen.append)
    assert (seen[-1].tokens, seen[-1].cost_usd, seen[-1].cost_unknown) == (15, 0.0, 1)


def test_a_failed_question_gives_no_row_is_reported_and_asked_again(
    store: LabelStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rows = tuples_of([(1, "break", [(1, "x")]), (2, "b", [(1, "x")])])
    table = Run([Exact()], store).label(rows)
    assert table["left_id"].to_pylist() == [2]
    assert table.schema == Run([Exact()], store).label(TUPLES).schema
    ours = [record for record in caplog.records if record.name.startswith("distiller_udf")]
    said = {record.levelname: record.getMessage() for record in ours[:2]}
    assert (
        said["INFO"]
        == "exact: 1 of 2 questions answered (0 of them before), 0 abstentions, 1 failure; 0 tokens, $0.2500"
    )
    assert said["WARNING"].startswith("1 of 2 questions to exact failed")
    assert said["WARNING"].endswith("the first: no answer: the server said 500")
    again = Exact()
    Run([again], store).label(rows)
    assert [question.query for question in again.asked] == ['{"name":"break"}']


@pytest.mark.parametrize("free", [False, True])
def test_a_teacher_failing_midway_keeps_what_arrived(store: LabelStore, free: bool) -> None:
    rows = tuples_of([(i, f"n{i}", [(1, "x")]) for i in range(1_200)])
    with pytest.raises(TeacherUnreachable, match=r"start the server \(\d[\d,]* of 1,200 answers arrived and are kept"):
        Run([Exact(fails_at=700, free=free)], store).label(rows)
    kept = store.export().num_rows
    assert kept == (500 if free else 700), "a free teacher may lose up to one transaction"
    again = Exact()
    Run([again], store).label(rows)
    assert len(again.asked) == 1_200 - kept


def test_a_teacher_that_passes_over_a_question(store: LabelStore) -> None:
    class Lazy(Exact):
        def answer(self, questions: Sequence[Question], budget: Budget) -> Iterator[tuple[Question, Answer]]:
            yield from super().answer(questions[1:], budget)

    answers = answer_questions([Question(f"q{i}", ("x",)) for i in range(3)], teacher=Lazy(), store=store)
    assert [answer.choice for answer in answers] == [None, 0, 0]
    assert answers[0].failed
    assert "passed over" in str(answers[0].error)


@pytest.mark.parametrize("left_id", [7, 'O\'Neil "x"', uuid.UUID(int=5).bytes, 1.5])
def test_ids_keep_their_type(store: LabelStore, left_id: object) -> None:
    table = Run([Exact()], store).label(tuples_of([(left_id, "a", [(left_id, "a")])]))
    assert table["left_id"].to_pylist() == table["right_id"].to_pylist() == [left_id]


def test_slices_chunks_nulls_and_no_rows(store: LabelStore) -> None:
    whole = Run([Exact()], store).label(TUPLES)
    assert Run([Exact()], store).label(TUPLES.slice(1, 3)).equals(whole.slice(1, 3))
    chunked = pa.concat_tables([TUPLES.slice(0, 2), TUPLES.slice(2)])
    assert Run([Exact()], store).label(chunked).equals(whole)
    reader = TUPLES.to_reader(max_chunksize=2)
    assert Run([Exact()], store).label(reader).equals(whole)
    nothing = Run([Exact()], store).label(TUPLES.slice(0, 0))
    assert nothing.num_rows == 0
    assert nothing.schema == whole.schema
    empty = TUPLES.slice(0, 1).set_column(2, "query", pa.nulls(1, TUPLES["query"].type))
    empty = empty.set_column(3, "candidates", pa.nulls(1, TUPLES["candidates"].type))
    row = Run([Exact()], store).label(empty).to_pylist()[0]
    assert (row["choice"], row["error"], row["options"]) == (None, "abstained: the record is empty", [])


@pytest.mark.parametrize("column", ["left_id", "query", "candidates"])
def test_a_missing_column_is_named(store: LabelStore, column: str) -> None:
    with pytest.raises(LabelError, match=column):
        Run([Exact()], store).label(TUPLES.drop_columns([column]))


def _label(path: Path, log: Path, seconds: float) -> None:
    rows = tuples_of([(i, f"n{i}", [(1, "x"), (2, f"n{i}" if i % 2 else "y")]) for i in range(120)])
    with LabelStore(path) as store:
        Run([Exact(seconds=seconds, log=log)], store).label(rows)


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
        resumed = Run([Exact(fails_at=0)], store).label(rows)
        assert resumed.equals(Run([Exact()], other).label(rows))


def test_two_processes_label_at_the_same_time_and_pay_once(tmp_path: Path) -> None:
    path, logs = tmp_path / "labels.sqlite", [tmp_path / "log0", tmp_path / "log1"]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_label, args=(path, log, 0.005)) for log in logs]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    with LabelStore(path) as store:
        assert store.export().num_rows == 120
    asked = [line for log in logs if log.exists() for line in log.read_text().splitlines()]
    assert len(asked) == len(set(asked)) == 120


def test_what_another_run_gives_up_is_asked_by_this_one(store: LabelStore) -> None:
    questions = [Question(f"q{i}", ("x",)) for i in range(6)]
    teacher, other = Exact(), store.claims()
    other.take(question.key(teacher) for question in questions[:3])
    threading.Timer(0.7, other.release).start()
    started = time.monotonic()
    answers = answer_questions(questions, teacher=teacher, store=store)
    assert [answer.choice for answer in answers] == [0] * 6
    assert time.monotonic() - started > 0.6
    assert [question.query for question in teacher.asked[:3]] == ["q3", "q4", "q5"], "nobody else asks these"


def test_claims_of_a_process_whose_number_another_one_got_are_void(store: LabelStore) -> None:
    """As after the restart of a container, where everything has the number 1."""
    earlier, now = store.claims(), store.claims()
    machine, pid, _, token = earlier._owner.split(" ")
    assert earlier.take(["a"]) == {"a"}
    assert now.take(["a"]) == set()
    earlier._owner = f"{machine} {pid} 1 {token}"
    assert earlier.take(["b"]) == {"b"}
    assert now.take(["b"]) == {"b"}


def test_what_failed_is_given_back_while_the_run_goes_on(store: LabelStore) -> None:
    questions = [Question("break", ("x",)), Question("other", ("x",))]
    teacher, elsewhere = Exact(), store.claims()
    elsewhere.take([questions[1].key(teacher)])
    run = threading.Thread(target=answer_questions, args=(questions,), kwargs={"teacher": teacher, "store": store})
    run.start()
    time.sleep(0.5)
    third = store.claims()
    assert third.take(question.key(teacher) for question in questions) == {questions[0].key(teacher)}
    third.release()
    elsewhere.release()
    run.join(10)
    assert [question.query for question in teacher.asked] == ["break", "other"]


def test_the_claims_of_a_process_that_was_killed_hold_nobody_up(tmp_path: Path) -> None:
    path, questions = tmp_path / "labels.sqlite", [Question("q", ("x",))]

    def claim_and_die() -> None:
        with LabelStore(path) as opened:
            opened.claims().take(question.key(Exact()) for question in questions)
            os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=claim_and_die)
    process.start()
    process.join(30)
    teacher = Exact()
    with LabelStore(path) as opened:
        assert answer_questions(questions, teacher=teacher, store=opened)[0].choice == 0
        assert opened.claims().take([questions[0].key(teacher)]), "its own claims are given back"
