"""Rewards of replies, worked by hand."""

from __future__ import annotations

import pytest

from distiller_udf.training.fit.llm.grpo import REWARDS, correct, reward, said, short, well_formed


@pytest.mark.parametrize(
    ("reply", "candidates", "choice"),
    [
        ("B", 3, 2),
        (" B\n", 3, 2),
        ("[B]", 3, 2),
        ("0", 3, 0),
        ("[10]", 12, 10),
        ("The answer is [10].", 12, 10),
        ("10", 12, 10),
        ('{"choice": 10}', 12, 10),
        ("[25]", 30, 25),
        ("none", 3, 0),
        ("Answer: A", 3, 1),
        ("The answer is **C**.", 3, 3),
        ("A\n\nBoth name the same town.", 3, 1),
        ("A record of the town", 3, None),
        ("D", 3, None),
        ("[4]", 3, None),
        ("[1] or [2]", 3, None),
        ("", 3, None),
        ("Because", 3, None),
    ],
)
def test_a_choice_is_read_as_models_write_it(reply: str, candidates: int, choice: int | None) -> None:
    assert said(reply, candidates) == choice


def test_only_the_right_choice_is_correct() -> None:
    assert correct("[10]", 10, 12) == 1.0
    assert correct("[1]", 10, 12) == 0.0
    assert correct("0", 0, 12) == 1.0
    assert correct("I do not know", 0, 12) == 0.0


def test_a_label_alone_is_well_formed() -> None:
    assert well_formed("B", 1, 3) == 1.0
    assert well_formed("The answer is [2]", 1, 3) == 0.5
    assert well_formed("B\n\nas they are alike", 1, 3) == 0.5
    assert well_formed("who knows", 1, 3) == 0.0
    assert well_formed("[10]", 10, 30) == 1.0


def test_long_replies_are_worth_less() -> None:
    assert short("A", 1, 3) == short("x" * 20, 1, 3) == 1.0
    assert short("x" * 60, 1, 3) == pytest.approx(0.5)
    assert short("x" * 100, 1, 3) == short("x" * 900, 1, 3) == short("", 1, 3) == 0.0


def test_being_right_outweighs_all_else() -> None:
    assert reward("A", 1, 3) == pytest.approx(sum(weight for _, weight in REWARDS.values()))
    long_winded = "A\n\nas I have found after a long look at every column of all of these records"
    assert reward(long_winded, 1, 3) > reward("B", 1, 3)
