"""Thresholds: the lowest that keeps a precision, the best for F1, and what a manifest says of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from distiller_udf.comparison.figures import expected_calibration_error
from distiller_udf.errors import SettingsError
from distiller_udf.students import load_student
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.odds import logit
from distiller_udf.training.data import LabelledPairs, labelled_pairs
from distiller_udf.training.decisions import Decisions, decided
from distiller_udf.training.evaluate import (
    best_of,
    precision_recall_f1,
    precision_threshold,
)
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
    precision, recall, _ = precision_recall_f1(probabilities >= 0.7, labels, weights)
    assert (precision, recall) == (pytest.approx(2 / 2.25), 1.0)
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


def decide(**settings: Any) -> Decisions:
    return decided(*material(), PairSettings.of(settings))


def test_metrics_are_those_of_the_decisions() -> None:
    log_odds, pairs, pool = material()
    decisions = decided(log_odds, pairs, pool, PairSettings())
    probabilities = 1 / (1 + np.exp(-log_odds))
    expected = precision_recall_f1(probabilities >= decisions.threshold, pairs.labels)
    said = [decisions.metrics[f"pair_{name}"] for name in ("precision", "recall", "f1")]
    assert said == pytest.approx(expected, abs=1e-4)
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
    for target, decisions in found.items():
        assert decisions.metrics["pair_precision"] >= target - 1e-4
        assert decisions.metrics["choice_precision"] >= target - 1e-4


def test_of_several_matches_every_candidate_is_decided() -> None:
    decisions = decide(multi=True)
    assert decisions.choice == {}
    assert decisions.threshold == decisions.choice_threshold
    for name in ("precision", "recall", "f1", "calibration_error"):
        assert decisions.metrics[f"pair_{name}"] == decisions.metrics[f"choice_{name}"]


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
