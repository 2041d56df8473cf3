"""`distiller drift` and `retrain --if-drift` on a real warehouse, with a real HTTP server for a teacher."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from commands import run, run_json
from conftest import label_table, make_people
from fake_llm import Body, FakeLLM, fake_llm, same_born

from distiller_udf.pipeline.downstream import Downstream, with_sources
from distiller_udf.pipeline.snapshot import of_warehouse
from distiller_udf.project import default_variables
from distiller_udf.registry import Registry
from distiller_udf.students import load_student
from distiller_udf.training.ensure import ensure_student
from distiller_udf.training.er_student import record_columns, sampled
from distiller_udf.training.recipe import Recipe
from distiller_udf.training.schedule.evaluation_set import split

PEOPLE = 240
SHARE = 0.3


def build(database: Path, labels: pa.Table) -> None:
    """The tables of dbt up to er_pairs, from the labels' own tuples."""
    people = make_people(PEOPLE)
    with duckdb.connect(str(database)) as warehouse:
        for side, rows in (("l", people.left), ("r", people.right)):
            warehouse.register(side, pa.Table.from_pylist([{"id": i, **row} for i, row in enumerate(rows)]))
        warehouse.register("given", labels)
        warehouse.execute("create table er_votes as from given")
        warehouse.execute("""
            create table er_records as
            select 'l' as source, id, md5(l::varchar) as fingerprint, name, town, born from l
            union all select 'r', id, md5(r::varchar), name, town, born from r
        """)
        warehouse.execute("""
            create table er_pairs as
            select 'l' as left_source, left_id, 'r' as right_source, option.id as right_id,
                {'name': l.name, 'town': l.town, 'born': l.born} as left_record,
                {'name': r.name, 'town': r.town, 'born': r.born} as right_record
            from (select left_id, unnest(options) as option from er_votes)
            join l on left_id = l.id join r on option.id = r.id
        """)


def decide(database: Path, settings: dict[str, object], registry: Registry) -> None:
    """The tables of dbt from er_choices on, by the current student."""
    with of_warehouse(database, "main", {}) as snapshot:
        everything = Downstream.of(snapshot, with_sources(settings, snapshot))
        assert everything is not None
        student = load_student(registry.current())
        scored, matches = everything.scored(student), everything.decided(student)
        names = np.asarray(everything.records.names)

    def rows(pairs: np.ndarray) -> dict[str, list[object]]:
        sides = {
            side: [str(name).split(":") for name in names[pairs[:, i]]] for i, side in enumerate(("left", "right"))
        }
        return {
            f"{side}_{what}": [name[i] for name in found]
            for side, found in sides.items()
            for i, what in enumerate(("source", "id"))
        }

    choices = {
        **rows(scored.pairs),
        "probability": scored.probability,
        "student": [student.info.version] * len(scored.pairs),
    }
    with duckdb.connect(str(database)) as warehouse:
        for name, columns in (("er_choices", choices), ("er_matches", rows(matches))):
            warehouse.register("made", pa.table(columns))
            casts = "cast(left_id as bigint) as left_id, cast(right_id as bigint) as right_id"
            warehouse.execute(f"create table {name} as select * replace ({casts}) from made")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was built, whose student learned from a part of the labels."""
    folder = tmp_path_factory.mktemp("made")
    labels = label_table(make_people(PEOPLE))
    build(folder / "shop.duckdb", labels)
    registry = Registry(folder / "distiller" / "students")
    with of_warehouse(folder / "shop.duckdb", "main", {}) as snapshot:
        pairs = snapshot.table("er_pairs")
        ensure_student(
            split(labels, SHARE)[0],
            registry,
            Recipe(
                settings={"seed": 42, "constraint": "one_to_one"},
                candidates=lambda: sampled(snapshot.connection, pairs),
                columns=record_columns(pairs),
            ),
        )
    settings = {name.removeprefix("er_"): value for name, value in default_variables().items()}
    decide(folder / "shop.duckdb", settings, registry)
    return folder


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLLM]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with fake_llm(same_born) as llm:
        yield llm


@pytest.fixture
def shop(made: Path, teacher: FakeLLM, tmp_path: Path) -> Path:
    """A copy of the project, whose teacher goes by the date of birth."""
    folder = tmp_path / "shop"
    shutil.copytree(made, folder)
    variables = {
        "er_teacher": "openai",
        "er_teacher_model": "some-model",
        "er_teacher_base_url": teacher.base_url,
        "er_evaluation_share": SHARE,
    }
    settings = {"name": "shop", "profile": "shop", "vars": variables}
    (folder / "dbt_project.yml").write_text(json.dumps(settings))
    return folder


def database(shop: Path) -> list[object]:
    return ["--database", shop / "shop.duckdb"]


def test_a_teacher_that_agrees_and_pairs_as_before_are_no_drift(shop: Path, teacher: FakeLLM) -> None:
    found = run_json("drift", *database(shop), "--tuples", 40, "--seed", 1)
    assert not found["drifted"], found["reasons"]
    assert (found["tuples"], found["answered"], len(teacher.asked)) == (40, 40, 40)
    assert found["agreement"]["all"]["value"] >= 0.95
    assert found["agreement"]["on_matches"]["of"] + found["agreement"]["on_none"]["of"] == 40
    assert found["promised"] > 0.9
    assert max(shift["psi"] for shift in found["shifts"]) < 0.2
    assert "No drift." in run("drift", *database(shop), "--tuples", 40, "--seed", 1).stderr
    assert len(teacher.asked) == 40, "what was answered is in the label store"
    run("drift", *database(shop), "--tuples", 40, "--seed", 2)
    assert len(teacher.asked) > 40, "another seed draws other records"
    kept = list((shop / "distiller" / "students" / "default" / ".drift").glob("*.json"))
    assert {json.loads(path.read_text())["draw"] for path in kept} >= {2}


def test_a_teacher_that_disagrees_is_drift(shop: Path, teacher: FakeLLM) -> None:
    def another(body: Body) -> str:
        said = json.loads(same_born(body))
        return json.dumps({**said, "choice": 0 if said["choice"] else 1})

    teacher.reply = another
    found = run_json("drift", *database(shop), "--tuples", 30, code=30)
    assert found["agreement"]["all"]["value"] < 0.1
    assert "where" in found["reasons"][0]
    assert "were to be expected" in found["reasons"][0]


def test_a_spent_budget_leaves_what_was_answered(shop: Path, teacher: FakeLLM) -> None:
    few = run_json("drift", *database(shop), "--tuples", 40, "--budget-calls", 5)
    assert (few["agreement"], few["answered"]) == (None, 5)
    assert any("answers are too few to say how far the teacher agrees" in reason for reason in few["reasons"])
    some = run("drift", *database(shop), "--tuples", 40, "--budget-calls", 15)
    assert "20 of 40 were answered and are used" in some.stderr
    assert len(teacher.asked) == 20


def change_names(shop: Path) -> None:
    with duckdb.connect(str(shop / "shop.duckdb")) as warehouse:
        warehouse.execute("""
            update er_pairs set left_record = struct_pack(
                name := 'To Whom It May Concern ' || reverse(left_record.name), town := null, born := left_record.born
            )
        """)


def test_pairs_that_are_unlike_those_trained_on_are_drift(shop: Path) -> None:
    change_names(shop)
    found = run("drift", *database(shop), "--tuples", 20, code=30)
    assert "left name: length has moved by" in found.stderr
    assert "left town: filled has moved by" in found.stderr
    assert "Drift: `distiller retrain` is due." in found.stderr


def test_retrain_if_drift_trains_only_then(shop: Path, teacher: FakeLLM) -> None:
    calm = run("retrain", *database(shop), "--if-drift", code=10)
    assert "no drift, so nothing was trained" in calm.stderr
    change_names(shop)
    moved = run("retrain", *database(shop), "--if-drift", code=10)
    assert "knows all labels" in moved.stderr, "there is drift, and still no new label"


def test_without_a_student_there_is_nothing_to_measure(shop: Path) -> None:
    shutil.rmtree(shop / "distiller" / "students")
    assert "no student has been trained" in run("drift", *database(shop), code=1).output
    assert run_json("retrain", *database(shop), "--if-drift")["outcome"] == "promoted"


def test_imported_labels_alone_ask_nobody(shop: Path) -> None:
    said = run("drift", *database(shop), "--vars", "{er_teacher: imported}", code=1).output
    assert "only imported labels are set" in said
