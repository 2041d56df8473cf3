"""One token is read as a label, and its log-probabilities as the probability of every candidate."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distiller_udf.errors import SettingsError
from distiller_udf.prompts import MAX_TOKEN_CANDIDATES, Question, read_token, token_labels

THREE = Question("{}", ("{}",) * 3, "select", "token")
MATCH = Question("{}", ("{}",), "match", "token")


def logs(**probabilities: float) -> dict[str, float]:
    return {token.replace("_", " "): math.log(p) for token, p in probabilities.items()}


def test_labels_are_one_character_each_and_none_looks_like_another() -> None:
    labels = token_labels(Question("{}", ("{}",) * MAX_TOKEN_CANDIDATES, "select", "token"))
    assert labels[:4] == ("0", "A", "B", "C")
    assert len(labels) == len(set(labels)) == 20
    assert all(len(label) == 1 for label in labels)
    assert not {"I", "O"} & set(labels)
    assert token_labels(MATCH) == ("N", "Y")
    assert token_labels(Question("{}", (), "select", "token")) == ("0",)


def test_more_candidates_than_one_token_can_tell_apart_are_refused() -> None:
    with pytest.raises(SettingsError, match="19 candidates"):
        token_labels(Question("{}", ("{}",) * 20, "select", "token"))


def test_probabilities_are_the_candidates_and_the_rest_is_none() -> None:
    answer = read_token("B", logs(B=0.6, A=0.1, C=0.1, **{"0": 0.2}), THREE)
    assert answer.choice == 2
    assert answer.confidence == pytest.approx(0.6)
    assert answer.probabilities == pytest.approx((0.1, 0.6, 0.1))


def test_the_confidence_of_none_is_its_probability() -> None:
    answer = read_token("0", logs(A=0.1, **{"0": 0.9}), THREE)
    assert (answer.choice, answer.confidence) == (0, pytest.approx(0.9))
    assert answer.probabilities == pytest.approx((0.1, 0.0, 0.0))


def test_yes_and_no_have_one_probability() -> None:
    assert read_token("Y", logs(Y=0.8, N=0.2), MATCH).probabilities == pytest.approx((0.8,))
    no = read_token("N", logs(Y=0.3, N=0.7), MATCH)
    assert (no.choice, no.confidence, no.probabilities) == (0, pytest.approx(0.7), pytest.approx((0.3,)))


def test_all_writings_of_a_label_are_summed() -> None:
    answer = read_token(
        None, {" A": math.log(0.3), '"A"': math.log(0.2), "▁a": math.log(0.1), "B": math.log(0.4)}, THREE
    )
    assert answer.choice == 1
    assert answer.probabilities == pytest.approx((0.6, 0.4, 0.0))
    words = read_token(None, logs(Yes=0.3, Y=0.1, yes=0.1, No=0.4, N=0.05), MATCH)
    assert (words.choice, words.probabilities) == (1, pytest.approx((0.5 / 0.95,)))


def test_other_tokens_take_no_part_while_the_labels_have_most() -> None:
    answer = read_token("A", logs(A=0.5, B=0.1, The=0.4), THREE)
    assert answer.probabilities == pytest.approx((0.5 / 0.6, 0.1 / 0.6, 0.0))


def test_a_model_that_wanted_to_say_something_else_abstains() -> None:
    answer = read_token("A", logs(A=0.3, B=0.1, The=0.6), THREE)
    assert answer.abstained
    assert answer.error is not None
    assert "0.40" in answer.error


def test_a_tie_abstains() -> None:
    answer = read_token("A", {"A": math.log(0.4), "0": math.log(0.4), "B": math.log(0.2)}, THREE)
    assert answer.error == "abstained: 0 and A are equally likely"
    assert read_token("A", {"A": math.log(0.5), "B": math.log(0.25), "C": math.log(0.25)}, THREE).choice == 1


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("A", 1),
        (" C", 3),
        ("▁b", 2),
        ("[B]", 2),
        ("**A**", 1),
        ("B.", 2),
        ("A\n\nBoth have the same number.", None),
        ("Both have the same number.\n\nAnswer: A", None),
        ("The numbers are equal.\n\nAnswer: A", None),
        ("Answer: A", None),
        ('{"answer": "B"}', 2),
        ("<think>A or B</think>\nB", 2),
        ("0", 0),
        ("None", 0),
        ("D", None),
        ("1", None),
        ("Y", None),
        ("no", None),
        ("AB", None),
        ("A and B", None),
        ("A record like this", None),
        ("", None),
        (None, None),
    ],
)
def test_without_log_probabilities_the_label_is_read_from_the_text(text: str | None, choice: int | None) -> None:
    answer = read_token(text, None, THREE)
    assert (answer.choice, answer.confidence, answer.probabilities) == (choice, None, None)
    assert answer.abstained == (choice is None)


def test_a_sentence_that_begins_like_a_label_is_no_answer() -> None:
    assert read_token("A record like this", logs(A=0.9), THREE).abstained


@pytest.mark.parametrize("logprob", [math.nan, math.inf, 5.0, 10**400, "high", None, [0.0]])
def test_what_is_no_log_probability_counts_as_nothing(logprob: object) -> None:
    garbage = {"A": logprob, "B": math.log(0.7)}
    answer = read_token("B", garbage, THREE)  # type: ignore[arg-type]
    assert (answer.choice, answer.probabilities) == (2, (0.0, 1.0, 0.0))


def test_what_is_as_good_as_impossible_is_zero_and_a_rounded_one_is_one() -> None:
    answer = read_token("A", {"A": 1e-7, "B": -9999.0, "C": -math.inf}, THREE)
    assert answer.probabilities == (1.0, 0.0, 0.0)


_tokens = st.sampled_from(["A", "B", "C", "0", " a", "▁B", "Yes", "N", "y", "\n", ""]) | st.text(max_size=5)


@given(
    st.none() | _tokens | st.text(max_size=40),
    st.none() | st.dictionaries(_tokens, st.floats(-20, 0) | st.floats()),
    st.sampled_from([THREE, MATCH, Question("{}", (), "select", "token")]),
)
def test_whatever_a_server_sends_gives_a_distribution_or_a_reason(
    text: str | None, logprobs: dict[str, float] | None, question: Question
) -> None:
    answer = read_token(text, logprobs, question)
    n = len(question.candidates)
    assert (answer.choice is None) != (answer.error is None)
    assert answer.choice is None or 0 <= answer.choice <= n
    if answer.probabilities is not None:
        whole = [1 - sum(answer.probabilities), *answer.probabilities]
        assert len(answer.probabilities) == n
        assert all(-1e-9 <= p <= 1 for p in whole)
        assert answer.confidence == pytest.approx(whole[answer.choice or 0], abs=1e-9)
        assert answer.confidence == pytest.approx(max(whole), abs=1e-9)


@given(st.lists(st.floats(0.01, 1), min_size=4, max_size=4, unique=True), st.sampled_from(["{}", " {}", "▁{}", '"{}"']))
def test_a_distribution_comes_back_as_it_was(weights: list[float], written: str) -> None:
    total = sum(weights)
    shares = [weight / total for weight in weights]
    tokens = [written.replace("{}", label) for label in token_labels(THREE)]
    answer = read_token(None, {t: math.log(p) for t, p in zip(tokens, shares, strict=True)}, THREE)
    if answer.choice is not None:  # weights a rounding apart may tie
        assert shares[answer.choice] == pytest.approx(max(shares))
        assert answer.probabilities == pytest.approx(tuple(shares[1:]))
