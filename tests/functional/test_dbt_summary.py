"""What a run of dbt ends with: what it found, in five lines that the tables bear out, or which step failed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import make_people
from dbt_harness import Project, stubbed_project
from fake_llm import fake_llm, same_born

TITLES = ("Records", "Labels", "Matches", "Expect", "Next", "Failed")


LABELS = "{{ config(materialized='table') }} select 'crm' as left_source, 1 as left_id"


def csv(rows: list[dict[str, str | None]]) -> str:
    return "\n".join(["key,name,born", *(f"{i},{row['name']},{row['born']}" for i, row in enumerate(rows))]) + "\n"


def project(folder: Path, **variables: object) -> Project:
    people = make_people(80)
    known = "left_id,right_id\n" + "".join(f"{i},{i}\n" for i in range(70))
    return Project(
        folder,
        seeds={
            "crm": csv(people.left),
            "web": csv(people.right[:70]),
            "known": known,
            "apart": "left_id,right_id\n0,1\n",
        },
        variables={
            "er_sources": [{"name": name, "model": name, "id": "key"} for name in ("crm", "web")],
            "er_selection_minimum": 60,
            **variables,
        },
        output={"plugins": [{"module": "distiller_udf.plugin"}]},
        written=True,
    )


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return project(tmp_path_factory.mktemp("shop"))


def said(shop: Project, *arguments: str, fails: bool = False, **variables: object) -> dict[str, str]:
    """The lines of the summary of one run, by their titles."""
    log = shop.folder / "logs" / "dbt.log"
    before = log.stat().st_size if log.exists() else 0
    (shop.error if fails else shop.run)(*arguments, variables=variables or None)
    found = re.findall(rf"\]: ({'|'.join(TITLES)}) +(\S.*)", log.read_text()[before:])
    assert len(found) == len(dict(found)), "each line once"
    return dict(found)


def counts(shop: Project, *queries: str) -> list[str]:
    return [f"{shop.query(query)[0][0]:,}" for query in queries]


def test_every_figure_is_that_of_the_tables(shop: Project) -> None:
    lines = said(shop, "build")
    assert list(lines) == ["Records", "Labels", "Matches", "Expect", "Next"]
    (pairs,) = counts(shop, "select count(*) from er_candidates")
    assert lines["Records"] == f"150 (80 of crm, 70 of web), {pairs} candidate pairs"
    (answers,) = counts(shop, "select count(*) from er_labels")
    assert lines["Labels"] == f"{answers} answers by embedded (free) about {answers} records"
    matches, entities, several = counts(
        shop,
        "select count(*) from er_matches",
        "select count(distinct entity_id) from er_entities",
        "select count(*) from (select entity_id from er_entities group by entity_id having count(*) > 1)",
    )
    assert lines["Matches"] == (
        f"{matches}; {entities} entities, {several} of them with several records (the largest with 2)"
    )
    ((low, high),) = shop.query("""
        select metrics->>'choice_precision_low', metrics->>'choice_recall_high' from er_student where is_current
    """)
    assert f"({float(low):.3f} to " in lines["Expect"]
    assert (
        f" to {float(high):.3f}) among the candidates, by the word of embedded on {answers} records" in lines["Expect"]
    )
    assert "embedded goes by similarity alone" in lines["Next"]


def test_the_lines_before_it_say_of_what_they_speak(tmp_path: Path) -> None:
    made = project(tmp_path)
    made.run("build")
    log = (tmp_path / "logs" / "dbt.log").read_text()
    pairs, records = counts(
        made, "select count(*) from er_scores", "select count(distinct (left_source, left_id)) from er_candidates"
    )
    assert re.findall(r"er_scores: (\d.* pairs?) for lexical-", log) == [f"{pairs} new or changed pairs"]
    assert re.search(
        rf"embedded: fitted on {pairs} pairs of {records} left records; by similarity [\d.]+% of these", log
    )
    assert "embedded: 60 of 60 questions answered (0 of them before), 0 abstentions, 0 failures; 0 tokens" in log
    assert "er_student: deciding (95 %)" in log
    made.run("build")
    assert "er_scores: no pair is new or has changed" in (tmp_path / "logs" / "dbt.log").read_text()[len(log) :]


def test_known_matches_have_the_word(shop: Project) -> None:
    lines = said(shop, "build", er_gold="known")
    measured = dict(shop.query("select metric, value from er_metrics"))
    figures = f"precision {measured['precision']:.3f} and recall {measured['recall']:.3f}"
    assert lines["Expect"].startswith(f"{figures} by the 70 known matches of er_gold; precision ")


@pytest.mark.parametrize(
    ("arguments", "titles"),
    [
        (["build", "--select", "+er_tuples"], ["Records", "Next"]),
        (["build", "--select", "er_records"], ["Records", "Next"]),
        (["run", "--select", "er_matches+"], ["Matches", "Next"]),
        (["build", "--select", "crm"], []),
        (["seed"], []),
        (["compile"], []),
        (["test"], []),
        (["docs", "generate"], []),
        (["build", "--empty"], []),
    ],
)
def test_a_run_speaks_of_what_it_made(tmp_path: Path, shop: Project, arguments: list[str], titles: list[str]) -> None:
    shop.run("build")
    assert list(said(shop.copied(tmp_path), *arguments)) == titles


def test_what_is_not_there_is_not_spoken_of(tmp_path: Path) -> None:
    """Models of the project's own with other columns, and a table that went while the run was under way."""
    made = stubbed_project(
        tmp_path,
        models={
            "people": "select i as key, 'Person ' || i as name from range(9) as t(i)",
            "er_labels": LABELS,
        },
        variables={"er_sources": [{"name": "crm", "model": "people", "id": "key"}]},
        macros={"gone": "{% macro gone() %}{{ 'drop table ' ~ this if this.name == 'er_candidates' }}{% endmacro %}"},
        written=True,
    )
    settings, hook = tmp_path / "dbt_project.yml", "    +post-hook: '{{ gone() }}'"
    settings.write_text(settings.read_text().replace("  distiller_udf:\n", f"  distiller_udf:\n{hook}\n"))
    lines = said(made, "run", "--exclude", "er_pairs+", "er_blocking_report", "er_selection")
    assert lines == {"Records": "9 (9 of crm)", "Next": "`dbt build` makes the rest."}


def test_it_can_be_switched_off(shop: Project) -> None:
    assert said(shop, "build", "--select", "er_records", er_summary=False) == {}


def test_one_of_each_is_in_the_singular(tmp_path: Path) -> None:
    made = project(tmp_path, er_sources=[{"name": "crm", "model": "one", "id": "key"}])
    made._write("models/one.sql", "select * from {{ ref('crm') }} where key = 7")
    lines = said(made, "build", "--select", "+er_entities")
    assert lines["Records"] == "1 (1 of crm), 0 candidate pairs"
    assert lines["Matches"] == "0; 1 entity"
    assert lines["Labels"] == "no record has an answer"
    assert "er_blocking_warnings" in lines["Next"]


def test_what_was_paid_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with fake_llm(same_born) as llm:
        (tmp_path / "prices.json").write_text('{"good": {"input": 10, "output": 10}}')
        made = project(
            tmp_path,
            er_teachers=[{"model": "good"}, {"model": "odd"}],
            er_teacher_base_url=llm.base_url,
            er_teacher_prices="prices.json",
        )
        lines = said(made, "build")
    rows = {
        name: (n, usd)
        for name, n, usd in made.query("select teacher, count(*), sum(cost_usd) from er_labels group by 1")
    }
    answers, usd = rows["good"]
    assert rows["odd"] == (answers, None)
    assert lines["Labels"] == (
        f"{answers} answers by good (${usd:,.4f}), {answers} answers by odd ({answers} answers of unknown price) about "
        f"{answers} records"
    )
    assert "by the word of good, odd on" in lines["Expect"]
    assert "embedded" not in lines["Next"]


@pytest.mark.parametrize(
    ("broken", "failed"),
    [
        ({"er_teacher": "imported"}, r"model er_student; \d+ later steps were not made\. The message is above; "),
        ({"er_max_pairs": 1}, r"model er_candidates; \d+ later steps were not made\. .*select er_candidates\+`"),
    ],
)
def test_a_run_that_failed_says_where_and_what_to_do(
    shop: Project, tmp_path: Path, broken: dict[str, object], failed: str
) -> None:
    lines = said(shop.copied(tmp_path), "build", fails=True, **broken)
    assert list(lines) == ["Failed"]
    assert re.match(failed, lines["Failed"]), lines
    assert "when its cause is mended, `dbt build --select" in lines["Failed"]


def test_a_failed_source_and_a_failed_test_are_named(shop: Project, tmp_path: Path) -> None:
    made = shop.copied(tmp_path)
    made._write("models/extra.sql", "select * from {{ ref('er_entities') }}, nowhere")
    assert "Records" in said(made, "build", fails=True), "what is no step of ours does not matter"
    made._write("models/extra.sql", "select 1 as x")
    made._write("models/people.sql", "select * from {{ ref('crm') }}, nowhere")
    sources = [{"name": "crm", "model": "people", "id": "key"}, {"name": "web", "model": "web", "id": "key"}]
    lines = said(made, "build", fails=True, er_sources=sources)
    assert re.match(r"model people; 2\d later steps were not made\.", lines["Failed"])
    made._write("models/people.sql", "select * from {{ ref('crm') }}")
    made._write("tests/some.sql", "select * from {{ ref('er_matches') }} where 1 = {{ var('bad', 0) }}")
    assert "Matches" in said(made, "build")
    lines = said(made, "build", fails=True, bad=1)
    assert re.match(r"test some; \d later steps were not made\. .* `dbt retry` goes on", lines["Failed"])
    made.query("update er_entities set entity_id = null where id = 1")
    lines = said(made, "test", fails=True)
    named = "test not_null_er_entities_entity_id of er_entities. The message is above; when its cause is mended, "
    assert lines["Failed"] == f"{named}`dbt build --select er_entities+` goes on from there, `dbt build` begins anew."


def test_no_value_of_a_record_is_shown(tmp_path: Path) -> None:
    made = project(tmp_path, er_private_columns=["name"], er_masked_columns=["born"])
    lines = " ".join(said(made, "build").values())
    values = {str(value) for row in made.query("select name, born from er_records") for value in row}
    assert not [value for value in values if value in lines]
