"""What blocking says of itself: its estimate before, its cap, its warnings, and its report after."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import duckdb
import pytest
from compiled import Compiled
from dbt_harness import Project, stubbed_project

SOURCES = ["a", "b", "c"]
TASKS = ("link", "dedupe", "link_and_dedupe")
WAYS: list[Any] = [
    "qgrams",
    {"tokens": {"top_k": 2, "mode": "union"}},
    {"equal": {"expression": "town", "max_block": 9}},
    {"equal": {"expression": "born", "name": "year", "max_block": 1000}},
    {"sorted": {"expression": "name", "window": 3}},
    {"all": [{"equal": "born"}, "qgrams"], "name": "both"},
]


def _estimate(task: str) -> str:
    given = f"'memory.main.records', blocking_records='memory.main.numbered', sources={SOURCES}, task='{task}'"
    given += f", blocking={WAYS}"
    return f"{{{{ distiller_udf.er_blocking_estimate({given}) }}}}"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    records = f"{{{{ distiller_udf.er_blocking_records('memory.main.records', sources={SOURCES}, blocking={WAYS}) }}}}"
    models = {"numbered": records, **{f"of_{task}": _estimate(task) for task in TASKS}}
    return Compiled(tmp_path_factory.mktemp("counts"), models)


@pytest.mark.parametrize("task", TASKS)
def test_the_estimate_of_equality_is_exact_and_the_others_are_bounds(compiled: Compiled, task: str) -> None:
    rng = random.Random(task)
    for _ in range(20):
        records = [
            (
                rng.choice(SOURCES),
                number,
                f"name {rng.randrange(30)}",
                rng.choice(("", "x", "y", None)),
                rng.randrange(9),
            )
            for number in range(rng.randrange(60))
        ]
        with duckdb.connect() as connection:
            connection.execute(
                "create table records (source varchar, id integer, fingerprint varchar, name varchar, town varchar, "
                "born integer)"
            )
            if records:
                connection.executemany("insert into records values (?, ?, 'f', ?, ?, ?)", records)
            compiled.run(connection, "numbered")
            compiled.run(connection, f"of_{task}")
            rows = connection.execute(
                f"select way, pairs, is_exact, skipped_pairs, largest_blocks, all_pairs from of_{task}"
            ).fetchall()
        said = {way: row for way, *row in rows}
        pairs = [
            (one, other)
            for one, other in combinations(records, 2)
            if task == "link_and_dedupe" or (one[0] != other[0]) == (task == "link")
        ]
        assert all(row[-1] == len(pairs) for row in said.values())
        for way, column, most in (("town", 3, 9), ("year", 4, 1000)):
            sizes = Counter(record[column] for record in records)
            equal = [
                one[column] for one, other in pairs if one[column] == other[column] and one[column] not in ("", None)
            ]
            kept = [value for value in equal if sizes[value] <= most]
            assert said[way][:3] == [len(kept), True, len(equal) - len(kept)]
            by_value = {block["value"]: block for block in said[way][3]}
            expected = Counter(map(str, equal))
            proposed = sorted(count for value, count in expected.items() if value in map(str, kept))
            left_out = sorted(count for value, count in expected.items() if value not in map(str, kept))
            assert sorted(block["pairs"] for block in by_value.values()) == sorted(proposed[-5:] + left_out[-5:])
            for value, block in by_value.items():
                assert block["pairs"] == expected[value]
                assert block["is_skipped"] == (block["records"] > most)
        texts = {record: [value or None for value in record[2:]] for record in records}
        twins = [(one, other) for one, other in pairs if texts[one] == texts[other]]
        assert 0 <= said["identical"][0] <= len(twins)
        assert (said["identical"][0] > 0) == bool(twins)
        assert said["name"][0] <= min(2 * len(records), len(pairs))
        assert said["qgrams"][0] <= min(len(pairs), 6 * len(records) * len(SOURCES))
        assert said["both"][0] == min(said["year"][0], said["qgrams"][0])


PEOPLE = """
    select
        i as id,
        'co ' || md5((i // 2)::varchar) as name,
        case when i < {{ var('twins', 0) }} then null else md5(i::varchar) end as note,
        {{ var('code', "'x' || i // 3") }} as code,
        {{ var('fax', "'f' || i") }} as fax
    from range(600) as t(i)
"""
TWINS = """
    select * replace (case when id < {{ var('twins', 0) }} then 'one and the same' else name end as name)
    from {{ ref('drawn') }}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return stubbed_project(
        tmp_path_factory.mktemp("report"),
        models={
            "drawn": PEOPLE,
            "people": TWINS,
            "known": "select i as left_id, i + 1 as right_id from range(0, 20, 2) as t(i) union all select 0, 599",
        },
        variables={"er_sources": [{"name": "people", "model": "people", "id": "id"}], "er_blocking_rules": ["code"]},
    )


SILENT = ("JinjaLogWarning",)


def _warnings(project: Project, variables: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    project.run("run", "--select", "+er_blocking_warnings", "+er_candidates", variables=variables, silent=SILENT)
    said = defaultdict(list)
    for cause, subject, message in project.query("select cause, subject, message from er_blocking_warnings"):
        said[cause].append((subject, message))
    return said


@pytest.mark.parametrize(
    ("variables", "cause", "subject", "message"),
    [
        ({"fax": "null"}, "empty_column", "fax", "the column fax is empty in every record"),
        ({"fax": "' '"}, "empty_column", "fax", "the column fax is empty in every record"),
        ({"fax": "'none'"}, "constant_column", "fax", "the column fax has one value in all 600 records that have any"),
        ({}, "common_word", "co", "nearly all of the 600 records have 1 word in common"),
        ({"code": "'everybody'"}, "large_blocks", "code", "everybody (600 records)"),
        (
            {"twins": 300, "code": "'x'", "fax": "null"},
            "identical_records",
            "the text of people:0",
            "300 records have the same text; identical proposes 299 pairs of them",
        ),
    ],
)
def test_skew_is_bounded_and_named(
    project: Project, variables: dict[str, Any], cause: str, subject: str, message: str
) -> None:
    said = _warnings(project, variables)
    assert [found for found, _ in said[cause]] == [subject]
    assert message in said[cause][0][1]
    ((pairs,),) = project.query("select count(*) from er_candidates")
    assert 250 < pairs < 6 * 600
    # They are logged too: a project whose warnings are errors stops at the first one.
    first = project.query("select message from er_blocking_warnings limit 1")[0][0]
    stopped = project.error("run", "--select", "er_blocking_warnings", variables=variables)
    assert f"distiller_udf: blocking: {first}." in stopped


def test_nothing_is_said_of_what_is_as_it_should_be(project: Project) -> None:
    assert set(_warnings(project, {"er_blocking_columns": ["note", "code", "fax"]})) == set()


def test_too_many_pairs_are_refused_before_they_are_made(project: Project) -> None:
    variables = {"er_max_pairs": 2000, "er_blocking": "rules", "code": "'x' || i % 2", "er_blocking_max_block": 500}
    project.run("run", "--select", "+er_blocking_estimate", variables=variables)
    message = project.error("run", "--select", "er_candidates", variables=variables)
    assert "blocking would propose up to 89700 pairs, more than er_max_pairs, 2000." in message
    assert (
        "The most, 89700, by code, whose largest blocks are x0 (300 records, 44850 pairs), x1 (300 records" in message
    )
    project.run("run", "--select", "+er_candidates", variables={**variables, "er_max_pairs": None})


def test_the_report_says_what_each_way_was_worth(project: Project) -> None:
    variables = {"er_gold": "known"}
    project.run("run", variables=variables, silent=SILENT)
    rows = project.query(
        "select way, pairs, marginal_pairs, reduction_ratio, measured_by, known_matches, recall, marginal_recall, "
        "estimated_pairs from er_blocking_report"
    )
    said = {way: row for way, *row in rows}
    assert rows[0][0] == "all"
    ((pairs,),) = project.query("select count(*) from er_candidates")
    assert said["all"][0] == pairs
    assert said["all"][2] == pytest.approx(1 - pairs / (600 * 599 / 2))
    assert said["all"][3:6] == ["gold", 11, pytest.approx(10 / 11)]
    for way in ("tokens", "qgrams", "code"):
        counted = project.query(
            f"select count(*), count(*) filter (len(blocked_by) = 1) from er_candidates where '{way}' in blocked_by"
        )
        assert [tuple(said[way][:2])] == counted
        assert said[way][0] <= said[way][-1]
    found = project.query(
        "select count(*) from er_candidates inner join known using (left_id, right_id) where blocked_by = ['code']"
    )
    assert [(round(said["code"][6] * 11),)] == found
    # Without gold it is the labels that count, where there are any.
    project.run("run", "--select", "er_blocking_report")
    assert project.query("select distinct measured_by, known_matches, recall from er_blocking_report") == [
        ("nothing", 0, None)
    ]
