"""A tuple becomes questions, in several orders or pair by pair, and their answers become one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distiller_udf.errors import SettingsError
from distiller_udf.prompts import Answer, Asking
from distiller_udf.teachers import make_teacher

QUERY = '{"name":"q"}'
CANDIDATES = tuple(f'{{"name":"{letter}"}}' for letter in "abcd")


def combined(asking: Asking, answers: list[Answer], candidates: tuple[str, ...] = CANDIDATES) -> Answer:
    posed = asking.pose(QUERY, candidates)
    assert len(posed) == len(answers)
    return asking.combine(len(candidates), posed, answers)


def choosing(asking: Asking, wanted: str, candidates: tuple[str, ...] = CANDIDATES) -> list[Answer]:
    """The answers of a teacher who always means the same record, wherever it stands."""
    return [Answer(p.question.candidates.index(wanted) + 1, 0.8) for p in asking.pose(QUERY, candidates)]


def test_one_order_asks_the_tuple_as_it_is_and_takes_the_answer_as_it_comes() -> None:
    (posed,) = Asking().pose(QUERY, CANDIDATES)
    assert (posed.question.query, posed.question.candidates, posed.positions) == (QUERY, CANDIDATES, (0, 1, 2, 3))
    answer = Answer(2, 0.7, (0.1, 0.7, 0.1, 0.0), "why", 0.5, 10, 5, 1.0)
    assert combined(Asking(), [answer]) is answer


def test_several_orders_are_drawn_by_the_seed_and_start_with_the_given_one() -> None:
    many = tuple(f'{{"name":"{i}"}}' for i in range(12))
    orders = [p.positions for p in Asking(orders=4, seed=1).pose(QUERY, many)]
    assert orders[0] == tuple(range(12))
    assert orders == [p.positions for p in Asking(orders=4, seed=1).pose(QUERY, many)]
    assert orders != [p.positions for p in Asking(orders=4, seed=2).pose(QUERY, many)]
    for posed in Asking(orders=4).pose(QUERY, many):
        assert posed.question.candidates == tuple(many[i] for i in posed.positions)


@given(st.integers(1, 8), st.integers(1, 10), st.integers(0, 99))
def test_every_candidate_stands_at_another_place_in_every_order(candidates: int, orders: int, seed: int) -> None:
    texts = tuple(f'{{"name":"{i}"}}' for i in range(candidates))
    posed = Asking(orders=orders, seed=seed).pose(QUERY, texts)
    assert len(posed) == min(orders, candidates)
    for places in zip(*(p.positions for p in posed), strict=True):
        assert len(set(places)) == len(posed)


def test_orders_that_agree_on_a_record_choose_it_with_the_mean_of_their_probabilities() -> None:
    asking = Asking(orders=3)
    answer = combined(asking, choosing(asking, CANDIDATES[2]))
    assert (answer.choice, answer.confidence, answer.probabilities) == (3, 1.0, (0.0, 0.0, 1.0, 0.0))
    posed = asking.pose(QUERY, CANDIDATES)
    soft = [
        Answer(p.positions.index(1) + 1, 0.6, tuple(0.6 if i == 1 else 0.1 for i in p.positions), f"reason {n}")
        for n, p in enumerate(posed)
    ]
    answer = combined(asking, soft)
    assert answer.choice == 2
    assert answer.probabilities == pytest.approx((0.1, 0.6, 0.1, 0.1))
    assert answer.explanation == "reason 0"


@pytest.mark.parametrize("orders", [2, 3, 4])
def test_a_teacher_that_likes_a_position_abstains_in_several_orders(orders: int) -> None:
    answer = combined(Asking(orders=orders), [Answer(1, 0.99)] * orders)
    assert (answer.choice, answer.failed) == (None, False)
    assert "orders of the candidates disagree" in str(answer.error)


def test_nor_does_it_get_through_by_being_a_little_surer_once() -> None:
    asking = Asking(orders=2)
    soft = [Answer(1, p, (p, *[(1 - p) / 3] * 3)) for p in (0.97, 0.95)]
    assert combined(asking, soft).choice is None


def test_none_is_not_favoured_by_a_tie() -> None:
    asking = Asking(orders=2)
    answers = choosing(asking, CANDIDATES[0])
    assert combined(asking, [answers[0], Answer(0)]).choice is None


def test_an_order_that_abstains_does_not_count_and_one_that_failed_keeps_the_tuple_open() -> None:
    asking = Asking(orders=2)
    answers = choosing(asking, CANDIDATES[1])
    unusable = Answer(None, error="abstained: the reply is empty", cost_usd=0.1)
    assert combined(asking, [answers[0], unusable]).choice == 2
    assert combined(asking, [unusable, unusable]).error == "abstained: the reply is empty"
    failed = Answer(None, error="no answer: the server said 500", failed=True)
    answer = combined(asking, [answers[0], failed])
    assert (answer.choice, answer.failed, answer.error) == (None, True, "no answer: the server said 500")


def test_costs_add_up_and_are_unknown_where_one_is() -> None:
    asking = Asking(orders=2)
    posed = asking.pose(QUERY, CANDIDATES)
    answers = [Answer(p.positions.index(0) + 1, None, None, None, 0.1, 10, 5, 1.5) for p in posed]
    answer = combined(asking, answers)
    assert (answer.cost_usd, answer.input_tokens, answer.output_tokens, answer.seconds) == (0.2, 20, 10, 3.0)
    answer = combined(asking, [answers[0], Answer(0)])
    assert (answer.cost_usd, answer.input_tokens) == (None, None)


def test_match_asks_every_pair_by_itself_and_lets_several_match() -> None:
    asking = Asking(ask="match")
    posed = asking.pose(QUERY, CANDIDATES)
    assert [(p.question.ask, p.question.candidates, p.positions) for p in posed] == [
        ("match", (text,), (i,)) for i, text in enumerate(CANDIDATES)
    ]
    answer = combined(asking, [Answer(1, 0.7), Answer(0, 0.9), Answer(1, probabilities=(0.95,)), Answer(0)])
    assert answer.choice == 3
    assert answer.probabilities == pytest.approx((0.7, 0.1, 0.95, 0.0))
    assert combined(asking, [Answer(0, 0.9)] * 4).choice == 0
    assert combined(asking, [Answer(0, 0.9)] * 4).confidence == pytest.approx(0.9)


def test_a_verdict_on_a_pair_stays_one_whatever_its_confidence() -> None:
    asking = Asking(ask="match")
    answer = combined(asking, [Answer(1, 0.4), Answer(0, 0.0)], CANDIDATES[:2])
    assert answer.choice == 1
    assert answer.probabilities == pytest.approx((0.51, 0.49))


def test_a_pair_nobody_can_tell_is_unknown_and_leaves_the_others() -> None:
    asking = Asking(ask="match")
    unsure = Answer(None, error="abstained: the reply is ambiguous")
    answer = combined(asking, [Answer(1, 0.8), unsure, Answer(0), Answer(0)])
    assert (answer.choice, answer.probabilities) == (1, (0.8, None, 0.0, 0.0))
    answer = combined(asking, [Answer(0), unsure, Answer(0), Answer(0)])
    assert (answer.choice, answer.error) == (None, "abstained: the reply is ambiguous")
    assert answer.probabilities == (0.0, None, 0.0, 0.0)


def test_two_orders_of_a_pair_ask_it_both_ways_round() -> None:
    asking = Asking(ask="match", orders=2)
    posed = asking.pose(QUERY, CANDIDATES[:1])
    assert [(p.question.query, p.question.candidates) for p in posed] == [
        (QUERY, CANDIDATES[:1]),
        (CANDIDATES[0], (QUERY,)),
    ]
    assert combined(asking, [Answer(1, 0.9), Answer(1, 0.7)], CANDIDATES[:1]).probabilities == pytest.approx((0.8,))
    torn = combined(asking, [Answer(1), Answer(0)], CANDIDATES[:1])
    assert (torn.choice, torn.probabilities) == (None, (None,))
    assert "both ways round" in str(torn.error)


def test_more_candidates_than_one_token_can_name_are_asked_about_as_json() -> None:
    many = tuple(f'{{"name":"{i}"}}' for i in range(40))
    assert {p.question.reply for p in Asking(reply="token").pose(QUERY, CANDIDATES)} == {"token"}
    assert {p.question.reply for p in Asking(reply="token").pose(QUERY, many)} == {"answer"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"teacher_ask": "justify"}, 'teacher_ask is "justify"'),
        ({"teacher_reply": "words"}, 'teacher_reply is "words"'),
        ({"teacher_orders": 0}, "teacher_orders is 0"),
        ({"teacher_orders": 101}, "teacher_orders is 101"),
        ({"teacher_orders": True}, "teacher_orders is true"),
        ({"teacher_justify": "yes"}, 'teacher_justify is "yes"'),
        ({"teacher_justify_each": 1}, "teacher_justify_each is 1"),
    ],
)
def test_an_impossible_setting_is_named(settings: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        make_teacher({"teacher": "openai", "teacher_model": "m", **settings})


@given(
    st.integers(1, 6).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.one_of(st.none(), st.integers(0, n)), min_size=4, max_size=4))
    )
)
def test_whatever_the_orders_say_the_answer_makes_sense(drawn: tuple[int, list[int | None]]) -> None:
    n, choices = drawn
    asking, candidates = Asking(orders=4), tuple(f'{{"name":"{i}"}}' for i in range(n))
    posed = asking.pose(QUERY, candidates)
    answers = [Answer(choice, error=None if choice is not None else "abstained: x") for choice in choices[: len(posed)]]
    answer = asking.combine(n, posed, answers)
    assert answer.choice is None or 0 <= answer.choice <= n
    assert (answer.error is None) == (answer.choice is not None)
    if answer.probabilities is not None:
        assert math.fsum(answer.probabilities) <= 1 + 1e-9
