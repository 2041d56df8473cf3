"""The SQL functions, on a real DuckDB connection with a real student."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from conftest import People
from exact_teacher import Exact

import distiller_udf
from distiller_udf.budget import Budget, Limits
from distiller_udf.errors import SettingsError
from distiller_udf.labels import LabelStore, Run
from distiller_udf.labels.run import CurrentTeacher
from distiller_udf.privacy import Privacy
from distiller_udf.registry import Registry
from distiller_udf.registry.current import CurrentStudent
from distiller_udf.teachers.openai_compatible import OpenAICompatible
from distiller_udf.udf import Functions, register_functions


@pytest.fixture
def connection(people: People, students: Registry) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.register("left_rows", pa.Table.from_pylist([{"id": i, **p} for i, p in enumerate(people.left)]))
    connection.register("right_rows", pa.Table.from_pylist([{"id": i, **p} for i, p in enumerate(people.right)]))
    connection.execute("create table l as from left_rows")
    connection.execute("create table r as from right_rows")
    distiller_udf.register(connection, students.root)
    return connection


def one(connection: duckdb.DuckDBPyConnection, query: str, **values: object) -> object:
    rows = connection.execute(query, values or None).fetchall()
    assert len(rows) == 1
    assert len(rows[0]) == 1
    return rows[0][0]


def test_rows_match_by_their_aliases(connection: duckdb.DuckDBPyConnection) -> None:
    found = connection.sql(
        "select a.id, b.id from l a, r b where a.id < 40 and b.id < 40 and er_match(a, b)"
    ).fetchall()
    right = sum(x == y for x, y in found)
    assert right >= 36
    assert right / len(found) >= 0.9


def test_match_is_the_score_against_the_threshold(connection: duckdb.DuckDBPyConnection, students: Registry) -> None:
    threshold = distiller_udf.load_student(students.current()).info.threshold
    rows = connection.sql(
        "select er_score(a, b), er_match(a, b) from l a, r b where a.id < 12 and b.id < 12"
    ).fetchall()
    assert {match for _, match in rows} == {True, False}
    assert all(match == (score >= threshold) for score, match in rows)
    assert all(0 <= score <= 1 for score, _ in rows)


def test_the_order_and_number_of_further_columns_do_not_matter(connection: duckdb.DuckDBPyConnection) -> None:
    same = """
        select er_score(a, b) = er_score({'extra': 1, 'born': a.born, 'town': a.town, 'name': a.name}, b)
        from l a, r b where a.id = 3 and b.id = 3
    """
    assert one(connection, same) is True


def test_a_record_as_json_text_scores_like_the_row(connection: duckdb.DuckDBPyConnection) -> None:
    same = """
        select er_score(a, b) = er_score(to_json({'name': a.name, 'town': a.town, 'born': a.born})::varchar, b)
        from l a, r b where a.id = 3 and b.id = 3
    """
    assert one(connection, same) is True


def test_a_text_is_read_by_itself_whatever_stands_beside_it(connection: duckdb.DuckDBPyConnection) -> None:
    plain, record = "anna adler bonn 1950-01-02", '{"name":"anna adler","born":"1950-01-02"}'
    query = "select er_score(t, t), er_explain(t, t) is not null from (values {}) v(t)"
    alone = [connection.execute(query.format("(?)"), [text]).fetchall()[0] for text in (plain, record)]
    together = connection.execute(query.format("(?), (?), (null), ('')"), [plain, record]).fetchall()
    assert together[:2] == alone
    assert together[2:] == [(None, False), (None, False)]
    assert min(score for score, _ in alone) > 0.5


def test_plain_text_is_compared_as_a_whole(connection: duckdb.DuckDBPyConnection) -> None:
    alike, different = connection.sql(
        "select er_score('anna bruno bonn 1950-01-02', 'anna bruno bonn 1950-01-02'), er_score('anna bruno', 'xyz 17')"
    ).fetchall()[0]
    assert alike > different


def test_a_row_whose_only_column_is_text_is_no_plain_text(connection: duckdb.DuckDBPyConnection) -> None:
    for row in ("{'text': 'anna bruno'}", """'{"text": "anna bruno"}'"""):
        with pytest.raises(duckdb.Error, match=r"the first record lacks name, town, born \(it has text\)"):
            connection.sql(f"select er_score({row}, b) from r b").fetchall()
    rows = """(values ('anna adler'), ('{"text": "x", "name": "anna"}')) v(t)"""
    (plain, told), (named, _) = connection.sql(f"select er_score(t, t), er_explain(t, t) from {rows}").fetchall()
    alone = connection.sql(f"select er_score(t, t), er_explain(t, t) from {rows} where t = 'anna adler'").fetchall()
    assert [(plain, told)] == alone
    assert named == one(connection, """select er_score(t, t) from (select '{"name": "anna"}' as t)""")


@pytest.mark.parametrize(
    "empty",
    [
        "null",
        "{'name': null, 'town': null, 'born': null}",
        "''",
        "'{}'",
        "{'name': [], 'town': {'a': ''}, 'born': map {}}",
        "'null'",
    ],
)
def test_a_null_or_empty_record_gives_null(connection: duckdb.DuckDBPyConnection, empty: str) -> None:
    query = f"select er_score({empty}, b), er_match(b, {empty}), er_explain(b, {empty}) from r b where b.id < 3"
    assert connection.sql(query).fetchall() == [(None, None, None)] * 3
    decision = one(connection, f"select er_decide({empty}, b) from r b where b.id = 1")
    assert decision["is_match"] is None
    assert decision["error"] == "a record is NULL or empty"


def test_decide_says_who_decided(connection: duckdb.DuckDBPyConnection, students: Registry) -> None:
    decision = one(connection, "select er_decide(a, b) from l a, r b where a.id = 5 and b.id = 5")
    assert decision["is_match"] is True
    assert decision["decided_by"] == "student"
    assert decision["student"] == students.current_version()
    assert decision["error"] is None


def test_select_chooses_the_match_or_none(connection: duckdb.DuckDBPyConnection) -> None:
    rows = connection.sql("""
        select a.id, er_select(a, list(b order by b.id)) as answer
        from l a, r b where b.id between 20 and 24 group by a.id, a order by a.id
    """).fetchall()
    chosen = {left: answer["choice"] for left, answer in rows}
    assert [chosen[i] for i in range(20, 25)] == [1, 2, 3, 4, 5]
    strangers = [chosen[i] for i in range(len(rows)) if not 20 <= i <= 24]
    assert strangers.count(0) / len(strangers) > 0.95
    assert all(len(answer["probabilities"]) == 5 for _, answer in rows)


def test_select_takes_one_of_several_copies(connection: duckdb.DuckDBPyConnection) -> None:
    """Nothing tells which of them is meant, so they do not compete; what is left for none counts them once."""
    for copies in ("[b]", "[b, b, b, b]"):
        answer = one(connection, f"select er_select(a, {copies}) from l a, r b where a.id = 9 and b.id = 9")
        assert answer["choice"] == 1
        assert min(answer["probabilities"]) > 0.9
    three = "select er_select(a, list(b order by b.id)) from l a, r b where a.id = 9 and b.id in (30, 31) group by a"
    none = one(connection, three)
    assert none["choice"] == 0
    assert none["probability"] == pytest.approx(1 - sum(none["probabilities"]))


def test_select_handles_no_candidates_and_null(connection: duckdb.DuckDBPyConnection) -> None:
    nothing = one(connection, "select er_select(a, []) from l a where a.id = 1")
    assert (nothing["choice"], nothing["probability"]) == (0, 1.0)
    null = one(connection, "select er_select(a, null) from l a where a.id = 1")
    assert (null["choice"], null["error"] is not None) == (None, True)
    gap = one(connection, "select er_select(a, [null, b]) from l a, r b where a.id = 7 and b.id = 7")
    assert gap["choice"] == 2
    assert gap["probabilities"][0] is None


def test_select_refuses_candidates_that_are_no_list(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(duckdb.Error, match="the candidates are a list of records"):
        connection.sql("select er_select(a, b) from l a, r b where a.id = 1 and b.id = 1").fetchall()


def test_explain_names_columns_and_words(connection: duckdb.DuckDBPyConnection) -> None:
    query = "select er_explain(a, b), er_explain(b, a), a.name, a.born from l a, r b where a.id = 3 and b.id = 3"
    sentence, swapped, name, born = connection.sql(query).fetchall()[0]
    assert all(f'"{word}"' in sentence for word in name.split())
    assert f'both have "{born}")' in sentence
    assert swapped == sentence


def test_missing_columns_are_named(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(duckdb.Error, match=r"the first record lacks town, born \(it has name\)"):
        connection.sql("select er_match({'name': 'x'}, b) from r b").fetchall()


def test_what_is_no_record_is_refused(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(duckdb.Error, match="a record is a row"):
        connection.sql("select er_match(a.id, b.id) from l a, r b").fetchall()


def test_strict_raises_on_an_empty_record(connection: duckdb.DuckDBPyConnection, students: Registry) -> None:
    distiller_udf.register(connection, students.root, strict=True)
    with pytest.raises(duckdb.Error, match="strict mode is on"):
        connection.sql("select er_match(null, b) from r b").fetchall()
    with pytest.raises(duckdb.Error, match="strict mode is on"):
        connection.sql("select er_select(b, null) from r b").fetchall()


def test_without_a_student_every_function_says_what_to_run(tmp_path: Path) -> None:
    for student, hint in ((None, "register"), (tmp_path, "distiller train"), (tmp_path / "gone", "distiller train")):
        connection = duckdb.connect()
        distiller_udf.register(connection, student)
        for call in ("er_match('a', 'b')", "er_score('a', 'b')", "er_explain('a', 'b')", "er_select('a', ['b'])"):
            with pytest.raises(duckdb.Error, match=hint):
                connection.sql(f"select {call}").fetchall()
        assert "no student" in str(one(connection, "select er_version()"))


def test_a_damaged_student_raises_with_the_reason(students: Registry, tmp_path: Path) -> None:
    shutil.copytree(students.current(), tmp_path / "student")
    (tmp_path / "student" / "pair_0.txt").write_text("nonsense")
    connection = duckdb.connect()
    distiller_udf.register(connection, tmp_path / "student")
    with pytest.raises(duckdb.Error, match=r"pair_0\.txt is altered"):
        connection.sql("select er_match('a', 'b')").fetchall()


def test_label_without_a_teacher_says_how_to_get_one(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(duckdb.Error, match="er_label needs a teacher"):
        connection.sql("select er_label(a, [a]) from l a").fetchall()


def test_label_answers_an_empty_list_and_refuses_null(tmp_path: Path) -> None:
    connection, teacher = duckdb.connect(), Exact(name="counting")
    distiller_udf.register(connection, teacher=teacher, store=tmp_path / "labels.sqlite")
    nothing = one(connection, "select er_label('a', [])")
    assert (nothing["choice"], nothing["error"], nothing["teacher"]) == (0, None, "counting")
    for query, candidates in (("'a'", "null"), ("'a'", "null::varchar[]"), ("null", "[]"), ("''", "['b']")):
        unknown = one(connection, f"select er_label({query}, {candidates})")
        assert (unknown["choice"], unknown["error"]) == (None, "a record is NULL or empty, or the candidates are NULL")
    mixed = "select er_label(q, c)['choice'] from (values ('a', ['b', 'a']), ('a', []), ('a', null)) as t(q, c)"
    assert connection.sql(mixed).fetchall() == [(2,), (0,), (None,)]
    assert len(teacher.asked) == 1
    distiller_udf.register(connection, teacher=teacher, store=tmp_path / "labels.sqlite", strict=True)
    assert one(connection, "select er_label('a', [])['choice']") == 0
    with pytest.raises(duckdb.Error, match="the candidates are NULL"):
        connection.sql("select er_label('a', null)").fetchall()


def test_one_question_in_many_rows_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small groups of rows in a file are read by all four threads, while the teacher still thinks."""
    connection, teacher, opened = duckdb.connect(), Exact(name="counting", seconds=0.2), []
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: opened.append(1) or connect(*a, **k))
    connection.execute("set threads = 4")
    many = tmp_path / "many.parquet"
    rows = "select 'a' as q, ['b', 'a'] as c from range(50_000)"
    connection.execute(f"copy ({rows}) to '{many}' (row_group_size 2048)")
    distiller_udf.register(connection, teacher=teacher, store=tmp_path / "labels.sqlite")
    counted = f"select count(*) filter (er_label(q, c)['choice'] = 2) from '{many}'"
    assert one(connection, counted) == 50_000
    assert len(teacher.asked) == 1
    assert len(opened) == 1


def test_a_spent_budget_raises_and_what_was_answered_stays(tmp_path: Path) -> None:
    connection, teacher = duckdb.connect(), Exact(name="counting")
    store = tmp_path / "labels.sqlite"
    distiller_udf.register(connection, teacher=teacher, store=store, budget=Budget(Limits(calls=2)))
    assert one(connection, "select er_label('a', ['b', 'a']).choice") == 2
    with pytest.raises(duckdb.Error, match="the budget of 2 calls is spent"):
        connection.sql("select er_label('q' || i, ['b']) from range(5) t(i)").fetchall()
    assert len(teacher.asked) == LabelStore(store).export().num_rows == 2
    assert one(connection, "select er_label('a', ['b', 'a']).choice") == 2, "a stored answer costs nothing"


def test_several_teachers_vote_and_see_no_private_column(tmp_path: Path) -> None:
    connection, teachers = duckdb.connect(), [Exact(), Exact(name="second")]
    privacy = Privacy(private=("phone",))
    distiller_udf.register(connection, teacher=teachers, store=tmp_path / "labels.sqlite", privacy=privacy)
    row = "{'name': 'a', 'phone': '555-1234'}"
    label = one(connection, f"select er_label({row}, [{row}])")
    assert (label["choice"], label["teacher"]) == (1, "majority of exact, second")
    assert {question.query for teacher in teachers for question in teacher.asked} == {'{"name":"a"}'}
    with pytest.raises(duckdb.Error, match="columns"):
        connection.sql("select er_label('a 555-1234', ['a'])").fetchall()
    row = "{'text': 'a 555-1234'}"
    with pytest.raises(duckdb.Error, match="unknown private or masked column 'phone'"):
        connection.sql(f"select er_label({row}, [{row}])").fetchall()
    with pytest.raises(duckdb.Error, match="unknown private or masked column 'phone'"):
        connection.sql(f"select er_label(to_json({row}), [to_json({row})])").fetchall()
    with pytest.raises(duckdb.Error, match="phone"):
        connection.sql("select er_label({'name': 'a', 'fone': '1'}, [{'name': 'a', 'fone': '1'}])").fetchall()
    assert sum(len(teacher.asked) for teacher in teachers) == 2


def test_label_makes_its_teacher_once(tmp_path: Path) -> None:
    made: list[Exact] = []

    def make() -> Run:
        made.append(Exact(name="counting"))
        return Run(made, LabelStore(tmp_path / "labels.sqlite"), Budget(), Privacy())

    connection = duckdb.connect()
    register_functions(connection, Functions(CurrentStudent(None), CurrentTeacher(make)))
    connection.sql("select er_label(cast(i as varchar), ['1']) from range(9) as t(i)").fetchall()
    connection.sql("select er_label('x', ['1'])").fetchall()
    assert len(made) == 1
    assert len(made[0].asked) == 10


def test_a_rejected_key_is_one_sentence_without_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-very-secret-0123456789"

    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({"error": {"message": f"Incorrect API key provided: {key}"}}).encode()
            self.send_response(401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MY_KEY", key)
    teacher = OpenAICompatible("m", base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key_env="MY_KEY")
    connection = duckdb.connect()
    distiller_udf.register(connection, teacher=teacher, store=tmp_path / "labels.sqlite")
    try:
        with pytest.raises(duckdb.Error, match="check the key in the environment variable MY_KEY") as raised:
            connection.sql("select er_label('a', ['b'])").fetchall()
    finally:
        server.shutdown()
        server.server_close()
    shown = "".join(traceback.format_exception(raised.value))
    assert key not in shown
    assert str(raised.value).count("refused access (401)") == 1
    assert "answers arrived" not in str(raised.value)


def test_version_names_package_and_student(connection: duckdb.DuckDBPyConnection, students: Registry) -> None:
    version = str(one(connection, "select er_version()"))
    assert distiller_udf.__version__ in version
    assert str(students.current_version()) in version


def test_a_call_is_made_once_a_row(connection: duckdb.DuckDBPyConnection, students: Registry) -> None:
    """DuckDB may fold or repeat a function without side effects; one that costs time must not be."""
    student = Counting(distiller_udf.load_student(students.current()))
    distiller_udf.register(connection, student)
    pairs = "select er_score(a, b) as p from l a, r b where a.id < 5 and b.id < 5"
    connection.sql(f"select p from ({pairs}) where p > 0.5 and p < 2").fetchall()
    assert student.pairs == 25
    connection.sql("explain select er_score('a', 'b')").fetchall()
    assert student.pairs == 25


def test_cursors_and_threads_share_the_functions(connection: duckdb.DuckDBPyConnection) -> None:
    query = "select count(*) filter (er_match(a, b)) from l a, r b where a.id < 30 and b.id < 30"
    expected = one(connection, query)
    results: list[object] = []

    def run() -> None:
        results.append(one(connection.cursor(), query))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


def test_a_union_column_does_not_kill_the_process(connection: duckdb.DuckDBPyConnection) -> None:
    rows = connection.sql(
        "select er_score(a, a)"
        " from (select 'anna adler' as name, union_value(num := 2) as town, '1950-01-01' as born) a"
    ).fetchall()
    assert rows[0][0] > 0.5


def test_column_names_are_told_apart_as_in_sql(connection: duckdb.DuckDBPyConnection) -> None:
    same = """
        select er_score({'NAME': a.name, 'Town': a.town, 'born': a.born}, b) = er_score(a, b)
        from l a, r b where a.id = b.id
    """
    assert connection.sql(same).fetchall() == [(True,)] * len(connection.sql("from l").fetchall())


def test_a_cursor_cannot_replace_the_functions_of_its_connection(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(SettingsError, match="register on that connection"):
        distiller_udf.register(connection.cursor(), None)
    assert "student lexical-" in str(one(connection.cursor(), "select er_version()"))


def test_a_million_characters_and_strange_characters(connection: duckdb.DuckDBPyConnection) -> None:
    rows = connection.execute(
        "select er_score({'name': $long, 'town': '😀', 'born': chr(7)}, {'name': '\"', 'town': chr(0), 'born': $long})",
        {"long": "ab " * 333_333},
    ).fetchall()
    assert 0 <= rows[0][0] <= 1


class Counting:
    """A student that counts the pairs it is asked about."""

    def __init__(self, student: distiller_udf.students.Student) -> None:
        self.student, self.info, self.pairs = student, student.info, 0

    def score(self, left, right):
        self.pairs += len(left)
        return self.student.score(left, right)
