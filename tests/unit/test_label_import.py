"""What goes out of a store comes back: export and import, corrections, contradictions, labels brought by ids."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from exact_teacher import Exact, tuples_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distiller_udf.errors import LabelError
from distiller_udf.files.tables import read_table, write_table
from distiller_udf.labels import ImportResult, LabelStore, Run, erasure
from distiller_udf.prompts import Answer, Asking, Question

SUFFIXES = [".parquet", ".csv", ".json", ".jsonl"]


@dataclass
class Somebody:
    name: str = "somebody"
    parameters: dict[str, object] = field(default_factory=dict)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LabelStore]:
    with LabelStore(tmp_path / "labels.sqlite") as opened:
        yield opened


def bring(store: LabelStore, *rows: dict[str, object], **options: Any) -> ImportResult:
    """Import rows as a file has them that holds the columns of all."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    for name in ("left_id", "right_id"):
        columns |= {name: [None if v is None else str(v) for v in columns[name]]} if name in columns else {}
    if "options" in columns:
        columns["options"] = [
            None if v is None else [o if isinstance(o, dict) else str(o) for o in v] for v in columns["options"]
        ]
    columns["teacher"] = [row.get("teacher", "ana") for row in rows]
    return store.import_labels(pa.table(columns), **options)


def held(store: LabelStore) -> set[tuple[object, ...]]:
    """What people have brought: left id, options, choice."""
    return {(label.left[1], tuple(key for _, key in label.options), label.choice) for label in store.imported()}


def through_a_file(table: pa.Table, file: Path) -> pa.Table:
    write_table(table, file)
    return read_table(file)


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["NA", "null", "", "007", "1e5", "0.10", str(2**60), '"', "a\nb", "\u2028", "\x85", "\ufeff", "7"]
)
ids = st.tuples(st.sampled_from(["crm", "shop", ""]), words)
shares = st.none() | st.floats(0, 1)


@st.composite
def asked(draw: st.DrawFn) -> tuple[Question, Answer, list[Sequence[tuple[str, str]]]]:
    """A question, the answer to it, and the records that were shown with it."""
    count = draw(st.integers(0, 3))
    ask = draw(st.sampled_from(["select", "match", "justify"]))
    count = 1 if ask == "match" else count
    texts = draw(st.lists(words, min_size=count + 1, max_size=count + 1))
    chosen = draw(st.integers(0, count)) if ask == "justify" else None
    question = Question(texts[0], tuple(texts[1:]), ask, "explanation", chosen)
    answer = Answer(
        draw(st.none() | st.integers(0, count)),
        draw(shares),
        tuple(draw(shares) for _ in range(count)) if draw(st.booleans()) else None,
        draw(st.none() | words),
        draw(st.none() | st.floats(0, 9)),
        draw(st.none() | st.integers(0, 10**6)),
        error=draw(st.none() | words),
    )
    shown = st.lists(ids, min_size=count + 1, max_size=count + 1)
    return question, answer, draw(st.lists(shown, max_size=2))


@st.composite
def brought(draw: st.DrawFn) -> dict[str, object]:
    """A label that people have, as a pair or as a tuple."""
    row = {"left_id": draw(words), "left_source": draw(st.none() | st.sampled_from(["crm", "shop"]))}
    row |= {"teacher": draw(st.sampled_from(["ana", "bo"])), "confidence": draw(shares)}
    row |= {"explanation": draw(st.none() | words), "right_source": draw(st.none() | st.sampled_from(["crm", "shop"]))}
    options = draw(st.lists(words, max_size=3, unique=True))
    return {**row, "options": options, "answer": draw(st.none() | st.integers(0, len(options)))}


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(answers=st.lists(asked(), max_size=4), rows=st.lists(brought(), max_size=4))
@settings(max_examples=12, suppress_health_check=list(HealthCheck))
def test_export_import_export_is_the_identity(
    tmp_path: Path, suffix: str, answers: list[Any], rows: list[dict[str, object]]
) -> None:
    folder = tmp_path / "property"
    shutil.rmtree(folder, ignore_errors=True)
    with LabelStore(folder / "one.sqlite") as one, LabelStore(folder / "two.sqlite") as two:
        for question, answer, shown in answers:
            one.mention((question.key(Somebody()), records) for records in shown)
            one.put(question, Somebody(), answer)
        for row in rows:
            one.import_labels(pa.Table.from_pylist([row], schema=ROW))
        exported = one.export()
        read = through_a_file(exported, folder / f"labels{suffix}")
        result = two.import_labels(read)
        assert (result.rejected, result.contradictions, result.passed_over) == ((), (), ())
        assert two.export().equals(exported)
        again = one.import_labels(read)
        assert (again.added, again.updated) == (0, 0)
        assert one.export().equals(exported)


ROW = pa.schema(
    [
        *((name, pa.string()) for name in ("left_id", "left_source", "teacher", "explanation", "right_source")),
        ("confidence", pa.float64()),
        ("options", pa.list_(pa.string())),
        ("answer", pa.int64()),
    ]
)


def asked_store(path: Path) -> LabelStore:
    """A store in which a teacher was asked about tuples in two orders and for reasons, and another one pair by pair."""
    store = LabelStore(path)
    tuples = tuples_of([(i, f"n{i}", [(10 * i, f"n{i}"), (10 * i + 1, "x"), (10 * i + 2, "y")]) for i in range(4)])
    tuples = pa.concat_tables([tuples, tuples_of([(9, "n1", [(90, "n1"), (91, "x"), (92, "y")])])])
    teachers = [Exact(), Exact()]
    teachers[0].asking = Asking(orders=2, justify=True)
    teachers[1].name, teachers[1].asking = "pairs", Asking(ask="match", orders=2)
    Run(teachers, store).label(tuples)
    return store


def test_an_export_says_who_was_asked_about_whom_and_how(tmp_path: Path) -> None:
    with asked_store(tmp_path / "labels.sqlite") as store:
        rows = store.export().to_pylist()
    shown = {
        (r["teacher"], r["ask"], r["left_source"], r["left_id"], tuple(o["id"] for o in r["options"])) for r in rows
    }
    assert ("exact", "select", "left", "3", ("30", "31", "32")) in shown
    assert ("exact", "justify", "left", "3", ("30", "31", "32")) in shown
    assert ("pairs", "match", "left", "3", ("31",)) in shown
    assert ("pairs", "match", "right", "31", ("3",)) in shown, "asked the other way round"
    # 1 and 9 have the same texts: one answer, a row for each.
    same = [r for r in rows if r["teacher"] == "exact" and r["ask"] == "select" and r["left_id"] in ("1", "9")]
    assert len({r["label_key"] for r in same}) * 2 == len(same)
    assert {(r["left_id"], r["right_id"]) for r in same} == {("1", "10"), ("9", "90")}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("by", ["choice", "right_id", "both"])
def test_what_is_changed_in_an_export_is_corrected_and_nothing_else(tmp_path: Path, suffix: str, by: str) -> None:
    with asked_store(tmp_path / "labels.sqlite") as store:
        bring(store, *({"left_id": i, "options": [1, 2, 3], "answer": 2, "confidence": 0.9} for i in range(5)))
        before = store.export().to_pylist()
        rows = through_a_file(store.export(), tmp_path / f"labels{suffix}").to_pylist()
        changed = [
            next(i for i, r in enumerate(before) if r["teacher"] == who and r["ask"] == ask and r["left_id"] == left)
            for who, ask, left in (("exact", "select", "2"), ("pairs", "match", "3"), ("ana", "select", "4"))
        ]
        for i in changed:
            if by != "right_id":
                rows[i]["choice"] = "0" if suffix == ".csv" else 0
            if by != "choice":
                rows[i]["right_id"] = None
        edited = pa.Table.from_pylist(rows, through_a_file(store.export(), tmp_path / f"labels{suffix}").schema)
        result = store.import_labels(edited)
        assert (result.added, result.updated, result.rejected, result.contradictions) == (0, 3, (), ())
        after = store.export().to_pylist()
        assert [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b] == changed
        for i in changed:
            stale = {name: after[i][name] for name in ("confidence", "probabilities", "explanation", "right_id")}
            assert (after[i]["choice"], set(stale.values())) == (0, {None}), "nothing speaks of the former answer"
        again = store.import_labels(edited)
        assert (again.added, again.updated) == (0, 0)


def test_a_corrected_answer_is_what_the_next_run_finds(tmp_path: Path) -> None:
    tuples = tuples_of([(1, "a", [(10, "x"), (11, "a")]), (2, "b", [(12, "b")])])
    with LabelStore(tmp_path / "labels.sqlite") as store:
        Run([Exact()], store).label(tuples)
        rows = store.export().to_pylist()
        rows[0] |= {"choice": 1, "right_id": "10"}
        store.import_labels(pa.Table.from_pylist(rows, store.export().schema))
        again = Exact()
        assert Run([again], store).label(tuples)["choice"].to_pylist() == [1, 1]
        assert again.asked == []


def test_two_corrections_of_one_answer_contradict_each_other(tmp_path: Path) -> None:
    with asked_store(tmp_path / "labels.sqlite") as store:
        table = store.export()
        rows = table.to_pylist()
        key = next(r["label_key"] for r in rows if r["left_id"] == "9" and r["ask"] == "select")
        for choice, row in enumerate((r for r in rows if r["label_key"] == key), start=2):
            row |= {"choice": choice, "right_id": row["options"][choice - 1]["id"]}
        result = store.import_labels(pa.Table.from_pylist(rows, table.schema))
        assert result.updated == 0
        assert "give different answers to one question of exact" in result.contradictions[0]
        assert store.export().equals(table)


def test_an_answer_whose_texts_were_changed_is_brought_by_ids(tmp_path: Path) -> None:
    with asked_store(tmp_path / "labels.sqlite") as store, LabelStore(tmp_path / "other.sqlite") as other:
        rows = [r for r in store.export().to_pylist() if r["ask"] != "justify"]
        table = pa.Table.from_pylist([{**row, "query": "changed"} for row in rows], store.export().schema)
        other.import_labels(table)
        assert len(other.imported()) == 30, "both orders of a tuple are one question"
        assert other.newest(99).num_rows == 0


def test_what_names_nobody_is_passed_over_and_said(store: LabelStore) -> None:
    rows = [{"left_id": left, "query": "a", "options": [{"id": 2, "record": "b"}], "answer": 1} for left in (None, 1)]
    result = bring(store, *rows)
    assert result.added == 1
    (said,) = result.passed_over
    assert said.startswith("1 row: no record is named")
    why = {"left_id": 1, "options": [2], "answer": 1, "ask": "justify"}
    assert "a reason for an answer" in bring(store, why).passed_over[0]


def test_import_and_import_again(store: LabelStore) -> None:
    rows = [{"left_id": 1, "options": [10, 11], "answer": 2, "confidence": 0.5}, {"left_id": 2, "right_id": 12}]
    rows[1] |= {"answer": 1}
    assert bring(store, *rows) == ImportResult(2, 0, 0)
    assert bring(store, *reversed(rows)) == ImportResult(0, 0, 2)
    rows[0] |= {"answer": 1}
    assert bring(store, *rows) == ImportResult(0, 1, 1)
    assert held(store) == {("1", ("10", "11"), 1), ("2", ("12",), 1)}


def test_a_question_is_the_same_in_any_order_of_its_options(store: LabelStore) -> None:
    bring(store, {"left_id": 1, "options": [10, 11, 12], "answer": 2})
    assert bring(store, {"left_id": 1, "options": [12, 11, 10], "answer": 2}) == ImportResult(0, 0, 1)
    assert bring(store, {"left_id": 1, "options": [12, 11, 10], "answer": 1}) == ImportResult(0, 1, 0)
    assert held(store) == {("1", ("12", "11", "10"), 1)}


def test_bad_rows_are_left_out_only_where_that_is_asked_for(store: LabelStore) -> None:
    rows = [{"left_id": 1, "options": [10], "answer": 3}, {"left_id": 2, "options": [10], "answer": 1}]
    with pytest.raises(LabelError, match="1 of 2 rows cannot be imported, so nothing was: row 1: answer 3 is out of"):
        bring(store, *rows)
    assert store.imported() == []
    result = bring(store, *rows, skip_bad_rows=True)
    assert (result.added, len(result.rejected)) == (1, 1)


def test_labels_of_one_teacher(store: LabelStore) -> None:
    bring(store, {"left_id": 1, "right_id": 2, "teacher": "a'; drop table brought --"}, {"left_id": 2, "right_id": 3})
    assert [label.left[1] for label in store.imported("ana")] == ["2"]
    assert store.imported("nobody") == []
    assert len(store.imported()) == 2


PAIR = {"left_id": 1, "right_id": 10}
CONTRADICTORY = [
    (
        [{**PAIR, "is_match": 1}, {**PAIR, "is_match": 0}],
        "left_id 1 and right_id 10 that they match (row 1) and that they do not (row 2)",
    ),
    (
        [{"left_id": 1, "options": ["10", "11"], "choice": 0}, {**PAIR, "is_match": 1}, {**PAIR, "is_match": 1}],
        "that they match (rows 2, 3) and that they do not (row 1)",
    ),
    (
        [{"left_id": 1, "options": ["10", "11"], "choice": 1}, {"left_id": 1, "options": ["11", "10"], "choice": 1}],
        "left_id 1 that it is 10 (row 1) and that it is 11 (row 2)",
    ),
    (
        [
            {**PAIR, "left_source": "crm", "right_source": "shop", "is_match": 1},
            {"left_id": 10, "left_source": "shop", "right_id": 1, "right_source": "crm", "is_match": 0},
        ],
        "that they match (row 1) and that they do not (row 2)",
    ),
]


@pytest.mark.parametrize(("rows", "said"), CONTRADICTORY)
def test_contradictions_are_listed_with_both_answers_and_neither_is_used(
    store: LabelStore, rows: list[dict[str, object]], said: str
) -> None:
    other = {"left_id": 2, "right_id": 10, "is_match": 1}
    result = bring(store, *rows, other)
    assert len(result.contradictions) == 1
    assert result.contradictions[0].endswith(said)
    assert ("2", ("10",), 1) in held(store)
    assert not [row for row in held(store) if "10" in row[1] and row[0] == "1"]
    assert bring(store, *rows, other).unchanged == result.added


def test_what_is_not_contradicted_in_a_tuple_is_used(store: LabelStore) -> None:
    bring(store, {"left_id": 1, "options": [10, 11, 12], "answer": 0}, {"left_id": 1, "options": [11], "answer": 1})
    assert held(store) == {("1", ("10", "12"), 0)}


@pytest.mark.parametrize(
    "rows",
    [
        [{**PAIR, "is_match": 1}, {**PAIR, "is_match": 1}],
        [{**PAIR, "is_match": 1}, {"left_id": 1, "right_id": 11, "is_match": 1}],
        [{**PAIR, "is_match": 1}, {"left_id": 1, "options": ["10", "11"], "choice": 2}],
        [{"left_id": 1, "options": ["10", "11"], "choice": 1}, {"left_id": 1, "options": ["11", "12"], "choice": 1}],
        [{**PAIR, "is_match": 1}, {**PAIR, "is_match": 0, "teacher": "bo"}],
        [{**PAIR, "is_match": 1}, {"left_id": 10, "right_id": 1, "is_match": 0}],  # of two tables, other records
        [{**PAIR, "is_match": 1}, {**PAIR, "choice": None}],
    ],
)
def test_what_is_no_contradiction(store: LabelStore, rows: list[dict[str, object]]) -> None:
    assert bring(store, *rows).contradictions == ()


pairs = st.fixed_dictionaries(
    {"left_id": st.sampled_from("12"), "right_id": st.sampled_from("34"), "is_match": st.none() | st.booleans()}
)
tuples = st.fixed_dictionaries(
    {
        "left_id": st.sampled_from("12"),
        "options": st.permutations("345").map(list),
        "choice": st.none() | st.integers(0, 3),
    }
)


@given(rows=st.lists(pairs | tuples, max_size=7), seed=st.integers(0, 99))
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
def test_the_order_of_rows_does_not_matter(tmp_path: Path, rows: list[dict[str, object]], seed: int) -> None:
    shuffled = random.Random(seed).sample(rows, len(rows))
    found = []
    for number, given_rows in enumerate((rows, shuffled)):
        path = tmp_path / f"{number}.sqlite"
        path.unlink(missing_ok=True)
        with LabelStore(path) as store:
            result = bring(store, *given_rows) if given_rows else ImportResult(0, 0, 0)
            kept = {(left, frozenset(options), choice and options[choice - 1]) for left, options, choice in held(store)}
        found.append((kept, result.added, result.repeated, len(result.contradictions)))
    assert found[0] == found[1]


def test_a_later_import_corrects_an_earlier_one(store: LabelStore) -> None:
    bring(store, {**PAIR, "is_match": 1})
    assert bring(store, {**PAIR, "is_match": 0}) == ImportResult(0, 1, 0)
    assert held(store) == {("1", ("10",), 0)}
    times = [label.stored_at for label in store.imported()]
    bring(store, {**PAIR, "is_match": 1})
    assert [label.stored_at for label in store.imported()] > times


def test_no_byte_of_a_brought_label_is_left_when_it_is_erased(tmp_path: Path) -> None:
    path = tmp_path / "store" / "labels.sqlite"
    row = {"left_id": "hidden-left", "options": ["hidden-option", "b"], "answer": 1, "explanation": "hidden-reason"}
    row |= {"explanations": ["hidden-each", None]}
    for erase in (
        lambda store: store.delete(erasure.of_record(None, "hidden-option")),
        lambda store: store.delete(erasure.containing("HIDDEN-EACH")),
        lambda store: store.delete(erasure.of_record("crm", "hidden-left")),
    ):
        with LabelStore(path) as store:
            bring(store, row, {"left_id": 2, "options": ["b"], "answer": 1})
            assert erase(store).imported == 1
            assert held(store) == {("2", ("b",), 1)}
            assert b"hidden" not in b"".join(file.read_bytes() for file in path.parent.iterdir())
        shutil.rmtree(path.parent)


def test_no_byte_of_a_restored_answer_is_left_when_it_is_erased(tmp_path: Path) -> None:
    path = tmp_path / "store" / "labels.sqlite"
    with asked_store(tmp_path / "labels.sqlite") as source, LabelStore(path) as store:
        store.import_labels(through_a_file(source.export(), tmp_path / "labels.csv"))
        assert store.unmentioned() == 0
        assert (
            store.delete(erasure.of_record("left", 3)).answers
            == source.delete(erasure.of_record("left", 3), dry_run=True).answers
        )
        assert b'"n3"' not in b"".join(file.read_bytes() for file in path.parent.iterdir())
        assert json.dumps("n2").encode() in b"".join(file.read_bytes() for file in path.parent.iterdir())
