"""One run of a task: a student is trained on recorded labels and decides; only then are the decisions judged."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.scoring import judge, one_to_one
from benchmarks.tasks import Task, candidate_batch
from distiller_udf.errors import TrainingError
from distiller_udf.metrics.figures import expected_calibration_error
from distiller_udf.students import Student, load_student
from distiller_udf.students.choice import choose_linked
from distiller_udf.training.train import train


@dataclass(frozen=True)
class Training:
    """How a student is trained: its kind, the share of the labelled tuples that it learns, its settings."""

    student: str = "lexical"
    label_share: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Decided:
    """What a student says of the test pairs (row numbers `left` and `right`), before anyone has seen gold.

    `chosen` are the positions of the pairs that it matches. `failure` says why there is no student: then
    `probabilities` and `choices` are None and no pair is matched.
    """

    left: np.ndarray
    right: np.ndarray
    probabilities: np.ndarray | None
    choices: np.ndarray | None
    chosen: list[int]
    labelled_tuples: int
    train_seconds: float
    pairs_per_second: float | None
    failure: str | None = None


@dataclass(frozen=True)
class Result:
    """One run's figures; the calibration errors and the speed are None where there was no student."""

    select_accuracy: float
    pair_f1: float
    precision: float
    recall: float
    pair_calibration_error: float | None
    choice_calibration_error: float | None
    labelled_tuples: int
    train_seconds: float
    pairs_per_second: float | None
    failure: str | None = None


def run_task(
    task: Task, teacher: str, selection: str, folder: Path, seed: int = 0, training: Training | None = None
) -> Result:
    """Train, decide, and then judge one task."""
    return judged(task, decide(task, teacher, selection, folder, seed, training))


def decide(
    task: Task, teacher: str, selection: str, folder: Path, seed: int = 0, training: Training | None = None
) -> Decided:
    """Train a student into `folder` and let it decide the test pairs one to one; gold is not read.

    The test pairs are those of all left records that the teacher was not asked about, whatever share of the labels
    the student learns. Labels that cannot carry a student leave every record without a match.
    """
    training = training or Training()
    left, right = task.unlabelled(teacher, selection)
    started = time.perf_counter()
    labels = drawn(task.labels(teacher, selection), training.label_share, seed)
    tuples = len(set(labels["left_id"].to_pylist()))
    try:
        train(training.student, labels, folder, [candidate_batch(task)], {"seed": seed, **training.settings})
    except TrainingError as error:
        seconds = time.perf_counter() - started
        return Decided(left, right, None, None, [], tuples, seconds, None, str(error))
    trained = time.perf_counter() - started
    return decided_by(load_student(folder), task, teacher, selection, tuples, trained)


def decided_by(
    student: Student, task: Task, teacher: str, selection: str, labelled_tuples: int, train_seconds: float
) -> Decided:
    """What a student says of the test pairs. All candidates are decided together, as in the warehouse."""
    left, right = task.split(None)
    started = time.perf_counter()
    probabilities = student.score(task.left.take(left), task.right.take(right))
    choices = choose_linked(student.info, probabilities, left, right)
    speed = len(left) / (time.perf_counter() - started)
    chosen = np.zeros(len(left), dtype=bool)
    chosen[one_to_one(left.tolist(), right.tolist(), choices, student.info.choice_threshold)] = True
    tested = task.tested(teacher, selection)
    kept = np.flatnonzero(chosen[tested]).tolist()
    figures = probabilities[tested], choices[tested], kept, labelled_tuples, train_seconds, speed
    return Decided(left[tested], right[tested], *figures)


def judged(task: Task, decided: Decided) -> Result:
    """The figures of a run: decisions and probabilities against gold."""
    gold = task.gold()
    pairs = [(task.left_ids[i], task.right_ids[j]) for i, j in zip(decided.left, decided.right, strict=True)]
    candidates: dict[Hashable, list[Hashable]] = {}
    for left, right in pairs:
        candidates.setdefault(left, []).append(right)
    figures = judge(candidates, gold, {pairs[i][0]: pairs[i][1] for i in decided.chosen})
    truth = np.asarray([gold.get(left) == right for left, right in pairs], dtype=np.float64)
    return Result(
        select_accuracy=figures.select_accuracy,
        pair_f1=figures.pair_f1,
        precision=figures.precision,
        recall=figures.recall,
        pair_calibration_error=_calibration_error(decided.probabilities, truth),
        choice_calibration_error=_calibration_error(decided.choices, truth),
        labelled_tuples=decided.labelled_tuples,
        train_seconds=decided.train_seconds,
        pairs_per_second=decided.pairs_per_second,
        failure=decided.failure,
    )


def drawn(labels: pa.Table, share: float, seed: int) -> pa.Table:
    """The labels of a share of the labelled left records, whole tuples, drawn at random by seed.

    At least one; of one seed, a smaller share is part of a larger one.
    """
    names = labels["left_id"].to_pylist()
    tuples = sorted(set(names))
    count = max(1, round(share * len(tuples)))
    kept = {tuples[i] for i in np.random.default_rng(seed).permutation(len(tuples))[:count]}
    return labels.filter(pa.array([name in kept for name in names]))


def _calibration_error(probabilities: np.ndarray | None, truth: np.ndarray) -> float | None:
    if probabilities is None:
        return None
    known = ~np.isnan(probabilities)
    return float(expected_calibration_error(probabilities[known], truth[known]))
