"""Every command sees the project as `dbt build` does, wherever its target, schemas, files and folders are."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import make_people
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt_harness import Project

from tests.unit.commands import run, run_json

SCHEMA = "night_er"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Built into the target that is not the default one, with a schema of the models' own and everything elsewhere."""
    people = make_people(80)
    columns = ("key", "name", "town", "born")
    rows = {"l": people.left, "r": people.right}
    made = Project(
        tmp_path_factory.mktemp("moved"),
        seeds={
            name: "\n".join(
                [",".join(columns), *(f"{i},{r['name']},{r['town'] or ''},{r['born']}" for i, r in enumerate(part))]
            )
            for name, part in rows.items()
        },
        variables={
            "er_sources": [{"name": name, "model": name, "id": "key"} for name in rows],
            "er_selection_share": 0.6,
            "er_selection_minimum": 0,
            "er_students_path": "work/students",
            "er_student_name": "people",
            "er_label_store": "work/answers.sqlite",
        },
        config={"models": {"distiller_udf": {"+schema": "er"}}},
    )
    profile = {"type": "duckdb", "threads": 2, "plugins": [{"module": "distiller_udf.plugin"}]}
    outputs = {
        "day": {**profile, "path": "day.duckdb"},
        "night": {**profile, "path": "work/warehouse.duckdb", "schema": "night"},
    }
    (made.folder / "profiles.yml").write_text(yaml.safe_dump({"shop": {"target": "day", "outputs": outputs}}))
    (made.folder / "work").mkdir()
    made.database = made.folder / "work" / "warehouse.duckdb"
    with pytest.MonkeyPatch.context() as there:
        there.chdir(made.folder)  # dbt takes a profile's path from where it runs
        made.run("build", "--target", "night")
    DuckDBConnectionManager.close_all_connections()  # a command in a process of its own finds it closed
    return made


@pytest.fixture
def place(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """The options that name the project for who works in another folder, where nothing is written."""
    monkeypatch.chdir(tmp_path)
    return ("--project-dir", str(project.folder), "--profiles-dir", str(project.folder), "--target", "night")


def version(project: Project) -> str:
    return str(project.query(f"select student from {SCHEMA}.er_student where is_current")[0][0])


def test_dbt_writes_where_the_settings_say(project: Project) -> None:
    assert project.query(f"select count(*) > 40 from {SCHEMA}.er_matches") == [(True,)]
    assert (project.folder / "work" / "students" / "people").is_dir()
    assert (project.folder / "work" / "answers.sqlite").is_file()
    assert not (project.folder / "distiller").exists()
    assert not (project.folder / "day.duckdb").exists()


def test_doctor_finds_it_all(project: Project, place: tuple[str, ...]) -> None:
    checks = {check["name"]: check for check in run_json("doctor", *place)["checks"]}
    assert all(checks[name]["ok"] for name in ("warehouse", "student", "label store")), checks
    assert checks["student"]["found"].startswith(version(project))


def test_labels_are_those_of_the_build(project: Project, place: tuple[str, ...], tmp_path: Path) -> None:
    labels = project.query(f"select count(*) from {SCHEMA}.er_labels")[0][0]
    [row] = run_json("labels", "show", *place[:4])["teachers"]
    assert row["labels"] == labels
    run("labels", "export", tmp_path / "labels.parquet", *place[:4])
    assert pq.read_metadata(tmp_path / "labels.parquet").num_rows == labels


def test_nothing_is_left_to_ask(place: tuple[str, ...]) -> None:
    [row] = run_json("ask", "--dry-run", *place)["estimate"]
    assert row["tuples"] == row["cached"] > 0


def test_train_makes_the_student_of_the_build(project: Project, place: tuple[str, ...]) -> None:
    assert run_json("train", *place)["version"] == version(project)


def test_students_are_those_of_the_build(project: Project, place: tuple[str, ...], tmp_path: Path) -> None:
    assert [row["version"] for row in run_json("students", "list", *place[:4])["students"]] == [version(project)]
    assert run_json("students", "show", version(project), *place[:4])["version"] == version(project)
    run("students", "promote", version(project), *place[:4])
    assert "no earlier version" in run("students", "rollback", *place[:4], code=1).output


def test_evaluate_reads_the_schema_of_the_build(project: Project, place: tuple[str, ...], tmp_path: Path) -> None:
    gold = tmp_path / "gold.parquet"
    duckdb.sql(f"copy (select i as left_id, i as right_id from range(80) as r(i)) to '{gold}'")
    assert run_json("evaluate", "--gold", gold, *place)["recall"] > 0.5


def test_score_takes_the_student_of_the_build(project: Project, place: tuple[str, ...], tmp_path: Path) -> None:
    tables = {"l": "from night.l", "r": "from night.r", "c": f"select left_id, right_id from {SCHEMA}.er_candidates"}
    for name, query in tables.items():
        project.query(f"copy ({query}) to '{tmp_path / name}.parquet'")
    files = ("--left", "l.parquet", "--right", "r.parquet", "--candidates", "c.parquet", "--id", "key")
    scored = run_json("score", *files, "--output", "s.parquet", *place[:4])
    assert scored["student"] == version(project)


def test_a_student_of_another_constraint_is_refused(project: Project, place: tuple[str, ...], tmp_path: Path) -> None:
    other = (*place, "--vars", "er_constraint: many_to_one")
    for name, query in {"l": "from night.l", "r": "from night.r", "c": "select 1 as left_id, 1 as right_id"}.items():
        project.query(f"copy ({query}) to '{tmp_path / name}.parquet'")
    files = ("--left", "l.parquet", "--right", "r.parquet", "--candidates", "c.parquet", "--id", "key", "-o", "s.csv")
    for command in (("score", *files), ("explain", "l:1", "r:1"), ("students", "promote", version(project))):
        assert (
            "was made for the constraint one_to_one, and many_to_one is wanted" in run(*command, *other, code=1).stderr
        )
    assert not (tmp_path / "s.csv").exists()
    run("students", "promote", version(project), *place)


def test_the_environment_names_the_target_as_for_dbt(
    project: Project, place: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    without = place[: place.index("--target")]
    assert "day.duckdb" in run("explain", "l:1", "r:1", *without, code=1).stderr
    monkeypatch.setenv("DBT_TARGET", "night")
    assert "l:1" in run("explain", "l:1", "r:1", *without).stdout


def test_a_schema_is_where_all_tables_are(place: tuple[str, ...]) -> None:
    assert "has no table elsewhere.er_votes" in run("train", *place, "--schema", "elsewhere", code=1).stderr


def test_retrain_and_drift_find_nothing_new(project: Project, place: tuple[str, ...]) -> None:
    assert run_json("retrain", *place, code=10)["current"] == version(project)
    assert run_json("drift", *place)["student"] == version(project)


def test_nothing_was_written_elsewhere(project: Project, place: tuple[str, ...], tmp_path: Path) -> None:
    assert list(tmp_path.iterdir()) == []
    assert not (project.folder / "distiller").exists()
    assert not (project.folder / "day.duckdb").exists()
