"""The frozen evaluation set: who is in it never changes, and a student is judged by what it has not learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from distiller_udf.constraint import Constraint
from distiller_udf.registry import Registry
from distiller_udf.students import load_student
from distiller_udf.training.learned import Learned, usable
from distiller_udf.training.schedule import evaluation_set
from distiller_udf.training.schedule.evaluation_set import (
    EvaluationSet,
    is_held_out,
    judge,
    split,
)
from distiller_udf.training.versions import Recipe, ensure_student


def test_new_labels_move_nobody_to_the_other_side(labels: pa.Table) -> None:
    _, some = split(labels.slice(0, 60), 0.3)
    training, all_of_them = split(labels, 0.3)
    assert set(some["left_id"].to_pylist()) == {i for i in all_of_them["left_id"].to_pylist() if i < 60}
    assert training.num_rows + all_of_them.num_rows == labels.num_rows


def test_about_the_share_is_held_out_and_a_larger_share_keeps_it() -> None:
    texts = [f'{{"name":"person {i}"}}' for i in range(5_000)]
    small, large = ({text for text in texts if is_held_out(text, share)} for share in (0.2, 0.5))
    assert len(small) == pytest.approx(1_000, abs=120)
    assert small < large
    assert not any(is_held_out(text, 0.0) for text in texts)


def test_two_teachers_answers_about_a_record_are_on_one_side(labels: pa.Table) -> None:
    two = pa.concat_tables([labels, labels.set_column(3, "teacher", pa.array(["other"] * labels.num_rows))])
    training, held_out = split(two, 0.3)
    assert not set(training["query"].to_pylist()) & set(held_out["query"].to_pylist())
    assert held_out.num_rows % 2 == 0


def test_membership_is_the_same_in_every_version_of_the_package() -> None:
    """Other records than before in the set would mean that a student is judged by what it was trained on."""
    texts = [f'{{"name":"{name}"}}' for name in ("ada", "grace", "mary", "katherine", "dorothy", "annie", "joan")]
    assert [is_held_out(text, 0.5) for text in texts] == MEMBERS


MEMBERS = [True, False, False, False, False, True, False]


def test_a_student_says_what_it_has_learned(labels: pa.Table, tmp_path: Path) -> None:
    training, held_out = split(labels, 0.3)
    folder = ensure_student(training, Registry(tmp_path), Recipe(settings={"seed": 1})).path
    known = Learned.read(folder)
    assert known == Learned.of(training)
    assert known.new(training).num_rows == known.of_others(training).num_rows == 0
    assert known.new(held_out).num_rows == known.of_others(held_out).num_rows == held_out.num_rows
    assert Learned.read(tmp_path) == Learned()


def test_another_teachers_answer_is_new_to_learn_from_and_not_to_be_judged_by(labels: pa.Table) -> None:
    """A student was trained on the record, so what anybody says of it is no news about how well it does."""
    teacher = labels.column_names.index("teacher")
    others = labels.set_column(teacher, "teacher", pa.array(["somebody else"] * labels.num_rows))
    known = Learned.of(labels)
    assert known.new(others).num_rows == labels.num_rows
    assert known.of_others(others).num_rows == 0


def test_abstentions_are_no_labels(labels: pa.Table) -> None:
    choices = [None, *labels["choice"].to_pylist()[1:]]
    given = labels.set_column(labels.column_names.index("choice"), "choice", pa.array(choices))
    assert usable(given).num_rows == labels.num_rows - 1
    assert usable(labels.slice(0, 0)).num_rows == 0


def test_what_a_student_has_learned_is_left_out_where_the_rest_is_enough(
    labels: pa.Table, student_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = ensure_student(labels.slice(0, 60), Registry(tmp_path), Recipe(settings={"seed": 1})).path
    judged = EvaluationSet.of(labels, None, half, Constraint.ONE_TO_ONE)
    assert (judged.held_out.tuples, judged.held_out.seen_by_current, judged.note) == (60, 0, None)
    monkeypatch.setattr(evaluation_set, "ENOUGH", 61)
    whole = EvaluationSet.of(labels, None, half, Constraint.ONE_TO_ONE)
    assert (whole.held_out.tuples, whole.held_out.seen_by_current) == (120, 60)
    assert "trained on 60 of the 120 held-out labels" in str(whole.note)
    assert whole.held_out.fingerprint == judged.held_out.fingerprint
    challenged = EvaluationSet.of(labels, half, None, Constraint.ONE_TO_ONE)
    assert challenged.held_out.tuples == 60, "what a challenger knows is never taken"
    assert "--evaluation-share" in str(challenged.note)


def test_nothing_held_out_is_nothing_to_judge_by(labels: pa.Table) -> None:
    nothing = EvaluationSet.of(labels.slice(0, 0), None, None, Constraint.ONE_TO_ONE)
    assert nothing.pairs is None
    assert nothing.held_out.tuples == 0


def test_a_student_chooses_one_candidate_or_none(labels: pa.Table, student_folder: Path) -> None:
    student = load_student(student_folder)
    pairs = EvaluationSet.of(labels, None, None, Constraint.ONE_TO_ONE).pairs
    assert pairs is not None
    judged = judge(student, pairs)
    assert np.bincount(judged.tuples, judged.matched).max() == 1
    assert (judged.matched == (judged.labels >= 0.5)).mean() > 0.95
    assert judge(student, pairs, threshold=1.0).matched.sum() == 0
    student.info = replace(student.info, constraint=Constraint.NONE)
    assert judge(student, pairs, threshold=0.0).matched.all()
