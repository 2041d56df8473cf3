"""What blocking warns of: that it is true, that it is short, and that the log shows no private value."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest
from compiled import Compiled
from dbt_harness import Project, in_steps, stubbed_project

Said = list[tuple[str, str, str, str]]
SOURCES = ["a", "b"]
WAYS: list[Any] = [
    {"equal": "code"},
    {"minhash": {"terms": "tokens", "bands": 2, "rows": 1}},
    {"all": ["tokens", {"equal": "code"}], "name": "near_in_code"},
]


def _estimate(blocking: Any) -> str:
    return (
        "{{ distiller_udf.er_blocking_estimate('memory.main.records', 'memory.main.numbered', "
        f"sources={SOURCES}, terms={{'tokens': 'memory.main.tokens'}}, blocking={blocking}) }}}}"
    )


def _warnings(estimate: str, max_block: int) -> str:
    return (
        "{{ distiller_udf.er_blocking_warnings('memory.main.records', blocking_records='memory.main.numbered', "
        f"tokens='memory.main.tokens', estimate='memory.main.{estimate}', max_block={max_block}) }}}}"
    )


MODELS = {
    "numbered": "{{ distiller_udf.er_blocking_records("
    f"'memory.main.records', {SOURCES}, blocking={['tokens', *WAYS]}) }}}}",
    "tokens": in_steps("{{ distiller_udf.er_terms('tokens', 'memory.main.records', 'memory.main.numbered') }}"),
    "of_tokens": _estimate(["tokens"]),
    "of_ways": _estimate(WAYS),
    "warned": _warnings("of_tokens", 100),
    "warned_with_large_blocks": _warnings("of_tokens", 100000),
    "warned_of_ways": _warnings("of_ways", 100),
    "of_order": _estimate([{"sorted": "code"}]),
    "warned_of_order": _warnings("of_order", 100),
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return Compiled(tmp_path_factory.mktemp("warnings"), MODELS)


def _said(compiled: Compiled, size: int = 1000, warnings: str = "warned", **columns: str) -> Said:
    """The warnings about records 0, 1, 2 and so on; `columns` are SQL over their number `i`. Only 0 is in source a."""
    columns = {"name": "md5(i::varchar)", "code": "'c' || i", **columns}
    with duckdb.connect() as connection:
        connection.execute(
            "create table records as select if(i = 0, 'a', 'b') as source, i as id, 'f' as fingerprint, "
            f"{', '.join(f'{sql} as {name}' for name, sql in columns.items())} from range({size}) as t(i)"
        )
        for model in ("numbered", "tokens", "of_tokens", "of_ways", "of_order", warnings):
            compiled.run(connection, model)
        return connection.execute(f"select * from {warnings}").fetchall()


def _causes(said: Said) -> list[tuple[str, str]]:
    return [(cause, subject) for cause, subject, *_ in said]


@pytest.mark.parametrize(
    ("size", "filled", "is_useless"),
    [
        (1000, 2, False),  # the best evidence there is
        (1000, 100, False),  # no more than a block may hold
        (2000, 190, False),  # more than that, but less than a tenth
        (1000, 101, True),
        (100, 100, True),
        (100, 60, False),
    ],
)
def test_a_column_with_one_value_is_useless_where_many_have_it(
    compiled: Compiled, size: int, filled: int, is_useless: bool
) -> None:
    said = _said(compiled, size, vat_number=f"case when i < {filled} then 'DE123' end")
    assert _causes(said) == [("constant_column", "vat_number")] * is_useless


def test_a_column_with_one_value_in_all_is_useless_however_large_a_block_may_be(compiled: Compiled) -> None:
    said = _said(compiled, warnings="warned_with_large_blocks", kind="'x'")
    assert _causes(said) == [("constant_column", "kind")]
    assert _said(compiled, warnings="warned_with_large_blocks", kind="case when i < 800 then 'x' end") == []


def test_a_boilerplate_of_many_words_is_one_warning(compiled: Compiled) -> None:
    boilerplate = " ".join(f"word{number:02}" for number in range(40))
    note = f"case when i < 950 then 'limited ' else '' end || '{boilerplate} ' || i"
    without_values = "nearly all of the 1000 records have 81 words in common, which tells none of them apart"
    named = [f"{number:02}" for number in range(5)]  # a number within a word is a word as well
    held = ", ".join(f"{word} (1000 records)" for word in named)
    message = f"{without_values}: {held} and 76 more"
    assert _said(compiled, note=note) == [("common_word", ", ".join(named), message, without_values)]


def test_a_common_word_is_passed_over_where_a_constant_column_has_that_very_word(compiled: Compiled) -> None:
    said = _said(compiled, kind="'Comp\u00e1ny: ltd.'", note="'co ltd ' || i")
    assert _causes(said) == [("constant_column", "kind"), ("common_word", "co")]
    assert said[1][2].endswith("have 1 word in common, which tells none of them apart: co (1000 records)")
    # A column in which half of them say it is not why nearly all do.
    said = _said(compiled, kind="case when i < 500 then 'ltd' end", note="'ltd ' || i")
    assert _causes(said) == [("constant_column", "kind"), ("common_word", "ltd")]


def test_identical_records_are_those_of_all_sources(compiled: Compiled) -> None:
    # One record of the first source has 300 twins in the other.
    said = _said(compiled, name="case when i <= 300 then 'one and the same' else md5(i::varchar) end", code="null")
    without_values = (
        "301 records have the same text; identical proposes 300 pairs of them, and er_max_candidates may cut those"
    )
    assert said[1:] == [("identical_records", "the text of a:0", f"{without_values}: the text of a:0", without_values)]


def test_what_is_left_out_for_large_blocks_is_worded_by_the_kind_of_way(compiled: Compiled) -> None:
    # Record 0 is to be paired with the 600 others that have its code, and with the 300 that have its words as well.
    name = "case when i <= 300 then 'ada lovelace' when i <= 600 then 'ada' else md5(i::varchar) end"
    code = "case when i <= 600 then 'everybody' else 'c' || i end"
    said = _said(compiled, warnings="warned_of_ways", name=name, code=code)
    of_way = {subject: (message, without) for cause, subject, message, without in said if cause == "large_blocks"}
    without_values = "code leaves out 600 pairs of values that more records share than its max_block"
    assert of_way["code"] == (f"{without_values}: everybody (601 records)", without_values)
    # Tokens propose six pairs of record 0 at most.
    without_values = (
        "near_in_code may leave out up to 6 pairs of values that more records share than a max_block of its ways"
    )
    assert of_way["near_in_code"] == (f"{without_values}: everybody (601 records)", without_values)
    message, without_values = of_way["minhash"]
    assert message.startswith(f"{without_values}: terms like those of a:0 (")
    assert without_values.startswith("minhash passes over ")
    assert without_values.endswith(
        " pairs of bands that more records share than its max_block, which other bands may propose"
    )


def test_ways_without_blocks_are_nothing_to_warn_of(compiled: Compiled) -> None:
    assert _said(compiled, warnings="warned_of_order") == []


SECRET = "concat('top', 'secret')"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    people = """
        select i as id, md5(i::varchar) as name, if(i < 300, {{ var('code') }} || i % 2, 'c' || i) as code
        from range(600) as t(i)
    """
    return stubbed_project(
        tmp_path_factory.mktemp("private"),
        models={"people": people},
        variables={"er_sources": [{"name": "people", "model": "people", "id": "id"}], "er_blocking_rules": ["code"]},
        written=True,
    )


@pytest.mark.parametrize("setting", ["er_private_columns", "er_masked_columns"])
def test_no_value_is_logged_where_there_are_private_columns(project: Project, setting: str) -> None:
    variables = {"code": SECRET, setting: ["code"]}
    project.run("run", "--select", "+er_blocking_estimate", variables=variables)
    # A warning is an error here, and dbt says the error's text.
    warning = project.error("run", "--select", "er_blocking_warnings", variables=variables)
    without_values = "code leaves out 22350 pairs of values that more records share than its max_block"
    assert f"distiller_udf: blocking: {without_values}." in warning
    limited = {**variables, "er_max_pairs": 20000, "er_blocking_max_block": 200, "er_blocking": "rules"}
    project.run("run", "--select", "+er_blocking_estimate", variables=limited)
    refusal = project.error("run", "--select", "er_candidates", variables=limited)
    assert "by code, whose largest blocks are of 150 records (11175 pairs), of 150 records (11175 pairs)." in refusal
    log = (project.folder / "logs" / "dbt.log").read_text(encoding="utf-8")
    assert "by code, whose largest blocks" in log
    assert "topsecret" not in warning + refusal + log


def test_values_are_logged_where_all_columns_may_be_seen(project: Project) -> None:
    variables = {"code": SECRET}
    project.run("run", "--select", "+er_blocking_estimate", variables=variables)
    warning = project.error("run", "--select", "er_blocking_warnings", variables=variables)
    assert "its max_block: topsecret0 (150 records), topsecret1 (150 records)." in warning


SHOPS = {"er_sources": [{"name": name, "model": name, "id": "id"} for name in ("shop", "till")]}


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return stubbed_project(
        tmp_path_factory.mktemp("shops"),
        models={
            "shop": "select i as id, 'name ' || i as name, 'V' || i as vat, null::varchar as fax from range(5) as t(i)",
            "till": "select i as id, 'name ' || i as name, 'T' || i as town from range(5) as t(i)",
        },
        variables=SHOPS,
    )


@pytest.mark.parametrize(
    ("blocking", "said"),
    [
        (
            {"er_blocking_rules": [{"name": "by_vat", "expression": "lower(vat)"}]},
            "by_vat has a value in records of shop alone",
        ),
        ({"er_blocking": ["tokens", {"sorted": "town"}]}, "town has a value in records of till alone"),
        (
            {"er_blocking": ["tokens", {"all": ["qgrams", {"equal": "vat"}]}]},
            "vat has a value in records of shop alone",
        ),
        ({"er_blocking_rules": ["fax"]}, "fax has no value in any record, so it proposes nothing."),
    ],
)
def test_a_way_by_what_only_one_table_has_is_warned_of(shops: Project, blocking: dict[str, Any], said: str) -> None:
    """Of few records too: it proposes nothing, whatever the records are."""
    shops.run("run", "--select", "+er_blocking_estimate", variables=blocking)
    assert f"distiller_udf: blocking: {said}" in shops.error(
        "run", "--select", "er_blocking_warnings", variables=blocking
    )


@pytest.mark.parametrize(
    "blocking",
    [
        {"er_blocking_rules": ["coalesce(vat, town)"]},
        {"er_blocking_rules": ["name"]},
        {"er_blocking_rules": ["vat"], "er_task": "link_and_dedupe"},
        {},
    ],
)
def test_a_way_that_may_propose_something_is_not(shops: Project, blocking: dict[str, Any]) -> None:
    shops.run("run", "--select", "+er_blocking_warnings", variables=blocking)
