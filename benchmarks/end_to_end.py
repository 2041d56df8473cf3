"""From blocking to matches: our candidates, recorded labels, the default student, one to one, judged by all gold."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from benchmarks.scoring import one_to_one
from benchmarks.tasks import Task, candidate_batch
from distiller_udf.metrics.figures import measures
from distiller_udf.students import load_student
from distiller_udf.students.choice import choose_linked
from distiller_udf.training.train import train

Pair = tuple[Hashable, Hashable]


def matched(task: Task, pairs: Sequence[Pair], teacher: str, selection: str, folder: Path, seed: int) -> set[Pair]:
    """The pairs that a student matches one to one among the proposed `pairs`; gold is not read.

    It learns from what the teacher was recorded to say of left records: its choice is the positive, our other
    candidates are negatives.
    """
    ours = with_candidates(task, pairs)
    left, right = ours.split(None)
    labels = ours.labels(teacher, selection, own_candidates=True)
    train("lexical", labels, folder, [candidate_batch(ours)], {"seed": seed})
    student = load_student(folder)
    probabilities = student.score(task.left.take(left), task.right.take(right))
    choices = choose_linked(student.info, probabilities, left, right)
    kept = one_to_one(left.tolist(), right.tolist(), choices, student.info.choice_threshold)
    return {(task.left_ids[left[i]], task.right_ids[right[i]]) for i in kept}


def usual_labels(task: Task, teacher: str | None, selection: str | None) -> tuple[str, str]:
    """Whose labels to learn from, of those that are recorded: teacher and selection, as far as they are not given.

    The selection is the package's default one, `random`, where it is recorded, else the first by name; the teacher the
    one with the most parameters, by its name. Raises ValueError where nothing is recorded that was asked for.
    """
    known = [pair for pair in task.recorded() if teacher in (None, pair[0]) and selection in (None, pair[1])]
    if not known:
        raise ValueError(f"{task.name} has no labels of {teacher or 'any teacher'} for {selection or 'any selection'}")
    return min(known, key=lambda pair: (pair[1] != "random", pair[1], -_parameters(pair[0]), pair[0]))


def _parameters(teacher: str) -> float:
    """The billions of parameters in a name such as `qwen2.5:32b`, 0 where it tells none."""
    found = re.search(r"(\d+(?:\.\d+)?)b\b", teacher.lower())
    return float(found[1]) if found else 0.0


def with_candidates(task: Task, pairs: Sequence[Pair]) -> Task:
    """The task with other candidate pairs."""
    ordered = sorted(pairs, key=str)
    columns = {
        "left_id": [a for a, _ in ordered],
        "right_id": [b for _, b in ordered],
        "split": ["test"] * len(ordered),
    }
    return replace(task, candidates=pa.table(columns))


def f1(found: set[Pair], gold: set[Pair]) -> float:
    """F1 of pairs against all gold pairs."""
    return float(measures(len(found & gold), len(found), len(gold))["f1"])
