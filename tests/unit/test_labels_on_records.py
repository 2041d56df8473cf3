"""Labels become rows of er_labels: on the records that they name, one row a left record and teacher, all used."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from exact_teacher import Exact, tuples_of
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller_udf.errors import LabelError
from distiller_udf.labels import FoundReport, LabelStore, Run, good_labels, labels_on_records, labels_with_records
from distiller_udf.votes import vote

Rows = Sequence[dict[str, Any]]


def records_of(rows: Sequence[tuple[str, object, str]]) -> pa.Table:
    return pa.table(
        {
            "source": [row[0] for row in rows],
            "id": [row[1] for row in rows],
            "record": [{"name": row[2]} for row in rows],
        }
    )


RECORDS = records_of([("abt", 1, "a"), ("abt", 2, "b"), ("buy", 1, "x"), ("buy", 2, "a!"), ("buy", 3, "y")])
PEOPLE = records_of([("people", i, f"p{i}") for i in range(1, 10)])
THREE = records_of([(s, str(i), f"{s}{i}") for s in ("abt", "buy", "web") for i in (1, 2, 3)])


def labels_of(rows: Rows) -> pa.Table:
    """Rows as a file has them that holds the columns of all; ids are text."""
    names = dict.fromkeys(["teacher", "left_id", *(name for row in rows for name in row)])
    columns = {name: [row.get(name, "me" if name == "teacher" else None) for row in rows] for name in names}
    columns["left_id"] = [str(value) for value in columns["left_id"]]
    columns |= {"right_id": [None if v is None else str(v) for v in columns["right_id"]]} if "right_id" in names else {}
    if "options" in names:
        columns["options"] = [None if v is None else [str(o) for o in v] for v in columns["options"]]
    return pa.table(columns)


def on(records: pa.Table, *rows: dict[str, Any], **options: Any) -> tuple[list[dict[str, Any]], FoundReport]:
    table, report = labels_on_records(good_labels(labels_of(rows)), records, **options)
    return table.to_pylist(), report


def told(row: dict[str, Any]) -> tuple[Any, ...]:
    """A row of er_labels in short: left id, ask, choice, and the probability of each option by its id."""
    ids = [option["id"] for option in row["options"]]
    return (
        row["left_id"],
        row["ask"],
        row["choice"],
        dict(zip(ids, row["probabilities"] or [None] * len(ids), strict=True)),
    )


def test_labels_find_their_records() -> None:
    rows, report = on(
        RECORDS,
        {"left_id": 1, "options": [3, 2], "answer": 2, "confidence": 0.7},
        {"left_id": 2, "options": [1, 3], "answer": 0},
    )
    assert (report.total, report.used, report.options_dropped) == (2, 2, 0)
    assert (rows[0]["ask"], rows[0]["orders"], rows[0]["seed"]) == ("select", 1, None)
    assert (rows[0]["left_source"], rows[0]["left_id"], rows[0]["query"]) == ("abt", 1, '{"name":"a"}')
    assert (rows[0]["right_source"], rows[0]["right_id"], rows[0]["confidence"]) == ("buy", 2, 0.7)
    assert rows[0]["options"][1] == {"source": "buy", "id": 2, "record": '{"name":"a!"}'}
    assert (rows[1]["choice"], rows[1]["right_id"], rows[1]["cost_usd"]) == (0, None, None)
    assert rows[0]["label_key"] != rows[1]["label_key"]


def test_labels_with_unknown_records_are_counted() -> None:
    rows, report = on(
        RECORDS,
        {"left_id": 99, "options": [1], "answer": 0},
        {"left_id": 1, "options": [98, 3], "answer": 1},
        {"left_id": 2, "options": [98, 97, 3, 1], "answer": 3},
    )
    assert (report.total, report.used, report.options_dropped) == (3, 1, 2)
    assert len(report.examples) == 2
    assert "left_id 99" in " ".join(report.examples)
    assert (rows[0]["choice"], rows[0]["right_id"]) == (1, 3)


def test_labels_of_named_or_several_sources() -> None:
    records = pa.concat_tables([THREE, records_of([("web", "only", "o")])])
    rows, report = on(
        records,
        {"left_id": "1", "left_source": "abt", "right_id": "2", "right_source": "buy"},
        {"left_id": "3", "left_source": "buy", "right_id": "only", "right_source": None},
        {"left_id": "2", "left_source": None, "right_id": "2", "right_source": "abt"},
    )
    assert {(row["left_source"], row["left_id"], row["right_source"]) for row in rows} == {
        ("abt", "1", "buy"),
        ("buy", "3", "web"),
    }
    assert report.used == 2, "id 2 without a source is in all three"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("timestamp", "2024-01-02 03:04:05.5"),
        ("timestamp_ns", "2024-01-02 03:04:05.123456789"),
        ("timestamptz", "2024-01-02 03:04:05.5+00"),
        ("blob", "\\xDE\\xAD"),
        ("double", "1e+20"),
        ("double", "100000000000000000000"),
        ("double", "12"),
        ("decimal(6, 1)", "12"),
        ("bigint", "12.0"),
        ("hugeint", "170141183460469231731687303715884105727"),
        ("uuid", "00000000-0000-0000-0000-000000000005"),
        ("varchar", "12.0"),
    ],
)
def test_ids_of_any_type_are_found_by_the_text_that_duckdb_gives_them(kind: str, value: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        typed = f"cast('{'12' if kind == 'bigint' else value}' as {kind})"
        records = connection.sql(
            f"select unnest(['l', 'r']) as source, {typed} as id, cast(id as varchar) as id_text,"
            " {'name': source} as record"
        ).to_arrow_table()
    rows, report = on(records, {"left_id": value, "options": [value], "answer": 1})
    assert (report.used, len(rows)) == (1, 1)


def test_an_id_as_duckdb_writes_it_comes_before_other_ways_to_write_one() -> None:
    records = records_of([("l", "1", "a"), ("r", "x", "first"), ("r", "y", "second")])
    records = records.append_column("id_text", pa.array(["1", "y", "z"]))
    assert on(records, {"left_id": "1", "options": ["y"], "answer": 1})[0][0]["right_id"] == "x"


def test_a_tuple_stays_a_choice_and_all_else_becomes_a_probability_an_option() -> None:
    rows, _ = on(
        THREE,
        {"left_id": 1, "left_source": "abt", "options": [1, 2], "right_source": "buy", "answer": 2},
        {"left_id": 2, "left_source": "abt", "right_id": 1, "right_source": "buy", "answer": 1},
        {"left_id": 2, "left_source": "abt", "right_id": 2, "right_source": "buy", "answer": 0, "confidence": 0.8},
        {"left_id": 2, "left_source": "abt", "right_id": 3, "right_source": "web", "answer": 1, "confidence": 0.9},
    )
    assert [told(row) for row in rows] == [
        ("1", "select", 2, {"1": None, "2": None}),
        ("2", "match", 1, {"1": 1.0, "2": pytest.approx(0.2), "3": 0.9}),
    ]
    assert (rows[1]["right_source"], rows[1]["right_id"]) == ("buy", "1")


def test_several_tuples_of_a_record_are_taken_together() -> None:
    """Of what was shown beside a match, the same source has no other one, and of another source nobody knows."""
    first = {"left_id": 1, "left_source": "abt", "options": [1, 2], "right_source": "buy", "answer": 2}
    second = {"left_id": 1, "left_source": "abt", "options": [1, 2], "right_source": "web", "answer": 0}
    rows, _ = on(THREE, first, second)
    assert len(rows) == 1
    options = [(o["source"], o["id"]) for o in rows[0]["options"]]
    assert dict(zip(options, rows[0]["probabilities"], strict=True)) == {
        ("buy", "1"): 0.0,
        ("buy", "2"): 1.0,
        ("web", "1"): 0.0,
        ("web", "2"): 0.0,
    }
    several, _ = on(THREE, first, second, constraint="none")
    assert several[0]["probabilities"] == [None, 1.0, 0.0, 0.0]
    assert several[0]["choice"] == 2


def test_several_true_candidates_are_all_used() -> None:
    rows, report = on(PEOPLE, *({"left_id": 1, "right_id": i, "is_match": i < 4} for i in (2, 3, 4)), constraint="none")
    assert [told(row) for row in rows] == [(1, "match", 1, {2: 1.0, 3: 1.0, 4: 0.0})]
    assert report.contradictions == ()


@pytest.mark.parametrize("constraint", ["none", "one_to_one"])
def test_in_one_table_a_pair_is_one_in_either_order(constraint: str) -> None:
    rows, _ = on(
        PEOPLE,
        {"left_id": 9, "right_id": 3, "is_match": True},
        {"left_id": 3, "right_id": 9, "is_match": True},
        {"left_id": 3, "right_id": 4, "is_match": False},
        constraint=constraint,
    )
    assert [told(row) for row in rows] == [(3, "match", 2, {4: 0.0, 9: 1.0})]


def test_a_pair_that_a_tuple_has_is_judged_there() -> None:
    shown = {"left_id": 5, "options": [3, 7], "answer": 1}
    rows, _ = on(PEOPLE, shown, {"left_id": 3, "right_id": 5, "answer": 1}, constraint="none")
    assert [told(row) for row in rows] == [(5, "select", 1, {3: None, 7: None})], "once is enough"
    rows, _ = on(PEOPLE, shown, {"left_id": 7, "right_id": 5, "answer": 1}, constraint="none")
    assert [told(row) for row in rows] == [(5, "match", 1, {3: 1.0, 7: 1.0})]


def test_between_tables_labels_are_turned_round() -> None:
    turned = {"left_source": "buy", "right_source": "abt"}
    rows, _ = on(
        RECORDS,
        {"left_id": 3, "right_id": 1, "answer": 1, **turned},
        {"left_id": 1, "right_id": 2, **turned, "answer": 0},
    )
    assert [(row["left_source"], told(row)) for row in rows] == [
        ("abt", (1, "match", 1, {3: 1.0})),
        ("abt", (2, "match", 0, {1: 0.0})),
    ]
    shown = {"left_id": 3, "options": [1, 2], "answer": 2, **turned}
    of = {c: [told(row) for row in on(RECORDS, shown, constraint=c)[0]] for c in ("one_to_one", "many_to_one", "none")}
    assert of["one_to_one"] == [(1, "match", 0, {3: 0.0}), (2, "match", 1, {3: 1.0})]
    assert of["many_to_one"] == of["none"] == [(2, "match", 1, {3: 1.0})], "several left records may match one"


def test_under_one_to_many_the_source_declared_last_is_left() -> None:
    """A label that names no source still means the first one on its left."""
    rows, _ = on(
        RECORDS,
        {"left_id": 1, "right_id": 3, "is_match": 1},
        {"left_id": 2, "right_id": 1, "is_match": 0},
        constraint="one_to_many",
    )
    assert [(row["left_source"], told(row)) for row in rows] == [
        ("buy", (1, "match", 0, {2: 0.0})),
        ("buy", (3, "match", 1, {1: 1.0})),
    ]
    shown = {"left_source": "buy", "left_id": 3, "right_source": "abt", "options": [1, 2], "answer": 2}
    rows, _ = on(RECORDS, shown, constraint="one_to_many")
    assert [(row["left_source"], row["ask"], row["left_id"]) for row in rows] == [("buy", "select", 3)]


def test_a_pair_without_sources_is_of_the_first_and_the_last_one() -> None:
    rows, report = on(RECORDS, {"left_id": 2, "right_id": 1}, {"left_id": 1, "right_id": 2})
    assert [(row["left_id"], row["right_id"]) for row in rows] == [(1, 2), (2, 1)]
    assert report.contradictions == ()


def test_contradictions_that_only_the_records_show() -> None:
    rows, report = on(
        PEOPLE,
        {"left_id": 9, "right_id": 3, "answer": 1},
        {"left_id": 3, "right_id": 9, "answer": 0},
        {"left_id": 3, "right_id": 4, "answer": 1},
    )
    assert [told(row) for row in rows] == [(3, "match", 1, {4: 1.0})]
    (said,) = report.contradictions
    assert str(said) == "me says of left_id 9 and right_id 3 that they match (row 1) and that they do not (row 2)"


def at(moment: int, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows as an export has them that were brought at a time."""
    return [{**row, "stored_at": f"2026-01-0{moment}T00:00:00.000000Z"} for row in rows]


def test_what_is_said_later_corrects_what_was_said_before() -> None:
    tuple_, pair = {"left_id": 1, "options": [2, 3, 4], "choice": 1}, {"left_id": 2, "right_id": 1, "choice": 0}
    rows, report = on(PEOPLE, *at(1, tuple_), *at(2, pair))
    assert report.contradictions == ()
    assert [told(row) for row in rows] == [(1, "match", 0, {2: 0.0})], "what was shown beside it is no longer known"
    rows, _ = on(PEOPLE, *at(2, tuple_), *at(1, pair))
    assert [told(row) for row in rows] == [(1, "select", 1, {2: None, 3: None, 4: None})]
    again = {"left_id": 1, "options": [2, 3], "choice": 2}
    rows, _ = on(PEOPLE, *at(1, tuple_), *at(2, again))
    assert [told(row) for row in rows] == [(1, "select", 2, {2: None, 3: None})], "of one match, the later one"
    rows, _ = on(PEOPLE, *at(1, tuple_), *at(2, again), constraint="none")
    assert [told(row) for row in rows] == [(1, "match", 1, {2: 1.0, 3: 1.0, 4: None})]


def test_teachers_with_other_pairs_of_one_record_all_have_their_vote() -> None:
    table, _ = labels_on_records(
        good_labels(
            labels_of(
                [
                    {"left_id": 1, "right_id": 2, "answer": 1, "teacher": "a"},
                    {"left_id": 1, "right_id": 3, "answer": 0, "teacher": "b"},
                    {"left_id": 1, "options": [3, 4], "answer": 2, "teacher": "c"},
                ]
            )
        ),
        PEOPLE,
    )
    assert [(row["teacher"], row["choice"], row["probabilities"]) for row in table.to_pylist()] == [
        ("a", 1, [1.0, None, None]),
        ("b", None, [None, 0.0, None]),
        ("c", 3, [None, 0.0, 1.0]),
    ]
    (voted,) = vote(table).to_pylist()
    assert (voted["choice"], voted["probabilities"], voted["teachers"]) == (1, [1.0, 0.0, 1.0], ["a", "b", "c"])


def test_who_does_not_know_says_nothing() -> None:
    rows, report = on(
        PEOPLE,
        {"left_id": 1, "right_id": 2, "answer": None},
        {"left_id": 3, "options": [4, 5], "answer": None},
        {"left_id": 3, "right_id": 4, "answer": 1},
        {"left_id": 6, "options": [], "answer": 0},
    )
    assert [told(row) for row in rows] == [
        (3, "match", 1, {4: 1.0}),
        (1, "select", None, {2: None}),
        (6, "select", 0, {}),
    ]
    assert rows[1]["error"] == "abstained: the imported label has no answer"
    assert report.used == 4


def test_reasons_stay_with_their_pairs() -> None:
    rows, _ = on(
        PEOPLE,
        {"left_id": 1, "right_id": 2, "answer": 1, "explanation": "same phone"},
        {"left_id": 1, "right_id": 3, "answer": 0, "explanation": "another street"},
    )
    assert (rows[0]["explanation"], rows[0]["explanations"]) == ("same phone", ["same phone", "another street"])


pair = st.fixed_dictionaries(
    {"left_id": st.integers(1, 4), "right_id": st.integers(1, 4), "choice": st.none() | st.integers(0, 1)}
)
shown = st.lists(st.integers(1, 4), min_size=2, max_size=3, unique=True)
tuple_of = st.fixed_dictionaries(
    {"left_id": st.integers(1, 4), "options": shown, "choice": st.none() | st.integers(0, 2)}
)
judged = st.tuples(pair | tuple_of, st.sampled_from(["a", "b"]), st.integers(1, 2)).map(
    lambda drawn: {**at(drawn[2], drawn[0])[0], "teacher": drawn[1]}
)


@given(
    rows=st.lists(judged, min_size=1, max_size=9),
    seed=st.integers(0, 99),
    constraint=st.sampled_from(["none", "one_to_one", "many_to_one", "one_to_many"]),
)
@settings(max_examples=80)
def test_the_order_of_labels_does_not_matter_and_every_judgement_has_its_place(
    rows: list[dict[str, Any]], seed: int, constraint: str
) -> None:
    shuffled = random.Random(seed).sample(rows, len(rows))
    tables = [on(PEOPLE, *given_rows, constraint=constraint)[0] for given_rows in (rows, shuffled)]
    assert tables[0] == tables[1]
    assert len({(row["left_id"], row["teacher"]) for row in tables[0]}) == len(tables[0]), "the key of er_labels"
    found = {}
    for row in tables[0]:
        for number, option in enumerate(row["options"], 1):
            name = row["teacher"], frozenset((row["left_id"], option["id"]))
            p = row["probabilities"][number - 1] if row["probabilities"] else None
            no_answer = None if row["choice"] is None or (row["choice"] and row["ask"] == "match") else 0.0
            found.setdefault(name, set()).add((1.0 if row["choice"] == number else no_answer) if p is None else p)
    for name, verdict in judgements(rows).items():
        if constraint != "none" and name in passed_over(rows):
            continue  # a later choice of another one says otherwise
        assert verdict in found.get(name, {verdict} if verdict is None else set()), (name, verdict)


def judgements(rows: Rows) -> dict[tuple[str, frozenset[int]], float | None]:
    """What each teacher last said of each pair in so many words, read naively; None where it contradicts itself."""
    said: dict[tuple[str, frozenset[int]], list[tuple[str, float]]] = {}
    questions: dict[Any, set[Any]] = {}
    for row in rows:
        if "options" in row and row["choice"]:
            key = (row["teacher"], row["left_id"], frozenset(row["options"]))
            questions.setdefault(key, set()).add((row["stored_at"], row["options"][row["choice"] - 1]))
    for row in rows:
        options = row.get("options") or [row["right_id"]]
        if len(options) > 1 and row["choice"]:
            given_at = questions[row["teacher"], row["left_id"], frozenset(options)]
            if len({o for t, o in given_at if t == max(given_at)[0]}) > 1 or row["stored_at"] < max(given_at)[0]:
                continue
        for number, option in enumerate(options, 1):
            if option != row["left_id"] and (row["choice"] in (0, number)):
                name = row["teacher"], frozenset((row["left_id"], option))
                said.setdefault(name, []).append((row["stored_at"], float(row["choice"] == number)))
    latest = {name: {p for t, p in all_of if t == max(all_of)[0]} for name, all_of in said.items()}
    return {name: verdicts.pop() for name, verdicts in latest.items() if len(verdicts) == 1}


def passed_over(rows: Rows) -> set[tuple[str, frozenset[int]]]:
    """The pairs of an option that a choice passed over."""
    chosen = [row for row in rows if "options" in row and row["choice"]]
    return {(row["teacher"], frozenset((row["left_id"], o))) for row in chosen for o in row["options"]}


ASKED = tuples_of([(1, "a", [(10, "x"), (11, "a"), (12, "y")]), (2, "b", [(11, "a"), (12, "y")])])
BOTH = records_of([("left", 1, "a"), ("left", 2, "b"), ("right", 10, "x"), ("right", 11, "a"), ("right", 12, "y")])


def test_a_label_corrects_what_its_teacher_was_asked_and_leaves_the_rest_alone(tmp_path: Any) -> None:
    with LabelStore(tmp_path / "labels.sqlite") as store:
        asked = Run([Exact()], store).label(ASKED)
    label = good_labels(labels_of([{"left_id": 1, "right_id": 11, "answer": 0, "teacher": "exact"}]))
    table, _ = labels_on_records(label, BOTH, asked=asked)
    assert table.schema == asked.schema
    corrected, same = table.to_pylist()
    assert told(corrected) == (1, "match", 0, {11: 0.0})
    assert (corrected["label_key"], corrected["input_tokens"]) == (asked["label_key"][0].as_py(), 10)
    assert same == asked.to_pylist()[1]


def test_another_s_pair_is_a_vote_beside_what_a_teacher_was_asked(tmp_path: Any) -> None:
    with LabelStore(tmp_path / "labels.sqlite") as store:
        asked = Run([Exact()], store).label(ASKED)
    label = good_labels(
        labels_of([{"left_id": 1, "right_id": 12, "answer": 1}, {"left_id": 2, "right_id": 11, "answer": 0}])
    )
    table, _ = labels_on_records(label, BOTH, asked=asked, constraint="none")
    assert sorted(((row["teacher"], *told(row)) for row in table.to_pylist()), key=str) == [
        ("exact", 1, "match", 2, {10: None, 11: 0.9, 12: None}),
        ("exact", 2, "match", 0, {11: 0.0, 12: 0.0}),
        ("me", 1, "match", 3, {10: None, 11: None, 12: 1.0}),
        ("me", 2, "match", None, {11: 0.0, 12: None}),
    ]
    same, _ = labels_on_records(
        good_labels(labels_of([{"left_id": 2, "options": [12, 11], "answer": 0}])), BOTH, asked=asked
    )
    assert sorted((row["teacher"], row["left_id"], row["ask"]) for row in same.to_pylist()) == [
        ("exact", 1, "select"),
        ("exact", 2, "select"),
        ("me", 2, "select"),
    ]
    kept = [row for row in same.to_pylist() if row["teacher"] == "exact"]
    assert sorted(kept, key=lambda row: row["left_id"]) == asked.to_pylist()


def test_labels_that_carry_their_records_need_no_others(tmp_path: Any) -> None:
    """What a store exports: several orders are one answer, a pair asked both ways round is one judgement."""
    from distiller_udf.prompts import Asking

    teachers = [Exact(), Exact("pairs")]
    teachers[0].asking, teachers[1].asking = Asking(orders=3, justify=True), Asking(ask="match", orders=2)
    with LabelStore(tmp_path / "labels.sqlite") as store:
        asked = Run(teachers, store).label(ASKED)
        table, report = labels_with_records(good_labels(store.export()))
    assert report.contradictions == ()

    def plain(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        return sorted(
            (
                (
                    row["teacher"],
                    str(row["left_id"]),
                    row["query"],
                    row["ask"],
                    row["right_id"] and str(row["right_id"]),
                )
                for row in rows
            ),
            key=str,
        )

    assert plain(table.to_pylist()) == plain(asked.to_pylist())
    by_name = {(row["teacher"], row["left_id"]): row for row in table.to_pylist()}
    assert by_name["pairs", "1"]["probabilities"] == pytest.approx([0.0, 0.9, 0.0])
    assert [option["record"] for option in by_name["pairs", "1"]["options"]] == [
        '{"name":"x"}',
        '{"name":"a"}',
        '{"name":"y"}',
    ]


def test_labels_without_records_say_which_files_have_them() -> None:
    with pytest.raises(LabelError, match="give the files that have them with --left and --right"):
        labels_with_records(good_labels(labels_of([{"left_id": 1, "right_id": 2}])))
