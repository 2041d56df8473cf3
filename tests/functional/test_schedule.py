"""The schedule with real dbt: `dbt build` serves, `distiller retrain` weighs, a test on the comparisons stops a run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import make_people
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt_harness import Project

from distiller_udf.registry import Registry
from distiller_udf.training.schedule.comparison import COMPARISON_SCHEMA

DISTILLER = Path(sys.executable).parent / "distiller"
FEW, MORE = {"er_selection_share": 0.4}, {"er_selection_share": 0.9}
TESTS = {
    "latest": "{{ distiller_udf.test_er_latest_challenger_promoted(ref('er_student_comparisons')) }}",
    "change": "{{ distiller_udf.test_er_no_large_change(ref('er_student_comparisons'), max_share=0.5) }}",
}


def csv(rows: list[dict[str, Any]]) -> str:
    lines = [f"{i},{row['name']},{row['town'] or ''},{row['born']}" for i, row in enumerate(rows)]
    return "key,name,town,born\n" + "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project on a schedule: built with few labels, so that `dbt build` has trained the first student."""
    people = make_people(120)
    made = Project(
        tmp_path_factory.mktemp("schedule"),
        seeds={
            "l": csv(people.left),
            "r": csv(people.right),
            "known": "left_id,right_id\n" + "".join(f"{i},{i}\n" for i in range(120)),
        },
        variables={
            "er_sources": [{"name": name, "model": name, "id": "key"} for name in "lr"],
            "er_selection_minimum": 0,
            "er_training": "schedule",
            "er_gold": "known",
            "er_evaluation_share": 0.3,
        },
        written=True,
    )
    made.run("build", variables=FEW)
    return made


def registry(project: Project) -> Registry:
    return Registry(project.folder / "distiller" / "students")


def retrain(project: Project, *options: object) -> tuple[int, dict[str, Any], str]:
    """Run the command as cron does, in a process of its own; its exit code, its JSON and what it said."""
    DuckDBConnectionManager.close_all_connections()
    done = subprocess.run(
        [DISTILLER, "retrain", "--database", project.database, "--json", *map(str, options)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def test_the_first_student_learns_from_all_but_the_held_out_labels(project: Project) -> None:
    (row,) = project.query("select is_current, labels from er_student")
    votes = project.query("select count(*) from er_votes")[0][0]
    assert row[0]
    assert 0 < row[1] < votes
    assert project.query("select count(*) from er_student_comparisons") == [(0,)]


def test_the_schedule_from_few_labels_to_more(project: Project) -> None:
    first = registry(project).current_version()
    code, said, line = retrain(project)
    assert (code, said["outcome"]) == (10, "nothing new")
    assert f"Nothing new: {first} knows all labels" in line

    project.run("build", variables=MORE)
    assert registry(project).current_version() == first, "dbt build serves the current student and trains none"
    code, said, line = retrain(project, "--dry-run")
    assert (code, said["labels_new"] > 10) == (0, True)
    assert registry(project).names() == [first]
    code, _, line = retrain(project, "--vars", "{er_must_links: nowhere}")
    assert code == 1
    assert "depends on a node named 'nowhere'" in line

    code, said, line = retrain(project)
    assert code == 0, line
    second = registry(project).current_version()
    assert (said["comparison"]["current"], said["current"]) == (first, second)
    assert second != first
    found = said["comparison"]
    assert found["held_out"]["tuples"] >= 10
    assert found["changes"]["pairs_kept"] + found["changes"]["pairs_gained"] == found["matches"] > 80
    assert found["difference"]["risk"] <= 0.2

    written = project.query("from er_student_comparisons")
    assert [(row[1], row[2]) for row in written] == [(second, first)]
    assert retrain(project)[0] == 10
    project.run("build", variables=MORE)
    assert project.query("from er_student_comparisons") == written
    assert [name for name, *_ in project.query("describe er_student_comparisons")] == COMPARISON_SCHEMA.names
    assert project.query("select distinct student from er_scores") == [(second,)]
    metrics = dict(project.query("select metric, value from er_metrics"))
    assert metrics["f1"] == pytest.approx(found["gold"]["challenger"]["value"])
    assert metrics["matches"] == found["matches"]


def test_a_test_on_the_comparisons_stops_the_run_before_anything_is_scored(project: Project) -> None:
    for name, text in TESTS.items():
        project._write(f"tests/{name}.sql", text)
    project.run("build", variables=MORE)
    folder = registry(project).folder / ".comparisons"
    (file,) = folder.iterdir()
    kept = file.read_text()
    found = json.loads(kept)
    file.write_text(json.dumps({**found, "promoted": False}))
    assert "Got 1 result, configured to fail if != 0" in project.error("build", variables=MORE)
    results = json.loads((project.folder / "target" / "run_results.json").read_text())["results"]
    outcome = {result["unique_id"].split(".")[2]: result["status"] for result in results}
    assert outcome["latest"] == "fail"
    assert {outcome[name] for name in ("er_student", "er_scores", "er_matches", "er_entities")} == {"skipped"}
    file.write_text(json.dumps({**found, "changes": {**found["changes"], "pairs_changed": 0.51}}))
    assert "change" in project.error("build", variables=MORE)
    file.write_text(kept)
    project.run("build", variables=MORE)


def test_drift_is_measured_without_an_llm(project: Project) -> None:
    """The embedded teacher, whose answers the student learned from, on the pairs that it learned from."""
    DuckDBConnectionManager.close_all_connections()
    command = [DISTILLER, "drift", "--database", project.database, "--tuples", "40", "--seed", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert (said["answered"], said["student"]) == (40, registry(project).current_version())
    assert said["agreement"]["all"]["value"] > 0.9
    assert {"probabilities", "left name: filled", "right born: length", "new words"} <= {
        s["what"] for s in said["shifts"]
    }


def test_a_warehouse_that_is_in_use_is_one_sentence(project: Project) -> None:
    script = f"import duckdb, time; c = duckdb.connect({str(project.database)!r}); print(1, flush=True); time.sleep(60)"
    DuckDBConnectionManager.close_all_connections()
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        code, _, line = retrain(project)
        other.kill()
    assert code == 1
    assert "try again when dbt has ended" in line


def test_a_second_retraining_is_refused(project: Project) -> None:
    with registry(project).lock():
        code, _, line = retrain(project)
    assert code == 1
    assert "under way" in line
