"""No build leaves a table beside those of its models, whatever schema and database they are in, and however it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest
from conftest import make_people
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt_harness import Project

LAYOUTS: dict[str, dict[str, Any]] = {
    "profile": {"output": {"schema": "analytics"}},
    "custom": {"models": {"+schema": "er"}},
    "attached": {
        "output": {"schema": "mine", "database": "other", "attach": [{"path": "other.duckdb", "alias": "other"}]},
        "models": {"+schema": "er"},
    },
    "model": {"output": {"attach": [{"path": "other.duckdb", "alias": "other"}]}, "models": {"+database": "other"}},
}
STOP = "{{ \"select error('stopped here')\" if var('stop', '') == this.name else 'select 1' }}"


def made(folder: Path, layout: str) -> Project:
    people, columns = make_people(60), ("key", "name", "town", "born")
    output = dict(LAYOUTS[layout].get("output", {}))
    output["attach"] = [{**one, "path": str(folder / one["path"])} for one in output.get("attach", [])]
    stopping = {model: {"+post-hook": STOP} for model in ("er_labels", "er_votes", "er_scores")}
    models = {**LAYOUTS[layout].get("models", {}), **stopping}
    rows = {"l": people.left, "r": people.right}
    return Project(
        folder,
        seeds={
            name: "\n".join(
                [",".join(columns), *(f"{i},{r['name']},{r['town']},{r['born']}" for i, r in enumerate(part))]
            )
            for name, part in rows.items()
        },
        variables={
            "er_sources": [{"name": name, "model": name, "id": "key"} for name in rows],
            "er_selection_share": 0.6,
            "er_selection_minimum": 0,
            "er_label_store": str(folder / "labels.sqlite"),
            "er_students_path": str(folder / "students"),
        },
        config={"models": {"distiller_udf": models}},
        output={"plugins": [{"module": "distiller_udf.plugin"}], **output},
    )


def relations(project: Project) -> list[tuple[str, str, str]]:
    """Every table and view of the project's databases."""
    DuckDBConnectionManager.close_all_connections()
    found: list[tuple[str, str, str]] = []
    for file in sorted(project.folder.glob("*.duckdb")):
        with duckdb.connect(str(file)) as connection:
            query = "select table_catalog, table_schema, table_name from information_schema.tables order by all"
            found += connection.execute(query).fetchall()
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_builds_leave_the_models_alone(tmp_path: Path, layout: str) -> None:
    project = made(tmp_path, layout)
    project.run("build")
    first = relations(project)
    models = {node.alias for node in project.run("parse").nodes.values() if node.resource_type in ("model", "seed")}
    assert {name for _, _, name in first} == models
    changed = (tmp_path / "seeds" / "l.csv").read_text().replace("\n1,", "\n1,Doctor ")
    (tmp_path / "seeds" / "l.csv").write_text(changed)
    for options in ([], ["--full-refresh"]):
        project.run("build", *options)
        assert relations(project) == first


def test_a_failed_model_leaves_nothing(tmp_path: Path) -> None:
    project = made(tmp_path, "attached")
    project.run("build")
    first = relations(project)
    for model in ("er_labels", "er_votes", "er_scores"):
        for options in ([], ["--full-refresh"]):
            stopped = project.error("run", "--select", model, *options, variables={"stop": model})
            assert "stopped here" in stopped
            assert relations(project) == first


def build(folder: str, *options: str) -> None:
    from dbt.cli.main import dbtRunner

    dbtRunner().invoke(["--quiet", "build", "--project-dir", folder, "--profiles-dir", folder, *options])


def test_what_a_killed_build_leaves_is_gone_after_the_next(tmp_path: Path) -> None:
    project = made(tmp_path, "attached")
    project.run("build")
    first = relations(project)
    fresh = multiprocessing.get_context("forkserver")
    fresh.set_forkserver_preload(["dbt.cli.main", "dbt.adapters.duckdb", "distiller_udf.plugin", "lightgbm", "sklearn"])

    def start() -> Any:
        process = fresh.Process(target=build, args=(str(tmp_path), "--full-refresh"))
        process.start()
        return process

    began = time.monotonic()
    whole = start()
    whole.join()
    seconds = time.monotonic() - began
    for share in (0.6, 0.75, 0.9):
        process = start()
        time.sleep(share * seconds)
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
        process.join()
    project.run("build")
    assert relations(project) == first


def test_what_earlier_versions_left_is_dropped_and_nothing_else(tmp_path: Path) -> None:
    project = made(tmp_path, "custom")
    project.run("build", "--select", "+er_labels", "--exclude", "test_type:data")
    first = relations(project)
    left = [f"main.{name}__dbt_tmp2026120105{n:010}" for name in ("er_labels", "er_scores") for n in (1, 2)]
    in_schema = ["main_er.er_labels__dbt_tmp20261201050000000003"]
    others = [
        "main.er_labels__dbt_tmp_of_mine",
        "main.my_er_labels__dbt_tmp20261201050000000001",
        "main.er_labels__dbt_tmp1",
    ]
    for table in (*left, *in_schema, *others):
        project.query(f"create table {table} as select 'Anna' as name")
    project.run("run", "--select", "er_labels")
    DuckDBConnectionManager.close_all_connections()
    kept = {(catalog, *table.split(".")) for catalog in [first[0][0]] for table in (*others, *left[2:])}
    assert set(relations(project)) - set(first) == kept
