"""Variables: unknown names and wrong values are errors that list what is allowed; nothing set still parses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from dbt_harness import Project, stubbed_project

from distiller_udf.project import Project as ReadProject
from distiller_udf.project.dbt import parsed

SHOP = {"name": "shop", "model": "customers", "id": "nr"}
CHECK = """
    {% macro check(name, value) %}
        {% do distiller_udf._er_check(name, value, distiller_udf._er_variables()[name]) %}
        {% do distiller_udf._er_ways(value) if name == 'er_blocking' %}
        {% do distiller_udf._er_ways('auto', rules=value) if name == 'er_blocking_rules' %}
    {% endmacro %}
"""

UNSUPPORTED = """
    {% macro unsupported(name) %}
        {% do distiller_udf['default__' ~ name]('one', 'two', none) %}
    {% endmacro %}
"""


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(
        tmp_path_factory.mktemp("empty"),
        models={"customers": "select 1 as nr, 'Ada' as name", "numbers": "select 1 as nr"},
        macros={"check": CHECK, "unsupported": UNSUPPORTED},
    )


def test_a_fresh_project_parses_and_lists(empty: Project) -> None:
    empty.run("parse")
    assert "distiller_udf.er_entities" in empty.run("ls")


def test_a_macro_says_which_adapter_has_no_version_of_it(empty: Project) -> None:
    macros = {
        macro.name: macro for macro in empty.run("parse").macros.values() if macro.package_name == "distiller_udf"
    }
    dispatched = {name.removeprefix("duckdb__") for name in macros if name.startswith("duckdb__")}
    assert "er_matches" in dispatched
    assert {name.removeprefix("default__") for name in macros if name.startswith("default__")} == dispatched
    for name in dispatched:
        assert f"_er_not_supported('{name}', varargs)" in macros[f"default__{name}"].macro_sql
    message = empty.error("run-operation", "unsupported", "--args", yaml.safe_dump({"name": "er_matches"}))
    assert "er_matches has no version for the adapter duckdb; it runs on duckdb. A macro named duckdb__er_" in message


def test_sources_unset_is_one_clear_sentence(empty: Project) -> None:
    message = empty.error("run", "--select", "er_records")
    assert "no sources are declared. Set er_sources to a list such as" in message


def test_an_unknown_variable_says_what_was_meant(empty: Project) -> None:
    message = empty.error("parse", variables={"er_sorces": []})
    assert "there is no variable er_sorces; did you mean er_sources? Allowed: er_sources, er_task," in message


@pytest.mark.parametrize("scope", ["package", "everywhere"])
def test_an_unknown_variable_of_the_project_is_found(tmp_path: Path, scope: str) -> None:
    wrong = {"er_treshold": 0.5}
    made = Project(tmp_path, config={"vars": {"distiller_udf": wrong} if scope == "package" else wrong})
    assert "there is no variable er_treshold; did you mean er_threshold?" in made.error("parse")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"er_task": "dedup"}, 'er_task is "dedup"; did you mean dedupe? Allowed: auto, link, dedupe, link_and'),
        ({"er_blocking_top_k": "many"}, 'er_blocking_top_k is "many". Allowed: a whole number from 1 to 1000.'),
        ({"er_sources": [{**SHOP, "model": "customer"}]}, "customer"),
        ({"er_teachers": [{"modell": "m"}]}, 'entry 1 of er_teachers has "modell"; did you mean model? Allowed: '),
        ({"er_sources": []}, "no sources are declared. Set er_sources to a list such as"),
    ],
)
def test_a_wrong_value_stops_before_anything_runs(empty: Project, variables: dict[str, Any], expected: str) -> None:
    assert expected in empty.error("run", "--select", "er_records", variables=variables)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"er_teacher": "openai"}, "er_teacher is openai, which needs er_teacher_model, such as"),
        ({"er_teachers": [{"teacher": "vllm"}]}, "er_teacher is vllm, which needs er_teacher_model"),
        ({"er_teachers": [{"teacher": "encoder", "model": "m"}]}, "needs er_teacher_encoder"),
        ({"er_student": "llm"}, "er_student is llm, which needs er_llm_model"),
        ({"er_blocking": ["rules"]}, "er_blocking has rules, but er_blocking_rules is empty"),
        ({"er_blocking_rules": ["name", "name"]}, "er_blocking has the name name twice"),
    ],
)
@pytest.mark.parametrize("command", ["parse", "ls", "run"])
def test_what_a_setting_needs_is_asked_for_at_parse(
    empty: Project, variables: dict[str, Any], expected: str, command: str
) -> None:
    assert expected in empty.error(command, variables=variables)


def test_a_command_may_bring_what_the_project_lacks(empty: Project) -> None:
    project = ReadProject.of(empty.folder, variables={"er_teacher": "openai"}, profiles_dir=empty.folder)
    assert parsed(project).find("er_labels") is not None


@pytest.mark.parametrize("variable", ["er_private_columns", "er_masked_columns"])
@pytest.mark.parametrize("strict", [True, False])
def test_a_hidden_column_that_is_not_there(empty: Project, variable: str, strict: bool) -> None:
    variables = {"er_sources": [SHOP], variable: ["nane"], "er_strict": strict}
    empty.run("run", "--select", "customers", "er_records", variables=variables)
    message = empty.error("run", "--select", "er_blocking_records", variables=variables)
    assert f"{variable} has nane, which is no column of er_records; did you mean name?" in message
    empty.run("run", "--select", "er_blocking_records", variables={**variables, variable: ["NAME"]})


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ([{**SHOP, "id": "nx"}], "source shop has no id column nx. Allowed: nr, name."),
        ([{**SHOP, "columns": ["name", "town"]}], "source shop has no column town. Allowed: nr, name."),
        ([{**SHOP, "model": "numbers"}], "source shop has no columns to compare, only its id nr."),
    ],
)
def test_a_source_without_what_it_needs(empty: Project, sources: list[Any], expected: str) -> None:
    empty.run("run", "--select", "customers", "numbers", variables={"er_sources": sources})
    assert expected in empty.error("run", "--select", "er_records", variables={"er_sources": sources})


def test_a_blocking_column_that_is_not_there(empty: Project) -> None:
    variables = {"er_sources": [SHOP], "er_blocking_columns": ["nane"]}
    empty.run("run", "--select", "customers", "er_records", variables=variables)
    message = empty.error("run", "--select", "er_blocking_records", variables=variables)
    assert "er_blocking_columns has nane, which is no column of er_records; did you mean name?" in message


def _check(name: str, value: Any) -> list[str]:
    return ["run-operation", "check", "--args", yaml.safe_dump({"name": name, "value": value})]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "er_blocking",
            ["tokens", "token"],
            'er_blocking has "token"; did you mean tokens? Allowed: auto, rules, tokens,',
        ),
        ("er_blocking", [], "er_blocking is []. Allowed: auto, or a list of ways of blocking"),
        ("er_blocking", [["tokens"]], 'er_blocking has ["tokens"], which is no way of blocking.'),
        (
            "er_blocking",
            {"qgrams": {"topk": 3}},
            'qgrams in er_blocking has "topk"; did you mean top_k? Allowed: name, top_k, mode.',
        ),
        (
            "er_blocking",
            {"qgrams": {"top_k": 0}},
            "top_k of qgrams in er_blocking is 0. Allowed: a whole number from 1 to 1000.",
        ),
        ("er_blocking", {"qgrams": "name"}, 'qgrams in er_blocking is "name". Allowed: a mapping of its options.'),
        (
            "er_blocking",
            {"minhash": {"terms": "words"}},
            'terms of minhash in er_blocking is "words". Allowed: tokens, qgrams.',
        ),
        ("er_blocking", {"minhash": {"bands": None}}, "bands of minhash in er_blocking has no value; leave it out"),
        (
            "er_blocking",
            {"minhash": {"bands": 100, "rows": 11}},
            "bands: 100 and rows: 11; together these are 1000 at most.",
        ),
        ("er_blocking", {"all": ["auto", "qgrams"]}, 'has "auto". Allowed: tokens, qgrams, embeddings,'),
        ("er_blocking", {"sorted": {"window": 3}}, "sorted in er_blocking has no expression;"),
        (
            "er_blocking",
            {"all": ["tokens"]},
            'all of all in er_blocking is ["tokens"]. Allowed: a list of two ways or more.',
        ),
        (
            "er_blocking",
            {"all": ["tokens", "qgrams"], "names": "x"},
            'all in er_blocking has "names"; did you mean name?',
        ),
        ("er_blocking", ["tokens", {"equal": {"expression": "x", "name": "tokens"}}], "has the name tokens twice"),
        ("er_blocking", ["tokens", {"equal": {"expression": "x", "name": "all"}}], "identical and all are taken"),
        ("er_blocking_rules", "name", 'er_blocking_rules is "name". Allowed: a list of SQL expressions'),
        ("er_blocking_rules", [{"expression": "name"}], "entry 1 of er_blocking_rules has no name"),
        ("er_blocking_rules", ["name", "name"], "er_blocking has the name name twice"),
    ],
)
def test_every_kind_of_value_is_checked(empty: Project, name: str, value: Any, expected: str) -> None:
    assert expected in empty.error(*_check(name, value))


@pytest.mark.parametrize("constraint", ["one_to_one", "many_to_one", "one_to_many"])
def test_a_constraint_between_sources_is_refused_within_one(tmp_path: Path, constraint: str) -> None:
    project = stubbed_project(
        tmp_path,
        models={"people": "select 1 as id, 'anna' as name union all select 2, 'anna'"},
        variables={"er_sources": [{"name": "p", "model": "people", "id": "id"}], "er_constraint": constraint},
    )
    assert "there it can be auto or none" in project.error("build")
