"""Links, gold and labels that name nobody: an error where a project is strict, otherwise told, with an example."""

from __future__ import annotations

from typing import Any

import pytest
from dbt_harness import Project, stubbed_project

from tests.unit.commands import run, run_json

PEOPLE = "select i as nr, 'name ' || md5(i::varchar) as name, 'x' || i as code from range(20) as t(i)"
SOURCES = [{"name": side, "model": side, "id": "nr", "columns": ["nr", "name", "code"]} for side in "ab"]
SAID = "1 of 2 pairs of {} names a record that does not exist, such as typo – 3; correct {}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = stubbed_project(
        tmp_path_factory.mktemp("links"),
        models={
            "a": PEOPLE,
            "b": PEOPLE,
            "wrong": "select * from (values ('typo', '3'), ('1', '2')) as t(left_id, right_id)",
            "none_known": "select * from (values (null, '3'), ('77', '78')) as t(left_id, right_id)",
            "right": "select 1 as left_id, 2 as right_id",
            "floating": "select 1.0::double as left_id, 2.0::double as right_id",
        },
        variables={"er_sources": SOURCES},
    )
    made.run("run", "--exclude", "er_metrics")
    return made


MODELS = {"er_must_links": "er_matches", "er_cannot_links": "er_matches", "er_gold": "er_metrics"}


@pytest.mark.parametrize(("variable", "model"), MODELS.items())
@pytest.mark.parametrize("strict", [True, False])
def test_what_names_nobody_is_told(project: Project, variable: str, model: str, strict: bool) -> None:
    """A warning is an error here, and has its words."""
    message = project.error("run", "--select", model, variables={variable: "wrong", "er_strict": strict})
    assert SAID.format(variable, variable) in message
    assert (f"{model}: 1 of 2" in message) == strict
    assert ("or set er_strict to false" if strict else "er_strict: true makes this an error") in message
    message = project.error("run", "--select", model, variables={variable: "none_known"})
    assert f"2 of 2 pairs of {variable} name a record that does not exist, such as " in message
    assert project.run("run", "--select", model, variables={variable: "wrong"}, silent=("JinjaLogWarning",))


@pytest.mark.parametrize("links", ["right", "floating"])
@pytest.mark.parametrize(("variable", "model"), MODELS.items())
def test_what_names_records_is_not(project: Project, variable: str, model: str, links: str) -> None:
    project.run("run", "--select", model, variables={variable: links, "er_strict": True})


@pytest.mark.parametrize("hidden", ["er_private_columns", "er_masked_columns"])
@pytest.mark.parametrize("strict", [True, False])
def test_private_ids_are_not_shown(project: Project, hidden: str, strict: bool) -> None:
    variables: dict[str, Any] = {"er_cannot_links": "wrong", "er_strict": strict, hidden: ["NR"]}
    message = project.error("run", "--select", "er_matches", variables=variables)
    assert "1 of 2 pairs of er_cannot_links names a record that does not exist; correct er_cannot_links" in message
    assert "typo" not in message
    variables[hidden] = ["code"]
    assert "such as typo – 3" in project.error("run", "--select", "er_matches", variables=variables)


def test_labels_of_records_that_are_not_there_are_told_at_the_import(project: Project) -> None:
    file = project.folder / "labels.csv"
    file.write_text("left_id,right_id,is_match\n1,1,1\n2,999,0\n888,3,1\n")
    options = [file, "--project-dir", project.folder, "--profiles-dir", project.folder]
    said = run("labels", "import", *options).stderr.replace("\n", " ")
    assert "2 of the labels name records that er_records does not have; until then they are not used" in said
    assert "no record: people: the options of left_id 2 is no record of the input" in said
    assert "the left record of left_id 888 is no record" in said
    assert len(run_json("labels", "import", *options)["without_records"]) == 2


def test_an_import_before_the_first_build_says_that_it_cannot_know(project: Project) -> None:
    file = project.folder / "labels.csv"
    file.write_text("left_id,right_id,is_match\n1,1,1\n")
    said = run(
        "labels", "import", file, "--project-dir", project.folder, "--database", project.folder / "none.duckdb"
    ).stderr
    assert "whether er_records has the records of these labels is not known: there is no database at" in said.replace(
        "\n", " "
    )
