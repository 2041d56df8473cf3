"""Votes: what several teachers say becomes one label, question by question or pair by pair."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller_udf.constraint import Constraint
from distiller_udf.errors import LabelError, SettingsError
from distiller_udf.training.data import labelled_pairs
from distiller_udf.votes import VOTES, reliabilities, vote
from distiller_udf.votes.dawid_skene import Ballots, estimate
from distiller_udf.votes.questions import read_questions

SCHEMA = pa.schema(
    [
        ("label_key", pa.string()),
        ("left_source", pa.string()),
        ("left_id", pa.int64()),
        ("teacher", pa.string()),
        ("ask", pa.string()),
        ("choice", pa.int32()),
        ("right_source", pa.string()),
        ("right_id", pa.int64()),
        ("confidence", pa.float64()),
        ("probabilities", pa.list_(pa.float64())),
        ("explanation", pa.string()),
        ("input_tokens", pa.int64()),
        ("cost_usd", pa.float64()),
        ("error", pa.string()),
        ("query", pa.string()),
        (
            "options",
            pa.list_(pa.struct([("source", pa.string()), ("id", pa.int64()), ("record", pa.string())])),
        ),
    ]
)


def row(
    teacher: str, right_id: int | None, ids: Sequence[int] = (1, 2, 3), left: int = 0, **more: Any
) -> dict[str, Any]:
    """A label whose choice is the option with this id; 0 = none of them, None = abstained."""
    choice = right_id if not right_id else list(ids).index(right_id) + 1
    return {
        "label_key": f"{teacher}-{left}",
        "left_source": "l",
        "left_id": left,
        "teacher": teacher,
        "ask": "select",
        "choice": choice,
        "right_source": "r" if choice else None,
        "right_id": right_id or None,
        "error": "abstained: no idea" if choice is None else None,
        "query": f'{{"name":"{left}"}}',
        "options": [{"source": "r", "id": i, "record": f'{{"name":"{i}"}}'} for i in ids],
        **more,
    }


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def one(method: str, *rows: dict[str, Any]) -> dict[str, Any]:
    voted = vote(table(*rows), method).to_pylist()
    assert len(voted) == 1
    return voted[0]


def pair(teacher: str, probabilities: Sequence[float | None], choice: int | None, **more: Any) -> dict[str, Any]:
    """A label whose pairs were asked by themselves."""
    return row(teacher, choice or 0, **more) | {"ask": "match", "choice": choice, "probabilities": list(probabilities)}


@pytest.mark.parametrize("method", VOTES)
def test_a_single_teacher_teaches_what_it_taught_before(labels: pa.Table, method: str) -> None:
    voted = vote(labels, method)
    assert voted.select(labels.column_names).equals(labels)
    assert set(voted["teachers"].to_pylist()[0]) == {"test"}
    assert set(voted["agreement"].to_pylist()) == {1.0}
    before, after = labelled_pairs(labels), labelled_pairs(voted)
    assert after.left.texts() == before.left.texts()
    assert np.array_equal(after.labels, before.labels)


@pytest.mark.parametrize("method", VOTES)
def test_a_single_abstention_stays_one(method: str) -> None:
    voted = one(method, row("a", None))
    assert (voted["choice"], voted["error"], voted["teacher"]) == (None, "abstained: no idea", "a")
    assert (voted["teachers"], voted["agreement"]) == ([], None)


@pytest.mark.parametrize("method", VOTES)
def test_no_labels_are_no_votes(method: str) -> None:
    for asked in (None, 2):
        voted = vote(table(), method, asked)
        assert len(voted) == 0
        assert voted.column_names == [*SCHEMA.names, "teachers", "agreement"]


def test_the_majority_wins_whatever_the_order_of_the_candidates() -> None:
    voted = one("majority", row("c", 3, (2, 3, 1)), row("b", 3, (3, 2, 1)), row("a", 1, (1, 2, 3)))
    assert voted["teacher"] == "majority of a, b, c"
    assert [option["id"] for option in voted["options"]] == [1, 2, 3]
    assert (voted["choice"], voted["right_source"], voted["right_id"]) == (3, "r", 3)
    assert voted["probabilities"] == pytest.approx([1 / 3, 0, 2 / 3])
    assert voted["agreement"] == pytest.approx(2 / 3)
    assert voted["teachers"] == ["a", "b", "c"]


@pytest.mark.parametrize("choices", [(1, 0), (1, 2), (1, 1, 0, 0)])
def test_a_tie_abstains_and_says_who_said_what(choices: tuple[int, ...]) -> None:
    answers = zip("abcd", choices, strict=False)
    voted = one("majority", *(row(name, choice, explanation="same name") for name, choice in answers))
    assert (voted["choice"], voted["right_id"], voted["agreement"]) == (None, None, 0.5)
    assert voted["explanation"] is None
    assert voted["error"].startswith("abstained: the teachers disagree: a 1, b ")
    assert ("none" in voted["error"]) == (0 in choices)


def test_who_abstains_has_no_vote() -> None:
    voted = one("majority", row("a", None), row("b", 0), row("c", None))
    assert (voted["choice"], voted["teachers"], voted["agreement"]) == (0, ["b"], 1.0)


@pytest.mark.parametrize("method", VOTES)
def test_where_nobody_answers_the_reason_stays(method: str) -> None:
    voted = one(method, row("a", None), row("b", None))
    assert (voted["choice"], voted["error"], voted["agreement"]) == (None, "abstained: no idea", None)
    assert voted["probabilities"] is None


def test_unanimous_wants_two_teachers_who_say_the_same() -> None:
    assert one("unanimous", row("a", 2), row("b", 2), row("c", None))["choice"] == 2
    assert one("unanimous", row("a", 2), row("b", 2), row("c", 1))["choice"] is None
    alone = vote(table(row("a", 2), row("a", 1, left=1), row("b", 1, left=1)), "unanimous").to_pylist()
    assert [(label["choice"], label["error"]) for label in alone] == [(None, "abstained: a alone says 2"), (1, None)]


@pytest.mark.parametrize(("asked", "choice"), [(None, 2), (1, 2), (2, None), (3, None)])
def test_one_teachers_answers_are_unanimous_only_where_nobody_else_is_asked(
    asked: int | None, choice: int | None
) -> None:
    """A spent budget leaves the answers of the first teacher."""
    voted = vote(table(row("a", 2)), "unanimous", asked).to_pylist()[0]
    assert voted["choice"] == choice
    assert voted["error"] == (None if choice else "abstained: a alone says 2")
    pairs = vote(table(pair("a", [0.1, 0.9], 2, ids=(1, 2))), "unanimous", asked).to_pylist()[0]
    assert (pairs["choice"], pairs["probabilities"]) == ((2, [0.1, 0.9]) if choice else (None, None))


def test_an_abstention_is_no_second_answer() -> None:
    voted = one("unanimous", row("a", 2), row("b", None))
    assert (voted["choice"], voted["error"]) == (None, "abstained: a alone says 2")
    assert vote(table(row("a", 0), row("b", 0)), "unanimous", 3)["choice"].to_pylist() == [0]


@pytest.mark.parametrize("method", ["majority", "dawid_skene"])
def test_the_answer_of_one_of_two_teachers_stays_its_own(method: str) -> None:
    labels = table(row("a", 2), row("a", 0, left=1), row("a", None, left=2))
    voted = vote(labels, method, 2)
    assert voted.select(SCHEMA.names).equals(labels)


@pytest.mark.parametrize("method", VOTES)
def test_an_encoder_and_the_teacher_it_learns_from_answer_one_record_each(method: str) -> None:
    """Nobody is compared with anybody: there is nothing to vote on, however the answers are spread."""
    answers = [row("llm" if i < 5 else "encoder", 0 if i % 3 else 1, left=i, confidence=0.9) for i in range(25)]
    voted = vote(table(*answers), method, 1)
    assert voted.select(SCHEMA.names).equals(table(*answers))


def test_distributions_are_averaged_and_what_is_paid_is_summed() -> None:
    known = {"confidence": 0.8, "cost_usd": 0.5, "input_tokens": 10}
    voted = one(
        "majority",
        row("a", 1, probabilities=[0.6, 0.4, 0.0], explanation=None, **known),
        row("b", 1, (3, 2, 1), probabilities=[0.0, 0.0, 0.9], explanation="same price", **known),
        row("c", 2, explanation="same name", confidence=1.0, cost_usd=0.25, input_tokens=None),
    )
    assert voted["probabilities"] == pytest.approx([0.5, 1.4 / 3, 0.0])
    assert voted["confidence"] == pytest.approx(0.8)
    assert voted["explanation"] == "same price"
    assert (voted["cost_usd"], voted["input_tokens"]) == (1.25, None)


def test_plain_answers_that_agree_stay_plain() -> None:
    """Otherwise a candidate that was not chosen would be a certain non-match in deduplication."""
    voted = vote(table(row("a", 2), row("b", 2), row("c", None, probabilities=[0.2, 0.3, 0.5])), "majority")
    assert voted["probabilities"].to_pylist() == [None]
    assert labelled_pairs(voted, Constraint.NONE).weights.tolist() == [0.25, 1.0, 0.25]


def test_of_several_questions_the_one_with_most_answers_counts_then_the_newest() -> None:
    changed = row("a", 4, (4, 5)) | {"query": '{"name":"new"}'}
    voted = vote(table(row("b", 1), row("c", 1), changed), "majority").to_pylist()
    assert [(label["right_id"], label["teachers"]) for label in voted] == [(1, ["b", "c"])]
    assert one("majority", row("b", 1), changed)["right_id"] == 4
    assert one("majority", changed, row("b", 1))["right_id"] == 1
    record = row("b", 2)
    record["options"][0]["record"] = '{"name":"another"}'
    assert one("majority", record, row("a", 1))["teachers"] == ["a"]


def test_a_teacher_votes_once() -> None:
    assert one("majority", row("a", 1), row("a", 1), row("b", 2), row("c", 2))["right_id"] == 2
    assert one("majority", row("a", 1), row("a", 2))["right_id"] == 2
    assert one("majority", row("a", 1), row("a", None, probabilities=[0.2, 0.3, 0.5]))["right_id"] == 1
    assert one("majority", pair("a", [0.9, 0.1, 0.1], 1), pair("a", [None] * 3, None))["choice"] == 1
    assert one("majority", pair("a", [0.9, 0.1, 0.1], 1), pair("a", [0.1, None, 0.1], None))["choice"] is None


def test_what_the_labels_lack_is_added_where_the_vote_has_it() -> None:
    few = table(row("a", 1), row("b", 2)).select(["left_source", "left_id", "teacher", "choice", "query", "options"])
    voted = vote(few, "majority")
    added = ["confidence", "probabilities", "error", "teachers", "agreement"]
    assert voted.column_names == [*few.column_names, *added]
    assert voted["error"].to_pylist() == ["abstained: the teachers disagree: a 1, b 2"]


def test_keys_depend_on_what_was_voted_on() -> None:
    first = one("majority", row("a", 1), row("b", 1))
    assert len(first["label_key"]) == 64
    other = one("majority", row("a", 1), row("b", 1, label_key="another"))
    assert len({first["label_key"], other["label_key"], one("unanimous", row("a", 1), row("b", 1))["label_key"]}) == 3


@pytest.mark.parametrize("method", VOTES)
def test_how_the_rows_are_kept_does_not_matter(method: str) -> None:
    """Neither their order, nor chunks, nor types that Arrow knows by an extension or a dictionary."""
    labels, _ = simulated(60, {"a": 0.9, "b": 0.8, "c": 0.7}, seed=4)
    shuffled = labels.take(pa.array(np.random.default_rng(1).permutation(len(labels))))
    kept = pa.concat_tables([shuffled.slice(0, 50), shuffled.slice(50)])
    as_uuid = "('00000000-0000-0000-0000-' || lpad({}::varchar, 12, '0'))::uuid"
    with duckdb.connect() as connection:
        connection.execute("set arrow_lossless_conversion = true")
        connection.register("kept", kept)
        typed = connection.sql(f"""
            select * replace (
                {as_uuid.format("left_id")} as left_id, {as_uuid.format("right_id")} as right_id,
                null::varchar as left_source, teacher::enum('c', 'b', 'a') as teacher, ask::enum('select') as ask,
                [{{'source': x.source, 'id': {as_uuid.format("x.id")}, 'record': x.record}} for x in options] as options
            ) from kept
        """).to_arrow_table()
    expected = vote(labels, method).sort_by("left_id")
    assert vote(kept, method).sort_by("left_id").equals(expected)
    same = ["teacher", "choice", "confidence", "probabilities", "error", "teachers", "agreement"]
    assert vote(typed, method).select(same).equals(expected.select(same))


ANSWERS = st.lists(
    st.integers(0, 4).flatmap(
        lambda size: st.tuples(st.just(size), st.lists(st.none() | st.integers(0, size), min_size=1, max_size=4))
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=30)
@given(ANSWERS, st.randoms(use_true_random=False))
def test_choices_are_those_of_a_plain_count(questions: list[tuple[int, list[int | None]]], rng: random.Random) -> None:
    rows = [
        row(teacher, said, rng.sample(range(1, size + 1), size), left)
        for left, (size, answers) in enumerate(questions)
        for teacher, said in zip("abcd", answers, strict=False)
    ]
    teachers = len({label["teacher"] for label in rows})
    rng.shuffle(rows)
    for method in ("majority", "unanimous"):
        voted = {label["left_id"]: label for label in vote(table(*rows), method).to_pylist()}
        for left, (_, answers) in enumerate(questions):
            counts = Counter(said for said in answers if said is not None)
            best = max(counts.values(), default=0)
            winners = [said for said, count in counts.items() if count == best]
            wins = len(winners) == 1 and (method == "majority" or best == counts.total() >= min(2, teachers))
            assert (voted[left]["choice"], voted[left]["right_id"]) == _said(winners[0] if wins else None, voted[left])
            assert voted[left]["agreement"] == (best / counts.total() if counts else None)


def _said(right_id: int | None, label: dict[str, Any]) -> tuple[int | None, int | None]:
    """`choice` and `right_id` of a label that chooses the option with this id; 0 = none of them."""
    ids = [option["id"] for option in label["options"]]
    return (ids.index(right_id) + 1, right_id) if right_id else (right_id, None)


@pytest.mark.parametrize("method", VOTES)
def test_a_candidate_that_is_shown_twice_stays_two(method: str) -> None:
    voted = one(method, row("a", 2, (2, 1, 1)), row("b", 2, (1, 2, 1), probabilities=[0.1, 0.6, 0.3]))
    assert (voted["choice"], voted["teachers"]) == (1, ["a", "b"])
    assert [option["id"] for option in voted["options"]] == [2, 1, 1]
    if method != "dawid_skene":
        assert voted["probabilities"] == pytest.approx([0.8, 0.05, 0.15])
    twice = one(method, row("a", 2, (2, 1, 1)), row("a", 1, (1, 2)))
    assert [option["id"] for option in twice["options"]] == [1, 2], "another question, and a newer one"


def test_the_models_are_described_with_their_columns() -> None:
    models = yaml.safe_load((Path(__file__).parents[2] / "models" / "er_models.yml").read_text())["models"]
    columns = {model["name"]: [column["name"] for column in model["columns"]] for model in models}
    assert columns["er_votes"] == [*columns["er_labels"], "teachers", "agreement"]
    assert columns["er_teacher_reliability"] == reliabilities(table()).column_names


def test_wrong_input_is_one_sentence() -> None:
    with pytest.raises(SettingsError, match="Allowed: majority, dawid_skene, unanimous"):
        vote(table(), "loudest")
    with pytest.raises(LabelError, match="lack the columns options"):
        vote(table().drop_columns(["options"]))
    with pytest.raises(LabelError, match="candidate 4 of 3"):
        vote(table(row("a", 1) | {"choice": 4}, row("b", 1)))


# --- Pairs asked by themselves --------------------------------------------------------------------------------------


def test_pairs_are_voted_on_by_themselves() -> None:
    voted = one("majority", pair("a", [0.9, 0.8, 0.1], 1), pair("b", [0.7, 0.9, 0.2], 2), pair("c", [0.2, 0.9, 0.4], 2))
    assert voted["probabilities"] == pytest.approx([0.6, 2.6 / 3, 0.7 / 3])
    assert (voted["choice"], voted["right_id"], voted["ask"]) == (2, 2, "match")
    assert voted["agreement"] == pytest.approx(8 / 9)


def test_a_tied_or_unanswered_pair_gets_no_probability() -> None:
    voted = one("majority", pair("a", [0.9, 0.8, None], 1), pair("b", [0.7, 0.1, None], 1))
    assert voted["probabilities"] == [pytest.approx(0.8), None, None]
    assert (voted["choice"], voted["error"]) == (1, None)


def test_even_odds_are_no_answer_and_nothing_is_more_than_certain() -> None:
    voted = one("majority", pair("a", [0.5, 1.7], 2, ids=(1, 2)), pair("b", [0.9, 0.8], 1, ids=(1, 2)))
    assert voted["probabilities"] == pytest.approx([0.7, 0.9])


@pytest.mark.parametrize(
    ("answers", "choice"),
    [
        ([[0.6, 0.99], [0.6, 0.99], [0.6, 0.4]], 1),
        ([[0.7, 0.9], [0.8, 0.9]], 2),
        ([[0.9, 0.9], [0.9, 0.9]], 1),
    ],
    ids=["most say yes", "most probable", "first shown"],
)
def test_of_several_pairs_that_are_one_the_best_is_chosen(answers: list[list[float]], choice: int) -> None:
    rows = [pair(name, p, 0, ids=(1, 2)) for name, p in zip("abc", answers, strict=False)]
    assert one("majority", *rows)["choice"] == choice


def test_none_needs_every_pair_to_be_none() -> None:
    undecided = one("majority", pair("a", [0.1, 0.8, 0.1], 2), pair("b", [0.2, 0.1, 0.3], 0))
    assert (undecided["choice"], undecided["error"]) == (None, "abstained: the teachers do not decide on 2")
    decided = one("majority", pair("a", [0.1, 0.2, 0.1], 0), pair("b", [0.2, 0.1, 0.3], 0))
    assert (decided["choice"], decided["right_id"]) == (0, None)


@pytest.mark.parametrize("method", VOTES)
def test_an_abstention_of_all_is_not_none(method: str) -> None:
    nobody = [pair(name, [], None, ids=(), error="abstained: no idea") for name in "ab"]
    voted = one(method, *nobody)
    assert (voted["choice"], voted["error"], voted["agreement"]) == (None, "abstained: no idea", None)
    empty = [pair(name, [None] * 3, None, query="{}") for name in "ab"]
    assert one(method, *empty)["choice"] is None
    none = [pair(name, [], 0, ids=()) for name in "ab"]
    voted = one(method, *none)
    assert (voted["choice"], voted["error"], voted["agreement"]) == (0, None, 1.0)
    alone = one(method, none[0], nobody[1])
    assert alone["choice"] == (None if method == "unanimous" else 0)
    assert alone["error"] == ("abstained: a alone says none" if method == "unanimous" else None)


def test_unanimity_and_reliability_go_pair_by_pair_too() -> None:
    rows = [pair("a", [0.9, 0.8, 0.1], 1), pair("b", [0.7, 0.9, 0.2], 2), pair("c", [0.2, 0.9, 0.4], 2)]
    assert one("unanimous", *rows)["probabilities"] == [None, pytest.approx(2.6 / 3), pytest.approx(0.7 / 3)]
    rows = [r | {"left_id": i} for i in range(30) for r in rows]
    voted = vote(table(*rows), "dawid_skene").to_pylist()[0]
    # c says no where the other two say yes, always: it has missed these.
    assert voted["probabilities"][0] > 0.5 > voted["probabilities"][2]
    assert voted["choice"] == 2
    assert voted["confidence"] == voted["probabilities"][1]
    none = [pair(name, [0.1, 0.2], 0, ids=(1, 2), left=99) for name in "ab"]
    voted = vote(table(*rows, *none), "dawid_skene").to_pylist()[-1]
    assert (voted["choice"], voted["confidence"]) == (0, 1 - max(voted["probabilities"]))
    estimated = {r["teacher"]: r for r in reliabilities(table(*rows)).to_pylist()}
    assert estimated["c"]["ask"] == "match"
    assert estimated["c"]["match_given_match"] == 1 - estimated["c"]["none_given_match"]
    assert estimated["c"]["match_given_match"] < estimated["a"]["match_given_match"]


def test_an_answer_without_probabilities_says_yes_to_its_choice_or_no_to_all() -> None:
    plain = {"probabilities": None}
    voted = one("majority", pair("a", [], 2) | plain, pair("b", [0.1, 0.9, 0.1], 2), pair("c", [], 0) | plain)
    assert voted["probabilities"] == [pytest.approx(0.05), pytest.approx(1.9 / 3), pytest.approx(0.05)]


def test_a_question_asked_in_both_ways_is_voted_on_by_the_choices() -> None:
    voted = one("majority", row("a", 1), pair("b", [0.9, 0.8, 0.1], 1), row("c", 3))
    assert (voted["ask"], voted["choice"]) == ("select", 1)


# --- Dawid & Skene --------------------------------------------------------------------------------------------------


def simulated(count: int, skills: dict[str, float], seed: int = 0, none: float = 0.3) -> tuple[pa.Table, list[int]]:
    """Labels of teachers who are right with the given probability, and otherwise say anything else; and the truth."""
    rng = random.Random(seed)
    rows, truth = [], []
    for left in range(count):
        ids = [100 * left + i for i in range(1, rng.randint(3, 7))]
        answers = [0, *ids]
        right = 0 if rng.random() < none else rng.choice(ids)
        truth.append(right)
        for teacher, skill in skills.items():
            said = right if rng.random() < skill else rng.choice([x for x in answers if x != right])
            rows.append(row(teacher, said, rng.sample(ids, len(ids)), left))
    return table(*rows), truth


def accuracy(voted: pa.Table, truth: list[int]) -> float:
    labels = sorted(voted.to_pylist(), key=lambda label: label["left_id"])
    said = [None if label["choice"] is None else label["right_id"] or 0 for label in labels]
    return sum(a == b for a, b in zip(said, truth, strict=True)) / len(truth)


def test_known_reliabilities_are_recovered() -> None:
    skills = {"a": 0.95, "b": 0.8, "c": 0.6, "d": 0.4}
    labels, truth = simulated(1500, skills)
    found = {r["teacher"]: r for r in reliabilities(labels).to_pylist()}
    for teacher, skill in skills.items():
        assert found[teacher]["accuracy"] == pytest.approx(skill, abs=0.04)
        assert found[teacher]["none_given_none"] == pytest.approx(skill, abs=0.08)
        assert found[teacher]["match_given_match"] == pytest.approx(skill, abs=0.05)
        assert found[teacher]["answers"] == 1500
    assert accuracy(vote(labels, "dawid_skene"), truth) > accuracy(vote(labels, "majority"), truth) + 0.02


def test_one_good_teacher_outweighs_two_bad_ones() -> None:
    labels, truth = simulated(800, {"good": 0.98, "bad": 0.45, "worse": 0.4}, seed=2)
    assert accuracy(vote(labels, "dawid_skene"), truth) > 0.93 > accuracy(vote(labels, "majority"), truth)


@pytest.mark.parametrize("seed", range(8))
def test_the_likelihood_never_falls_and_posteriors_add_up(seed: int) -> None:
    skills = dict(zip("abcd", np.random.default_rng(seed).uniform(0.2, 1, 4), strict=True))
    labels, _ = simulated(40, skills, seed)
    ballots = read_questions(labels).selecting
    found = estimate(ballots)
    assert len(found.trace) > 2
    assert all(b >= a - 1e-9 for a, b in zip(found.trace, found.trace[1:], strict=False))
    assert ballots.sums(found.posterior) == pytest.approx(np.ones(40))


def test_the_posterior_is_that_of_the_model() -> None:
    """Bayes by hand with the estimated parameters, question by question."""
    labels, _ = simulated(30, {"a": 0.9, "b": 0.7, "c": 0.6}, seed=5)
    ballots = read_questions(labels).selecting
    found = estimate(ballots)
    for unit, (start, size) in enumerate(zip(ballots.starts, ballots.sizes, strict=True)):
        weights = []
        for truth in range(size + 1):
            weight = found.prior_none if truth == 0 else (1 - found.prior_none) / size
            for t, said in zip(ballots.teacher[ballots.unit == unit], ballots.voted[ballots.unit == unit], strict=True):
                a, n, q = found.none_given_none[t], found.none_given_match[t], found.right_among[t]
                if truth == 0:
                    weight *= a if said == 0 else (1 - a) / size
                else:
                    weight *= n if said == 0 else (1 - n) * (q if said == truth else (1 - q) / (size - 1))
            weights.append(weight)
        expected = np.asarray(weights) / sum(weights)
        # The parameters are one step ahead of the posterior they were fitted to: equal at the end.
        assert found.posterior[start : start + size + 1] == pytest.approx(expected, abs=1e-4)


def test_confidence_is_the_posterior_of_the_choice() -> None:
    labels, _ = simulated(50, {"a": 0.9, "b": 0.8, "c": 0.7})
    for label in vote(labels, "dawid_skene").to_pylist():
        assert 0 <= sum(label["probabilities"]) <= 1 + 1e-9
        if label["choice"]:
            assert label["confidence"] == pytest.approx(label["probabilities"][label["choice"] - 1])
        elif label["choice"] == 0:
            assert label["confidence"] == pytest.approx(1 - sum(label["probabilities"]))


@pytest.mark.parametrize("count", [1, 3, 200])
def test_two_teachers_and_few_labels_stay_sane(count: int) -> None:
    labels, _ = simulated(count, {"a": 0.85, "b": 0.85}, seed=3)
    for label in vote(labels, "dawid_skene").to_pylist():
        if label["agreement"] == 1:
            assert label["choice"] is not None
            assert label["confidence"] > 0.5
    tied = one("dawid_skene", row("a", 1), row("b", 2))
    assert (tied["choice"], tied["error"]) == (None, "abstained: the teachers disagree: a 1, b 2")


def test_what_nobody_said_is_not_chosen_and_nothing_is_chosen_against_the_posterior() -> None:
    """bad names a candidate wherever the two others say none: where it alone does, none is more probable."""
    rows = [row(name, 0, left=i) for i in range(40) for name in "ab"]
    rows += [row("bad", 1 + i % 3, left=i) for i in range(40)]
    rows += [row(name, 1 + i % 3, left=40 + i) for i in range(4) for name in "ab"]
    voted = vote(table(*rows, row("bad", 1, left=99)), "dawid_skene").to_pylist()[-1]
    assert (voted["left_id"], voted["choice"], voted["confidence"]) == (99, None, None)
    assert voted["error"] == "abstained: bad alone says 1"
    assert 1 - sum(voted["probabilities"]) > max(voted["probabilities"])


@pytest.mark.parametrize("seed", range(5))
def test_choice_confidence_and_probabilities_agree(seed: int) -> None:
    skills = dict(zip("abc", np.random.default_rng(seed).uniform(0.1, 1, 3), strict=True))
    labels, _ = simulated(120, skills, seed)
    some = labels.filter(pa.array(np.random.default_rng(seed).random(len(labels)) < 0.5))
    for label in vote(some, "dawid_skene").to_pylist():
        shares = [1 - sum(label["probabilities"]), *label["probabilities"]]
        if label["choice"] is not None:
            assert shares[label["choice"]] == pytest.approx(max(shares))
            assert label["confidence"] == pytest.approx(max(shares))
        else:
            assert label["confidence"] is None


def test_lone_answers_say_nothing_of_a_teachers_reliability() -> None:
    """An encoder that answers most records by itself, beside another teacher that got a few done."""
    alone = [row("encoder", left % 4, left=left) for left in range(4, 204)]
    both = [row(name, left, left=left) for left in range(4) for name in ("encoder", "llm")]
    found = {r["teacher"]: r for r in reliabilities(table(*alone, *both)).to_pylist()}
    assert (found["encoder"]["answers"], found["encoder"]["compared"]) == (204, 4)
    few = {r["teacher"]: r for r in reliabilities(table(*both)).to_pylist()}
    assert found["encoder"]["accuracy"] == pytest.approx(few["encoder"]["accuracy"])
    voted = vote(table(*alone, *both), "dawid_skene", 2).sort_by("left_id").to_pylist()
    assert [label["choice"] for label in voted] == [left % 4 for left in range(204)]
    assert min(label["confidence"] for label in voted) > 0.5


def test_a_teacher_who_is_compared_with_nobody_has_no_reliability() -> None:
    (found,) = reliabilities(table(row("a", 1), row("a", 0, left=1))).to_pylist()
    assert (found["answers"], found["compared"]) == (2, 0)
    without = reliabilities(table(row("a", 0, ()), row("b", 0, ())))
    assert without["compared"].to_pylist() == [0, 0], "without candidates everybody says none"
    assert {found[name] for name in list(found)[4:]} == {None}


def test_teachers_who_know_nothing_and_questions_without_candidates() -> None:
    labels, _ = simulated(100, {"a": 0.2, "b": 0.2, "c": 0.2})
    assert len(vote(labels, "dawid_skene")) == 100
    voted = one("dawid_skene", row("a", 0, ()), row("b", 0, ()))
    assert (voted["choice"], voted["confidence"]) == (0, 1.0)
    assert math.isclose(estimate(Ballots(0, *[np.zeros(0, np.int64)] * 4)).prior_none, 0.5)


# --- What the student reads of it -----------------------------------------------------------------------------------


def test_a_pair_without_a_probability_does_not_teach() -> None:
    pairs = labelled_pairs(table(pair("a", [0.9, None, 0.2], 1), pair("a", [0.1, 0.2, 0.1], 0, left=1)))
    assert pairs.labels.tolist() == [0.9, 0.2, 0.1, 0.2, 0.1]
    assert pairs.weights.tolist() == [1.0] * 5
    assert pairs.tuples.tolist() == [0, 0, 1, 1, 1]
    assert pairs.right.texts() == [f'{{"name":"{i}"}}' for i in (1, 3, 1, 2, 3)]


def test_two_teachers_are_averaged_over_those_who_know() -> None:
    pairs = labelled_pairs(table(pair("a", [0.9, None, 0.2], 1), pair("b", [0.7, 0.4, None], 1)))
    assert pairs.labels.tolist() == pytest.approx([0.8, 0.4, 0.2])
    assert pairs.weights.tolist() == [1.0, 0.5, 0.5]


def test_a_choice_counts_where_no_probability_is_known() -> None:
    assert labelled_pairs(table(pair("a", [None, None, None], 2))).labels.tolist() == [0, 1, 0]
