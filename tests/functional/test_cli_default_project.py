"""Commands on a project with the default settings, as one that `dbt build` has just built: no option is needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import make_people
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt_harness import Project

from distiller_udf.registry import Registry
from tests.unit.commands import run, run_json


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Project:
    people = make_people(80)
    rows = {"l": people.left, "r": people.right}
    made = Project(
        tmp_path_factory.mktemp("default"),
        seeds={
            name: "\n".join(["key,name,born", *(f"{i},{row['name']},{row['born']}" for i, row in enumerate(some))])
            + "\n"
            for name, some in rows.items()
        },
        variables={"er_sources": [{"name": name, "model": name, "id": "key"} for name in rows]},
    )
    made.run("build")
    made.run("build", variables={"er_seed": 7})
    DuckDBConnectionManager.close_all_connections()
    return made


def place(shop: Project) -> list[object]:
    return ["--project-dir", shop.folder, "--profiles-dir", shop.folder]


def test_versions_that_nobody_weighed_are_compared(shop: Project) -> None:
    registry = Registry(shop.folder / "distiller" / "students", "default")
    current = registry.current_version()
    (other,) = [name for name in registry.names() if name != current]
    found = run_json("students", "compare", other, *place(shop))
    assert (found["challenger"], found["current"]) == (other, current)
    assert found["changes"] is not None


@pytest.mark.parametrize("command", [["train", "--no-promote"], ["retrain", "--dry-run"]])
def test_labels_that_dbt_has_not_taken_in_are_said(shop: Project, tmp_path: Path, command: list[str]) -> None:
    made = shop.copied(tmp_path / "shop")
    DuckDBConnectionManager.close_all_connections()
    warning = "Warning: labels were imported after the warehouse was built, so er_votes does not have them; "
    assert warning not in run(*command, *place(made)).stderr
    (tmp_path / "mine.jsonl").write_text(json.dumps({"left_id": 1, "right_id": 2, "is_match": False}))
    run("labels", "import", tmp_path / "mine.jsonl", "--project-dir", made.folder)
    said = run(*command, *place(made)).stderr
    assert f"{warning}`dbt build --select er_labels+` takes them in." in said
    made.run(
        "build", "--select", "er_labels+", variables={"er_teachers": [{"teacher": "embedded"}, {"teacher": "imported"}]}
    )
    DuckDBConnectionManager.close_all_connections()
    assert made.query("select count(*) from er_labels where teacher = 'people'") == [(1,)]
    assert warning not in run("train", "--no-promote", *place(made)).stderr


def test_an_id_is_found_in_the_table(shop: Project, tmp_path: Path) -> None:
    made = shop.copied(tmp_path / "shop")
    file = made.folder / "dbt_project.yml"
    text = file.read_text()
    file.write_text(text[: text.index("vars:")] + "flags: {send_anonymous_usage_stats: false}\n")
    (made.folder / "packages.yml").unlink()
    DuckDBConnectionManager.close_all_connections()
    report = run_json("init", *place(made), "--source", "l=l", "--source", "r=r:key")
    assert "the id of l: key, which tells all rows of l apart" in report["added"]
    assert not [line for line in report["next"] if "was assumed" in line]
    assert "id: key" in file.read_text()
