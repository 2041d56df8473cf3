"""What er_candidates is given: all that its ways need, and made of the same records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import pytest
import yaml
from compiled import Compiled
from dbt_harness import Project, in_steps, macro_project, stubbed_project

TERMS = ("tokens", "qgrams")
INPUTS = ("numbered", *TERMS, "near_tokens", "near_qgrams")
SOURCES = ["a", "b"]

PEOPLE = """
    select i as id, 'person ' || i // 2 || ' ' || md5((i // 2)::varchar) as name, 'town ' || i // 2 as town
    from range({{ var('people', 80) }}) as t(i)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    variables = {"er_sources": [{"name": "people", "model": "people", "id": "id"}], "er_blocking_rules": ["town"]}
    return stubbed_project(tmp_path_factory.mktemp("inputs"), models={"people": PEOPLE}, variables=variables)


STALE = "was made of other records than er_blocking_records; run `dbt build --select er_records+,+er_candidates`"


@pytest.mark.parametrize("blocking", ["auto", "rules"])
def test_inputs_of_other_records_are_refused_and_the_message_mends_it(project: Project, blocking: str) -> None:
    """With rules alone nobody asks for neighbours; they still tell which records the terms were made of."""
    variables = {"er_blocking": blocking}
    project.run("run", "--select", "+er_candidates", variables=variables)
    now = {**variables, "people": 100}
    project.run("run", "--select", "people", "er_records", "er_blocking_records", variables=now)
    assert STALE in project.error("run", "--select", "er_candidates", variables=now)
    project.run("run", "--select", "er_records+,+er_candidates", variables=now)
    assert project.query("select count(*) from er_candidates where right_id = left_id + 1 and similarity > 0.9") >= [
        (50,)
    ]


def test_rules_that_compare_no_text_need_no_neighbours(project: Project) -> None:
    variables = {"er_blocking": "rules", "er_blocking_similarity": "ways"}
    project.run("run", "--select", "+er_candidates", variables=variables)
    now = {**variables, "people": 100}
    project.run("run", "--select", "people", "er_records", "er_blocking_records", variables=now)
    project.run("run", "--select", "er_candidates", variables=now)
    assert project.query("select count(*) from er_candidates") == [(50,)]


def _call(macro: str, **arguments: object) -> str:
    given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return in_steps(f"{{{{ distiller_udf.{macro}({given}) }}}}")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """Tables of a connection: `candidates` by neighbours, `by_rule` by a rule alone and without any neighbours."""
    records, numbered = "memory.main.records", "memory.main.numbered"
    terms = {kind: f"memory.main.{kind}" for kind in TERMS}
    rule = {"equal": "name"}
    near = {kind: f"memory.main.near_{kind}" for kind in TERMS}
    models = {
        "numbered": (
            f"{{{{ distiller_udf.er_blocking_records('{records}', sources={SOURCES}, blocking=['auto', {rule}]) }}}}"
        ),
        **{kind: _call("er_terms", terms=kind, records=records, blocking_records=numbered) for kind in TERMS},
        **{
            f"near_{kind}": _call("er_neighbours", terms=terms[kind], blocking_records=numbered, sources=SOURCES)
            for kind in TERMS
        },
        "candidates": _call(
            "er_candidates",
            blocking_records=numbered,
            sources=SOURCES,
            terms=terms,
            neighbours=near,
            blocking=["auto", rule],
        ),
        "by_rule": _call("er_candidates", blocking_records=numbered, sources=SOURCES, terms=terms, blocking=rule),
    }
    return Compiled(tmp_path_factory.mktemp("stale"), models)


RECORDS = [(source, number, f"person {number}") for source in SOURCES for number in range(4)]
OTHERS = {
    "one more": [*RECORDS, ("b", 4, "person 4")],
    "one more without a text": [*RECORDS, ("b", 4, None)],
    "one less": RECORDS[:-1],
    "another one": [*RECORDS[:-1], ("b", 5, "person 5")],
    "another number": [("a", -1, "person 9"), *RECORDS[:3], *RECORDS[4:]],
    "another source": [*RECORDS[:3], ("b", -1, "person 3"), *RECORDS[4:]],
    "none": [],
}


def _load(connection: duckdb.DuckDBPyConnection, records: list[Any]) -> None:
    connection.execute(
        "create or replace table records (source varchar, id integer, fingerprint varchar, name varchar)"
    )
    for source, number, name in records:
        connection.execute("insert into records values (?, ?, 'f', ?)", [source, number, name])


def _refused(compiled: Compiled, connection: duckdb.DuckDBPyConnection, name: str) -> str:
    """What the model says that must fail; it is in a transaction, as dbt's models are."""
    connection.execute("begin")
    with pytest.raises(duckdb.InvalidInputException) as error:
        compiled.run(connection, name)
    connection.execute("rollback")
    return str(error.value)


def _made(
    compiled: Compiled, connection: duckdb.DuckDBPyConnection, records: list[Any], besides: Sequence[str]
) -> None:
    """Make of the records what er_candidates is given, besides what shall be that of others."""
    _load(connection, records)
    for name in INPUTS:
        if name not in besides:
            compiled.run(connection, name)


@pytest.mark.parametrize("change", OTHERS)
def test_neighbours_of_other_records_are_refused(compiled: Compiled, change: str) -> None:
    with duckdb.connect() as connection:
        for stale in (["near_tokens"], ["near_qgrams"], ["tokens", "near_tokens"]):
            _made(compiled, connection, RECORDS, besides=[])
            compiled.run(connection, "candidates")
            _made(compiled, connection, OTHERS[change], besides=stale)
            named = stale[-1].replace("near_", "er_neighbours_by_")
            assert f"er_candidates: {named} {STALE}" in _refused(compiled, connection, "candidates")
        _made(compiled, connection, OTHERS[change], besides=[])
        compiled.run(connection, "candidates")


@pytest.mark.parametrize("stale", TERMS)
def test_terms_of_records_that_are_not_there_are_refused(compiled: Compiled, stale: str) -> None:
    """Without neighbours it is all that the terms can tell: they have numbers, not names."""
    with duckdb.connect() as connection:
        _made(compiled, connection, RECORDS, besides=[])
        compiled.run(connection, "by_rule")
        _made(compiled, connection, RECORDS[:-1], besides=[stale])
        assert f"er_candidates: er_{stale} {STALE}" in _refused(compiled, connection, "by_rule")
        compiled.run(connection, stale)
        compiled.run(connection, "by_rule")


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Calls er_candidates with the options of a run-operation; it is not run."""
    call = """
        {% macro candidates(options) %}
            {% do distiller_udf.er_candidates('numbered', sources=['a', 'b'], **options) %}
        {% endmacro %}
    """
    models = {"numbered": "select 1 as n"}
    return macro_project(tmp_path_factory.mktemp("calls"), models=models, macros={"candidates": call})


BOTH = {"tokens": "tokens", "qgrams": "qgrams"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "er_candidates needs the terms tokens and qgrams"),
        ({"blocking": "tokens", "terms": {"qgrams": "q"}, "neighbours": BOTH}, "er_candidates needs the terms tokens:"),
        ({"blocking": {"minhash": {"terms": "tokens"}}, "similarity": "ways"}, "er_candidates needs the terms tokens:"),
        ({"terms": BOTH}, "er_candidates needs the neighbours tokens and qgrams:"),
        ({"terms": BOTH, "neighbours": {"tokens": "t"}}, "er_candidates needs the neighbours qgrams:"),
        ({"blocking": "embeddings", "terms": BOTH, "neighbours": BOTH}, "needs the neighbours embeddings:"),
        (
            {"blocking": {"all": ["tokens", {"equal": "town"}]}, "similarity": "ways"},
            "er_candidates needs the neighbours tokens:",
        ),
    ],
)
def test_what_is_missing_is_named(calls: Project, options: dict[str, Any], expected: str) -> None:
    message = calls.error("run-operation", "candidates", "--args", yaml.safe_dump({"options": options}))
    assert expected in message


def test_rules_by_the_share_of_ways_need_neither(calls: Project) -> None:
    options = {"blocking": {"equal": "town"}, "similarity": "ways"}
    calls.run("run-operation", "candidates", "--args", yaml.safe_dump({"options": options}))


VALUES = """
    select
        i as id,
        i as amount,
        case when i % 2 = 0 then chr(160) || chr(12288) else 'code ' || i // 4 end as code,
        ['x' || i, 'y' || i] as emails,
        repeat('the same long text ', 200) || i as story
    from range(40) as t(i)
"""


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Project:
    variables = {"er_sources": [{"name": "values", "model": "values", "id": "id"}]}
    return stubbed_project(tmp_path_factory.mktemp("values"), models={"values": VALUES}, variables=variables)


def _pairs(project: Project, way: object, **variables: object) -> list[tuple[int, int]]:
    project.run("run", "--select", "+er_candidates", variables={"er_blocking": way, **variables})
    return project.query("select left_id, right_id from er_candidates order by all")  # type: ignore[return-value]


def test_numbers_are_sorted_as_numbers(values: Project) -> None:
    assert _pairs(values, {"sorted": {"expression": "amount", "window": 2}}) == [(i, i + 1) for i in range(39)]


@pytest.mark.parametrize("expression", ["code", "code -- the code", "code\n-- the code\n"])
def test_blanks_of_any_script_are_no_value_and_a_comment_is_one(values: Project, expression: str) -> None:
    assert _pairs(values, {"equal": expression}) == [(i, i + 2) for i in range(1, 40, 4)]


def test_the_same_text_is_the_same_to_its_end(values: Project) -> None:
    _pairs(values, "tokens", er_blocking_columns=["story"])
    ((found,),) = values.query("select count(*) from er_candidates where list_contains(blocked_by, 'identical')")
    assert found == 0


def test_an_expression_of_several_rows_is_refused_by_its_name(values: Project) -> None:
    for way in ("unnest(emails)", "unnest(emails[:id % 3])"):
        message = values.error("run", "--select", "+er_candidates", variables={"er_blocking": {"equal": way}})
        assert "an expression gives a record no value or several" in message
        assert way in message


def test_ids_are_no_columns_to_compare(values: Project) -> None:
    message = values.error("run", "--select", "+er_candidates", variables={"er_blocking_columns": ["id"]})
    assert "er_blocking_columns has id, which is no column of er_records" in message
    assert "fingerprint" not in message
