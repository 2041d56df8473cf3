"""The whole chain where there is little or nothing to resolve."""

from __future__ import annotations

from pathlib import Path

import pytest
from dbt_harness import WARNED, Project, stubbed_project

TABLE = "select * from (values (1, 'Ada', date '1815-12-10'), (2, 'Bob', null)) as t(nr, name, born)"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return stubbed_project(
        tmp_path_factory.mktemp("edges"),
        models={
            "people": f"select * from ({TABLE}) where {{{{ var('keep') }}}}",
            "blank": f"select nr, nullif(name, name) as name, nullif(born, born) as born from ({TABLE})",
            "known": "select 1 as left_id, 1 as right_id",
        },
        variables={
            "er_sources": [
                {"name": "people", "model": "people", "id": "nr"},
                {"name": "blank", "model": "blank", "id": "nr"},
            ],
            "er_gold": "known",
            "er_must_links": "known",
        },
    )


@pytest.mark.parametrize(("keep", "records", "matches"), [("false", 2, 0), ("nr = 1", 3, 1), ("true", 4, 1)])
def test_an_empty_table_one_row_and_no_candidates_at_all(made: Project, keep: str, records: int, matches: int) -> None:
    made.run("build", variables={"keep": keep}, silent=WARNED if not matches else ())
    assert made.query("select count(*) from er_entities") == [(records,)]
    for table in ("er_candidates", "er_pairs", "er_selection", "er_tuples", "er_scores"):
        assert made.query(f"select count(*) from {table}") == [(0,)], table
    assert made.query("select count(*) from er_matches") == [(matches,)]
    metrics = dict(made.query("select metric, value from er_metrics"))
    assert metrics["recall"] == matches
    assert metrics["precision"] == (1 if matches else None)


def test_an_empty_build_checks_the_sql_alone(made: Project) -> None:
    """Entities keep their ids and their log says nothing new; of what is made anew each time nothing is left."""
    made.run("build", variables={"keep": "true"})
    kept = "select source, id, entity_id, first_seen from er_entities order by all"
    logged = "select * from er_entity_changes order by all"
    entities, log = made.query(kept), made.query(logged)
    assert len(entities) == 4
    made.run("build", "--empty", variables={"keep": "true"})
    assert made.query("select count(*) from er_records") == [(0,)]
    assert made.query(kept) == entities
    assert made.query(logged) == log
    made.run("build", variables={"keep": "true"})
    assert made.query(kept) == entities
    assert made.query(logged) == log


def test_a_first_empty_build_leaves_empty_tables(tmp_path: Path) -> None:
    people = {"people": TABLE}
    sources = [{"name": "people", "model": "people", "id": "nr"}]
    project = stubbed_project(tmp_path, models=people, variables={"er_sources": sources})
    project.run("build", "--empty")
    assert project.query("select count(*) from er_entities") == [(0,)]
