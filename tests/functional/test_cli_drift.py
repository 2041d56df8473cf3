"""`distiller drift` and `retrain --if-drift` on a real warehouse, with a real HTTP server for a teacher."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pytest
import yaml
from conftest import make_people
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt_harness import Project
from fake_llm import Body, FakeLLM, fake_llm, same_born

from tests.unit.commands import run, run_json

PEOPLE = 160


def csv(rows: Sequence[dict[str, str | None] | None]) -> str:
    lines = [f"{i},{row['name']},{row['town'] or ''},{row['born']}" for i, row in enumerate(rows) if row]
    return "\n".join(["key,name,town,born", *lines]) + "\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was built with the embedded teacher, whose student learned from a part of its labels."""
    people = make_people(PEOPLE)
    matched = [row if i % 4 else None for i, row in enumerate(people.right)]
    made = Project(
        tmp_path_factory.mktemp("made"),
        seeds={"l": csv(people.left), "r": csv(matched)},
        variables={
            "er_sources": [{"name": name, "model": name, "id": "key"} for name in "lr"],
            "er_selection_share": 0.8,
            "er_training": "schedule",
            "er_evaluation_share": 0.3,
        },
    )
    made.run("build")
    DuckDBConnectionManager.close_all_connections()
    return made.folder


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLLM]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with fake_llm(same_born) as llm:
        yield llm


@pytest.fixture
def shop(made: Path, teacher: FakeLLM, tmp_path: Path) -> Path:
    """A copy of the project, whose teacher goes by the date of birth."""
    folder = tmp_path / "shop"
    shutil.copytree(made, folder, symlinks=True)
    profiles = folder / "profiles.yml"
    profiles.write_text(profiles.read_text().replace(str(made), str(folder)))
    settings = yaml.safe_load((folder / "dbt_project.yml").read_text())
    settings["vars"]["distiller_udf"] |= {
        "er_teacher": "openai",
        "er_teacher_model": "some-model",
        "er_teacher_base_url": teacher.base_url,
    }
    (folder / "dbt_project.yml").write_text(json.dumps(settings))
    return folder


def database(shop: Path) -> list[object]:
    return ["--database", shop / "warehouse.duckdb"]


def test_a_teacher_that_agrees_and_pairs_as_before_are_no_drift(shop: Path, teacher: FakeLLM) -> None:
    found = run_json("drift", *database(shop), "--tuples", 40, "--seed", 1)
    assert not found["drifted"], found["reasons"]
    assert (found["tuples"], found["answered"], len(teacher.asked)) == (40, 40, 40)
    assert found["agreement"]["all"]["value"] >= 0.95
    assert found["agreement"]["on_matches"]["of"] + found["agreement"]["on_none"]["of"] == 40
    assert found["promised"] > 0.9
    assert max(shift["psi"] for shift in found["shifts"]) < 0.2
    assert "No drift." in run("drift", *database(shop), "--tuples", 40, "--seed", 1).stderr
    assert len(teacher.asked) == 40, "what was answered is in the label store"
    run("drift", *database(shop), "--tuples", 40, "--seed", 2)
    assert len(teacher.asked) > 40, "another seed draws other records"
    kept = list((shop / "distiller" / "students" / "default" / ".drift").glob("*.json"))
    assert {json.loads(path.read_text())["draw"] for path in kept} >= {2}


def test_a_teacher_that_disagrees_is_drift(shop: Path, teacher: FakeLLM) -> None:
    def another(body: Body) -> str:
        said = json.loads(same_born(body))
        return json.dumps({**said, "choice": 0 if said["choice"] else 1})

    teacher.reply = another
    found = run_json("drift", *database(shop), "--tuples", 30, code=30)
    assert found["agreement"]["all"]["value"] < 0.1
    assert "where" in found["reasons"][0]
    assert "were to be expected" in found["reasons"][0]


def test_the_questions_are_those_of_er_tuples_byte_for_byte(shop: Path, teacher: FakeLLM) -> None:
    """Whoever was asked about for training is not asked about again, and what is asked anew is what dbt would ask."""
    asked = ["--tuples", PEOPLE, "--seed", 1]
    found = run_json("drift", *database(shop), *asked)
    assert found["answered"] == len(teacher.asked) > 100
    run("label", *database(shop))
    assert len(teacher.asked) == found["answered"], "er_tuples asks about some of these, in the very same words"


def test_a_spent_budget_leaves_what_was_answered(shop: Path, teacher: FakeLLM) -> None:
    few = run_json("drift", *database(shop), "--tuples", 40, "--budget-calls", 5, code=40)
    assert (few["agreement"], few["answered"], few["outcome"], few["drifted"]) == (None, 5, "unknown", False)
    needed = (
        "5 of 40 questions got an answer, and 10 answers are needed to say how far the teacher agrees; raise the budget"
    )
    assert needed in few["reasons"]
    some = run("drift", *database(shop), "--tuples", 40, "--budget-calls", 15)
    assert "20 of 40 questions got an answer, which is used" in some.stderr
    assert len(teacher.asked) == 20


@pytest.mark.parametrize("command", [["drift"], ["retrain", "--if-drift"]])
def test_too_few_tuples_are_not_taken_for_no_drift(shop: Path, command: list[str]) -> None:
    retrains = command[0] == "retrain"
    settings = ["--vars", "{er_drift_tuples: 5}"]
    said = run(*command, *database(shop), *settings, code=10 if retrains else 40).stderr
    assert "5 of 5 questions got an answer, and 10 answers are needed" in said
    assert "ask about more (--tuples, or er_drift_tuples, which is 5)" in said
    assert "Whether there is drift cannot be told" in said
    assert "No drift" not in said
    assert ("knows all labels" in said) == retrains, "new labels decide, as without --if-drift"


def test_a_warehouse_with_few_records_is_not_taken_for_no_drift(shop: Path) -> None:
    with duckdb.connect(str(shop / "warehouse.duckdb")) as warehouse:
        warehouse.execute("delete from er_candidates where left_id > 3")
    found = run_json("drift", *database(shop), "--psi", 100, code=40)
    assert found["outcome"] == "unknown"
    assert any("left records have candidates, and 10 answers are needed" in reason for reason in found["reasons"])


def test_what_nobody_promised_is_unknown_unless_the_teacher_agrees_with_all(shop: Path, teacher: FakeLLM) -> None:
    nothing_held_out = ["--vars", "{er_evaluation_share: 0.01}", "--seed", 1]
    agreed = run_json("drift", *database(shop), *nothing_held_out, "--tuples", 12)
    assert (agreed["promised"], agreed["agreement"]["all"]["value"], agreed["outcome"]) == (None, 1, "no drift")
    teacher.reply = lambda body: json.dumps({**json.loads(same_born(body)), "choice": 0})
    unsure = run_json("drift", *database(shop), *nothing_held_out, "--tuples", 30, "--seed", 2, code=40)
    assert unsure["agreement"]["all"]["value"] < 1
    assert any("no held-out labels say what to expect (er_training: schedule" in reason for reason in unsure["reasons"])


def change_names(shop: Path) -> None:
    with duckdb.connect(str(shop / "warehouse.duckdb")) as warehouse:
        warehouse.execute("""
            update er_records set name = 'To Whom It May Concern ' || reverse(name), town = null where source = 'l'
        """)


def test_pairs_that_are_unlike_those_trained_on_are_drift(shop: Path) -> None:
    change_names(shop)
    found = run("drift", *database(shop), "--tuples", 20, code=30)
    assert "left name: length has moved by" in found.stderr
    assert "left town: filled has moved by" in found.stderr
    assert "Drift: `distiller retrain` is due." in found.stderr


def test_retrain_if_drift_trains_only_then(shop: Path, teacher: FakeLLM) -> None:
    calm = run("retrain", *database(shop), "--if-drift", code=10)
    assert "no drift, so nothing was trained" in calm.stderr
    change_names(shop)
    moved = run("retrain", *database(shop), "--if-drift", code=10)
    assert "knows all labels" in moved.stderr, "there is drift, and still no new label"


def test_without_a_student_there_is_nothing_to_measure(shop: Path) -> None:
    shutil.rmtree(shop / "distiller" / "students")
    assert "no student has been trained" in run("drift", *database(shop), code=1).output
    assert run_json("retrain", *database(shop), "--if-drift")["outcome"] == "promoted"


def test_imported_labels_alone_ask_nobody(shop: Path) -> None:
    said = run("drift", *database(shop), "--vars", "{er_teacher: imported}", code=1).output
    assert "only imported labels are set" in said
