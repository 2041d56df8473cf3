"""The whole pipeline with real dbt: teacher, training, scores, and the SQL functions in a user's own model."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from click.testing import CliRunner
from conftest import make_people
from dbt_harness import WARNED, Project

from distiller_udf.cli import main
from distiller_udf.labels import LabelStore
from distiller_udf.pipeline import scores
from distiller_udf.registry import Registry
from distiller_udf.training import versions

PEOPLE = make_people(150)
SOURCES = [{"name": "l", "model": "people_left", "id": "key"}, {"name": "r", "model": "people_right", "id": "key"}]
BY_FUNCTION = """
    select s.left_id, s.right_id, er_match(p.left_record, p.right_record) as is_match,
        abs(er_score(p.left_record, p.right_record) - s.probability) as difference
    from {{ ref('er_scores') }} as s
    inner join {{ ref('er_pairs') }} as p using (left_source, left_id, right_source, right_id)
"""


def seed(rows: list[dict[str, Any]], **renamed: str) -> str:
    """Rows as CSV with a column `key`; columns may be renamed."""
    text = io.StringIO()
    names = {"name": "name", "town": "town", "born": "born", **renamed}
    writer = csv.DictWriter(text, ["key", *names.values()])
    writer.writeheader()
    for i, row in enumerate(rows):
        writer.writerow({"key": i, **{new: row[old] for old, new in names.items()}})
    return text.getvalue()


def plugin(students: str | Path) -> dict[str, Any]:
    """What the connection needs for the SQL functions."""
    return {"plugins": [{"module": "distiller_udf.plugin", "config": {"students_path": str(students)}}]}


def gold(count: int) -> str:
    return "left_id,right_id\n" + "".join(f"{i},{i}\n" for i in range(count))


def linked(folder: Path, **variables: Any) -> Project:
    return Project(
        folder,
        models={"by_function": "{{ config(materialized='table') }}" + BY_FUNCTION},
        seeds={
            "people_left": seed(PEOPLE.left),
            "people_right": seed(PEOPLE.right, name="full_name"),
            "gold": gold(len(PEOPLE.left)),
        },
        variables={
            "er_sources": SOURCES,
            "er_gold": "gold",
            "er_selection_share": 0.4,
            "er_selection_minimum": 0,
            "er_label_store": str(folder / "distiller" / "labels.sqlite"),
            "er_students_path": str(folder / "distiller" / "students"),
            **variables,
        },
        output=plugin("distiller/students"),
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Built once; who changes something takes a copy."""
    built = linked(tmp_path_factory.mktemp("python_models"))
    built.run("build", "--full-refresh", "--exclude", "by_function")
    built.run("build", "--select", "by_function")
    return built


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Counts the pairs that are scored and the students that are trained meanwhile."""
    counts = {"scored": 0, "trained": 0}
    score_pairs, train = scores.score_pairs, versions.train

    def counting_score(*arguments: Any) -> Any:
        for batch in score_pairs(*arguments):
            counts["scored"] += batch.num_rows
            yield batch

    def counting_train(*arguments: Any, **settings: Any) -> Any:
        counts["trained"] += 1
        return train(*arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(scores, "score_pairs", counting_score)
        patch.setattr(versions, "train", counting_train)
        yield counts


def answers(project: Project) -> list[tuple[Any, ...]]:
    """What the label store holds, with the time of each answer."""
    with sqlite3.connect(project.folder / "distiller" / "labels.sqlite") as store:
        return store.execute("select key, choice, created_at from labels order by key").fetchall()


def test_two_tables_become_entities(project: Project) -> None:
    metrics = dict(project.query("select metric, value from er_metrics"))
    assert metrics["f1"] >= 0.95
    assert project.query("select max(entity_size) from er_entities") == [(2,)]
    assert project.query("select count(*) from er_entities") == [(300,)]


def test_the_command_line_makes_the_same_student(project: Project, tmp_path: Path) -> None:
    """From a copy of the warehouse: dbt's own connection to it is still open here."""
    project.query("checkpoint")
    shutil.copy(project.database, tmp_path)
    students = project.folder / "distiller" / "students"
    known = Registry(students).current_version()
    arguments = ["--database", tmp_path / project.database.name, "--students", students, "--json"]
    ran = CliRunner().invoke(main, ["train", *map(str, arguments)], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert (found["version"], found["trained"]) == (known, False)


def test_columns_of_other_names_are_compared(project: Project) -> None:
    """`name` on the left is `full_name` on the right; each side lacks the other's column."""
    student = Registry(project.folder / "distiller" / "students").versions()[-1]
    assert "full_name" not in student.left_columns
    assert "name" not in student.right_columns


def test_every_question_is_stored_and_its_pairs_are_labelled(project: Project) -> None:
    questions = project.query("select count(*) from er_selection")[0][0]
    assert project.query("select count(*), count(distinct left_id), count(choice) from er_labels") == [(questions,) * 3]
    assert len(answers(project)) == questions


def test_scores_are_those_of_the_function(project: Project) -> None:
    rows = project.query("select count(*), max(difference), count(*) filter (is_match) from by_function")
    count, difference, matches = rows[0]
    assert count == project.query("select count(*) from er_candidates")[0][0]
    assert difference < 1e-9
    assert matches > 100


def test_a_second_build_asks_trains_and_scores_nothing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    before = answers(project), project.query("select * from er_scores order by all"), project.query("from er_student")
    with counted(monkeypatch) as counts:
        project.run("build", "--exclude", "by_function")
    assert counts == {"scored": 0, "trained": 0}
    after = answers(project), project.query("select * from er_scores order by all"), project.query("from er_student")
    assert after == before


def test_only_changed_tuples_are_scored_again(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing = project.copied(tmp_path)
    keys = "left_source, left_id, right_source, right_id"
    before = dict(
        changing.query("select left_id, list(pair_fingerprint order by pair_fingerprint) from er_pairs group by 1")
    )
    rows = [dict(row) for row in PEOPLE.left]
    rows[3]["town"] = "zwickau"
    changing._write("seeds/people_left.csv", seed(rows[:-1]))  # one changed, one deleted
    with counted(monkeypatch) as counts:
        changing.run("build", "--exclude", "by_function", "er_labels", "er_student", silent=WARNED)
    after = dict(
        changing.query("select left_id, list(pair_fingerprint order by pair_fingerprint) from er_pairs group by 1")
    )
    expected = sum(len(pairs) for left, pairs in after.items() if before.get(left) != pairs)
    assert 0 < counts["scored"] == expected < sum(map(len, after.values()))
    assert counts["trained"] == 0
    assert changing.query(f"select {keys} from er_scores order by all") == changing.query(
        f"select {keys} from er_candidates order by all"
    )


def test_a_copy_of_a_record_is_no_rival_and_only_one_of_them_matches(project: Project, tmp_path: Path) -> None:
    project = project.copied(tmp_path)
    chosen = dict(project.query("select left_id, choice_probability from er_choices where left_id = right_id"))
    copied = min(left for left, choice in chosen.items() if choice > 0.9)
    project._write("seeds/people_left.csv", seed([*PEOPLE.left, PEOPLE.left[copied]]))
    project.run("build", "--exclude", "by_function", "er_labels", "er_student")
    claims = project.query(f"select choice_probability from er_choices where right_id = {copied} and probability > 0.9")
    assert len(claims) == 2
    assert all(choice > 0.9 for (choice,) in claims)
    assert project.query(f"select count(*) from er_matches where right_id = {copied}") == [(1,)]


def test_a_new_record_changes_its_rivals_choices_though_they_are_not_scored_again(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project.copied(tmp_path)
    kept = project.query("select * from er_scores order by all")
    chosen = dict(project.query("select left_id, choice_probability from er_choices where left_id = right_id"))
    # A second record that is all but the same as one that is sure of its match: both claim it now.
    rival = min(left for left, choice in chosen.items() if choice > 0.9)
    newcomer = len(PEOPLE.left)
    shouted = {**PEOPLE.left[rival], "name": str(PEOPLE.left[rival]["name"]).upper()}
    project._write("seeds/people_left.csv", seed([*PEOPLE.left, shouted]))
    with counted(monkeypatch) as counts:
        project.run("build", "--exclude", "by_function", "er_labels", "er_student")
    assert 0 < counts["scored"] < len(kept)
    unscored = project.query(f"select * from er_scores where left_id = {rival} order by all")
    assert unscored == [row for row in kept if row[1] == rival]
    claims = project.query(
        f"select left_id, choice_probability from er_choices where right_id = {rival} order by left_id"
    )
    claims = {left: choice for left, choice in claims if left in (rival, newcomer)}
    assert set(claims) == {rival, newcomer}
    assert all(choice < min(0.6, chosen[rival] - 0.3) for choice in claims.values())
    assert project.query("select count(*) from er_choices") == project.query("select count(*) from er_scores")
    assert project.query(f"select count(*) from er_matches where right_id = {rival}")[0][0] <= 1


def test_a_new_student_scores_everything_again(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project.copied(tmp_path)
    with counted(monkeypatch) as counts:
        project.run(
            "build",
            "--exclude",
            "by_function",
            variables={"er_seed": 7, "er_selection_share": 0.5, "er_selection_minimum": 0},
        )
    assert counts["trained"] == 1
    assert counts["scored"] == project.query("select count(*) from er_candidates")[0][0]
    assert project.query("select count(*), count(*) filter (is_current) from er_student") == [(2, 1)]


def test_with_a_given_student_nothing_is_asked_or_trained(project: Project, tmp_path: Path) -> None:
    folder = Registry(project.folder / "distiller" / "students").current()
    given = linked(tmp_path, er_student_path=str(folder))
    given.run("build", "--exclude", "by_function")
    assert given.query("select student from er_student") == [(folder.name,)]
    assert given.query("select count(*) from er_labels") == [(0,)]
    assert not (tmp_path / "distiller" / "students").exists()


def test_only_the_teacher_that_is_set_teaches(project: Project, tmp_path: Path) -> None:
    project = project.copied(tmp_path)
    rows = project.query("select left_id, list(right_id order by right_id) from er_candidates group by 1 order by 1")
    answers = [
        {"left_id": left, "options": options, "right_id": left if left in options else None, "teacher": "people"}
        for left, options in rows[:50]
    ]
    with LabelStore(tmp_path / "distiller" / "labels.sqlite") as store:
        store.import_labels(pa.Table.from_pylist(answers))
    project.run("build", "--exclude", "by_function", variables={"er_teacher": "imported"})
    assert project.query("select teachers, labels from er_student where is_current") == [(["people"], 50)]


def test_labels_of_vanished_records_do_not_teach(project: Project, tmp_path: Path) -> None:
    project = project.copied(tmp_path)
    project._write("seeds/people_left.csv", seed(PEOPLE.left[:100]))
    project.run("build", "--exclude", "by_function", silent=WARNED)
    assert project.query("select count(*) from er_labels where left_id >= 100") == [(0,)]


def test_paths_are_relative_to_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    paths = {"er_label_store": "distiller/labels.sqlite", "er_students_path": "distiller/students"}
    project = linked(tmp_path / "project", **paths)
    project.run("build")
    assert (tmp_path / "project" / "distiller" / "labels.sqlite").exists()
    assert not (elsewhere / "distiller").exists()


def test_an_unreachable_teacher_is_one_sentence_and_leaves_no_table(tmp_path: Path) -> None:
    project = linked(tmp_path, er_teacher="openai", er_teacher_model="m", er_teacher_base_url="http://127.0.0.1:9/v1")
    message = project.error("build", "--exclude", "by_function")
    assert "http://127.0.0.1:9/v1" in message
    assert project.query("select count(*) from information_schema.tables where table_name like 'er_labels%'") == [(0,)]


def test_a_teacher_without_a_model_says_what_to_set(tmp_path: Path) -> None:
    message = linked(tmp_path, er_teacher="openai").error("build", "--exclude", "by_function")
    assert "teacher_model" in message


def test_an_unknown_student_or_teacher_lists_what_is_allowed(tmp_path: Path) -> None:
    project = linked(tmp_path)
    assert "embedded, openai, vllm, encoder, imported" in project.error("build", variables={"er_teacher": "oracle"})
    message = project.error("build", variables={"er_student": "oracle"})
    assert 'er_student is "oracle". Allowed: lexical, encoder, blend, cross_encoder, llm.' in message


@pytest.mark.parametrize("wrong", [0, 1, 1.5, "x", True])
def test_a_target_precision_lies_between_0_and_1(tmp_path: Path, wrong: object) -> None:
    message = linked(tmp_path).error("parse", variables={"er_target_precision": wrong})
    assert f"er_target_precision is {json.dumps(wrong)}. Allowed: a number between 0 and 1, neither of them." in message


def test_a_target_precision_reaches_the_student(project: Project, tmp_path: Path) -> None:
    """A teacher that overlooks every third match that is not spelt the same, so that the best F1 is not precise."""
    rows = project.query("select left_id, list(right_id order by right_id) from er_candidates group by 1 order by 1")
    missed = [i for i, (left, right) in enumerate(zip(PEOPLE.left, PEOPLE.right, strict=True)) if left != right][::3]
    table = [
        {"left_id": left, "options": options, "right_id": None if left in missed else left, "teacher": "people"}
        for left, options in rows
        if left in options
    ]
    strict = linked(tmp_path, er_teacher="imported")
    with LabelStore(tmp_path / "distiller" / "labels.sqlite") as store:
        store.import_labels(pa.Table.from_pylist(table))
    strict.run("seed")
    strict.run("run", "--select", "+er_student")
    strict.run("run", "--select", "+er_student", variables={"er_target_precision": 0.99})
    found = strict.query("select student, is_current, threshold, choice_threshold, metrics from er_student")
    assert sorted(current for _, current, *_ in found) == [False, True]
    (best,), (precise,) = ([row for row in found if row[1] is current] for current in (False, True))
    judged = json.loads(best[4]), json.loads(precise[4])
    assert judged[0]["choice_precision"] < 0.99
    assert judged[1]["choice_precision"] > judged[0]["choice_precision"]
    assert judged[1]["choice_recall"] < judged[0]["choice_recall"]
    assert precise[3] > best[3]
    registry = Registry(tmp_path / "distiller" / "students")
    assert {info.version: info.settings["target_precision"] for info in registry.versions()} == {
        best[0]: None,
        precise[0]: 0.99,
    }


def test_imported_labels_teach(project: Project, tmp_path: Path) -> None:
    """As tuples or a pair a line, in whichever order the tables are named."""
    rows = project.query("select left_id, list(right_id order by right_id) from er_candidates group by 1 order by 1")
    tuples = [
        {"left_id": left, "options": options, "right_id": left if left in options else None, "teacher": "people"}
        for left, options in rows[:30]
    ]
    pairs = [
        {"left_source": "r", "left_id": right, "right_source": "l", "right_id": left, "is_match": left == right}
        for left, options in rows[30:60]
        for right in options
    ]
    taught = linked(tmp_path, er_teacher="imported")
    with LabelStore(tmp_path / "distiller" / "labels.sqlite") as store:
        store.import_labels(pa.Table.from_pylist(tuples))
        store.import_labels(pa.Table.from_pylist(pairs))
    taught.run("build", "--exclude", "by_function")
    counted = "select teacher, count(*), count(distinct left_id), sum(len(options)) from er_labels group by 1"
    assert taught.query(counted) == [("people", 60, 60, sum(len(options) for _, options in rows[:60]))]
    assert dict(taught.query("select metric, value from er_metrics"))["f1"] >= 0.9


def test_without_labels_training_says_what_to_do(tmp_path: Path) -> None:
    message = linked(tmp_path, er_teacher="imported").error("build", "--exclude", "by_function")
    assert "there are no imported labels" in message
    assert "distiller labels import FILE" in message
    assert not (tmp_path / "distiller" / "students" / "default" / "CURRENT").exists()


@pytest.mark.parametrize("rows", [0, 1])
def test_an_empty_table_or_one_row_gives_entities_of_one(tmp_path: Path, rows: int) -> None:
    project = linked(tmp_path)
    project._write("seeds/people_left.csv", seed(PEOPLE.left[:rows]))
    project._write("seeds/people_right.csv", seed([{"name": "zz", "town": None, "born": None}], name="full_name"))
    project._write("seeds/gold.csv", gold(0))
    project._write("seeds/properties.yml", TYPES)
    project.run("build", "--exclude", "by_function")
    assert project.query("select count(*), max(entity_size) from er_entities") == [(rows + 1, 1)]


TYPES = """
version: 2
seeds:
  - name: people_left
    config: {column_types: {key: integer, name: varchar, town: varchar, born: varchar}}
  - name: people_right
    config: {column_types: {key: integer, full_name: varchar, town: varchar, born: varchar}}
  - name: gold
    config: {column_types: {left_id: integer, right_id: integer}}
"""


def test_dedupe_in_memory_with_threads(tmp_path: Path) -> None:
    """An in-memory database lives as long as dbt's process, so the result goes to a file."""
    rows = [{"key": i, **row} for i, row in enumerate([*PEOPLE.left[:80], *PEOPLE.right[:80]])]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    project = Project(
        tmp_path,
        models={
            "result": f"""
                {{{{ config(materialized='external', location='{tmp_path}/result.parquet') }}}}
                select * from {{{{ ref('er_entities') }}}}
            """
        },
        seeds={"people": text.getvalue()},
        variables={
            "er_sources": [{"name": "p", "model": "people", "id": "key"}],
            "er_selection_share": 0.5,
            "er_selection_minimum": 0,
            "er_label_store": str(tmp_path / "labels.sqlite"),
            "er_students_path": str(tmp_path / "students"),
        },
        output={"path": ":memory:", "threads": 4, "external_root": str(tmp_path), **plugin(tmp_path / "students")},
    )
    project.run("build")
    found = duckdb.sql(f"select count(distinct entity_id) from '{tmp_path}/result.parquet'").fetchall()[0][0]
    assert 80 <= found <= 88


@pytest.mark.parametrize("kind", ["uuid", "hugeint", "date"])
def test_ids_keep_a_type_that_arrow_does_not_know(tmp_path: Path, kind: str) -> None:
    value = {
        "uuid": "md5(key::varchar)::uuid",
        "hugeint": "key::hugeint + 170141183460469231731687303715884000000",
        "date": "date '2000-01-01' + key::integer",
    }[kind]
    sides = ("left", "right")
    sources = [{"name": side, "model": f"typed_{side}", "id": "key"} for side in sides]
    project = linked(tmp_path, er_sources=sources, er_gold=None)
    for side in sides:
        query = f"select {value} as key, * exclude (key) from {{{{ ref('people_{side}') }}}}"
        project._write(f"models/typed_{side}.sql", query)
    project.run("build", "--exclude", "by_function")
    for table in ("er_candidates", "er_labels", "er_scores", "er_choices", "er_matches"):
        types = f"select distinct typeof(left_id), typeof(right_id) from {table}"
        assert project.query(types) == [(kind.upper(), kind.upper())]
    assert project.query("select count(*) from er_matches where left_id = right_id")[0][0] >= 140


def test_odd_columns_ids_and_values_go_through_the_whole_pipeline(tmp_path: Path) -> None:
    sides = ("left", "right")
    sources = [{"name": f"it's {side}", "model": f"odd_{side}", "id": 'i"d'} for side in sides]
    project = linked(tmp_path, er_sources=sources, er_gold=None)
    for side, name in zip(sides, ("name", "full_name"), strict=True):
        query = f"""
            select '''' || key || '"' as "i""d", {name} || chr(7) as "select", town || ' 😀' as "a""b", born as "text",
                null as nothing, 'same' as constant, case when key = 1 then repeat('long ', 200000) end as "record"
            from {{{{ ref('people_{side}') }}}}
        """
        project._write(f"models/odd_{side}.sql", query)
    project.run("build", "--exclude", "by_function", silent=["JinjaLogWarning"])  # a column is empty
    assert project.query("select count(*) from er_matches where left_id = right_id")[0][0] >= 140
    assert project.query("select count(*) from er_entities where entity_id like 'it''s left:''%'")[0][0] >= 280


def test_a_rejected_key_stops_the_build_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_KEY", "sk-very-secret-key")
    with rejecting_server() as address:
        project = linked(
            tmp_path,
            er_teacher="openai",
            er_teacher_model="m",
            er_teacher_base_url=f"{address}/v1",
            er_teacher_api_key_env="OUR_KEY",
        )
        message = project.error("build", "--exclude", "by_function")
    assert "OUR_KEY" in message
    assert "very-secret" not in message
    assert answers(project) == []
    assert project.query("select count(*) from information_schema.tables where table_name like 'er_labels%'") == [(0,)]


@contextmanager
def rejecting_server() -> Iterator[str]:
    """A server on loopback that knows no key."""

    class Reject(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            body = b'{"error": {"message": "bad key", "code": "invalid_api_key"}}'
            self.send_response(401)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Reject)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
