"""`distiller ask` against a real HTTP server on loopback, a real DuckDB file and a real label store."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from commands import run, run_json
from fake_llm import Body, FakeLLM, fake_llm
from rich.console import Console

from distiller_udf import pipeline
from distiller_udf.cli import ask_view
from distiller_udf.labels import Deleted, LabelStore, Progress, erasure
from distiller_udf.project import Project

TUPLES = 6


def first(body: Body) -> str:
    """The reply of a model that takes the first candidate."""
    return json.dumps({"explanation": "same", "choice": 1, "match": True, "confidence": 0.9})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLLM]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with fake_llm(first, tokens=(1_000, 50)) as llm:
        yield llm


@pytest.fixture
def project(server: FakeLLM, tmp_path: Path) -> Path:
    """A dbt project that was built up to er_tuples, whose teacher is the server; its prices are known."""
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    (folder / "prices.json").write_text('{"some-model": {"input": 1.0, "output": 2.0}}')
    (folder / "dbt_project.yml").write_text(
        f"""
name: mine
profile: mine
vars:
  er_teacher: openai
  er_label_store: kept/labels.sqlite
  other_package: {{er_teacher: embedded}}
  unrelated: 1
  distiller_udf:
    er_teacher_model: some-model
    er_teacher_base_url: {server.base_url}
    er_teacher_prices: prices.json
"""
    )
    with duckdb.connect(str(folder / "data" / "warehouse.duckdb")) as warehouse:
        warehouse.execute(
            f"""
            create table er_pairs as
            select 'crm' as left_source, l as left_id, 'shop' as right_source, l * 10 + r as right_id,
                {{'name': 'left ' || l, 'mail': 'l' || l || '@example.org'}} as left_record,
                {{'name': 'right ' || (l * 10 + r), 'mail': 'r@example.org'}} as right_record
            from range({TUPLES}) t(l), range(3) u(r);
            create view er_tuples as
            select left_source, left_id, any_value(left_record) as query,
                list(struct_pack(source := right_source, id := right_id, record := right_record) order by right_id)
                    as candidates
            from er_pairs group by left_source, left_id
            """
        )
    return folder


@pytest.fixture
def database(project: Path) -> list[object]:
    return ["--database", project / "data" / "warehouse.duckdb"]


def test_a_dry_run_says_what_it_would_ask_and_asks_nothing(
    server: FakeLLM, project: Path, database: list[object]
) -> None:
    (expected,) = run_json("ask", *database, "--dry-run")["estimate"]
    assert server.asked == []
    assert expected["teacher"] == "some-model"
    assert (expected["tuples"], expected["questions"], expected["cached"], expected["asked"]) == (6, 6, 0, 6)
    assert expected["input_tokens"] > 600
    assert expected["usd"] == pytest.approx(expected["input_tokens"] / 1e6 + 2 * expected["output_tokens"] / 1e6)
    shown = run("ask", *database, "--dry-run").stdout
    assert "6 to ask" in shown
    assert "$0.0" in shown
    assert "unknown" in run("ask", *database, "--dry-run", "--model", "other").stdout
    run("ask", *database, "--limit", 2)
    (rest,) = run_json("ask", *database, "--dry-run")["estimate"]
    assert (rest["cached"], rest["asked"]) == (2, 4)
    assert 0 < rest["usd"] < expected["usd"]


def test_answers_are_kept_and_never_asked_for_twice(
    server: FakeLLM, project: Path, database: list[object], tmp_path: Path
) -> None:
    out = tmp_path / "labels.parquet"
    done = run_json("ask", *database, "-o", out)
    (stand,) = done["outcome"]
    assert (stand["total"], stand["cached"], stand["answered"], stand["failed"]) == (6, 0, 6, 0)
    assert (done["spent"]["calls"], done["spent"]["input_tokens"], done["spent"]["cost_unknown"]) == (6, 6_000, 0)
    assert done["spent"]["usd"] == pytest.approx(6 * (1_000 + 2 * 50) / 1e6)
    assert (done["labels"], done["output"], done["stopped"]) == (6, str(out), None)
    rows = pq.read_table(out).sort_by("left_id").to_pylist()
    assert [(row["left_id"], row["right_id"], row["teacher"]) for row in rows] == [
        (i, i * 10, "some-model") for i in range(6)
    ]
    assert (project / "kept" / "labels.sqlite").exists()
    again = run_json("ask", *database)
    assert (again["outcome"][0]["cached"], again["spent"]["calls"]) == (6, 0)
    assert len(server.asked) == 6


def test_dbt_finds_the_answers(server: FakeLLM, project: Path, database: list[object]) -> None:
    """What `models/er_labels.py` calls, with the variables as dbt reads them, has nothing left to ask."""
    run("ask", *database)
    settings = Project.of(project).settings
    with duckdb.connect(str(project / "data" / "warehouse.duckdb")) as session:
        tuples, pairs = session.table("er_tuples"), session.table("er_pairs")
        labels = pipeline.label(session, tuples, pairs, session.sql("select 1"), settings).fetchall()
    assert len(labels) == 6
    assert len(server.asked) == 6


def test_what_was_asked_can_be_deleted_by_id(server: FakeLLM, project: Path, database: list[object]) -> None:
    run("ask", *database)
    with LabelStore(project / "kept" / "labels.sqlite") as store:
        assert store.delete(erasure.of_record("crm", 3)) == Deleted(1, 0)
        assert store.delete(erasure.of_record("shop", 41)) == Deleted(1, 0)
        assert store.delete(erasure.of_record("crm", 41)) == Deleted(0, 0)


def test_options_override_the_project(server: FakeLLM, project: Path, database: list[object], tmp_path: Path) -> None:
    store = tmp_path / "elsewhere" / "other.sqlite"
    options = ["--model", "other", "--ask", "match", "--reply", "answer", "--store", store, "--limit", 2]
    done = run_json("ask", *database, *options)
    assert (done["outcome"][0]["teacher"], done["outcome"][0]["answered"]) == ("other", 6)
    assert done["spent"]["cost_unknown"] == 6
    assert {request["model"] for request in server.asked} == {"other"}
    with LabelStore(store) as opened:
        assert set(opened.export()["ask"].to_pylist()) == {"match"}
    assert not (project / "kept").exists()


def test_several_orders_are_asked(server: FakeLLM, database: list[object]) -> None:
    assert run_json("ask", *database, "--orders", 2, "--limit", 1)["outcome"][0]["answered"] == 2


def test_variables_are_given_as_to_dbt(server: FakeLLM, project: Path, database: list[object]) -> None:
    done = run_json(
        *("ask", *database, "--limit", 1, "--vars"),
        "{er_teachers: [{model: one}, {model: two}, {teacher: imported}], er_private_columns: [mail]}",
    )
    assert [stand["teacher"] for stand in done["outcome"]] == ["one", "two"]
    assert "left 0" in server.text
    assert "@example.org" not in server.text
    # Who is named on the command line is asked alone.
    alone = run_json("ask", *database, "--dry-run", "--model", "three", "--vars", "{er_teachers: [{model: one}]}")
    assert [part["teacher"] for part in alone["estimate"]] == ["three"]
    both = run("ask", *database, "--dry-run", "--vars", "{er_teachers: [{model: some-model}, {model: two}]}").stdout
    assert "in all: 12 to ask, an unknown price" in both


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ("{er_techer: openai}", "did you mean er_teacher"),
        ("er_teacher", "--vars is not a mapping"),
        ("{er_teacher: imported}", "only imported labels are set"),
        ("{er_teacher_base_url: 'https://api.example.org/v1', er_local_only: true}", "local"),
    ],
)
def test_settings_that_cannot_be_are_named(server: FakeLLM, database: list[object], variables: str, said: str) -> None:
    assert said in run("ask", *database, "--vars", variables, code=1).stderr
    assert server.asked == []


def test_local_only_refuses_a_server_elsewhere(server: FakeLLM, database: list[object]) -> None:
    away = ["--base-url", "https://api.example.org/v1"]
    assert "local" in run("ask", *database, *away, "--local-only", code=1).stderr
    assert run_json("ask", *database, "--local-only", "--limit", 1)["outcome"][0]["answered"] == 1


@pytest.mark.parametrize("budget", [["--budget-calls", 2], ["--budget-usd", 0.004], ["--budget-tokens", 2_200]])
def test_a_budget_ends_the_run_and_keeps_what_arrived(
    server: FakeLLM, project: Path, database: list[object], tmp_path: Path, budget: list[object]
) -> None:
    out = tmp_path / "labels.parquet"
    result = run("ask", *database, *budget, "--concurrency", 1, "-o", out, code=3)
    assert "budget" in result.stderr
    kept = len(server.asked)
    assert 0 < kept < 6
    assert f"{kept} answer{' has' if kept == 1 else 's have'} arrived" in result.stderr
    assert pq.read_table(out).num_rows == kept
    assert "Traceback" not in result.output
    rest = run_json("ask", *database)
    assert (rest["outcome"][0]["cached"], rest["outcome"][0]["answered"]) == (kept, 6 - kept)


def test_a_spent_budget_in_json(server: FakeLLM, database: list[object]) -> None:
    done = run_json("ask", *database, "--budget-calls", 1, "--concurrency", 1, code=3)
    assert done["spent"]["calls"] == 1
    assert "1 call " in done["stopped"]


def test_a_refused_key_is_an_error_in_one_sentence(server: FakeLLM, project: Path, database: list[object]) -> None:
    server.reply = lambda body: 401
    result = run("ask", *database, code=1)
    assert result.stderr.count("Error: ") == 1
    assert "Traceback" not in result.output
    assert json.loads(run("ask", *database, "--json", code=1).stdout)["stopped"]


def test_questions_without_a_reply_are_counted(server: FakeLLM, project: Path, database: list[object]) -> None:
    server.reply = lambda body: 400 if body["number"] > 4 else first(body)
    result = run("ask", *database, "--concurrency", 1, code=1)
    assert "questions stayed without a reply; run again" in result.stderr
    server.reply = first
    done = run_json("ask", *database)
    assert done["outcome"][0]["cached"] + done["outcome"][0]["answered"] == 6
    assert done["outcome"][0]["cached"] >= 1


def test_the_warehouse_is_free_while_teachers_answer(server: FakeLLM, project: Path, database: list[object]) -> None:
    def build(body: Body) -> str:
        with duckdb.connect(str(project / "data" / "warehouse.duckdb")) as writer:
            writer.execute(f"create table built_{body['number']} as select 1")
        return first(body)

    server.reply = build
    assert run_json("ask", *database, "--concurrency", 1)["outcome"][0]["answered"] == 6


def test_tuples_from_a_file(server: FakeLLM, project: Path, database: list[object], tmp_path: Path) -> None:
    with duckdb.connect(str(project / "data" / "warehouse.duckdb")) as warehouse:
        warehouse.table("er_tuples").to_parquet(str(tmp_path / "tuples.parquet"))
    tuples = ["--tuples", tmp_path / "tuples.parquet"]
    assert run_json("ask", *tuples, "--project-dir", project)["outcome"][0]["answered"] == 6
    assert run_json("ask", *database)["outcome"][0]["cached"] == 6
    assert "is an input" in run("ask", *tuples, "-o", tmp_path / "tuples.parquet", code=2).stderr


def test_without_a_project_the_defaults_count(
    server: FakeLLM, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "alone").mkdir()
    monkeypatch.chdir(tmp_path / "alone")
    with duckdb.connect(str(project / "data" / "warehouse.duckdb")) as warehouse:
        warehouse.table("er_tuples").to_parquet("tuples.parquet")
    done = run_json("ask", "--tuples", "tuples.parquet", "--model", "any", "--base-url", server.base_url)
    assert done["outcome"][0]["answered"] == 6
    assert Path("distiller/labels.sqlite").exists()


def test_the_embedded_teacher_looks_at_all_pairs(server: FakeLLM, project: Path, database: list[object]) -> None:
    done = run_json("ask", *database, "--teacher", "embedded")
    assert done["outcome"][0]["answered"] == 6
    assert done["spent"]["usd"] == 0
    assert server.asked == []
    with duckdb.connect(str(project / "data" / "warehouse.duckdb")) as warehouse:
        warehouse.execute("drop view er_tuples; create table er_tuples as select 1")
    assert "left_source" in run("ask", *database, code=1).stderr


def test_what_is_missing_is_named(
    server: FakeLLM, project: Path, database: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "--database" in run("ask", code=1).stderr
    assert "there is no database" in run("ask", "--database", tmp_path / "gone.duckdb", code=1).stderr
    assert "has no table x.er_tuples" in run("ask", *database, "--schema", "x", code=1).stderr
    assert "ends in .parquet" in run("ask", *database, "-o", tmp_path / "labels.xlsx", code=1).stderr
    assert "does not exist" in run("ask", *database, "--project-dir", tmp_path / "gone", code=1).stderr
    assert server.asked == []


def test_exit_codes_are_documented() -> None:
    text = run("ask", "--help").stdout
    assert all(f"\n    {code} " in text for code in ("0", "1", "3", "130"))


def test_an_interrupt_keeps_what_arrived(server: FakeLLM, project: Path, database: list[object]) -> None:
    held = threading.Event()

    def hold(body: Body) -> str:
        if body["number"] > 2:
            held.wait(30)
        return first(body)

    server.reply = hold
    command = [sys.executable, "-c", "from distiller_udf.cli import main; main()", "ask", *map(str, database)]
    process = subprocess.Popen(
        [*command, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # ignored where the tests run in the background
    )
    store = project / "kept" / "labels.sqlite"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not store.exists() or LabelStore(store).export().num_rows < 2):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert time.monotonic() - started < 15  # it does not wait for the calls that are under way
    held.set()
    assert "2 answers have arrived and are kept" in errors
    assert "Traceback" not in errors
    assert json.loads(out)["stopped"] == "interrupted"
    assert LabelStore(store).export().num_rows == 2


def test_a_line_now_and_then_where_there_is_no_terminal(
    server: FakeLLM, database: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask_view, "LINE_SECONDS", 0.1)

    def slowly(body: Body) -> str:
        time.sleep(0.25)
        return first(body)

    server.reply = slowly
    lines = run("ask", *database, "--concurrency", 1).stderr.splitlines()
    shown = [line for line in lines if "of 6 questions answered (" in line]
    assert len(shown) >= 5
    assert any("a second, 0:0" in line and line.endswith("left") for line in shown)
    assert "\x1b" not in "".join(lines)


def test_the_live_view_shows_a_bar_and_all_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(ask_view, "err", Console(file=screen, force_terminal=True, width=160))
    stand = Progress("some [model]", 1_000, 100, 400, 7, 3, 123_456, 1.25, 2)
    with ask_view.watching() as watch:
        watch(Progress("some [model]", 1_000, 100))
        watch.began["some [model]"] -= 40.3
        watch(stand)
    shown = screen.getvalue()
    for figure in (
        *("some [model]", "503 of 1,000", "400 answered", "100 cached", "7 abstained", "3 failed"),
        *("123,456 tokens", "$1.2500 + 2 of unknown price", "10.0 a second", "0:50 left", "━"),
    ):
        assert figure in shown, figure


def test_a_stop_is_no_pace() -> None:
    watch = ask_view.Watch()
    watch(Progress("a", 1_000))
    watch.began["a"] -= 10
    watch(Progress("a", 1_000, 0, 20, failed=10, stopped="the budget is spent"))
    assert watch.pace(watch.all()[0]).startswith(", 3.0 a second")
    assert (watch.stopped, watch.failed) == ("the budget is spent", 10)
    assert [ask_view.duration(seconds) for seconds in (7, 750, 11_100)] == ["0:07", "12:30", "3:05:00"]


def test_a_stop_is_said_once(server: FakeLLM, database: list[object]) -> None:
    assert run("ask", *database, "--budget-calls", 1, code=3).output.count("the budget of 1 call is spent") == 1


def test_the_environment_s_key_is_never_shown(
    server: FakeLLM, database: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-0123456789")
    assert "very-secret" not in run("ask", *database).output + run("ask", *database, "--json").output
