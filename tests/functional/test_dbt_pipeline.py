"""The chain of SQL models, from two tables, one table and both, to entities."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from dbt_harness import Project, stubbed_project

# Column names that need quoting, names that er_records keeps for itself, ids with quotes.
CUSTOMERS = """
    select * from (values
        ('o''neil "1"', 'Ada O''Neil', '12 Main Street Springfield', 'crm', 1),
        ('2', 'Grace Hopper', '7 Navy Yard Arlington', 'crm', 2),
        ('3', 'Mary Jackson', '3 Langley Road Hampton', 'crm', 3),
        ('4', 'Someone Else', '99 Nowhere Lane Oz', null, null)
    ) as t("the id", "select", "a""b", "source", "id")
"""
ACCOUNTS = """
    select * from (values
        (10, 'Ada ONeil', '12 Main St Springfield', 'web'),
        (11, 'Grace Hoper', '7 Navy Yard Arlington', 'web'),
        (12, 'Mary Jakson', '3 Langley Road, Hampton', 'web'),
        (13, 'Nobody Known', '1 Elsewhere Avenue', 'web')
    ) as t(nr, "select", "a""b", "source")
"""
PEOPLE = """
    select date '2020-01-01' + cast(i as integer) as joined, name, town from (values
        (0, 'Katherine Johnson', 'White Sulphur Springs'),
        (1, 'Katherine Jonson', 'White Sulphur Springs'),
        (2, 'Katharine Johnson', 'White Sulphur Spring'),
        (3, 'Dorothy Vaughan', 'Kansas City'),
        (4, 'Annie Easley', 'Birmingham')
    ) as t(i, name, town)
"""
STAFF = "select 7 as nr, 'Katherine Johnson' as called, 'White Sulphur Springs' as town"


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = stubbed_project(
        tmp_path_factory.mktemp("link"),
        models={"customers": CUSTOMERS, "accounts": ACCOUNTS},
        seeds={"known": 'left_id,right_id,is_match\n"o\'neil ""1""",10,1\n2,11,1\n3,12,1\n4,13,1\n2,13,0\n'},
        variables={
            "er_sources": [
                {"name": "customers", "model": "customers", "id": "the id"},
                {"name": "it's accounts", "model": "accounts", "id": "nr"},
            ],
            "er_gold": "known",
            "er_selection_share": 0.5,
            "er_selection_minimum": 0,
        },
    )
    made.run("build")
    return made


def test_link_finds_the_same_people(link: Project) -> None:
    rows = link.query("select left_source, left_id, right_source, right_id, decided_by from er_matches order by all")
    assert rows == [
        ("customers", "2", "it's accounts", "11", "student"),
        ("customers", "3", "it's accounts", "12", "student"),
        ("customers", 'o\'neil "1"', "it's accounts", "10", "student"),
    ]


def test_a_column_named_like_a_key_is_renamed(link: Project) -> None:
    columns = [name for name, *_ in link.query("describe er_records")]
    assert columns == ["source", "id", "fingerprint", "select", 'a"b', "original_source", "original_id"]


def test_tuples_show_the_chosen_columns_only(link: Project) -> None:
    rows = link.query("select query, candidates from er_tuples")
    assert len(rows) == 2
    for query, candidates in rows:
        assert list(query) == ["select", 'a"b', "original_source", "original_id"]
        assert candidates
        for candidate in candidates:
            assert list(candidate) == ["source", "id", "record"]
            assert list(candidate["record"]) == list(query)


def test_entities_are_named_after_their_first_record(link: Project) -> None:
    rows = link.query("select * exclude (first_seen) from er_entities where id in ('2', '11', '13') order by id")
    assert rows == [
        ("it's accounts", "11", "customers:2", 2),
        ("it's accounts", "13", "it's accounts:13", 1),
        ("customers", "2", "customers:2", 2),
    ]


def test_metrics_against_gold(link: Project) -> None:
    metrics = dict(link.query("select metric, value from er_metrics"))
    assert metrics["gold_pairs"] == 4
    assert metrics["matches"] == metrics["true_matches"] == 3
    assert metrics["precision"] == 1
    assert metrics["recall"] == 0.75
    assert metrics["f1"] == pytest.approx(6 / 7)
    assert metrics["blocking_recall"] == 1 - metrics["missed_by_blocking"] / 4


def test_a_second_run_changes_nothing(link: Project) -> None:
    tables = ("er_records", "er_candidates", "er_pairs", "er_selection", "er_tuples", "er_matches", "er_entities")
    before = {table: link.query(f"select * from {table} order by all") for table in tables}
    link.run("run")
    assert {table: link.query(f"select * from {table} order by all") for table in tables} == before


def test_docs_describe_every_model_and_column(link: Project) -> None:
    link.run("docs", "generate")
    catalog = link.run("parse")
    for node in catalog.nodes.values():
        if node.resource_type == "model" and node.package_name == "distiller_udf":
            assert node.description, node.name
            described = {column.name for column in node.columns.values() if column.description}
            own = {name for name, *_ in link.query(f"describe {node.name}")}
            if node.name == "er_records":
                own = {"source", "id", "fingerprint"}
            assert own == described, node.name
    for macro in catalog.macros.values():
        private = macro.name.startswith(("_", "default__", "duckdb__"))
        if macro.package_name == "distiller_udf" and not private:
            assert macro.description, macro.name
            given = [argument for argument in macro.arguments if argument.name != "supported_languages"]  # dbt's own
            assert all(argument.description for argument in given), macro.name


@pytest.fixture(scope="module")
def dedupe(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = stubbed_project(
        tmp_path_factory.mktemp("dedupe"),
        models={"people": PEOPLE},
        seeds={"apart": "left_id,right_id\n2020-01-02,2020-01-01\n"},
        variables={"er_sources": [{"name": "people", "model": "people", "id": "joined"}]},
    )
    made.run("build")
    return made


def test_dedupe_joins_all_spellings(dedupe: Project) -> None:
    assert dedupe.query("select entity_id, count(*) from er_entities group by all order by all") == [
        ("people:2020-01-01", 3),
        ("people:2020-01-04", 1),
        ("people:2020-01-05", 1),
    ]


def test_ids_keep_their_type(dedupe: Project) -> None:
    assert dedupe.query("select min(id) from er_records") == [(datetime.date(2020, 1, 1),)]
    assert dedupe.query("select count(*) from er_candidates where left_id >= right_id") == [(0,)]


def test_metrics_are_empty_without_gold(dedupe: Project) -> None:
    assert dedupe.query("select * from er_metrics") == []


def test_changed_content_changes_the_fingerprint(dedupe: Project) -> None:
    fingerprints = dedupe.query("select count(distinct fingerprint) from er_records")
    assert fingerprints == [(5,)]
    assert dedupe.query("select count(*) = count(distinct pair_fingerprint) from er_pairs") == [(True,)]


def test_a_cannot_link_holds_where_others_bridge_it(dedupe: Project) -> None:
    dedupe.run("build", "--select", "er_matches+", variables={"er_cannot_links": "apart"})
    rows = dedupe.query("select left_id::varchar, right_id::varchar from er_matches order by all")
    assert rows == [("2020-01-01", "2020-01-03"), ("2020-01-02", "2020-01-03")]
    ((one,), (other,)) = dedupe.query(
        "select entity_id from er_entities where id::varchar in ('2020-01-01', '2020-01-02') order by id"
    )
    assert one == "people:2020-01-01"
    assert other != one
    dedupe.run("build", "--select", "er_matches+")


def test_link_and_dedupe_looks_within_and_between_sources(tmp_path: Path) -> None:
    made = stubbed_project(
        tmp_path,
        models={"people": PEOPLE, "staff": STAFF},
        variables={
            "er_task": "link_and_dedupe",
            "er_sources": [
                {
                    "name": "staff",
                    "relation": "staff",
                    "id": "nr",
                    "columns": {"name": "upper(called)", "town": "town"},
                },
                {"name": "people", "model": "people", "id": "joined", "columns": ["name", "town"]},
            ],
        },
    )
    made.run("run", "--select", "shop.staff", "shop.people")
    made.run("build", "--exclude", "shop.staff", "shop.people")
    pairs = made.query("select distinct left_source, right_source from er_candidates order by all")
    assert pairs == [("people", "people"), ("staff", "people")]
    rows = made.query("select distinct entity_id, entity_size from er_entities where entity_size > 1")
    assert rows == [("staff:7", 4)]
    assert made.query("select name from er_records where source = 'staff'") == [("KATHERINE JOHNSON",)]
