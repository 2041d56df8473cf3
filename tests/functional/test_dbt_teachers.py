"""LLM teachers with real dbt: several of them, a vote, budgets, private columns; the LLM's HTTP alone is a fake."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import make_people
from dbt_harness import Project
from fake_llm import FakeLLM, fake_llm, same_born, shown_records

PEOPLE = make_people(60)
SOURCES = [{"name": "l", "model": "people_left", "id": "key"}, {"name": "r", "model": "people_right", "id": "key"}]
LABEL = ("build", "--exclude-resource-type", "test", "--select", "+er_labels")
LABELLED = """
    {{ config(materialized='table') }}
    select left_id, er_label(query, list_transform(candidates, lambda c: c.record)) as label from {{ ref('er_tuples') }}
"""


def csv(rows: list[dict[str, Any]]) -> str:
    return "\n".join(
        ["key,name,town,born", *(f"{i},{r['name']},{r['town'] or ''},{r['born']}" for i, r in enumerate(rows))]
    )


def project(folder: Path, llm: FakeLLM, written: bool = False, **variables: Any) -> Project:
    """60 × 60 people, of whom 40 left ones are asked about; er_label goes by the same variables as the models."""
    (folder / "prices.json").write_text('{"good": {"input": 10, "output": 100}}')
    teacher = {"teacher": "openai", "teacher_model": "good", "teacher_base_url": llm.base_url}
    return Project(
        folder,
        models={"labelled": LABELLED},
        seeds={"people_left": csv(PEOPLE.left), "people_right": csv(PEOPLE.right)},
        variables={
            "er_sources": SOURCES,
            "er_selection_minimum": 40,
            "er_teacher_prices": "prices.json",
            **{f"er_{name}": value for name, value in teacher.items()},
            **variables,
        },
        output={"plugins": [{"module": "distiller_udf.plugin"}]},
        written=written,
    )


@pytest.fixture
def llm() -> Iterator[FakeLLM]:
    with fake_llm() as served:
        yield served


def label(built: Project) -> None:
    built.run(*LABEL)


def asked(llm: FakeLLM) -> int:
    return len(llm.asked)


def log_of(built: Project) -> str:
    return (built.folder / "logs" / "dbt.log").read_text()


def test_three_teachers_are_kept_voted_on_and_compared(tmp_path: Path, llm: FakeLLM) -> None:
    def reply(body: Any) -> str:
        return (
            '{"explanation": "the first", "choice": 1, "confidence": 1}' if body["model"] == "odd" else same_born(body)
        )

    llm.reply = reply
    teachers = [{"model": "good"}, {"model": "also good"}, {"model": "odd"}]
    built = project(tmp_path, llm, er_teachers=teachers)
    built.run("build", "--exclude", "labelled")
    counts = built.query("select teacher, count(*), count(distinct left_id) from er_labels group by all order by 1")
    assert counts == [("also good", 40, 40), ("good", 40, 40), ("odd", 40, 40)]
    votes = built.query("""
        select count(*), count(*) filter (votes.choice is distinct from labels.choice), min(agreement), max(agreement)
        from er_votes as votes join er_labels as labels using (left_source, left_id) where labels.teacher = 'good'
    """)
    assert votes[0][:2] == (40, 0), "two agree, so the third does not count"
    assert votes[0][2:] == (pytest.approx(2 / 3), 1.0)
    kappa = {(a, b): k for a, b, k in built.query("select teacher_a, teacher_b, kappa from er_teacher_agreement")}
    assert kappa["also good", "good"] == 1.0
    assert kappa["good", "odd"] < 0.9
    reliable = built.query("select teacher, ask, answers, compared, accuracy from er_teacher_reliability order by 1")
    assert [row[:4] for row in reliable] == [(name, "select", 40, 40) for name in ("also good", "good", "odd")]
    assert reliable[1][4] > 0.9 > reliable[2][4]
    assert built.query("select teachers from er_student where is_current") == [(["also good", "good", "odd"],)]
    before = asked(llm)
    assert before == 120
    built.run("run", "--exclude", "labelled")
    assert asked(llm) == before
    variables = {"er_teachers": teachers[1:]}
    built.run("run", "--select", "er_votes", "er_teacher_agreement", "er_teacher_reliability", variables=variables)
    assert built.query("select teacher_a, teacher_b from er_teacher_agreement") == [("also good", "odd")]
    assert built.query("select distinct teacher from er_teacher_reliability order by 1") == [("also good",), ("odd",)]


def test_the_run_says_what_it_will_ask_before_it_does(tmp_path: Path, llm: FakeLLM) -> None:
    said: list[str] = []

    def reply(body: Any) -> str:
        said.append(log_of(built))
        return same_born(body)

    llm.reply = reply
    built = project(tmp_path, llm, written=True)
    label(built)
    assert "good: 40 tuples, 40 questions, 0 answered before, 40 to ask: about" in said[0]
    assert (
        "good: 40 of 40 questions answered (0 of them before), 0 abstentions, 0 failures; 4,400 tokens, $0.0800"
        in log_of(built)
    )
    assert built.query("select sum(cost_usd), sum(input_tokens) from er_labels") == [(pytest.approx(0.08), 4000)]


def test_a_budget_ends_the_asking_not_the_run_and_the_next_run_goes_on(tmp_path: Path, llm: FakeLLM) -> None:
    built = project(tmp_path, llm, written=True, er_budget_calls=25)
    label(built)
    assert asked(llm) == 25
    assert built.query("select count(*) from er_labels") == [(25,)]
    assert "good stopped early, with 15 questions unasked: the budget of 25 calls is spent" in log_of(built)
    label(built)
    assert (asked(llm), built.query("select count(*) from er_labels")) == (40, [(40,)])


def test_dollars_are_not_limited_where_the_price_is_unknown(tmp_path: Path, llm: FakeLLM) -> None:
    built = project(tmp_path, llm, er_budget_usd=1, er_teacher_model="unpriced")
    message = built.error(*LABEL)
    assert "budget_usd needs the price of unpriced" in message
    assert asked(llm) == 0


def test_er_label_uses_the_store_and_the_budget_of_the_run(tmp_path: Path, llm: FakeLLM) -> None:
    built = project(tmp_path, llm, er_budget_calls=30)
    message = built.error(*LABEL, "+labelled", "--threads", "1")
    assert "the budget of 30 calls is spent" in message
    assert asked(llm) == 30
    built.run(*LABEL, "+labelled")
    assert asked(llm) == 40, "what one asks, the other finds in the store"
    assert built.query("""
        select count(*) from labelled join er_labels using (left_id) where label.choice = choice
    """) == [(40,)]
    built.run("run", "--select", "labelled")
    assert asked(llm) == 40


def test_what_only_looks_never_asks(tmp_path: Path, llm: FakeLLM) -> None:
    built = project(tmp_path, llm)
    built.run("seed")
    for command in (["parse"], ["ls"], ["compile"], ["build", "--empty"]):
        built.run(*command)
    assert asked(llm) == 0
    built.run("build")
    before = asked(llm)
    built.run("test")
    assert asked(llm) == before == 40


def test_a_failing_teacher_fails_the_model_and_its_answers_stay(tmp_path: Path, llm: FakeLLM) -> None:
    llm.reply = lambda body: same_born(body) if asked(llm) <= 12 else 401
    built = project(tmp_path, llm, er_teacher_concurrency=1)
    message = built.error(*LABEL)
    assert "refused access (401)" in message
    assert "12 of 40 answers arrived and are kept" in message
    llm.reply = same_born
    before = asked(llm)
    label(built)
    assert asked(llm) == before + 28


def test_nothing_is_left_beside_the_tables(tmp_path: Path, llm: FakeLLM) -> None:
    built = project(tmp_path, llm)
    for command in ("build", "run", "run"):
        built.run(command, "--exclude", "labelled")
    tables = {name for (name,) in built.query("select table_name from information_schema.tables")}
    assert {"er_labels", "er_scores"} <= tables
    assert not [name for name in tables if "__dbt" in name]


def test_only_new_and_changed_records_are_asked_about(tmp_path: Path, llm: FakeLLM) -> None:
    built = project(tmp_path, llm, er_selection_minimum=60)
    label(built)
    before = asked(llm)
    changed = [{**row, "town": "Elsewhere"} if i == 3 else row for i, row in enumerate(PEOPLE.left)]
    built._write("seeds/people_left.csv", csv(changed))
    label(built)
    queries = [shown_records(body)[0] for body in llm.asked[before:]]
    assert {"name": PEOPLE.left[3]["name"], "town": "Elsewhere", "born": PEOPLE.left[3]["born"]} in queries
    assert len(queries) < 10, "the record itself, and those whose candidates changed with it"


def test_private_and_masked_columns_never_leave(tmp_path: Path, llm: FakeLLM) -> None:
    store = {"er_label_store": "elsewhere/labels.sqlite"}
    built = project(tmp_path, llm, er_private_columns=["Town"], er_masked_columns=["name"], **store)
    built.run("build", "--threads", "1")
    assert asked(llm) == 40, "er_label asks through the same store"
    assert not (tmp_path / "distiller" / "labels.sqlite").exists()
    sent = json.dumps([body["messages"] for body in llm.asked])
    assert not [row["name"] for row in PEOPLE.left if row["name"] in sent]
    assert "Town" not in sent
    assert "town" not in sent
    assert all(shown_records(body)[0]["name"].startswith("masked:") for body in llm.asked)
    with sqlite3.connect(tmp_path / "elsewhere" / "labels.sqlite") as opened:
        stored = json.dumps(opened.execute("select query, candidates from labels").fetchall())
    assert not [row["name"] for row in PEOPLE.left if row["name"] in stored]
    # The student learns from the records as they are.
    assert built.query("select count(*) from er_labels where query like '%\"town\"%'") == [(40,)]


def test_a_misspelt_private_column_stops_before_anything_is_sent(tmp_path: Path, llm: FakeLLM) -> None:
    message = project(tmp_path, llm, er_private_columns=["twon"]).error(*LABEL)
    assert "twon" in message
    assert "Allowed: name, town, born" in message
    assert asked(llm) == 0


def test_variables_of_the_command_line_count_for_er_label_too(tmp_path: Path, llm: FakeLLM) -> None:
    built = project(tmp_path, llm)
    built.run(*LABEL, "+labelled", variables={"er_private_columns": ["town"]})
    assert asked(llm) == 40
    assert "town" not in json.dumps([body["messages"] for body in llm.asked])


def test_local_only_refuses_what_is_not_on_this_machine(tmp_path: Path, llm: FakeLLM) -> None:
    built = project(tmp_path, llm, er_local_only=True)
    label(built)
    assert asked(llm) == 40
    message = built.error(
        *LABEL,
        variables={"er_local_only": True, "er_teacher_base_url": "https://llm.example.com/v1"},
    )
    assert "llm.example.com" in message


def test_a_key_appears_in_no_table_log_or_store(tmp_path: Path, llm: FakeLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_KEY", "sk-very-secret-key-0123456789")

    def reply(body: Any) -> str:
        return json.dumps({"explanation": f"you sent {llm.keys[-1]}", "choice": 0, "confidence": 1})

    llm.reply = reply
    built = project(tmp_path, llm, written=True, er_teacher_api_key_env="OUR_KEY")
    label(built)
    assert llm.keys[0] == "Bearer sk-very-secret-key-0123456789"
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 10
    assert [file.name for file in files if b"very-secret" in file.read_bytes()] == []


@pytest.mark.parametrize("key", ["sk-very-secret-1\nsk-very-secret-2", "sk-very-secret-ü", "sk very-secret"])
def test_what_is_no_key_is_refused_without_a_word_of_it(
    tmp_path: Path, llm: FakeLLM, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("OUR_KEY", key)
    built = project(tmp_path, llm, written=True, er_teacher_api_key_env="OUR_KEY")
    assert "the environment variable OUR_KEY holds something that is no key" in built.error(*LABEL)
    assert asked(llm) == 0
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert [file.name for file in files if b"very-secret" in file.read_bytes()] == []


def test_a_key_in_the_place_of_its_variable_is_refused_without_a_word_of_it(tmp_path: Path, llm: FakeLLM) -> None:
    message = project(tmp_path, llm, er_teacher_api_key_env="sk-very-secret-key").error(*LABEL)
    assert "Allowed: the name of an environment variable, not what it holds." in message
    assert "very-secret" not in message


def test_ctrl_c_ends_the_asking(tmp_path: Path, llm: FakeLLM) -> None:
    def slowly(body: Any) -> str:
        time.sleep(0.25)
        return same_born(body)

    llm.reply = slowly
    project(tmp_path, llm, er_teacher_concurrency=1)
    command = [str(Path(sys.executable).parent / "dbt"), *LABEL, "--project-dir", ".", "--profiles-dir", "."]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # ignored where the tests run in the background
    )
    while asked(llm) < 5:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[0]
    assert process.returncode != 0
    assert 5 <= asked(llm) <= 12, said
    with sqlite3.connect(tmp_path / "distiller" / "labels.sqlite") as store:
        assert store.execute("select count(*) from labels").fetchone()[0] >= asked(llm) - 1


@pytest.mark.parametrize("method", ["majority", "dawid_skene", "unanimous"])
def test_imported_and_asked_teachers_vote_together(tmp_path: Path, llm: FakeLLM, method: str) -> None:
    teachers = [{"model": "good"}, {"teacher": "embedded"}]
    built = project(tmp_path, llm, er_teachers=teachers, er_vote=method)
    built.run("build", "--exclude", "labelled")
    assert built.query("select distinct teacher from er_labels order by 1") == [("embedded",), ("good",)]
    ((votes, chosen),) = built.query("select count(*), count(choice) from er_votes")
    assert votes == 40
    assert chosen >= 30


def test_pairs_asked_one_by_one_teach_deduplication(tmp_path: Path, llm: FakeLLM) -> None:
    def same(body: Any) -> str:
        text = body["messages"][-1]["content"]
        records = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        born = [record.get("born") for record in records]
        return json.dumps({"explanation": "born", "match": len(set(born)) == 1, "confidence": 0.95})

    llm.reply = same
    people = [*PEOPLE.left[:40], *PEOPLE.right[:40], *PEOPLE.left[:10]]
    built = project(
        tmp_path,
        llm,
        er_sources=[{"name": "p", "model": "people_left", "id": "key"}],
        er_teacher_ask="match",
        er_selection_share=1,
    )
    built._write("seeds/people_left.csv", csv(people))
    built.run("build", "--exclude", "labelled")
    several = built.query("select count(*) from er_labels where len(list_filter(probabilities, lambda p: p > 0.5)) > 1")
    assert several[0][0] >= 1
    assert built.query("select distinct ask from er_votes") == [("match",)]
    pairs = built.query("""
        select count(distinct (query, option.record)) from (select query, unnest(options) as option from er_labels)
    """)
    assert pairs == [(asked(llm),)]
    assert built.query("select max(entity_size) from er_entities")[0][0] >= 3
