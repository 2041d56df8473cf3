"""What `distiller retrain` and `students compare` say is decided is what dbt builds: row for row, ids included."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest
from conftest import make_people
from dbt_harness import WARNED, Project

from distiller_udf.cli.weighing import of_project
from distiller_udf.project import Project as Place
from distiller_udf.registry import Registry
from distiller_udf.students import load_student
from distiller_udf.training.schedule.snapshot import DECISIONS
from distiller_udf.training.versions import Recipe, publish_student
from tests.unit.commands import run_json

MODELS = ("er_student", "er_scores", "er_choices", "er_matches", "er_entities")
Rows = list[tuple[Any, ...]]


def people(count: int, seed: int) -> str:
    """People as CSV with ids that are no numbers, some of them more than once."""
    rng = random.Random(seed)
    made = make_people(count)
    rows = [*made.left, *rng.sample(made.right, count // 2)] if seed == 3 else made.left if seed == 1 else made.right
    lines = [f"{chr(97 + i % 7)}{i},{r['name']},{r['town'] or ''},{r['born']}" for i, r in enumerate(rows)]
    # Copies of records are one rival; many rivals of one name are a hard case for a constraint.
    lines += [f"z{i},{line.split(',', 1)[1]}" for i, line in enumerate(rng.sample(lines, 12))]
    lines += [f"y{i},Anna Adler,,1950-01-0{i % 3 + 1}" for i in range(6)]
    return "key,name,town,born\n" + "\n".join(lines) + "\n"


def built(folder: Path, seeds: dict[str, str], parts: Mapping[str, Any] | None = None, **variables: Any) -> Project:
    own = dict(parts or {})
    links = "left_source, left_id, right_source, right_id"
    first, last = min(seeds), max(seeds)
    made = Project(
        folder,
        seeds=seeds,
        models={
            "same": f"select * from (values ('{first}', 'a0', '{last}', 'b1'), ('{first}', 'c2', '{last}', 'c2'),"
            f" ('{first}', 'none', '{last}', 'b1')) t({links})",
            "other": f"select * from (values ('{first}', 'd3', '{last}', 'd3'), ('{first}', 'y0', '{last}', 'y1'),"
            f" ('{first}', 'a7', '{first}', 'y0')) t({links})",
            **own.pop("models", {}),
        },
        **own,
        variables={
            "er_sources": [{"name": name, "model": name, "id": "key"} for name in seeds],
            "er_selection_share": 0.5,
            "er_selection_minimum": 0,
            "er_training": "schedule",
            **variables,
        },
    )
    made.run("build", silent=WARNED)
    return made


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Three sources, so that an entity may hold too many of one."""
    seeds = {"r": people(50, 0), "l": people(50, 1), "m": people(30, 2)}
    return built(tmp_path_factory.mktemp("linked"), seeds)


@pytest.fixture(scope="module")
def deduped(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One table, in a warehouse and schemas of other names, with a decision of the project's own on the way."""
    folder = tmp_path_factory.mktemp("deduped")
    rules = "{{ config(materialized='table') }}"
    arguments = (
        "records=ref('er_records'), sources=['d'], threshold=var('er_threshold', none), student=ref('er_student')"
    )
    parts = {
        "models": {
            "likely": "select * from {{ ref('er_choices') }} where probability > 0.1 and left_id <> 'y0'",
            "er_matches": rules + f"{{{{ distiller_udf.er_matches(ref('likely'), {arguments}) }}}}",
        },
        "config": {"models": {"distiller_udf": {"+schema": "er", "er_matches": {"+enabled": False}}}},
        "output": {"path": str(folder / "ware house.duckdb")},
    }
    made = built(folder, {"d": people(60, 3)}, parts, er_teacher_ask="match")
    made.database = folder / "ware house.duckdb"
    return made


def schema(project: Project) -> str:
    """Where the project's models are."""
    return "main_er" if (project.folder / "models" / "likely.sql").exists() else "main"


def tables(project: Project) -> tuple[Rows, Rows]:
    """What dbt has made."""
    return (
        project.query("select * from er_matches order by all"),
        project.query(f"select source, id, entity_id, entity_size from {schema(project)}.er_entities order by all"),
    )


def decided(project: Project, version: Path, variables: dict[str, Any]) -> tuple[Rows, Rows]:
    """What retraining says that dbt would make with this student."""
    there = Place.of(project.folder, variables=variables, profiles_dir=project.folder)
    with of_project(there, ("er_pairs", *DECISIONS), {}) as (snapshot, _):
        with duckdb.connect(str(project.database)) as writer:  # it is free: dbt may build meanwhile
            writer.execute("create or replace table written as select 1")
        made = snapshot.decided(load_student(version), version, "somebody")
        rows = snapshot.connection.sql
        return (
            rows(f"from {made.matches} order by all").fetchall(),
            rows(f"select source, id, entity_id, entity_size from {made.entities} order by all").fetchall(),
        )


def drawn(seed: int) -> dict[str, Any]:
    """Rules by which pairs are decided, by chance."""
    rng = random.Random(seed)
    chosen = {
        "er_constraint": rng.choice(["auto", "many_to_one", "none"]),
        "er_threshold": rng.choice([None, 0.02, 0.2, 0.9]),
        "er_entity_max_size": rng.choice([None, 2, 3]),
        "er_must_links": rng.choice([None, "same"]),
        "er_cannot_links": rng.choice([None, "other"]),
    }
    return {name: value for name, value in chosen.items() if value is not None}


def promoted(project: Project, variables: dict[str, Any]) -> Path:
    """The student that decides under these variables: one that was made for their constraint."""
    settings = Place.of(project.folder, variables=variables, profiles_dir=project.folder).settings
    with duckdb.connect(str(project.database)) as warehouse:
        votes = warehouse.table(f"{schema(project)}.er_votes").to_arrow_table()
    recipe = Recipe(settings={"constraint": str(settings.resolved_constraint)})
    made = publish_student(votes, registry(project), recipe).path
    registry(project).promote(made.name)
    return made


def registry(project: Project) -> Registry:
    return Registry(project.folder / "distiller" / "students")


@pytest.mark.parametrize("seed", [0, 1, 3, 5])
def test_linked_tables_are_decided_as_dbt_decides(linked: Project, seed: int) -> None:
    check(linked, drawn(seed))


@pytest.mark.parametrize("seed", [6, 8])
def test_a_deduplicated_table_is_decided_as_dbt_decides(deduped: Project, seed: int) -> None:
    check(deduped, {**drawn(seed), "er_constraint": "auto"})


def check(project: Project, variables: dict[str, Any]) -> None:
    """Decide, let dbt build, and compare; the entities of the rules before are the former ones of both."""
    expected = decided(project, promoted(project, variables), variables)
    own = [path.stem for path in (project.folder / "models").glob("*.sql")]
    project.run("run", "--select", *own, *MODELS, variables=variables, silent=WARNED)
    assert tables(project) == expected, variables
    assert len(expected[0]) > 20


def test_what_a_challenger_would_change_is_what_changes(linked: Project) -> None:
    """The whole way: weighed, promoted and built; entities are limited in size, by sources and by a cannot-link."""
    variables = {"er_entity_max_size": 2, "er_cannot_links": "other"}
    linked.run("run", "--select", "other", *MODELS, variables=variables, silent=WARNED)
    before = tables(linked)
    current = registry(linked).current()
    with duckdb.connect(str(linked.database)) as warehouse:  # a teacher that misses every other match
        labels = "select * replace (case when rowid % 2 = 0 then choice else 0 end as choice) from er_votes"
        spoilt = warehouse.sql(labels).to_arrow_table()
    challenger = publish_student(spoilt, registry(linked), Recipe(settings={"seed": 3, "rounds": 5})).path
    said = run_json(
        *("students", "compare", challenger.name, current.name, "--now", "--vars", json.dumps(variables)),
        *("--project-dir", linked.folder, "--profiles-dir", linked.folder),
    )
    expected = decided(linked, challenger, variables)
    registry(linked).promote(challenger.name)
    linked.run("run", "--select", *MODELS, variables=variables, silent=WARNED)
    after = tables(linked)
    registry(linked).promote(current.name)
    assert after == expected
    keys = [{row[:4] for row in rows} for rows, _ in (before, after)]
    changes = said["changes"]
    assert changes["pairs_gained"] == len(keys[1] - keys[0])
    assert changes["pairs_lost"] == len(keys[0] - keys[1])
    assert keys[0] != keys[1]
    assert changes["pairs_kept"] == len(keys[0] & keys[1])
    entities = [{row[:2]: row[2] for row in rows} for _, rows in (before, after)]
    moved = Counter((entities[0][record], entities[1][record]) for record in entities[0])
    assert changes["records_renamed"] == sum(n for (old, new), n in moved.items() if old != new) > 0
    assert changes["entities_split"] == sum(n > 1 for n in Counter(old for old, _ in moved).values())
    assert changes["entities_merged"] == sum(n > 1 for n in Counter(new for _, new in moved).values())
    assert max(row[3] for row in after[1]) == 2
