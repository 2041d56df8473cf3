"""Thresholds: the lowest that keeps a precision, the best for F1, and what a manifest says of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from distiller_udf.errors import SettingsError
from distiller_udf.metrics.figures import Judged, counts, expected_calibration_error, measures
from distiller_udf.students import load_student
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.odds import logit, sigmoid
from distiller_udf.training.data import LabelledPairs, labelled_pairs
from distiller_udf.training.decisions import Decision, Decisions, decided
from distiller_udf.training.evaluate import best_of, precision_threshold
from distiller_udf.training.pool import Pool
from distiller_udf.training.settings import PairSettings
from distiller_udf.training.train import train
from tests.conftest import label_table, make_people


@pytest.mark.parametrize(
    ("probabilities", "truth", "target", "expected"),
    [
        # Precision down the ranking: 1, 1, 2/3, 3/4, 3/5.
        ([0.9, 0.8, 0.7, 0.6, 0.5], [1, 1, 0, 1, 0], 0.9, 0.8),
        ([0.9, 0.8, 0.7, 0.6, 0.5], [1, 1, 0, 1, 0], 0.75, 0.6),
        ([0.9, 0.8, 0.7, 0.6, 0.5], [1, 1, 0, 1, 0], 0.5, 0.5),
        ([0.5, 0.7, 0.9, 0.6, 0.8], [0, 0, 1, 1, 1], 0.75, 0.6),
        # Equal probabilities are decided alike: 0.8 has two of three right, and only then 0.9 remains.
        ([0.9, 0.8, 0.8, 0.3], [1, 1, 0, 0], 0.9, 0.9),
        ([0.9, 0.8, 0.8, 0.3], [1, 1, 0, 0], 0.6, 0.8),
        ([0.9, 0.8, 0.8, 0.3], [1, 0, 1, 0], 0.6, 0.8),
        ([0.8, 0.8], [1, 0], 0.5, 0.8),
        # Soft labels count for what they are.
        ([0.9, 0.8], [0.95, 0.75], 0.85, 0.8),
        ([0.9, 0.8], [0.95, 0.75], 0.86, 0.9),
    ],
)
def test_the_lowest_threshold_that_keeps_a_precision(
    probabilities: list[float], truth: list[float], target: float, expected: float
) -> None:
    assert precision_threshold(np.asarray(probabilities), np.asarray(truth, dtype=float), target) == expected


def test_a_precision_that_no_threshold_keeps_leaves_what_is_surer_than_all_labels() -> None:
    probabilities = np.asarray([0.9, 0.8, 0.1])
    threshold = precision_threshold(probabilities, np.zeros(3), 0.9)
    assert 0.9 < threshold < 0.9 + 1e-9
    assert not (probabilities >= threshold).any()
    tied = precision_threshold(np.asarray([0.9, 0.9]), np.asarray([1.0, 0.0]), 0.8)
    assert tied > 0.9


def test_a_threshold_is_always_between_0_and_1() -> None:
    for probabilities, truth in (([1.0, 1.0], [0.0, 1.0]), ([0.0, 0.0], [1.0, 1.0]), ([1.0], [1.0]), ([], [])):
        found = precision_threshold(np.asarray(probabilities), np.asarray(truth), 0.9)
        assert 0 < found < 1


def test_what_a_threshold_decides_has_the_precision_that_was_asked_for() -> None:
    rng = np.random.default_rng(0)
    for target in (0.7, 0.9, 0.99):
        probabilities = np.round(rng.uniform(0.01, 0.99, 400), 2)
        truth = (rng.random(400) < probabilities**0.3).astype(float)
        threshold = precision_threshold(probabilities, truth, target)
        chosen = probabilities >= threshold
        assert not chosen.any() or truth[chosen].mean() >= target
        lower = [t for t in np.unique(probabilities) if t < threshold]
        assert all(truth[probabilities >= t].mean() < target for t in lower)


def test_labels_count_by_their_weight() -> None:
    """In deduplication a candidate beside the chosen one may match as well: a quarter of a non-match, not a whole."""
    probabilities, labels = np.array([0.9, 0.8, 0.7, 0.6]), np.array([1.0, 0.0, 1.0, 0.0])
    weights = np.array([1.0, 0.25, 1.0, 1.0])
    assert precision_threshold(probabilities, labels, 0.85, weights) == 0.7
    assert precision_threshold(probabilities, labels, 0.85) == 0.9
    found = measures(
        *counts(Judged(probabilities, probabilities >= 0.7, labels, weights, np.arange(4))).sum(axis=0)[:3]
    )
    assert (found["precision"], found["recall"]) == (pytest.approx(2 / 2.25), 1.0)
    error = expected_calibration_error(np.array([0.8, 0.8]), np.array([1.0, 0.0]), np.array([1.0, 0.25]))
    assert error == pytest.approx(0.0)


def test_the_best_of_each_group_is_one_row() -> None:
    assert best_of(np.asarray([0.1, 0.9, 0.9, 0.3]), np.asarray([4, 4, 4, 1])).tolist() == [False, True, False, True]
    assert best_of(np.zeros(0), np.zeros(0)).tolist() == []


def material(count: int = 200) -> tuple[np.ndarray, LabelledPairs, Pool]:
    """Log odds of labelled tuples that tell their answers apart, but not always."""
    pairs = labelled_pairs(label_table(make_people(count)))
    rng = np.random.default_rng(0)
    log_odds = np.where(pairs.labels > 0.5, 1.5, -1.5) + rng.normal(0, 1.2, len(pairs))
    return log_odds, pairs, Pool.of(pairs, pairs.left, pairs.right, None, 0)


def decide(**given: Any) -> Decisions:
    settings = PairSettings.of(given)
    log_odds, pairs, _ = material()
    pool = Pool.of(pairs, pairs.left, pairs.right, None, 0, settings.constraint)
    return decided(log_odds, pairs, pool, settings)


def test_metrics_are_those_of_the_decisions() -> None:
    log_odds, pairs, pool = material()
    decisions = decided(log_odds, pairs, pool, PairSettings())
    probabilities = 1 / (1 + np.exp(-log_odds))
    matched = probabilities >= decisions.threshold
    expected = measures((pairs.labels * matched).sum(), matched.sum(), pairs.labels.sum())
    for name, value in expected.items():
        assert decisions.metrics[f"pair_{name}"] == pytest.approx(value, abs=1e-4)
        ends = [decisions.metrics[f"pair_{name}_{end}"] for end in ("low", "high")]
        assert ends[0] < value < ends[1]
    error = expected_calibration_error(probabilities, pairs.labels)
    assert decisions.metrics["pair_calibration_error"] == pytest.approx(error, abs=1e-4)
    assert decisions.metrics["labelled_tuples"] == 200
    assert decisions.metrics["labelled_pairs"] == len(pairs)
    assert decisions.metrics["labelled_matches"] == pairs.labels.sum() == 150
    assert decisions.metrics["unlabelled_pairs"] == 0


def test_choices_are_better_than_pairs_by_themselves() -> None:
    metrics = decide().metrics
    assert metrics["choice_f1"] > metrics["pair_f1"] + 0.05
    assert metrics["choice_calibration_error"] < 0.1


def test_a_higher_target_is_a_higher_threshold() -> None:
    found = {target: decide(target_precision=target) for target in (0.6, 0.8, 0.95)}
    for low, high in ((0.6, 0.8), (0.8, 0.95)):
        assert found[low].threshold < found[high].threshold
        assert found[low].choice_threshold <= found[high].choice_threshold
    log_odds, pairs, _ = material()
    for target, decisions in found.items():
        matched = 1 / (1 + np.exp(-log_odds)) >= decisions.threshold
        assert pairs.labels[matched].mean() >= target - 1e-4


def test_a_precision_that_labels_chose_a_threshold_for_is_expected_of_others() -> None:
    """The labels that the threshold was chosen for keep the target; what is expected is what others would show."""
    rng = np.random.default_rng(0)
    pairs = labelled_pairs(label_table(make_people(60)))
    expected = []
    for _ in range(12):
        log_odds = rng.normal(0, 1, len(pairs)) + pairs.labels
        chance = Decision(sigmoid(log_odds), np.ones(len(pairs), dtype=bool), pairs, 0.05, 0.8)
        own = pairs.labels[chance.probabilities >= chance.threshold]
        assert own.sum() >= 0.8 * len(own)
        expected.append(chance.metrics("pair")["pair_precision"])
    assert np.mean(expected) < 0.75


def test_what_is_expected_is_of_all_pairs_not_of_the_easy_ones_that_were_labelled() -> None:
    pairs = labelled_pairs(label_table(make_people(60)))
    easy = np.where(pairs.labels > 0.5, 0.95, 0.05)
    hard = np.tile([0.6, 0.4], 200)
    every = np.ones(len(easy) + len(hard), dtype=bool)
    alone = Decision(easy, every[: len(easy)], pairs, 0.5, None).metrics("pair")
    beside = Decision(np.concatenate([easy, hard]), every, pairs, 0.5, None).metrics("pair")
    assert alone["pair_precision"] == 1.0
    assert beside["pair_precision"] < 0.8
    assert beside["pair_precision_low"] < alone["pair_precision_low"]
    assert beside["pair_precision_high"] == 1.0


@pytest.mark.parametrize(
    ("constraint", "named"), [("one_to_one", {"alone", "linked"}), ("many_to_one", {"alone"}), ("none", set())]
)
def test_how_pairs_become_choices_is_named(constraint: str, named: set[str]) -> None:
    decisions = decide(constraint=constraint)
    assert set(decisions.choice) == named
    if not named:
        assert decisions.choice_threshold >= decisions.threshold, "below it, single pairs would connect groups"


def test_the_log_odds_of_a_threshold_are_finite() -> None:
    decisions = decide(target_precision=0.999999)
    assert np.isfinite(logit(np.asarray([decisions.threshold, decisions.choice_threshold]))).all()


@pytest.mark.parametrize("target", [0, 1, -0.1, 1.5])
def test_a_target_that_is_no_precision_is_refused(target: float) -> None:
    with pytest.raises(SettingsError, match="between 0 and 1"):
        PairSettings.of({"target_precision": target})


def doubting(labels: pa.Table) -> pa.Table:
    """Every tenth answer denies a match, so that no threshold is without mistakes."""
    choices = [0 if i % 10 == 1 else choice for i, choice in enumerate(labels["choice"].to_pylist())]
    return labels.set_column(labels.column_names.index("choice"), "choice", pa.array(choices))


def test_a_student_is_trained_for_the_precision_that_is_wanted(labels: pa.Table, tmp_path: Path) -> None:
    def trained(target: float | None) -> StudentInfo:
        settings = {"rounds": 10, "folds": 3, "target_precision": target}
        train("lexical", doubting(labels), tmp_path / str(target), settings=settings)
        return load_student(tmp_path / str(target)).info

    strict, lax, usual = trained(0.99), trained(0.8), trained(None)
    assert strict.threshold > lax.threshold
    assert strict.choice_threshold > lax.choice_threshold
    assert strict.metrics["pair_recall"] < lax.metrics["pair_recall"]
    assert lax.metrics["pair_precision"] >= 0.8
    assert strict.metrics["pair_precision"] >= 0.99 or strict.metrics["pair_recall"] == 0
    assert usual.threshold <= 0.5
    assert strict.settings["target_precision"] == 0.99
