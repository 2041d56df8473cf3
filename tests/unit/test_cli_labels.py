"""`distiller labels`: in and out of the store, and erasing a person from it."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
from commands import run, run_json

from distiller_udf.cli.sources import say_of_newer_labels
from distiller_udf.labels import LabelStore, label_schema
from distiller_udf.project.warehouse import Warehouse
from distiller_udf.prompts import Answer, Question


class Somebody:
    name = "somebody"
    parameters: dict[str, object] = {}  # noqa: RUF012


ANNA, BERT = '{"name":"Anna \\"Annie\\" Müller"}', '{"name":"Bert"}'
QUESTIONS = [Question(ANNA, (BERT,)), Question(BERT, (BERT, ANNA)), Question(BERT, (BERT,), ask="match")]


@pytest.fixture
def store(tmp_path: Path) -> list[object]:
    """--store and a store with three answers, two of which mention Anna, and two imported labels, one of hers."""
    path = tmp_path / "store" / "labels.sqlite"
    with LabelStore(path) as opened:
        for asked, people in zip(
            QUESTIONS, (["anna", "bert"], ["bert", "bert", "anna"], ["bert", "bert"]), strict=True
        ):
            opened.mention([(asked.key(Somebody()), [("crm", person) for person in people])])
            opened.put(
                asked, Somebody(), Answer(1, 0.5, (0.5, None)[: len(asked.candidates)], explanation='it\'s, "so"')
            )
    rows = [{"left_id": name, "left_source": "crm", "options": ["x"], "answer": 0, "teacher": "gpt"} for name in "ab"]
    rows[0]["left_id"] = "anna"
    (tmp_path / "labels.json").write_text(json.dumps(rows))
    run("labels", "import", tmp_path / "labels.json", "--store", path)
    return ["--store", path]


def kept(store: list[object]) -> tuple[int, int]:
    """How many answers and imported labels the store holds."""
    with LabelStore(str(store[1])) as opened:
        return opened.export().num_rows - len(opened.imported()), len(opened.imported())


def test_labels_import_show_export(tmp_path: Path) -> None:
    (tmp_path / "labels.jsonl").write_text(
        '{"left_id": 1, "options": [7, 8], "answer": 2, "teacher": "gpt"}\n'
        '{"left_id": 2, "options": [7, 8], "answer": 0, "teacher": "gpt", "confidence": 0.9}\n'
    )
    store = ["--store", tmp_path / "labels.sqlite"]
    assert run_json("labels", "import", tmp_path / "labels.jsonl", *store)["added"] == 2
    assert run_json("labels", "import", tmp_path / "labels.jsonl", *store)["unchanged"] == 2
    (teacher,) = run_json("labels", "show", *store)["teachers"]
    assert (teacher["teacher"], teacher["labels"], teacher["matches"], teacher["nones"]) == ("gpt", 2, 1, 1)
    assert run_json("labels", "export", tmp_path / "out.parquet", *store)["labels"] == 2
    assert run_json("labels", "import", tmp_path / "out.parquet", *store)["unchanged"] == 2


def test_pairs_a_line_and_who_gave_them(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("Left_ID;right_id;is_match;note\n007;NA;1;x\n007;b;0;\n007;b;0;again\n")
    store = ["--store", tmp_path / "labels.sqlite"]
    said = run("labels", "import", tmp_path / "pairs.csv", "--teacher", "ana", *store).stderr
    assert "2 added, 0 updated, 0 unchanged, 1 said more than once" in " ".join(said.split())
    with LabelStore(tmp_path / "labels.sqlite") as opened:
        found = [(label.teacher, label.left[1], label.options[0][1], label.choice) for label in opened.imported()]
    assert found == [("ana", "007", "NA", 1), ("ana", "007", "b", 0)]
    assert run_json("labels", "import", tmp_path / "pairs.csv", *store)["added"] == 2, "of people"


def test_a_project_says_of_which_sources_the_pairs_are(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text(
        '{"left_id": 9, "right_id": 3, "match": 1}\n{"left_id": 3, "right_id": 9, "match": 0}\n'
    )
    (tmp_path / "dbt_project.yml").write_text("name: x\nvars: {er_sources: [{name: people, model: people, id: id}]}\n")
    arguments = ["labels", "import", tmp_path / "pairs.jsonl", "--store", tmp_path / "labels.sqlite"]
    assert run_json(*arguments)["contradictions"] == []
    (tmp_path / "labels.sqlite").unlink()
    (said,) = run_json(*arguments, "--project-dir", tmp_path)["contradictions"]
    assert said == "people says of left_id 9 and right_id 3 that they match (row 1) and that they do not (row 2)"


def test_labels_name_what_is_wrong(tmp_path: Path) -> None:
    store = ["--store", tmp_path / "labels.sqlite"]
    assert "there is no label store" in run("labels", "show", *store, code=1).stderr
    assert "there is no file" in run("labels", "import", tmp_path / "gone.csv", *store, code=1).stderr
    (tmp_path / "bad.jsonl").write_text('{"left_id": 1, "options": [7], "answer": 3, "teacher": "gpt"}\n')
    assert "answer 3 is out of range" in run("labels", "import", tmp_path / "bad.jsonl", *store, code=1).stderr


def test_import_lists_contradictions_with_both_answers(tmp_path: Path) -> None:
    row = '{"left_id": 1, "options": [7, 8], "answer": %d, "teacher": "gpt"}\n'
    (tmp_path / "labels.jsonl").write_text(row % 1 + row % 2)
    arguments = ["labels", "import", tmp_path / "labels.jsonl", "--store", tmp_path / "labels.sqlite"]
    said = "gpt says of left_id 1 that it is 7 (row 1) and that it is 8 (row 2)"
    assert f"neither is used: {said}" in run(*arguments).stderr
    assert run_json(*arguments)["contradictions"] == [said]
    pairs = '{"left_id": %d, "right_id": 1, "is_match": 1}\n{"left_id": %d, "right_id": 1, "is_match": 0}\n'
    (tmp_path / "labels.jsonl").write_text("".join(pairs % (i, i) for i in range(25)))
    shown = run(*arguments).stderr
    assert shown.count("neither is used: people") == 20
    assert "neither is used: 5 more" in shown
    (tmp_path / "labels.jsonl").write_text(row % 1 + row % 1)
    assert "neither" not in run(*arguments).stderr


def test_show_tells_kinds_of_questions_apart(store: list[object]) -> None:
    teachers = run_json("labels", "show", *store)["teachers"]
    found = [(row["teacher"], row["ask"], row["imported"], row["labels"]) for row in teachers]
    assert found == [("gpt", "match", True, 2), ("somebody", "match", False, 1), ("somebody", "select", False, 2)]
    assert "match" in run("labels", "show", *store).stdout


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".json", ".jsonl", ".CSV"])
def test_an_export_comes_back_from_every_format(store: list[object], tmp_path: Path, suffix: str) -> None:
    out, other = tmp_path / f"it's {suffix}", ["--store", tmp_path / "other.sqlite"]
    assert run_json("labels", "export", out, *store)["labels"] == 5
    assert run_json("labels", "import", out, *store)["unchanged"] == 5
    assert run_json("labels", "import", out, *other)["added"] == 5
    with LabelStore(str(store[1])) as one, LabelStore(str(other[1])) as two:
        assert two.export().equals(one.export())
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


def test_an_export_has_the_shape_of_er_labels_with_ids_and_records(store: list[object], tmp_path: Path) -> None:
    run("labels", "export", tmp_path / "labels.csv", *store)
    with (tmp_path / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[: len(label_schema().names)] == label_schema().names
    assert [(row["ask"], row["left_source"], row["left_id"], row["right_id"]) for row in rows] == [
        ("select", "crm", "anna", "bert"),
        ("select", "crm", "bert", "bert"),
        ("match", "crm", "bert", "bert"),
        ("match", "crm", "anna", ""),
        ("match", "crm", "b", ""),
    ]
    assert json.loads(rows[1]["options"]) == [
        {"source": "crm", "id": "bert", "record": BERT},
        {"source": "crm", "id": "anna", "record": ANNA},
    ]
    assert {row["explanation"] for row in rows[:3]} == {'it\'s, "so"'}


def test_export_names_the_formats_and_replaces_nothing_by_half(store: list[object], tmp_path: Path) -> None:
    stderr = " ".join(run("labels", "export", tmp_path / "labels.xlsx", *store, code=1).stderr.split())
    assert all(suffix in stderr for suffix in (".parquet", ".csv", ".json", ".jsonl"))
    assert not (tmp_path / "labels.xlsx").exists()
    assert "could not be written" in run("labels", "export", tmp_path / "gone" / "x.csv", *store, code=1).stderr
    (tmp_path / "folder.csv").mkdir()
    assert run("labels", "export", tmp_path / "folder.csv", *store, code=2)


@pytest.mark.parametrize(
    ("options", "answers", "imported"),
    [
        (["--id", "anna"], 2, 1),
        (["--id", "anna", "--source", "crm"], 2, 1),
        (["--id", "anna", "--source", "shop"], 0, 0),
        (["--text", ANNA], 2, 0),
        (["--text", '{ "name": "Anna \\"Annie\\" M\\u00fcller", "town": null }'], 2, 0),
        (["--text", '{"name":"Anna"}'], 0, 0),
        (["--containing", '"ANNIE" müller'], 2, 0),
        (["--containing", "anna"], 2, 1),
    ],
)
def test_delete_says_how_many_then_erases_them(
    store: list[object], options: list[object], answers: int, imported: int
) -> None:
    arguments = ["labels", "delete", *options, *store]
    counted = run_json(*arguments, "--dry-run")
    assert (counted["answers"], counted["imported"], counted["deleted"]) == (answers, imported, False)
    assert kept(store) == (3, 2)
    done = run_json(*arguments, "--yes")
    assert (done["answers"], done["imported"], done["deleted"]) == (answers, imported, True)
    assert kept(store) == (3 - answers, 2 - imported)
    assert run_json(*arguments, "--yes")["answers"] == 0


def test_delete_asks_first(store: list[object]) -> None:
    arguments = ["labels", "delete", "--containing", "anna", *store]
    refused = run(*arguments, typed="n\n", code=1)
    assert "it is mentioned in 2 answers and 1 imported label" in refused.stderr
    assert kept(store) == (3, 2)
    run(*arguments, typed="", code=1)
    assert kept(store) == (3, 2)
    assert "3 answers" in run("labels", "delete", "--containing", "e", *store, typed="y\n").stderr
    assert kept(store) == (0, 2)


def test_delete_wants_one_thing(store: list[object]) -> None:
    for options in ([], ["--id", "1", "--text", "x"], ["--source", "crm", "--text", "x"]):
        assert run("labels", "delete", *options, "--yes", *store, code=2)
    assert "at least one letter" in run("labels", "delete", "--containing", " ", "--yes", *store, code=1).stderr
    assert kept(store) == (3, 2)


def test_delete_says_which_answers_it_cannot_find_by_id(store: list[object]) -> None:
    with LabelStore(str(store[1])) as opened:
        opened.put(Question(ANNA, (ANNA,)), Somebody(), Answer(1))
    arguments = ["labels", "delete", "--id", "anna", "--dry-run", *store]
    assert "1 answer does not say whom it mentions" in run(*arguments).stderr
    assert run_json(*arguments)["unmentioned"] == 1


def test_the_newest_labels_are_of_every_origin(store: list[object], tmp_path: Path) -> None:
    """Asked, corrected by an import and imported: where each came from and when, the newest first."""
    file = tmp_path / "all.jsonl"
    run("labels", "export", file, *store)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    corrected = next(row for row in rows if row["label_key"] and row["choice"])
    corrected["choice"] = 0
    file.write_text(json.dumps(corrected) + "\n")
    run("labels", "import", file, *store)
    newest = run_json("labels", "show", *store, "--limit", 20)["newest"]
    assert newest[0]["label_key"] == corrected["label_key"]
    assert newest[0]["origin"] == "corrected"
    assert {row["origin"] for row in newest} == {"asked", "corrected", "imported"}
    times = [row["stored_at"] for row in newest]
    assert times == sorted(times, reverse=True)
    assert len(run_json("labels", "show", *store, "--limit", 2)["newest"]) == 2
    shown = run("labels", "show", *store).stdout
    assert "Newest labels" in shown
    assert "imported" in shown


def test_labels_that_the_warehouse_lacks_are_said(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warehouse = Warehouse(str(tmp_path / "warehouse.duckdb"), {})
    say_of_newer_labels(warehouse, Path(str(store[1])))
    assert capsys.readouterr().err == "", "there is no warehouse yet"
    Path(warehouse.path).write_bytes(b"")
    os.utime(warehouse.path, (0, 0))
    say_of_newer_labels(warehouse, Path(str(store[1])))
    assert "`dbt build --select er_labels+` takes them in" in capsys.readouterr().err
    os.utime(warehouse.path)
    say_of_newer_labels(warehouse, Path(str(store[1])))
    say_of_newer_labels(warehouse, tmp_path / "no store")
    assert capsys.readouterr().err == ""
