"""The command line: every command on real files, in words and as JSON."""

from __future__ import annotations

import ast
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import click
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import run, run_json
from conftest import People

from distiller_udf.cli import COMMANDS, main
from distiller_udf.files.tables import FORMATS, READ
from distiller_udf.registry import Registry
from distiller_udf.settings.written import common
from tests.tiny_encoder import needs_encoder, save_tiny_encoder


@pytest.fixture
def files(people: People, tmp_path: Path) -> Path:
    """left.parquet, right.parquet, candidates.parquet and gold.parquet of thirty people."""
    ids = range(30)
    pq.write_table(pa.Table.from_pylist([{"id": i, **people.left[i]} for i in ids]), tmp_path / "left.parquet")
    pq.write_table(pa.Table.from_pylist([{"id": i, **people.right[i]} for i in ids]), tmp_path / "right.parquet")
    pairs = [{"left_id": i, "right_id": (i + j) % 30} for i in ids for j in range(5)]
    pq.write_table(pa.Table.from_pylist(pairs), tmp_path / "candidates.parquet")
    pq.write_table(pa.table({"left_id": list(ids), "right_id": list(ids)}), tmp_path / "gold.parquet")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    assert "Usage:" in run(command, "--help").stdout


def test_the_commands_that_messages_name_exist() -> None:
    """Error messages and docstrings say what to run next: `distiller <command> <subcommand>` in backticks."""
    root = Path(__file__).parents[2]
    files = [*(root / "distiller_udf").rglob("*.py"), *(root / "training").rglob("*.py")]
    strings = [
        node.value
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    named = {words for text in strings for words in re.findall(r"`distiller ([a-z]+(?: [a-z]+)?)", text)}
    assert "labels import" in named
    for words in sorted(named):
        command, *rest = words.split()
        assert command in COMMANDS, f"`distiller {words}`"
        group = main.get_command(click.Context(main), command)
        if rest and isinstance(group, click.Group):
            assert rest[0] in group.list_commands(click.Context(group)), f"`distiller {words}`"


def test_score_then_evaluate(files: Path, students: Registry) -> None:
    scores = files / "scores.parquet"
    names = ("left", "right", "candidates")
    inputs = [part for name in names for part in (f"--{name}", files / f"{name}.parquet")]
    done = run_json("score", *inputs, "--student", students.root, "-o", scores)
    assert done["pairs"] == 150
    table = pq.read_table(scores)
    assert table.column_names == ["left_id", "right_id", "probability", "choice_probability", "is_match"]
    figures = run_json("evaluate", "--gold", files / "gold.parquet", "--matches", scores)
    assert figures["known_pairs"] == 30
    assert figures["recall"] >= 0.9
    assert figures["precision"] >= 0.9


def test_score_never_overwrites_its_input(files: Path, students: Registry) -> None:
    before = (files / "left.parquet").read_bytes()
    arguments = ["score", "--left", files / "left.parquet", "--candidates", files / "candidates.parquet"]
    assert "is an input" in run(*arguments, "-o", files / "left.parquet", code=2).stderr
    assert (files / "left.parquet").read_bytes() == before


def test_score_takes_two_id_columns(files: Path, students: Registry) -> None:
    right = pq.read_table(files / "right.parquet").rename_columns({"id": "key"})
    pq.write_table(right, files / "renamed.parquet")
    arguments = ["score", "--left", files / "left.parquet", "--right", files / "renamed.parquet", "--right-id", "key"]
    arguments += ["--candidates", files / "candidates.parquet", "--student", students.root, "-o", files / "out.parquet"]
    assert run_json(*arguments)["pairs"] == 150


def test_score_takes_pairs_with_their_records(people: People, students: Registry, tmp_path: Path) -> None:
    rows = [{"ref": i, "left_record": people.left[i], "right_record": people.right[0]} for i in range(5)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    run("score", "--pairs", tmp_path / "pairs.parquet", "--student", students.root, "-o", tmp_path / "out.parquet")
    out = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["is_match"] for row in out] == [True, False, False, False, False]
    assert [row["ref"] for row in out] == [0, 1, 2, 3, 4]
    assert all(row["choice_probability"] is None for row in out)


def test_score_leaves_no_output_when_it_fails(files: Path, tmp_path: Path) -> None:
    inputs = ["--left", files / "left.parquet", "--candidates", files / "candidates.parquet"]
    result = run("score", *inputs, "--student", tmp_path / "none", "-o", files / "scores.parquet", code=1)
    assert "no student" in result.stderr
    assert not (files / "scores.parquet").exists()
    assert run("score", "-o", files / "scores.parquet", code=2).stderr.count("--candidates") == 1


def test_score_names_a_missing_or_repeated_id(files: Path, students: Registry) -> None:
    arguments = ["score", "--left", files / "left.parquet", "--candidates", files / "candidates.parquet"]
    arguments += ["--student", students.root, "-o", files / "out.parquet"]
    assert "lacks the column key" in run(*arguments, "--id", "key", code=1).stderr
    assert "must be unique and not NULL" in run(*arguments, "--id", "town", code=1).stderr


def score_inputs(files: Path, students: Registry) -> list[object]:
    names = ("left", "right", "candidates")
    inputs = [part for name in names for part in (f"--{name}", files / f"{name}.parquet")]
    return ["score", *inputs, "--student", students.root, "-o", files / "scores.parquet"]


def test_score_compares_ids_of_different_types_as_text(files: Path, students: Registry) -> None:
    for name, column in (("candidates", "left_id"), ("right", "id")):
        table = pq.read_table(files / f"{name}.parquet")
        texts = table[column].cast(pa.string())
        changed = table.set_column(table.column_names.index(column), column, texts)
        pq.write_table(changed, files / f"{name}.parquet")
    assert run_json(*score_inputs(files, students))["pairs"] == 150
    assert pq.read_table(files / "scores.parquet")["left_id"].type == pa.string()


def test_score_counts_candidates_that_name_unknown_records(files: Path, students: Registry) -> None:
    pq.write_table(pa.table({"left_id": [1, 2, 99], "right_id": [1, 2, 3]}), files / "candidates.parquet")
    assert "1 of 3 candidates left out: the files have no such records" in run(*score_inputs(files, students)).stderr
    done = run_json(*score_inputs(files, students))
    assert (done["pairs"], done["unknown"]) == (2, 1)
    pq.write_table(pa.table({"left_id": ["x", "y"], "right_id": [1, 2]}), files / "candidates.parquet")
    assert "none of the 2 candidates" in run(*score_inputs(files, students), code=1).stderr


def test_errors_of_duckdb_and_the_system_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(*_: object) -> None:
        duckdb.sql("select cast('x' as integer)").fetchall()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "some.file")

    monkeypatch.setattr("distiller_udf.cli.evaluate.open_table", convert)
    pq.write_table(pa.table({"left_id": [1], "right_id": [1]}), tmp_path / "gold.parquet")
    arguments = ["evaluate", "--gold", tmp_path / "gold.parquet", "--matches", tmp_path / "gold.parquet"]
    stderr = run(*arguments, code=1).stderr
    assert stderr.startswith("Error: DuckDB: Conversion Error")
    assert len(stderr.splitlines()) == 1
    monkeypatch.setattr("distiller_udf.cli.evaluate.open_table", full)
    assert "No space left on device" in run(*arguments, code=1).stderr


def test_a_folder_is_no_file(files: Path, students: Registry, labels: pa.Table, tmp_path: Path) -> None:
    assert "directory" in run("score", "--pairs", tmp_path, "-o", tmp_path / "out.parquet", code=2).stderr
    assert "directory" in run("evaluate", "--gold", tmp_path, code=2).stderr
    assert "there is no file" in run("labels", "import", tmp_path, code=1).stderr
    assert "directory" in run("train", "--database", tmp_path, code=2).stderr


def test_train_names_the_columns_that_the_pairs_lack(labels: pa.Table, tmp_path: Path) -> None:
    pq.write_table(labels.slice(0, 40), tmp_path / "labels.parquet")
    pq.write_table(pa.table({"right_record": ["x"]}), tmp_path / "pairs.parquet")
    arguments = ["--labels", tmp_path / "labels.parquet", "--pairs", tmp_path / "pairs.parquet"]
    result = run("train", *arguments, "--students", tmp_path / "students", code=1)
    assert "pairs.parquet lacks the column left_record; it has right_record" in result.stderr


def test_train_from_labels_is_idempotent(labels: pa.Table, tmp_path: Path) -> None:
    pq.write_table(labels.slice(0, 40), tmp_path / "labels.parquet")
    arguments = ["train", "--labels", tmp_path / "labels.parquet", "--students", tmp_path / "students"]
    first, second = run_json(*arguments), run_json(*arguments)
    assert (first["trained"], second["trained"]) == (True, False)
    assert first["version"] == second["version"]
    assert first["trained_from"]["labels"] == 40
    listed = run_json("students", "list", "--students", tmp_path / "students")
    assert listed["current"] == first["version"]
    assert [s["version"] for s in listed["students"]] == [first["version"]]


def test_train_from_the_warehouse(labels: pa.Table, tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as warehouse:
        warehouse.register("labels", labels.slice(0, 40))
        warehouse.execute("create table er_votes as from labels")
        warehouse.execute("create table er_pairs as select {'name': 'x'} as left_record, {'name': 'y'} as right_record")
    database = ["--database", tmp_path / "warehouse.duckdb", "--students", tmp_path / "students"]
    assert run_json("train", *database)["kind"] == "lexical"
    assert "has no table other.er_votes" in run("train", *database, "--schema", "other", code=1).stderr


def test_train_without_input_says_what_to_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "there is no dbt project here; give --project-dir, or --database" in run("train", code=1).stderr
    assert "there is no database at gone.duckdb" in run("train", "--database", "gone.duckdb", code=1).stderr


def test_train_says_whose_place_a_student_takes(labels: pa.Table, tmp_path: Path) -> None:
    pq.write_table(labels.slice(0, 40), tmp_path / "labels.parquet")
    arguments = ["train", "--labels", tmp_path / "labels.parquet", "--students", tmp_path / "students"]
    first = run_json(*arguments)["version"]
    kept = run(*arguments, "--seed", 1, "--no-promote").stderr
    assert "It answers when it is promoted: distiller students promote lexical-" in kept
    assert Registry(tmp_path / "students").current_version() == first
    taken = run(*arguments, "--seed", 2).stderr
    assert f"It is the current student, in place of {first}; `distiller students rollback` goes back." in taken


def test_train_says_what_was_learned_and_what_to_expect(labels: pa.Table, tmp_path: Path) -> None:
    pq.write_table(labels.slice(0, 40), tmp_path / "labels.parquet")
    arguments = ["train", "--labels", tmp_path / "labels.parquet", "--students", tmp_path / "students"]
    given = run_json(*arguments)
    again = run(*arguments)
    said = " ".join(again.stdout.replace("│", " ").split())
    metrics = given["metrics"]
    told = again.stderr.splitlines()
    assert told[0] == "nothing new: there is a student of these very labels and settings already"
    assert told[1:] == ["It is the current student."]
    assert "kind lexical" in said
    assert "learned from 40 answers by test" in said
    assert f"labelled pairs {metrics['labelled_pairs']}, of them {metrics['labelled_matches']} matches" in said
    assert "unlabelled pairs none" in said
    assert "thresholds those of the best F1" in said
    for kind, decision in (("pair", "a pair by itself: er_match"), ("choice", "a pair among all others: er_matches")):
        threshold = given["threshold" if kind == "pair" else "choice_threshold"]
        ends = [[metrics[f"{kind}_{name}{end}"] for end in ("", "_low", "_high")] for name in ("precision", "recall")]
        figures = " ".join(f"{value:.4g} ({low:.4g} to {high:.4g})" for value, low, high in ends)
        assert f"{decision} {threshold:.4g} {figures}" in said
    several = run(*arguments, "--constraint", "none", "--target-precision", ".95").stdout
    assert "thresholds       │ the lowest that keep a precision of 0.95" in several
    assert "constraint none" in " ".join(several.replace("│", " ").split())


def test_the_constraint_of_a_training_is_given_or_the_projects_or_that_of_the_labels(
    labels: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = labels.slice(0, 40)
    source = pa.array([few["options"][0][0]["source"].as_py()] * 40)
    within = few.set_column(few.column_names.index("left_source"), "left_source", source)
    for name, table in (("between", few), ("within", within)):
        pq.write_table(table, tmp_path / f"{name}.parquet")
    (tmp_path / "dbt_project.yml").write_text("name: shop\nvars: {er_constraint: many_to_one}\n", encoding="utf-8")

    def trained(labels: str, *arguments: object) -> str:
        given = ("--labels", tmp_path / f"{labels}.parquet", "--students", tmp_path / "students")
        return str(run_json("train", *given, *arguments)["constraint"])

    assert trained("between") == "one_to_one"
    assert trained("within") == "none"
    monkeypatch.chdir(tmp_path)
    assert trained("between") == "many_to_one"
    assert trained("between", "--constraint", "none") == "none"


def test_other_pairs_make_another_student_in_whatever_order_they_come(
    labels: pa.Table, people: People, tmp_path: Path
) -> None:
    pq.write_table(labels.slice(0, 40), tmp_path / "labels.parquet")
    rows = [(i, (i + k) % 60) for i in range(60) for k in (0, 1, 5)]
    pairs = pa.table(
        {"left_record": [people.left[i] for i, _ in rows], "right_record": [people.right[j] for _, j in rows]}
    )
    pq.write_table(pairs, tmp_path / "pairs.parquet")
    pq.write_table(pairs.take(pa.array(range(len(rows) - 1, -1, -1))), tmp_path / "turned.parquet")
    pq.write_table(pairs.slice(0, 100), tmp_path / "fewer.parquet")
    arguments = ["train", "--labels", tmp_path / "labels.parquet", "--students", tmp_path / "students"]
    trained = [run_json(*arguments, *more) for more in ((), ("--pairs", tmp_path / "pairs.parquet"))]
    assert [each["metrics"]["unlabelled_pairs"] > 0 for each in trained] == [False, True]
    turned = run_json(*arguments, "--pairs", tmp_path / "turned.parquet")
    assert (turned["trained"], turned["version"]) == (False, trained[1]["version"])
    assert run_json(*arguments, "--pairs", tmp_path / "fewer.parquet")["trained"]


def test_pairs_that_the_labels_are_not_about_are_refused(labels: pa.Table, tmp_path: Path) -> None:
    pq.write_table(labels.slice(0, 40), tmp_path / "labels.parquet")
    pq.write_table(
        pa.table({side: [{"zzz": "1"}] * 3 for side in ("left_record", "right_record")}), tmp_path / "p.parquet"
    )
    arguments = ["train", "--labels", tmp_path / "labels.parquet", "--students", tmp_path / "students"]
    refused = run(*arguments, "--pairs", tmp_path / "p.parquet", code=1).stderr
    assert "have none of the columns of the candidates' left records (zzz)" in refused
    assert Registry(tmp_path / "students").versions() == []


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("choice", [1], "the labels' column choice is list<element: int64>; it must be a whole number"),
        ("options", 7, "the labels' column options is int64; it must be a list of ids, or of structs"),
        ("options", [{"name": "x"}], "it must be a list of ids, or of structs with the fields source, id and record"),
        ("probabilities", 0.5, "the labels' column probabilities is double; it must be a list of numbers"),
        ("choice", 0.5, "40 of 40 labels cannot be used: row 1: answer '0.5' is no whole number"),
        ("query", None, "the labels name records by their ids and do not hold them"),
    ],
)
def test_labels_of_another_shape_are_one_sentence(
    labels: pa.Table, tmp_path: Path, column: str, value: object, said: str
) -> None:
    some = labels.slice(0, 40)
    changed = some.set_column(some.column_names.index(column), column, [[value] * 40])
    pq.write_table(changed, tmp_path / "labels.parquet")
    arguments = ["train", "--labels", tmp_path / "labels.parquet", "--students", tmp_path / "students"]
    told = run(*arguments, code=1).stderr
    assert told.startswith("Error: ")
    assert said in told
    assert len(told.splitlines()) == 1


def test_train_takes_a_precision_between_0_and_1(labels: pa.Table, tmp_path: Path) -> None:
    pq.write_table(labels.slice(0, 40), tmp_path / "labels.parquet")
    arguments = ["train", "--labels", tmp_path / "labels.parquet", "--students", tmp_path / "students"]
    for wrong in ("0", "1", "x"):
        assert "--target-precision" in run(*arguments, "--target-precision", wrong, code=2).stderr
    trained = run_json(*arguments, "--target-precision", ".99")
    assert trained["settings"]["target_precision"] == 0.99
    assert trained["version"] != run_json(*arguments)["version"]


@pytest.mark.slow
@needs_encoder
@pytest.mark.parametrize("kind", ["blend", "encoder"])
def test_train_a_student_with_an_encoder(labels: pa.Table, tmp_path: Path, kind: str) -> None:
    save_tiny_encoder(tmp_path / "bert")
    pq.write_table(labels.slice(0, 40), tmp_path / "labels.parquet")
    arguments = ["train", "--labels", tmp_path / "labels.parquet", "--students", tmp_path / "students"]
    arguments += ["--student", kind, "--encoder", tmp_path / "bert", "--target-precision", ".99"]
    first, second = run_json(*arguments), run_json(*arguments)
    assert (first["trained"], second["trained"]) == (True, False)
    assert (first["kind"], first["settings"]["encoder"]) == (kind, "bert")
    assert first["settings"]["target_precision"] == 0.99
    assert any(name.startswith("encoding/") for name in first["files"])
    shown = run("students", "show", "--students", tmp_path / "students").stdout
    assert "a precision of 0.99" in shown


def test_an_encoder_that_cannot_be_had_is_one_sentence(
    labels: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(labels.slice(0, 40), tmp_path / "labels.parquet")
    arguments = ["train", "--labels", tmp_path / "labels.parquet", "--students", tmp_path / "students"]
    assert "the lexical student has none" in run(*arguments, "--encoder", "x", code=2).stderr
    gone = run(*arguments, "--student", "blend", "--encoder", tmp_path / "gone", code=1).stderr
    assert gone.startswith(f"Error: there is no encoder at {tmp_path / 'gone'}; ")
    monkeypatch.setitem(sys.modules, "torch", None)
    without = run(*arguments, "--student", "encoder", "--encoder", tmp_path, code=1).stderr
    assert without.startswith("Error: the encoder needs torch and transformers; install them with the extra encoder")
    for stderr in (gone, without):
        assert len(stderr.splitlines()) == 1
    assert Registry(tmp_path / "students").versions() == []


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "dbt_project.yml").write_text("name: mine\nprofile: mine  # ours\nvars:\n  keep: 1\n")
    (tmp_path / "profiles.yml").write_text(
        "mine:\n  outputs:\n    dev:\n      type: duckdb\n      path: w.duckdb\n    pg: {type: postgres}\n"
    )
    return tmp_path


def test_init_adds_what_is_missing_and_keeps_the_rest(project: Path) -> None:
    arguments = ["init", "--project-dir", project, "--profiles-dir", project, "--source", "a=stg_a:key"]
    first = run_json(*arguments)
    assert len(first["added"]) == 4
    assert "distiller/" in (project / ".gitignore").read_text().splitlines()
    text = (project / "dbt_project.yml").read_text()
    assert "# ours" in text
    assert "keep: 1" in text
    assert "stg_a" in text
    for name in common():
        assert name == "sources" or f"# er_{name}: " in text
    assert (project / "profiles.yml").read_text().count("distiller_udf.plugin") == 1
    before = {path.name: path.read_text() for path in project.glob("*.yml")}
    second = run_json(*arguments)
    assert second["added"] == []
    assert len(second["kept"]) == 3
    assert {path.name: path.read_text() for path in project.glob("*.yml")} == before


def test_init_never_overwrites(project: Path) -> None:
    (project / "packages.yml").write_text("packages:\n  - package: dbt-labs/dbt_utils\n    version: 1.0.0\n")
    run(
        "init",
        "--project-dir",
        project,
        "--profiles-dir",
        project,
        "--package",
        "https://host.example/distiller-udf.git",
    )
    packages = (project / "packages.yml").read_text()
    assert "dbt-labs/dbt_utils" in packages
    assert "git: https://host.example/distiller-udf.git" in packages


def test_init_says_what_it_cannot_do(tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (project / "profiles.yml").unlink()
    assert "profiles.yml" in " ".join(run_json("init", "--project-dir", project)["next"])
    assert "run this in a dbt project" in run("init", "--project-dir", tmp_path / "gone", code=1).stderr
    assert "is not NAME=MODEL" in run("init", "--project-dir", project, "--source", "oops", code=1).stderr
    (project / "dbt_project.yml").write_text("a: [")
    assert "cannot be read as YAML" in run("init", "--project-dir", project, code=1).stderr


def test_doctor_finds_what_is_missing_and_how_to_fix_it(project: Path, students: Registry) -> None:
    report = run_json("doctor", "--project-dir", project, code=1)
    checks = {check["name"]: check for check in report["checks"]}
    assert not checks["dbt package"]["ok"]
    assert checks["dbt package"]["fix"] == "distiller init"
    run("init", "--project-dir", project, "--profiles-dir", project, "--source", "a=stg_a")
    shutil.copytree(students.root, project / "distiller" / "students")
    healthy = run_json("doctor", "--project-dir", project)
    assert healthy["ok"]
    assert {c["name"]: c["ok"] for c in healthy["checks"]}["student"]


@pytest.mark.parametrize("before", ["", "  er_sources: []\n", "  distiller_udf:\n    er_sources: []\n"])
def test_doctor_s_advice_about_sources_works(project: Path, before: str) -> None:
    """init, doctor, what doctor says, doctor: an empty list of tables is a missing one."""
    settings = project / "dbt_project.yml"
    settings.write_text(settings.read_text() + before)
    arguments = ["init", "--project-dir", project, "--profiles-dir", project]

    def listed(code: int) -> dict:
        checks = run_json("doctor", "--project-dir", project, code=code)["checks"]
        return next(check for check in checks if check["name"] == "er_sources")

    assert any("--source NAME=MODEL:ID" in line for line in run_json(*arguments)["next"])
    assert settings.read_text().count("er_sources") == (1 if before else 0)
    lacking = listed(code=1)
    assert not lacking["ok"]
    assert lacking["fix"] == "distiller init --source NAME=MODEL:ID"
    added = run_json(*arguments, "--source", "people=stg_people:key")["added"]
    assert added == ["er_sources in dbt_project.yml: people"]
    assert settings.read_text().count("er_sources") == 1
    assert listed(code=0)["found"] == "people"


def test_init_says_which_tables_it_did_not_add(project: Path) -> None:
    arguments = ["init", "--project-dir", project, "--profiles-dir", project]
    run(*arguments, "--source", "a=stg_a:key")
    again = run_json(*arguments, "--source", "a=stg_a:key", "--source", "b=stg_b")
    assert "er_sources in dbt_project.yml: a" in again["kept"]
    assert any("it has no b: add - {name: b, model: stg_b, id: id} to it" in line for line in again["next"])


def test_a_second_init_says_what_differs(project: Path) -> None:
    arguments = ["init", "--project-dir", project, "--profiles-dir", project]
    run(*arguments, "--source", "a=stg_a:key")
    before = (project / "dbt_project.yml").read_text()
    (line,) = [line for line in run_json(*arguments, "--source", "a=stg_b:nr")["next"] if "er_sources" in line]
    assert "of a, model is stg_a, not stg_b and id is key, not nr" in line
    assert "write {name: a, model: stg_b, id: nr} in dbt_project.yml" in line
    assert (project / "dbt_project.yml").read_text() == before
    for same in ("a=stg_a:key", "a=stg_a"):
        assert not [line for line in run_json(*arguments, "--source", same)["next"] if "er_sources" in line]


def test_an_id_that_was_not_given_is_looked_for_or_said_to_be_assumed(project: Path) -> None:
    arguments = ["init", "--project-dir", project, "--profiles-dir", project]
    (assumed,) = [line for line in run_json(*arguments, "--source", "a=stg_a")["next"] if "`id` was assumed" in line]
    assert "It must tell the rows of stg_a apart" in assumed
    assert "--source a=stg_a:customer_id" in assumed


def test_a_gitignore_that_is_there_is_left_to_its_owner(project: Path) -> None:
    (project / ".gitignore").write_text("/target\n*.duckdb\n")
    (said,) = [line for line in run_json("init", "--project-dir", project)["next"] if ".gitignore" in line]
    assert said.startswith("add to .gitignore: dbt_packages/, logs/, *.duckdb.wal, distiller/")
    assert (project / ".gitignore").read_text() == "/target\n*.duckdb\n"


def test_where_all_settings_are_is_a_path_of_the_project(project: Path) -> None:
    run("init", "--project-dir", project, "--source", "a=stg_a:key")
    assert "docs/settings.md" not in (project / "dbt_project.yml").read_text()
    assert "dbt_packages/distiller_udf/dbt_project.yml has all of them" in (project / "dbt_project.yml").read_text()


@pytest.mark.parametrize("group", ["labels", "students"])
def test_the_commands_of_a_group_are_told_in_whole_sentences(group: str) -> None:
    assert "..." not in run(group, "--help").stdout.partition("Commands:")[2]


def test_the_kinds_of_files_are_those_that_are_read_and_written() -> None:
    for command, kinds in {("labels", "import"): READ, ("labels", "export"): FORMATS, ("score",): FORMATS}.items():
        assert f"({', '.join(kinds)})" in " ".join(run(*command, "--help").stdout.split()), command


def test_doctor_says_what_a_student_with_an_encoder_lacks(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("init", "--project-dir", project, "--source", "crm=stg_crm:id")
    file = project / "dbt_project.yml"
    file.write_text(file.read_text().replace("er_sources:", "er_student: blend\n  er_sources:"))
    monkeypatch.setitem(sys.modules, "torch", None)
    (check,) = [each for each in doctor_checks(project) if each["name"] == "encoder"]
    assert not check["ok"]
    assert "er_student is blend, and the encoder needs torch and transformers" in check["found"]


def test_doctor_says_what_a_language_model_lacks(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("init", "--project-dir", project, "--source", "crm=stg_crm:id")
    file = project / "dbt_project.yml"
    file.write_text(file.read_text().replace("er_sources:", "er_student: llm\n  er_sources:"))
    monkeypatch.setattr("distiller_udf.cli.doctor.find_spec", lambda name: None if name in ("trl", "peft") else name)
    checks = {each["name"]: each for each in doctor_checks(project)}
    assert checks["language model"]["found"] == "er_student is llm; not installed: peft, trl"
    assert checks["base model"]["found"] == "er_llm_model is not set"
    assert not checks["language model"]["ok"]
    assert not checks["base model"]["ok"]


def test_doctor_says_that_the_package_is_gone(project: Path) -> None:
    run("init", "--project-dir", project, "--source", "crm=stg_crm:id")
    (project / "packages.yml").write_text("packages:\n  - local: ../gone/distiller_udf\n")
    (check,) = [each for each in doctor_checks(project) if each["name"] == "dbt package"]
    assert (check["ok"], check["found"]) == (False, "no package at ../gone/distiller_udf")


def doctor_checks(project: Path) -> list[dict[str, Any]]:
    return list(run_json("doctor", "--project-dir", project, code=1)["checks"])


def test_doctor_never_shows_the_key(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    output = run("doctor", "--project-dir", project, code=1).output
    assert "OPENAI_API_KEY is set" in output
    assert "very-secret" not in output


def test_no_progress_bars_where_there_is_no_terminal(files: Path, students: Registry) -> None:
    inputs = ["--left", files / "left.parquet", "--right", files / "right.parquet"]
    inputs += ["--candidates", files / "candidates.parquet"]
    result = run("score", *inputs, "--student", students.root, "-o", files / "scores.parquet")
    assert "scoring pairs" not in result.stderr
    assert result.stdout == ""
