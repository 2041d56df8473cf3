"""`distiller labels`: in and out of the store, and erasing a person from it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from commands import run, run_json

from distiller_udf.labels import LabelStore
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
        for asked, people in zip(QUESTIONS, (["anna", "bert"], ["bert", "anna"], ["bert"]), strict=True):
            opened.mention((asked.key(Somebody()), "crm", person) for person in people)
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
        return opened.export().num_rows, opened.imported().num_rows


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
    assert run_json("labels", "export", tmp_path / "out.parquet", *store)["labels"] == 0
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0
    assert run_json("labels", "export", tmp_path / "out.parquet", "--imported", *store)["labels"] == 2
    assert run_json("labels", "import", tmp_path / "out.parquet", *store)["unchanged"] == 2


def test_labels_name_what_is_wrong(tmp_path: Path) -> None:
    store = ["--store", tmp_path / "labels.sqlite"]
    assert "there is no label store" in run("labels", "show", *store, code=1).stderr
    assert "there is no file" in run("labels", "import", tmp_path / "gone.csv", *store, code=1).stderr
    (tmp_path / "bad.jsonl").write_text('{"left_id": 1, "options": [7], "answer": 3, "teacher": "gpt"}\n')
    assert "answer 3 is out of range" in run("labels", "import", tmp_path / "bad.jsonl", *store, code=1).stderr


def test_import_reports_contradictions(tmp_path: Path) -> None:
    row = '{"left_id": 1, "options": [7, 8], "answer": %d, "teacher": "gpt"}\n'
    (tmp_path / "labels.jsonl").write_text(row % 1 + row % 2)
    arguments = ["labels", "import", tmp_path / "labels.jsonl", "--store", tmp_path / "labels.sqlite"]
    assert "1 left records are answered in two ways" in run(*arguments).stderr
    assert run_json(*arguments)["contradictory"] == 1
    (tmp_path / "labels.jsonl").write_text(row % 1 + row % 1)
    assert "two ways" not in run(*arguments).stderr


def test_show_tells_kinds_of_questions_apart(store: list[object]) -> None:
    teachers = run_json("labels", "show", *store)["teachers"]
    found = [(row["teacher"], row["ask"], row["imported"], row["labels"]) for row in teachers]
    assert found == [("gpt", "select", True, 2), ("somebody", "match", False, 1), ("somebody", "select", False, 2)]
    assert "match" in run("labels", "show", *store).stdout


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".json", ".jsonl", ".CSV"])
def test_exported_imported_labels_come_back_from_every_format(store: list[object], tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"it's {suffix}"
    assert run_json("labels", "export", out, "--imported", *store)["labels"] == 2
    assert run_json("labels", "import", out, *store)["unchanged"] == 2
    assert run_json("labels", "import", out, "--store", tmp_path / "other.sqlite")["added"] == 2
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


def read(path: Path) -> list[dict]:
    """The rows of an exported file, lists and numbers as they are."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            nested = ("candidates", "probabilities")
            return [{**row, **{n: json.loads(row[n]) for n in nested}} for row in csv.DictReader(file)]
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".json", ".jsonl"])
def test_every_answer_is_exported_whole(store: list[object], tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"labels{suffix}"
    run("labels", "export", out, *store)
    rows = read(out)
    assert [row["ask"] for row in rows] == ["select", "select", "match"]
    assert [row["candidates"] for row in rows] == [list(asked.candidates) for asked in QUESTIONS]
    assert [row["probabilities"] for row in rows] == [[0.5], [0.5, None], [0.5]]
    assert {row["explanation"] for row in rows} == {'it\'s, "so"'}


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
    assert "2 answers and 1 imported labels mention it" in refused.stderr
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
    assert "1 answers do not say whom they mention" in run(*arguments).stderr
    assert run_json(*arguments)["unmentioned"] == 1
