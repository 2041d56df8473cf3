"""What `distiller retrain` says of the decisions is what dbt decides: the same matches and entities, row for row."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import make_people
from dbt_harness import Project

from distiller_udf.pipeline.downstream import Downstream, with_sources
from distiller_udf.pipeline.snapshot import of_warehouse
from distiller_udf.registry import Registry
from distiller_udf.settings import Settings
from distiller_udf.students import load_student
from distiller_udf.warehouse import Warehouse

MODELS = ("er_choices", "er_matches", "er_entities")


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


def built(folder: Path, sources: list[str], **variables: Any) -> Project:
    made = Project(
        folder,
        seeds={name: people(90, seed) for seed, name in enumerate(["r", "l", "d"], start=0) if name in sources}
        if "d" not in sources
        else {"d": people(60, 3)},
        models={
            "same": "select * from (values ('a0', 'b1'), ('c2', 'c2'), ('none', 'b1')) t(left_id, right_id)",
            "other": "select * from (values ('d3', 'd3')) t(left_id, right_id)",
        },
        variables={
            "er_sources": [{"name": name, "model": name, "id": "key"} for name in sources],
            "er_selection_share": 0.5,
            "er_selection_minimum": 0,
            **variables,
        },
    )
    made.run("build")
    return made


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return built(tmp_path_factory.mktemp("linked"), ["r", "l"])


@pytest.fixture(scope="module")
def deduped(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return built(tmp_path_factory.mktemp("deduped"), ["d"], er_teacher_ask="match")


def copied(project: Project) -> Path:
    """The warehouse as another process would find it: this one has dbt's own connection open."""
    project.query("checkpoint")
    copy = project.folder / "copy" / project.database.name
    copy.parent.mkdir(exist_ok=True)
    shutil.copy(project.database, copy)
    return copy


def decided(project: Project, variables: dict[str, Any]) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Matches and the entity of each record, as Python decides them."""
    sources = [name for name in ("r", "l", "d") if (project.folder / "seeds" / f"{name}.csv").exists()]
    listed = [{"name": name, "model": name, "id": "id"} for name in sources]
    settings = Settings.of({"er_sources": listed, **variables}, "er_")
    named = {f"er_{name}": getattr(settings, name) for name in ("gold", "must_links", "cannot_links")}
    with of_warehouse(Warehouse(str(copied(project)), {}), named) as snapshot:
        everything = Downstream.of(snapshot, with_sources(settings, snapshot))
        assert everything is not None
        student = load_student(Registry(project.folder / "distiller" / "students").current())
        matches = everything.decided(student)
        names = everything.records.names
        entities = {names[n]: names[first] for n, first in enumerate(everything.entities(matches))}
        return [(names[left], names[right]) for left, right in matches], entities


def check(project: Project, variables: dict[str, Any]) -> int:
    """Compare with the tables that dbt builds; returns how many matches there are."""
    project.run("run", "--select", "same", "other", *MODELS, variables=variables)
    rows = project.query(
        "select left_source || ':' || left_id, right_source || ':' || right_id from er_matches order by all"
    )
    matches, entities = decided(project, variables)
    assert sorted(matches) == rows
    # The ids of er_entities last from one set of settings to the next; which records are together is what counts.
    named = dict(project.query("select source || ':' || id, entity_id from er_entities"))
    assert len(named) == len(entities)
    assert len(set(named.values())) == len(set(entities.values()))
    assert len({(entities[record], entity) for record, entity in named.items()}) == len(set(entities.values()))
    return len(rows)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"er_constraint": "many_to_one", "er_threshold": 0.9},
        {"er_constraint": "none", "er_threshold": 0.02},
        {"er_constraint": "many_to_one", "er_must_links": "same", "er_cannot_links": "other"},
        {"er_must_links": "same", "er_cannot_links": "other"},
    ],
    ids=str,
)
def test_linked_tables_are_decided_as_dbt_decides(linked: Project, variables: dict[str, Any]) -> None:
    assert check(linked, variables) > 20


@pytest.mark.parametrize("variables", [{}, {"er_threshold": 0.2}, {"er_must_links": "same"}], ids=str)
def test_a_deduplicated_table_is_decided_as_dbt_decides(deduped: Project, variables: dict[str, Any]) -> None:
    assert check(deduped, variables) > 20


def test_chains_make_entities_of_several_records(deduped: Project) -> None:
    check(deduped, {"er_threshold": 0.2})
    assert deduped.query("select max(entity_size) from er_entities")[0][0] > 2
