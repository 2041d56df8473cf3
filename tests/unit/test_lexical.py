"""The lexical student: probabilities, choices within a tuple, and damage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from distiller_udf.errors import StudentDamaged
from distiller_udf.records import Records
from distiller_udf.students import Student, load_student
from distiller_udf.students.choice import choose_alone
from distiller_udf.students.kinds import LexicalStudent
from distiller_udf.students.pairwise import MODEL_FILE
from tests.conftest import People


@pytest.fixture(scope="module")
def student(student_folder: Path) -> LexicalStudent:
    loaded = load_student(student_folder)
    assert isinstance(loaded, LexicalStudent)
    return loaded


def sides(people: People, shift: int = 0) -> tuple[Records, Records]:
    return Records.from_dicts(people.left), Records.from_dicts(people.right[shift:] + people.right[:shift])


def test_matches_score_high_and_others_low(student: LexicalStudent, people: People) -> None:
    assert np.median(student.score(*sides(people))) > 0.9
    assert np.median(student.score(*sides(people, 1))) < 0.1


def test_scores_do_not_depend_on_the_order_of_the_two_records(student: LexicalStudent, people: People) -> None:
    left, right = sides(people)
    np.testing.assert_array_equal(student.score(left, right), student.score(right, left))


def test_scores_do_not_depend_on_the_batch(student: LexicalStudent, people: People) -> None:
    left, right = sides(people, 1)
    whole = student.score(left, right)
    parts = [student.score(left.take(rows), right.take(rows)) for rows in np.array_split(np.arange(len(left)), 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_an_empty_record_has_no_probability(student: LexicalStudent, people: People) -> None:
    left = Records.from_dicts([people.left[0], {"name": None, "town": None, "born": None}])
    right = Records.from_dicts(people.right[:2])
    scores = student.score(left, right)
    assert np.isfinite(scores[0])
    assert np.isnan(scores[1])
    assert np.isnan(choose_alone(student.info, scores, np.zeros(2), right.distinct[1])[1])


def test_a_choice_sees_its_own_tuple_only(student: LexicalStudent, people: People) -> None:
    left, right = sides(people)
    scores = np.linspace(0.01, 0.99, len(left))
    tuples = np.arange(len(left)) // 4
    whole = choose_alone(student.info, scores, tuples, right.distinct[1])
    shuffled = np.random.default_rng(1).permutation(len(left))
    again = choose_alone(student.info, scores[shuffled], tuples[shuffled] + 1000, right.take(shuffled).distinct[1])
    np.testing.assert_allclose(again, whole[shuffled], rtol=0, atol=1e-12)


def test_a_strong_rival_lowers_the_choice_probability(student: LexicalStudent, people: People) -> None:
    right = sides(people)[1].take(np.arange(2))
    alone = choose_alone(student.info, np.asarray([0.6, 0.99]), np.asarray([0, 1]), right.distinct[1])
    rivals = choose_alone(student.info, np.asarray([0.6, 0.99]), np.asarray([0, 0]), right.distinct[1])
    assert rivals[0] < alone[0]


def test_no_pairs_are_no_trouble(student: LexicalStudent) -> None:
    none = Records.from_dicts([])
    assert student.score(none, none).shape == (0,)
    assert choose_alone(student.info, np.zeros(0), np.zeros(0, dtype=int), none.distinct[1]).shape == (0,)
    assert student.explain(none, none, []) == []


def test_the_folder_holds_no_pickle(student_folder: Path) -> None:
    suffixes = {p.suffix for p in student_folder.rglob("*") if p.is_file()}
    assert suffixes == {".json", ".txt", ".parquet", ".md"}


def test_the_student_keeps_the_protocol(student: LexicalStudent) -> None:
    typed: Student = student
    assert typed.info.kind == "lexical"


@pytest.mark.parametrize("content", ["not json", "{}", '{"pair": {"boosters": 99, "slope": 1, "intercept": 0}}'])
def test_unreadable_weights_are_damage(student_folder: Path, tmp_path: Path, content: str) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(student_folder, folder)
    info = load_student(folder).info
    (folder / MODEL_FILE).write_text(content)
    with pytest.raises(StudentDamaged, match=r"altered|cannot be read"):
        load_student(folder)
    with pytest.raises(StudentDamaged, match="train it again"):
        LexicalStudent.load(folder, info)


def test_the_model_file_says_how_many_boosters_there_are(student_folder: Path) -> None:
    state = json.loads((student_folder / MODEL_FILE).read_text())
    assert state["pair"]["boosters"] == len(list(student_folder.glob("pair_*.txt"))) > 0
