"""Tuples of any size become questions of one token, and their answers log odds against none."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import pytest

from distiller_udf.prompts import Asking
from distiller_udf.students.llm.contests import log_odds
from tests.small_llm import FakeEngine, needs_llm, small_prompter

pytestmark = needs_llm

SELECT = Asking("select", "token")


def record(name: str) -> str:
    return f'{{"name":"{name}"}}'


def shown(text: str) -> list[int]:
    """The numbers of the candidates that a prompt shows, in order."""
    return [int(number) for number in re.findall(r'\[[A-U]\] \{"name":"n(\d+)', text)]


def says_logits(logits: Sequence[float]):
    """An engine that knows a logit of each candidate, 0 for none, and adds nothing else."""
    return lambda text, labels: [0.0, *(logits[i] for i in shown(text))]


def test_log_odds_are_those_against_none() -> None:
    prompter = small_prompter()
    engine = FakeEngine(prompter.tokenizer, says_logits([2.0, -1.0, 0.5]))
    tuples = [(record("q"), [record(f"n{i}") for i in range(3)]), (record("q"), [])]
    found = log_odds(tuples, engine, prompter, SELECT)
    np.testing.assert_allclose(found[0], [2.0, -1.0, 0.5])
    assert len(found[1]) == 0
    assert engine.rounds == [1]


def test_all_questions_of_a_round_go_together() -> None:
    prompter = small_prompter()
    engine = FakeEngine(prompter.tokenizer, says_logits(range(30)))
    tuples = [(record(f"q{n}"), [record(f"n{i}") for i in range(n)]) for n in (1, 5, 25)]
    assert [len(odds) for odds in log_odds(tuples, engine, prompter, SELECT)] == [1, 5, 25]
    assert engine.rounds == [1 + 1 + 2, 1]  # two heats, then their final


def test_heats_and_final_of_a_consistent_model_are_one_big_question() -> None:
    """Odds that do not depend on the rivals come out as they are."""
    prompter = small_prompter()
    logits = np.random.default_rng(3).normal(size=50) * 3
    engine = FakeEngine(prompter.tokenizer, says_logits(logits))
    (found,) = log_odds([(record("q"), [record(f"n{i}") for i in range(50)])], engine, prompter, SELECT)
    np.testing.assert_allclose(found, logits, atol=1e-9)


def test_what_the_final_says_of_a_heats_best_moves_its_heat() -> None:
    prompter = small_prompter()

    def says(text: str, labels: int) -> list[float]:
        final = {0, 20} <= set(shown(text))
        return [0.0, *(4.0 - i % 20 - (3.0 if final and i >= 20 else 0.0) for i in shown(text))]

    engine = FakeEngine(prompter.tokenizer, says)
    (found,) = log_odds([(record("q"), [record(f"n{i}") for i in range(40)])], engine, prompter, SELECT)
    assert found[0] == 4.0
    assert found[20] == 1.0
    assert found[39] == pytest.approx(4.0 - 19 - 3.0)


@pytest.mark.parametrize("tokens", [150, 250, 400, 1000])
def test_the_best_of_all_heats_meet_however_few_fit_into_a_question(tokens: int) -> None:
    """A model that always finds the best of what it is shown names one best of all, wherever the heats are cut."""
    prompter = small_prompter(tokens)

    def says(text: str, labels: int) -> list[float]:
        best = max(shown(text))
        return [0.0, *(10.0 if i == best else -10.0 for i in shown(text))]

    engine = FakeEngine(prompter.tokenizer, says)
    (found,) = log_odds([(record("q"), [record(f"n{i}") for i in range(30)])], engine, prompter, SELECT)
    assert np.flatnonzero(found > 0).tolist() == [29]
    assert len(engine.rounds) > 1


def test_orders_are_averaged_as_probabilities() -> None:
    """A model that likes the first place alone says the same of all candidates."""
    prompter = small_prompter()
    engine = FakeEngine(prompter.tokenizer, lambda text, labels: [0.0, 2.0] + [-2.0] * (labels - 2))
    asking = Asking("select", "token", orders=3)
    (found,) = log_odds([(record("q"), [record(f"n{i}") for i in range(3)])], engine, prompter, asking)
    assert len(engine.asked) == 3
    np.testing.assert_allclose(found, [found[0]] * 3)
    assert math.log((math.exp(2) + 2 * math.exp(-2)) / 3) == pytest.approx(found[0])


def test_where_several_may_match_every_pair_is_a_question() -> None:
    prompter = small_prompter()
    engine = FakeEngine(prompter.tokenizer, lambda text, labels: [math.log(0.2), math.log(0.8)])
    (found,) = log_odds([(record("q"), [record("a"), record("b")])], engine, prompter, Asking("match", "token"))
    np.testing.assert_allclose(found, [math.log(4)] * 2)
    assert len(engine.asked) == 2
