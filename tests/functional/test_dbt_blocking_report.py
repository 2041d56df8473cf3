"""What each way of blocking was worth: by known matches, before a teacher is asked, or by what teachers answered."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from conftest import make_people
from dbt_harness import Project, macro_project

from tests.pages import blocks, page

CANDIDATES = """
    select 'a' as left_source, left_id, 'b' as right_source, right_id, blocked_by
    from (values
        (1, 11, ['qgrams', 'tokens']), (1, 12, ['qgrams']), (1, 13, ['code']), (2, 14, ['tokens']), (2, 15, ['code']),
        (3, 16, ['code', 'qgrams'])
    ) as t(left_id, right_id, blocked_by)
"""
ESTIMATE = """
    select way, kind, 10 as pairs, true as is_exact, 0 as skipped_pairs, [] as largest_blocks, 100 as all_pairs
    from (values ('tokens', 'tokens'), ('qgrams', 'qgrams'), ('code', 'equal')) as t(way, kind)
"""
RECORDS = "select 'a' as source, 1 as id"
# 1: every pair asked by itself, and two of them are matches. 2: one choice, whose probabilities are shares of one.
# 3: none of its pairs. 4: nobody could say. 5: a match that blocking does not propose any more.
VOTES = """
    select
        'a' as left_source, left_id, ask, choice, if(choice > 0, 'b', null) as right_source,
        ids[if(choice > 0, choice, null)] as right_id, probabilities,
        [{'source': 'b', 'id': id, 'record': ''} for id in ids] as options
    from (values
        (1, 'match', 2, [13, 11, 12, 19], [0.2, 0.9, 0.8, null]), (2, 'select', 1, [14, 15], [0.9, 0.6]),
        (3, 'match', 0, [16], [0.1]), (4, 'match', null, [17], [null]), (5, 'match', 1, [18], null)
    ) as t(left_id, ask, choice, ids, probabilities)
"""
REPORT = """
    {{ distiller_udf.er_blocking_report(
        ref('candidates'), estimate=ref('estimate'), records=ref('records'), sources=['a', 'b'], labels=ref('votes')
    ) }}
"""


def test_labels_count_every_pair_that_teachers_found(tmp_path: Path) -> None:
    models = {"candidates": CANDIDATES, "estimate": ESTIMATE, "records": RECORDS, "votes": VOTES, "report": REPORT}
    project = macro_project(tmp_path, models=models)
    project.run("run")
    rows = project.query(
        "select way, pairs, marginal_pairs, measured_by, known_matches, recall, marginal_recall from report"
    )
    # Known are 1-11, 1-12, 2-14 and 5-18.
    assert rows == [
        ("all", 6, 6, "labels", 4, 3 / 4, 3 / 4),
        ("code", 3, 2, "labels", 4, 0, 0),
        ("qgrams", 3, 1, "labels", 4, 2 / 4, 1 / 4),
        ("tokens", 2, 1, "labels", 4, 2 / 4, 1 / 4),
    ]


PEOPLE = make_people(60)
SOURCES = [{"name": side, "model": f"people_{side}", "id": "id"} for side in ("left", "right")]


def _people(records: list[dict[str, str | None]]) -> str:
    rows = ", ".join(f"({i}, '{p['name']}', '{p['town'] or ''}', '{p['born']}')" for i, p in enumerate(records))
    return f"select * from (values {rows}) as t(id, name, town, born)"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has a teacher, a student and all."""
    return Project(
        tmp_path_factory.mktemp("report"),
        models={
            "people_left": _people(PEOPLE.left),
            "people_right": _people(PEOPLE.right),
            "known": "select i as left_id, i as right_id from range(60) as t(i)",
        },
        variables={"er_sources": SOURCES},
    )


def _selected(project: Project, **variables: str) -> set[str]:
    names = project.run("ls", "--select", "+er_blocking_report", "--resource-type", "model", variables=variables)
    return {name.split(".")[-1] for name in names}


def test_with_known_matches_the_report_is_there_before_a_teacher_is_asked(project: Project) -> None:
    blocking = {"records", "blocking_records", "tokens", "qgrams", "neighbours_by_tokens", "neighbours_by_qgrams"}
    blocking |= {"blocking_estimate", "candidates", "blocking_report", "blocking_warnings"}
    own = {"people_left", "people_right", "known"}
    assert _selected(project, er_gold="known") == {f"er_{name}" for name in blocking} | own
    (command,) = (
        line for block in blocks(page("blocking.md"), "bash") for line in block.splitlines() if "report" in line
    )
    project.run(*shlex.split(command, comments=True)[1:], variables={"er_gold": "known"})
    assert project.query("select measured_by, known_matches from er_blocking_report limit 1") == [("gold", 60)]
    assert project.query("select * from duckdb_tables() where table_name in ('er_labels', 'er_matches')") == []


def test_without_known_matches_the_report_is_behind_the_labels(project: Project) -> None:
    assert {"er_labels", "er_votes", "er_matches"} <= _selected(project)
    project.run("run", "--select", "+er_votes")
    project.run("run", "--select", "er_blocking_report")
    found = project.query("select count(*) from er_votes where right_id is not null")
    assert project.query("select distinct measured_by from er_blocking_report") == [("labels",)]
    assert project.query("select known_matches from er_blocking_report where way = 'all'") == found
    assert project.query("select recall from er_blocking_report where way = 'all'") == [(1,)]
