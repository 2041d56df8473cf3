"""Relations are where dbt says that they are, whatever their names are made of, and every command finds them there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from conftest import make_people
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt_harness import Project, stubbed_project

from distiller_udf.project import Project as OfProject
from distiller_udf.project.dbt import parsed
from tests.unit.commands import run, run_json

MACROS = {
    "generate_alias_name": """
        {% macro generate_alias_name(custom_alias_name=none, node=none) -%}
            Of {{ custom_alias_name or node.name }} – v1.0
        {%- endmacro %}
    """,
    "generate_schema_name": """
        {% macro generate_schema_name(custom_schema_name, node) -%}
            {{ 'night run.' ~ (custom_schema_name or 'own') }}
        {%- endmacro %}
    """,
    "generate_database_name": """
        {% macro generate_database_name(custom_database_name=none, node=none) -%}
            {{ 'side' if node.name in ('er_records', 'er_votes', 'er_student_comparisons') else target.database }}
        {%- endmacro %}
    """,
}


@pytest.fixture(scope="module")
def environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as there:
        there.setenv("SHOP_PROFILE", "shop")
        there.setenv("SHOP_TARGET", "night")
        there.setenv("SHOP_SCHEMA", "main")
        there.setenv("SHOP_STUDENTS", "kept/students")
        there.delenv("DBT_TARGET", raising=False)
        yield


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, environment: None) -> Project:
    """Built once: tables to resolve in another file, er_ tables in two files, names that are no plain words."""
    folder = tmp_path_factory.mktemp("named")
    people = make_people(80)
    with duckdb.connect(str(folder / "crm.duckdb")) as connection:
        connection.execute('create schema "my ""own"" schema"')
        for name, rows in (("People A", people.left), ("b.c", people.right)):
            table = f'"my ""own"" schema"."{name}"'
            connection.execute(f"create table {table} (key integer, name text, town text, born text)")
            values = [(i, row["name"], row["town"], row["born"]) for i, row in enumerate(rows)]
            connection.executemany(f"insert into {table} values (?, ?, ?, ?)", values)
        connection.execute("create table known as select i as left_id, i as right_id from range(80) as r(i)")
    made = Project(
        folder,
        models={
            "gold": "{{ config(materialized='view') }} select * from crm.main.known",
            "of_a_file": "{{ config(materialized='view') }} select * from 'known.csv'",
        },
        macros=MACROS,
        variables={
            "er_sources": [
                {"name": "a", "relation": 'crm."my ""own"" schema"."People A"', "id": "key"},
                {"name": "b", "relation": ["crm", 'my "own" schema', "b.c"], "id": "key"},
            ],
            "er_gold": "gold",
            "er_selection_share": 0.6,
            "er_selection_minimum": 0,
            "er_selection_strategy": "uncertain",
            "er_students_path": "{{ env_var('SHOP_STUDENTS') }}",
            "er_student_name": "{{ target.name }}",
        },
        config={
            "profile": "{{ env_var('SHOP_PROFILE') }}",
            "models": {"distiller_udf": {"er_matches": {"+alias": "matched", "+schema": "out"}}},
        },
    )
    (folder / "known.csv").write_text("left_id,right_id\n" + "".join(f"{i},{i}\n" for i in range(80)))
    attached = [{"path": "crm.duckdb", "alias": "crm", "read_only": True}, {"path": "side.duckdb", "alias": "side"}]
    output = {"type": "duckdb", "threads": 2, "plugins": [{"module": "distiller_udf.plugin"}], "attach": attached}
    night = {**output, "path": "{{ env_var('SHOP_PROFILE') }}.duckdb", "schema": "{{ env_var('SHOP_SCHEMA') }}"}
    day = {**output, "path": "day.duckdb"}
    made._write(
        "profiles.yml", {"shop": {"target": "{{ env_var('SHOP_TARGET') }}", "outputs": {"night": night, "day": day}}}
    )
    made.database = folder / "shop.duckdb"
    with pytest.MonkeyPatch.context() as there:
        there.chdir(folder)
        made.run("build")
        made.run("build")
    DuckDBConnectionManager.close_all_connections()
    return made


@pytest.fixture
def place(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.chdir(tmp_path)
    return ("--project-dir", str(project.folder))


def test_it_is_where_the_macros_put_it(project: Project) -> None:
    with duckdb.connect(str(project.database)) as connection:
        found = connection.execute("select schema_name, table_name from duckdb_tables() where database_name = 'shop'")
        assert {("night run.out", "Of matched – v1.0"), ("night run.own", "Of er_labels – v1.0")} <= set(
            found.fetchall()
        )
    assert (project.folder / "kept" / "students" / "night").is_dir()
    assert not (project.folder / "distiller" / "students").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("train",),
        ("ask", "--dry-run"),
        ("evaluate",),
        ("evaluate", "--vars", "er_gold: of_a_file"),
        ("explain", "a:1", "b:1"),
        ("drift",),
        ("labels", "show"),
        ("students", "list"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_every_command_finds_it(place: tuple[str, ...], command: tuple[str, ...]) -> None:
    result = run(*command, *place)
    assert "Error" not in result.stderr


def test_a_comparison_reads_and_writes_where_dbt_does(project: Project, place: tuple[str, ...]) -> None:
    current = run_json("students", "list", *place)["students"][0]["version"]
    assert run_json("students", "compare", current, current, "--now", *place)
    assert run_json("retrain", *place, "--vars", "{er_seed: 7}")["outcome"] == "promoted"
    with duckdb.connect(str(project.folder / "side.duckdb"), read_only=True) as connection:
        table = '"night run.own"."Of er_student_comparisons – v1.0"'
        assert connection.execute(f"select count(*) from {table}").fetchall() == [(1,)]
    run("students", "promote", current, *place)


def test_gold_on_an_attached_file_is_read(place: tuple[str, ...]) -> None:
    assert run_json("evaluate", *place)["recall"] > 0.9
    assert run_json("evaluate", "--vars", "er_gold: of_a_file", *place)["recall"] > 0.9


def test_a_model_that_is_not_there_is_named(place: tuple[str, ...]) -> None:
    said = run("evaluate", "--vars", "er_gold: golden", *place, code=1).stderr
    assert said.startswith("Error: Compilation Error Model 'model.distiller_udf.er_blocking_report'")
    assert "depends on a node named 'golden' in package or project 'shop' which was not found" in said
    assert len(said.splitlines()) == 1


def test_a_view_that_cannot_be_read_is_no_missing_table(project: Project, place: tuple[str, ...]) -> None:
    known = project.folder / "known.csv"
    known.rename(project.folder / "gone.csv")
    try:
        said = run("evaluate", "--vars", "er_gold: of_a_file", *place, code=1).stderr
    finally:
        (project.folder / "gone.csv").rename(known)
    assert "Of of_a_file – v1.0" in said
    assert "is a view that cannot be read here" in said
    assert "has no table" not in said


def test_a_moved_file_has_the_project_s_schemas(project: Project, place: tuple[str, ...], tmp_path: Path) -> None:
    moved = tmp_path / "a copy.duckdb"
    moved.write_bytes(project.database.read_bytes())
    assert run_json("evaluate", *place, "--database", moved)["recall"] > 0.9
    assert "l:1" not in run("explain", "a:1", "b:1", *place, "--database", moved).stdout


def test_a_missing_environment_variable_is_dbt_s_own_sentence(
    place: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SHOP_PROFILE", "SHOP_TARGET", "SHOP_STUDENTS"):
        with monkeypatch.context() as without:
            without.delenv(name)
            said = run("evaluate", *place, code=1)
            assert f"Env var required but not provided: '{name}'" in said.stderr
            assert said.stdout == ""
            assert len(said.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "name",
    ['"my schema"."People A"', 'warehouse."my schema"."a.b ""c"""', '"warehouse"."main".plain', "plain", "main.plain"],
)
def test_a_relation_is_named_as_sql_names_it(tmp_path: Path, name: str) -> None:
    made = stubbed_project(tmp_path, models={}, variables={"er_sources": [{"name": "p", "relation": name, "id": "id"}]})
    made.query('create schema if not exists "my schema"')
    made.query(f"create table {name} as select 1 as id, 'Anna' as name")
    made.run("run", "--select", "er_records")
    assert made.query("select id, name from er_records") == [(1, "Anna")]


@pytest.mark.parametrize("name", ['"open', "a.b.c.d", "a..b", '"a"b', '""'])
def test_what_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    sources: list[dict[str, Any]] = [{"name": "p", "relation": name, "id": "id"}]
    made = stubbed_project(tmp_path, models={}, variables={"er_sources": sources})
    assert "schema.table, or a list of its parts" in made.error("run", "--select", "er_records")
    assert "schema.table, or a list of its parts" in run("doctor", "--project-dir", tmp_path, code=1).stderr


def test_dbt_and_commands_agree_on_a_variable(project: Project) -> None:
    found = OfProject.of(project.folder, profiles_dir=project.folder)
    assert found.settings.student_name == "night"
    assert found.settings.students_path == str(project.folder / "kept" / "students")
    assert parsed(found).node("er_matches").relation is not None
    assert os.environ["SHOP_TARGET"] == "night"


def file_with(path: Path, *schemas: str) -> Path:
    with duckdb.connect(str(path)) as connection:
        for schema in schemas:
            connection.execute(f'create schema if not exists "{schema}"')
            connection.execute(f'create table "{schema}".er_matches as select 1 as left_id, 1 as right_id')
            connection.execute(f'create table "{schema}".er_candidates as from "{schema}".er_matches')
        connection.execute('create table main."er_labels__dbt_tmp20260101000000000000" as select 1')
    return path


def test_a_file_alone_says_which_schema_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    gold = tmp_path / "gold.csv"
    gold.write_text("left_id,right_id\n1,1\n")
    for schema in ("main", "night er"):
        (tmp_path / "w.duckdb").unlink(missing_ok=True)
        found = run("evaluate", "--gold", gold, "--database", file_with(tmp_path / "w.duckdb", schema))
        assert ("has its er_ tables in the schema night er" in found.stderr) == (schema == "night er")
    several = file_with(tmp_path / "s.duckdb", "a", "b")
    said = run("evaluate", "--gold", gold, "--database", several, code=1).stderr
    assert "has er_ tables in several schemas, a, b; name one with --schema" in said
    run("evaluate", "--gold", gold, "--database", several, "--schema", "b")
    empty = file_with(tmp_path / "e.duckdb")
    assert "has no table main.er_matches" in run("evaluate", "--gold", gold, "--database", empty, code=1).stderr


def test_commands_print_nothing_of_dbt_s(tmp_path: Path) -> None:
    noisy = "{{ print('printed') }}{{ log('logged', info=True) }}{{ exceptions.warn('warned') }}"
    people = f"{noisy} select 1 as id, 'Anna' as name, 1 as left_id, 1 as right_id"
    sources = [{"name": "p", "model": "people", "id": "id", "columns": ["name"]}]
    made = stubbed_project(tmp_path, models={"people": people}, variables={"er_sources": sources, "er_gold": "people"})
    made.run("run", silent=["JinjaLogWarning"])
    DuckDBConnectionManager.close_all_connections()
    assert set(run_json("evaluate", "--project-dir", tmp_path)) >= {"recall"}
    made._write("models/broken.sql", "{{ config(materialized='x' }} select 1")
    said = run("evaluate", "--project-dir", tmp_path, code=1)
    assert said.stdout == ""
    assert said.stderr.startswith("Error: Compilation Error in model broken (models/broken.sql) unexpected '}'")
    assert len(said.stderr.splitlines()) == 1
