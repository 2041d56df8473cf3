"""Preference pairs, worked by hand."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from distiller_udf.errors import TrainingError
from distiller_udf.prompts import Question
from distiller_udf.training.fit.llm.dpo import (
    Preference,
    against_every_other,
    contested,
    from_answers,
    from_contested,
    majority,
)
from distiller_udf.training.fit.llm.examples import Example

A, B, C = '{"n":"a"}', '{"n":"b"}', '{"n":"c"}'
RNG = random.Random(0)


def example(choice: int, teacher: str = "t", candidates: tuple[str, ...] = (A, B, C)) -> Example:
    yes = frozenset({choice - 1} if choice else ())
    return Example('{"n":"q"}', candidates, choice, teacher, yes=yes, heard=frozenset(range(len(candidates))))


def said(preference: Preference) -> tuple[str, str]:
    """Both answers as the records that they name."""
    names = ["none", *preference.question.candidates]
    return names[preference.chosen], names[preference.rejected]


def test_the_answer_is_preferred_to_every_other_candidate_and_to_none() -> None:
    found = from_answers([example(2)], [[range(3)]], False, RNG)
    assert sorted(map(said, found)) == sorted([(B, "none"), (B, A), (B, C)])


def test_none_is_preferred_to_every_candidate_the_last_one_included() -> None:
    found = from_answers([example(0)], [[range(3)]], False, RNG)
    assert sorted(map(said, found)) == sorted([("none", A), ("none", B), ("none", C)])


def test_positions_are_those_of_the_labels() -> None:
    question = from_answers([example(3)], [[range(3)]], False, RNG)[0].question
    found = against_every_other(question, 3, 4)
    assert [(p.chosen, p.rejected) for p in found] == [(3, 0), (3, 1), (3, 2)]


def test_in_a_heat_without_the_answer_none_is_preferred() -> None:
    found = from_answers([example(1)], [[range(2), range(2, 3)]], False, random.Random(1))
    by_size = {len(p.question.candidates): [] for p in found}
    for preference in found:
        by_size[len(preference.question.candidates)].append(said(preference))
    chosen = {size: {chosen for chosen, _ in pairs} for size, pairs in by_size.items()}
    assert sorted(map(str, chosen.values())) == sorted(map(str, [{A}, {"none"}]))


def test_where_several_may_match_yes_is_against_no() -> None:
    found = from_answers([example(2)], [[range(3)]], True, RNG)
    assert [(p.question.ask, p.chosen, p.rejected) for p in found] == [
        ("match", 0, 1),
        ("match", 1, 0),
        ("match", 0, 1),
    ]


def test_where_several_may_match_what_was_only_not_chosen_is_asked_about_rarely() -> None:
    unsure = replace(example(2), heard=frozenset({1}))
    found = from_answers([unsure], [[range(3)]], True, RNG)
    assert sorted((p.chosen, p.rejected) for p in found) == [(0, 1), (1, 0)]


def at_most(count: int) -> Callable[[Question], bool]:
    return lambda question: len(question.candidates) <= count


def test_a_majority_is_more_than_half() -> None:
    assert majority([example(1, "x"), example(1, "y"), example(2, "z")]) == example(1, "x")
    assert majority([example(1, "x"), example(2, "y")]) is None


def test_what_dissenting_teachers_said_is_rejected() -> None:
    answers = [example(1, "x"), example(1, "y"), example(2, "z"), example(0, "w"), example(1, "v")]
    assert [(right.choice, other) for right, other in contested(answers, None)] == [(1, 0), (1, 2)]
    found = from_contested(answers, None, at_most(19), RNG)
    assert sorted(map(said, found)) == sorted([(A, "none"), (A, B)])


def test_a_teacher_has_one_vote_however_often_it_answered() -> None:
    answers = [example(1, "x"), example(1, "y"), example(2, "z"), example(2, "z"), example(2, "z")]
    assert [(right.choice, other) for right, other in contested(answers, None)] == [(1, 2)]


def test_a_correction_counts_whatever_the_others_say() -> None:
    answers = [example(1, "x"), example(1, "y"), example(0, "me")]
    assert [(right.teacher, right.choice, other) for right, other in contested(answers, "me")] == [("me", 0, 1)]


def test_a_correction_of_candidates_in_another_order_is_one() -> None:
    answers = [example(1, "x", (A, B, C)), example(1, "me", (B, A, C))]
    ((right, other),) = contested(answers, "me")
    assert (right.candidates[right.choice - 1], right.candidates[other - 1]) == (B, A)


def test_both_answers_are_in_the_question_however_few_fit() -> None:
    many = tuple(f'{{"n":"{i}"}}' for i in range(40))
    answers = [example(40, "x", many), example(40, "y", many), example(7, "z", many)]
    (found,) = from_contested(answers, None, at_most(5), RNG)
    assert len(found.question.candidates) == 5
    assert said(found) == (many[39], many[6])


def test_without_a_contradiction_there_is_nothing_to_prefer() -> None:
    with pytest.raises(TrainingError, match="no tuple that teachers answered differently"):
        contested([example(1, "x"), example(1, "y")], None)
    with pytest.raises(TrainingError, match="no tuple that me answered otherwise"):
        contested([example(1, "x"), example(1, "me")], "me")
