"""`distiller explain` and er_explain with a row of er_decisions: what they say is what was decided, pair by pair."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from conftest import make_people
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt_harness import Project

import distiller_udf
from distiller_udf.cli.explain import beside
from distiller_udf.inquiry import Inquiry, Record
from tests.unit.commands import run, run_json

VARIABLES = {"er_cannot_links": "apart", "er_must_links": "same"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two tables in which two people want the same one, with a must-link and a cannot-link."""
    people = make_people(90)
    twins = [{"name": name, "town": "bonn", "born": "1980-02-03"} for name in ("maria neumann", "maria neuman")]
    rows = {"l": [*people.left, *twins], "r": [*people.right, twins[0]]}
    made = Project(
        tmp_path_factory.mktemp("explained"),
        seeds={
            name: "key,name,town,born\n"
            + "".join(f"{i},{row['name']},{row['town'] or ''},{row['born']}\n" for i, row in enumerate(part))
            for name, part in rows.items()
        },
        models={"apart": "select 5 as left_id, 5 as right_id", "same": "select 7 as left_id, 8 as right_id"},
        variables={
            "er_sources": [{"name": name, "model": name, "id": "key"} for name in rows],
            "er_selection_minimum": 0,
            "er_selection_share": 0.5,
            "er_blocking": ["auto", {"sorted": "name"}],
            "er_blocking_rules": ["born"],
            **VARIABLES,
        },
        output={"plugins": [{"module": "distiller_udf.plugin"}]},
    )
    made.run("build")
    DuckDBConnectionManager.close_all_connections()
    return made


def place(project: Project) -> list[object]:
    return ["--project-dir", project.folder, "--profiles-dir", project.folder]


def test_no_match_is_explained_as_anything_else(project: Project) -> None:
    """Every decision, by the very row that says it."""
    with duckdb.connect(str(project.database), read_only=True) as connection:
        distiller_udf.register(connection, project.folder / "distiller" / "students")
        rows = connection.execute("""
            select d.is_match, d.reason, er_explain(a, b, d), er_explain(a, b, c), er_explain(a, b)
            from er_decisions as d
            inner join l as a on d.left_id = a.key
            inner join r as b on d.right_id = b.key
            left join er_choices as c using (left_source, left_id, right_source, right_id)
        """).fetchall()
    assert {"match", "threshold", "rival", "must_link", "cannot_link"} <= {row[1] for row in rows}
    for is_match, reason, told, chosen, alone in rows:
        assert told.startswith("Matched" if is_match else "Not matched"), told
        assert "Evidence: " in told
        if reason not in ("must_link", "cannot_link", "taken_by_must_link", "rival"):
            assert chosen.startswith("A match" if is_match else "No match"), chosen
        assert alone.startswith(("A match", "No match"))


def test_the_command_says_what_er_decisions_has(project: Project) -> None:
    said = run_json("explain", "90", "90", *place(project))
    assert (said["left"]["source"], said["right"]["source"], said["right"]["values"]["town"]) == ("l", "r", "bonn")
    assert said["decision"]["is_match"] is True
    assert said["verdict"].startswith("Matched: ")
    lost = run_json("explain", "r:90", "l:91", *place(project))
    assert (lost["left"]["id"], lost["decision"]["reason"]) == ("91", "rival"), "whichever is named first"
    assert "its right record is matched with l:90" in lost["verdict"]
    told = run("explain", "5", "5", *place(project)).stdout
    assert "Not matched: a cannot-link forbids it" in told
    assert "Matched by a must-link" in run("explain", "7", "8", *place(project)).stdout


def test_a_pair_that_is_no_candidate_is_explained_by_blocking(project: Project) -> None:
    far = next(
        other
        for other in range(90)
        if not project.query(f"select 1 from er_decisions where left_id = 1 and right_id = {other}")
    )
    DuckDBConnectionManager.close_all_connections()
    said = run_json("explain", "l:1", f"r:{far}", *place(project))
    assert (said["decision"], said["same_entity"]) == (None, False)
    assert said["verdict"].startswith("Not matched: blocking does not propose this pair")
    assert "Were it a candidate, the student would say: No match" in said["verdict"]
    by = {sentence.split(":")[0]: sentence for sentence in said["blocking"]}
    assert set(by) == {"By sorted name", "By equal born", "By words", "By q-grams"}
    assert by["By equal born"].endswith("their values differ.")
    assert "nearest to" in by["By words"]
    same = run_json("explain", "l:1", "l:2", *place(project))
    assert same["blocking"] == ["er_task is link, so records of one source are never compared."]
    assert "empty" not in same["verdict"] + same["evidence"]


def test_a_label_that_says_something_else_is_told(project: Project, tmp_path: Path) -> None:
    copy = tmp_path / "alone.duckdb"
    copy.write_bytes(project.database.read_bytes())
    with duckdb.connect(str(copy)) as warehouse:
        query = """
            select left_id, right_id from er_matches semi join er_labels using (left_source, left_id, right_id)
            where decided_by = 'student' order by all limit 1
        """
        ((left, right),) = warehouse.execute(query).fetchall()
    there = ["--database", copy, "--students", project.folder / "distiller" / "students"]
    assert run_json("explain", f"l:{left}", f"r:{right}", *there)["labels"] == [], "who agrees is not told"
    with duckdb.connect(str(copy)) as warehouse:
        warehouse.execute("update er_labels set choice = 0, seed = null, teacher = 'people' where left_id = ?", [left])
    told = "Label: people (imported) says that they do not match, unlike what was decided."
    assert run_json("explain", f"l:{left}", f"r:{right}", *there)["labels"] == [told]
    assert told in run("explain", f"r:{right}", f"l:{left}", *there).stdout, "whichever is named first"


def test_only_what_means_something_is_in_the_json(project: Project) -> None:
    said = run_json("explain", "90", "90", *place(project))
    assert set(said["left"]) == {"source", "id", "values"}


def test_columns_that_are_compared_stand_beside_each_other() -> None:
    left = Record("l", "1", {"name": "Ada", "price": "3", "both": "x", "own": "y"})
    right = Record("r", "2", {"title": "Ada L", "cost": "4", "both": "z"})
    compared = (("name", "title"), ("price", "cost"), ("both", "both"), ("own", "gone"))
    found = Inquiry(left, right, None, False, (), "", "", (), compared)
    assert beside(found) == [
        ["name | title", "Ada", "Ada L"],
        ["price | cost", "3", "4"],
        ["both", "x", "z"],
        ["own", "y", ""],
    ]


def test_a_database_without_its_project_is_explained(project: Project, tmp_path: Path) -> None:
    copy = tmp_path / "alone.duckdb"
    copy.write_bytes(project.database.read_bytes())
    students = project.folder / "distiller" / "students"
    said = run_json("explain", "90", "90", "--database", copy, "--students", students)
    assert (said["left"]["source"], said["right"]["source"], said["decision"]["is_match"]) == ("l", "r", True)
    wrong = run("explain", "90", "none", "--database", copy, "--students", students, code=1).output
    assert "er_records has no record none; give an id, or source:id, as in l:7" in wrong


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("l:1", "l:1"), "are the same record"),
        (("l:1", "999"), "er_records has no record 999; give an id, or source:id, as in l:7"),
        (("nobody:1", "r:1"), "er_records has no record nobody:1"),
    ],
)
def test_what_is_not_there_is_one_sentence(project: Project, given: tuple[str, str], message: str) -> None:
    assert message in run("explain", *given, *place(project), code=1).output


def test_before_the_build_there_is_nothing_to_explain(project: Project, tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "empty.duckdb")).close()
    found = run("explain", "1", "2", "--database", tmp_path / "empty.duckdb", *place(project), code=1).output
    assert "Run `dbt build` first" in found
