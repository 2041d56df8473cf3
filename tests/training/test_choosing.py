"""Calibrating choices to teachers' answers: the numbers they come from, soft labels, labels that leave no doubt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from distiller_udf.records import Records
from distiller_udf.students import load_student
from distiller_udf.students.choice import Choice, choose_alone, choose_linked
from distiller_udf.students.odds import sigmoid
from distiller_udf.training.choosing import fit_choice
from distiller_udf.training.train import train
from tests.conftest import People

CANDIDATES = 4


def answered(choice: Choice, tuples: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log odds of tuples with four candidates each, the tuples, and what a teacher of this choice would answer."""
    rng = np.random.default_rng(seed)
    numbers = np.repeat(np.arange(tuples), CANDIDATES)
    log_odds = rng.normal(-1.0, 2.5, len(numbers))
    chances = choice.probabilities(sigmoid(log_odds), numbers).reshape(tuples, CANDIDATES)
    drawn = (rng.random(tuples)[:, None] > np.cumsum(chances, axis=1)).sum(axis=1)
    return log_odds, numbers, (np.arange(CANDIDATES) == drawn[:, None]).astype(float).ravel()


@pytest.mark.parametrize("true", [Choice(1.0, 0.0), Choice(1.8, -1.0), Choice(0.6, 1.5)])
def test_the_choice_that_answers_were_drawn_from_is_found(true: Choice) -> None:
    log_odds, tuples, labels = answered(true, 1500)
    found = fit_choice(log_odds, tuples, None, labels, tuples)
    assert found.sharpness == pytest.approx(true.sharpness, rel=0.15)
    assert found.offset == pytest.approx(true.offset, abs=0.25)


def test_soft_labels_say_the_same_as_many_answers() -> None:
    true = Choice(1.5, -0.5)
    log_odds, tuples, _ = answered(true, 600)
    soft = true.probabilities(sigmoid(log_odds), tuples)
    found = fit_choice(log_odds, tuples, None, soft, tuples)
    assert found.sharpness == pytest.approx(true.sharpness, rel=0.1)
    assert found.offset == pytest.approx(true.offset, abs=0.15)


def test_labels_that_leave_no_doubt_do_not_throw_it() -> None:
    tuples = np.repeat(np.arange(30), CANDIDATES)
    labels = np.tile([1.0, 0.0, 0.0, 0.0], 30)
    for log_odds in (np.where(labels > 0, 15.0, -15.0), np.where(labels > 0, 2.0, -2.0)):
        for rights in (None, np.arange(len(labels))):
            found = fit_choice(log_odds, tuples, rights, labels, tuples)
            assert 0.2 < found.sharpness < 10
            assert abs(found.offset) < 8
            chosen = found.probabilities(sigmoid(log_odds), tuples, rights)
            assert chosen[labels > 0].min() > 0.95
            assert chosen[labels == 0].max() < 0.05


def test_answers_against_all_evidence_and_of_one_kind_stay_finite() -> None:
    tuples = np.repeat(np.arange(20), 2)
    log_odds = np.tile([20.0, -20.0], 20)
    for labels in (np.tile([0.0, 1.0], 20), np.zeros(40), np.ones(40), np.full(40, 0.5)):
        found = fit_choice(log_odds, tuples, None, labels, tuples)
        assert np.isfinite([found.sharpness, found.offset]).all()
        assert found.sharpness > 0


def test_a_teacher_that_finds_a_match_nearly_always_lifts_the_offset() -> None:
    log_odds = np.random.default_rng(0).normal(-2, 1, 200 * CANDIDATES)
    tuples = np.repeat(np.arange(200), CANDIDATES)
    best = (log_odds.reshape(200, CANDIDATES) == log_odds.reshape(200, CANDIDATES).max(axis=1)[:, None]).ravel()
    often = fit_choice(log_odds, tuples, None, best.astype(float), tuples)
    never = fit_choice(log_odds, tuples, None, np.zeros(len(tuples)), tuples)
    assert often.offset > 0 > never.offset
    assert often.probabilities(sigmoid(log_odds), tuples)[best].mean() > 0.8
    assert never.probabilities(sigmoid(log_odds), tuples).max() < 0.2


def test_unlabelled_pairs_compete_but_do_not_answer() -> None:
    """Candidates of labelled records that others claim too: without their rivals the fit would be another."""
    log_odds, tuples, labels = answered(Choice(1.0, 0.0), 200)
    rights = np.arange(len(log_odds))
    alone = fit_choice(log_odds, tuples, rights, labels, tuples)
    apart = np.concatenate([log_odds, np.full(500, 3.0)])
    ends = np.concatenate([tuples, 1000 + np.arange(500)]), np.concatenate([rights, 5000 + np.arange(500)])
    beside = fit_choice(apart, *ends, labels, tuples)
    assert beside.sharpness == pytest.approx(alone.sharpness, rel=0.02)
    assert beside.offset == pytest.approx(alone.offset, abs=0.05)
    claimed = np.concatenate([log_odds, np.full(len(log_odds), 1.0)])
    ends = np.concatenate([tuples, 1000 + np.arange(len(log_odds))]), np.concatenate([rights, rights])
    assert fit_choice(claimed, *ends, labels, tuples).offset > alone.offset + 0.3


def pairs_of(people: People) -> tuple[Records, Records, np.ndarray, np.ndarray]:
    rows = np.asarray([(i, j) for i in range(12) for j in range(12)])
    left, right = Records.from_dicts(people.left), Records.from_dicts(people.right)
    return left.take(rows[:, 0]), right.take(rows[:, 1]), rows[:, 0], rows[:, 1]


def test_a_student_says_how_it_chooses(labels: pa.Table, people: People, tmp_path: Path) -> None:
    info = train("lexical", labels, tmp_path / "student", settings={"rounds": 10, "folds": 3})
    assert set(info.choice) == {"alone", "linked"}
    for state in info.choice.values():
        assert set(state) == {"sharpness", "offset"}
        assert state["sharpness"] > 0
    student = load_student(tmp_path / "student")
    assert student.info.choice == info.choice
    left, right, lefts, rights = pairs_of(people)
    probabilities = student.score(left, right)
    alone = Choice.read(info.choice["alone"]).probabilities(probabilities, lefts)
    np.testing.assert_array_equal(choose_alone(student.info, probabilities, lefts, right.distinct[1]), alone)
    linked = choose_linked(student.info, probabilities, lefts, rights)
    assert np.bincount(lefts, linked).max() <= 1.01
    assert np.mean(linked.reshape(12, 12).argmax(axis=1) == np.arange(12)) > 0.9


def test_a_student_of_several_matches_lets_nothing_compete(labels: pa.Table, people: People, tmp_path: Path) -> None:
    info = train("lexical", labels, tmp_path / "student", settings={"rounds": 10, "folds": 3, "constraint": "none"})
    assert info.choice == {}
    student = load_student(tmp_path / "student")
    left, right, lefts, _ = pairs_of(people)
    probabilities = student.score(left, right)
    np.testing.assert_array_equal(choose_alone(student.info, probabilities, lefts, right.distinct[1]), probabilities)
