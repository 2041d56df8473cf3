"""Without dbt: records, pairs and labels in files of any kind, from two tables to scores; ids are nobody's features."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import run, run_json
from conftest import People, label_table

from distiller_udf.cli import COMMANDS
from distiller_udf.files.tables import open_table, read_table, write_table
from distiller_udf.labels import good_labels
from distiller_udf.records import record_text
from distiller_udf.registry import Registry
from tests.pages import page

COUNT = 60


def write(folder: Path, name: str, rows: list[dict[str, Any]], suffix: str = ".parquet") -> Path:
    path = folder / f"{name}{suffix}"
    write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture(scope="module")
def tables(people: People, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.parquet and b.csv as people have them, candidates, labels of pairs one a line, and all matches."""
    folder = tmp_path_factory.mktemp("tables")
    write(folder, "a", [{"id": i, **people.left[i]} for i in range(COUNT)])
    right = [
        {"key": f"{i:03}", "full_name": r["name"], "city": r["town"], "born": r["born"]}
        for i, r in enumerate(people.right[:COUNT])
    ]
    write(folder, "b", right, ".csv")
    pairs = [{"left_id": i, "right_id": f"{(i + j) % COUNT:03}"} for i in range(COUNT) for j in range(6)]
    write(folder, "candidates", pairs)
    labels = [{**pair, "is_match": int(pair["right_id"]) == pair["left_id"]} for pair in pairs if pair["left_id"] < 45]
    write(folder, "labels", labels[::-1], ".csv")
    write(folder, "known", [{"left_id": i, "right_id": f"{i:03}"} for i in range(COUNT)], ".jsonl")
    return folder


@pytest.fixture
def inputs(tables: Path) -> list[object]:
    files = ["--left", tables / "a.parquet", "--right", tables / "b.csv", "--right-id", "key"]
    return [*files, "--candidates", tables / "candidates.parquet"]


@pytest.fixture(scope="module")
def trained(tables: Path) -> Path:
    """The students of labels by ids, looked up in the two tables."""
    files = ["--left", tables / "a.parquet", "--right", tables / "b.csv", "--right-id", "key"]
    files += ["--candidates", tables / "candidates.parquet", "--students", tables / "students"]
    assert run_json("train", "--labels", tables / "labels.csv", *files)["metrics"]["labelled_pairs"] == 270
    return tables / "students"


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".json", ".jsonl"])
def test_from_two_tables_and_labels_of_pairs_to_scores(
    tables: Path, trained: Path, inputs: list[object], tmp_path: Path, suffix: str
) -> None:
    out, known = tmp_path / f"scores{suffix}", tmp_path / f"known{suffix}"
    write_table(read_table(tables / "known.jsonl"), known)
    assert run_json("score", *inputs, "--student", trained, "-o", out)["pairs"] == 6 * COUNT
    assert read_table(out).column_names == ["left_id", "right_id", "probability", "choice_probability", "is_match"]
    figures = run_json("evaluate", "--gold", known, "--matches", out, "--candidates", tables / "candidates.parquet")
    assert (figures["known_pairs"], figures["candidate_pairs"]) == (COUNT, 6 * COUNT)
    assert figures["f1"] > 0.9


def test_the_order_and_the_kind_of_the_labels_do_not_matter(
    tables: Path, trained: Path, inputs: list[object], tmp_path: Path
) -> None:
    (version,) = [info.version for info in Registry(trained).versions()]
    table = read_table(tables / "labels.csv")
    turned = [
        {
            "left_source": "b",
            "left_id": r["right_id"],
            "right_source": "a",
            "right_id": r["left_id"],
            "match": r["is_match"],
        }
        for r in table.to_pylist()
    ]
    write_table(pa.Table.from_pylist(turned), tmp_path / "turned.json")
    options = ["--students", trained, "--labels", tmp_path / "turned.json"]
    assert run_json("train", *options, *inputs) | {"trained": False} == run_json("train", *options, *inputs)
    assert [info.version for info in Registry(trained).versions()] == [version]


def test_labels_that_cannot_be_used_are_said(tables: Path, inputs: list[object], tmp_path: Path) -> None:
    rows = read_table(tables / "labels.csv").to_pylist()
    wrong = [
        {"left_id": "0", "right_id": "000", "is_match": "false"},
        {"left_id": "99", "right_id": "000", "is_match": "true"},
    ]
    write_table(pa.Table.from_pylist([*rows, *wrong]), tmp_path / "labels.csv")
    said = run("train", "--labels", tmp_path / "labels.csv", *inputs, "--students", tmp_path / "s").stderr
    assert "1 of 272 labels left out: no such record is there" in said
    assert "says of left_id 0 and right_id 000 that they match (row 270) and that they do not (row 271)" in said
    alone = run("train", "--labels", tables / "labels.csv", "--students", tmp_path / "s", code=1).stderr
    assert "give the files that have them with --left and --right" in alone
    assert (
        "go with --left" in run("train", "--labels", tables / "labels.csv", "--right", tables / "b.csv", code=2).stderr
    )


def test_one_table_is_deduplicated(people: People, tmp_path: Path) -> None:
    both = [{"id": f"l{i}", **people.left[i]} for i in range(COUNT)] + [
        {"id": f"r{i}", **people.right[i]} for i in range(COUNT)
    ]
    file = write(tmp_path, "people", both, ".jsonl")
    pairs = [
        {"left_id": f"r{(i + j) % COUNT}", "right_id": f"l{i}", "is_match": j == 0}
        for i in range(COUNT)
        for j in range(4)
    ]
    labels = write(tmp_path, "labels", pairs, ".jsonl")
    options = ["--left", file, "--candidates", labels, "--students", tmp_path / "students"]
    assert run_json("train", "--labels", labels, *options)["constraint"] == "none"
    scored = ["--left", file, "--candidates", labels, "--student", tmp_path / "students", "-o", tmp_path / "scores.csv"]
    run("score", *scored)
    run("train", "--labels", labels, *options, "--constraint", "one_to_one")
    assert "one_to_one, and none is wanted" in run("score", *scored, code=1).stderr


def test_files_under_one_to_many_have_their_left_side_first(tables: Path, inputs: list[object], tmp_path: Path) -> None:
    """The student's left records are those of the right file, which match one; what is written names them as given."""
    options = ["--labels", tables / "labels.csv", *inputs, "--students", tmp_path / "students"]
    run("train", *options, "--constraint", "one_to_many")
    registry = Registry(tmp_path / "students")
    info = registry.read(str(registry.current_version()))
    assert (info.constraint, set(info.left_columns)) == ("one_to_many", {"full_name", "city", "born"})
    scored = tmp_path / "scores.parquet"
    run("score", *inputs, "--student", tmp_path / "students", "-o", scored)
    matches = [row for row in read_table(scored).to_pylist() if row["is_match"]]
    right = sum(int(row["right_id"]) == int(row["left_id"]) for row in matches)
    assert len({row["right_id"] for row in matches}) == len(matches)
    assert right >= 0.9 * len(matches) > 0.7 * COUNT


def test_asking_teachers_about_two_files(
    tables: Path, inputs: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run_json("ask", *inputs, "--teacher", "embedded", "-o", "asked.csv", "--limit", 50)
    assert (done["labels"], done["spent"]["usd"]) == (50, 0)
    row = read_table("asked.csv").to_pylist()[0]
    assert (row["left_source"], json.loads(row["options"])[0]["source"]) == ("a", "b")
    assert run_json("train", "--labels", "asked.csv", *inputs)["trained_from"]["labels"] == 50
    assert run_json("labels", "import", "asked.csv")["added"] == 50
    assert run_json("labels", "export", "all.jsonl")["labels"] == 100
    assert run_json("train", "--labels", "all.jsonl", *inputs)["trained_from"]["labels"] == 50, (
        "those of one teacher are one"
    )


def test_the_old_name_of_ask_works_and_says_the_new_one(
    inputs: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("label", *inputs, "--teacher", "embedded", "--dry-run", "--json")
    assert result.stderr == "`distiller label` is now called `distiller ask`\n"
    assert json.loads(result.stdout)["estimate"][0]["tuples"] == COUNT
    assert "label" not in COMMANDS


def test_er_tuples_may_be_in_a_file_of_any_kind(tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with duckdb.connect() as connection:
        open_table(tables / "a.parquet", connection).create_view("a")
        tuples = connection.sql(
            "select 'l' as left_source, id as left_id, {'name': name} as query, "
            "[{'source': 'r', 'id': id, 'record': {'name': name}}] as candidates from a order by id"
        ).to_arrow_table()
    said = set()
    for suffix in (".parquet", ".csv", ".jsonl"):
        write_table(tuples, tmp_path / f"tuples{suffix}")
        run(
            "ask",
            "--tuples",
            f"tuples{suffix}",
            "--teacher",
            "embedded",
            "-o",
            "out.csv",
            "--store",
            f"{suffix}.sqlite",
        )
        labels = good_labels(read_table(tmp_path / "out.csv"))
        said.add(str([(label.left, label.options, label.records, label.query, label.choice) for label in labels]))
    assert len(said) == 1
    bad = pa.table({"left_source": ["l"], "left_id": ["1"], "query": ["x"], "candidates": ["[1"]})
    write_table(bad, tmp_path / "bad.csv")
    assert "candidates must be JSON lists" in run("ask", "--tuples", "bad.csv", "--teacher", "embedded", code=1).stderr


@pytest.mark.parametrize("with_ids", ["labels", "pairs", "both"])
def test_an_id_among_the_columns_is_no_feature(people: People, tmp_path: Path, with_ids: str) -> None:
    """Whole rows, their ids among them: the student does not ask for it when it scores records without."""
    labels = label_table(people).slice(0, 60).to_pylist()
    pairs = [
        {"left_id": i, "right_id": j, "left_record": people.left[i], "right_record": people.right[j]}
        for i in range(80)
        for j in (i, (i + 1) % 80)
    ]
    if with_ids != "pairs":
        for row in labels:
            row["query"] = record_text({"key": str(row["left_id"]), **json.loads(row["query"])})
            for option in row["options"]:
                option["record"] = record_text({**json.loads(option["record"]), "isbn": str(option["id"])})
    if with_ids != "labels":
        pairs = [
            {
                **p,
                "left_record": {"key": p["left_id"], **p["left_record"]},
                "right_record": {**p["right_record"], "isbn": p["right_id"]},
            }
            for p in pairs
        ]
    files = [write(tmp_path, "labels", labels), write(tmp_path, "pairs", pairs)]
    result = run("train", "--labels", files[0], "--pairs", files[1], "--students", tmp_path / "students")
    assert "the column key of the left records is their id, so nothing is learned from it" in result.stderr
    assert "the column isbn of the right records is their id" in result.stderr
    (info,) = Registry(tmp_path / "students").versions()
    assert set(info.left_columns) == set(info.right_columns) == {"name", "town", "born"}
    plain = [{"left_record": people.left[i], "right_record": people.right[i]} for i in range(5)]
    scored = ["--pairs", write(tmp_path, "plain", plain, ".jsonl"), "--student", tmp_path / "students"]
    run("score", *scored, "-o", tmp_path / "scores.csv")
    assert [row["is_match"] for row in read_table(tmp_path / "scores.csv").to_pylist()] == ["true"] * 5


def test_where_ids_are_not_known_the_column_id_or_the_named_one_is_no_feature(people: People, tmp_path: Path) -> None:
    rows = label_table(people).slice(0, 40).to_pylist()
    for row in rows:
        row |= {
            "left_id": None,
            "right_id": None,
            "query": record_text({"id": str(row["left_id"]), **json.loads(row["query"])}),
        }
        for option in row["options"]:
            option |= {"id": None, "record": record_text({**json.loads(option["record"]), "ref": str(option["id"])})}
    table = pa.Table.from_pylist(rows, label_table(people).schema)
    pq.write_table(table, tmp_path / "labels.parquet")
    said = run(
        "train", "--labels", tmp_path / "labels.parquet", "--right-id", "ref", "--students", tmp_path / "s"
    ).stderr
    assert "the column id of the left records is their id" in said
    assert "the column ref of the right records is their id" in said


@pytest.mark.slow
def test_the_page_without_dbt_works_as_written(tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the very order in which it is read; what it costs is nothing, and nothing is asked of a server."""
    monkeypatch.chdir(tmp_path)
    for file in ("a.parquet", "b.csv", "labels.csv"):
        table = read_table(tables / file)
        write_table(table.rename_columns([{"key": "id"}.get(name, name) for name in table.column_names]), Path(file))
    write_table(read_table(tables / "known.jsonl"), Path("known.csv"))
    ran: list[str] = []
    for language, code in re.findall(r"```(python|bash)\n(.*?)```", page("without-dbt.md"), flags=re.DOTALL):
        if language == "python":
            ran.append(language)
            exec(code, {})
            continue
        for line in code.splitlines():
            program, *words = shlex.split(line, comments=True)
            assert program == "distiller"
            ran.append(run(*words).output)
    assert ran.count("python") == 2
    assert Path("scores.csv").exists()
    assert len(ran) == 9
