"""The worst of data in little memory: the number of pairs stays bounded, and blocking says what is wrong with them."""

from __future__ import annotations

import pytest
from dbt_harness import Project, stubbed_project

RECORDS = 20_000
TWINS = 10_000

# A word that all records have, many records with the very same text, a column without values and one with a single one.
# All others are two by two nearly the same.
PEOPLE = f"""
    select
        i as id,
        'everyone ' || if(i < {TWINS}, 'the same', md5((i // 2)::varchar) || repeat('x', i % 2)) as name,
        null as nothing,
        'constant' as constant
    from range({RECORDS}) as t(i)
"""

LIMIT = "{{ config(materialized='table') }} select current_setting('memory_limit') as memory_limit"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = stubbed_project(
        tmp_path_factory.mktemp("skew"),
        models={"people": PEOPLE, "memory": LIMIT},
        variables={
            "er_sources": [{"name": "people", "model": "people", "id": "id"}],
            "er_blocking_rules": ["constant"],
        },
        output={"settings": {"memory_limit": "250MiB", "threads": 2}},
    )
    made.run("run", "--select", "memory", "+er_candidates", "+er_blocking_warnings", silent=("JinjaLogWarning",))
    return made


def test_pairs_are_bounded_in_little_memory(project: Project) -> None:
    ((pairs, identical, found),) = project.query(
        f"""
        select
            count(*),
            count(*) filter ('identical' in blocked_by),
            count(*) filter (left_id >= {TWINS} and left_id % 2 = 0 and right_id = left_id + 1)
        from er_candidates
        """
    )
    assert project.query("from memory") == [("250.0 MiB",)]
    assert pairs <= 2 * RECORDS
    # The identical ones hang together, and what can be found is found in spite of them.
    assert identical >= TWINS - 1
    assert found == (RECORDS - TWINS) // 2


def test_what_is_wrong_is_said(project: Project) -> None:
    causes = {cause for (cause,) in project.query("select cause from er_blocking_warnings")}
    assert causes == {"empty_column", "constant_column", "common_word", "identical_records", "large_blocks"}
