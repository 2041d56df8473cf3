"""The lexical student: probabilities, choices within a tuple, explanations that add up, and damage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from distiller_udf.errors import StudentDamaged
from distiller_udf.records import Records
from distiller_udf.similarity.columns import Comparison
from distiller_udf.students import Student, load_student
from distiller_udf.students.context import CONTEXT, context_features, logit
from distiller_udf.students.explain import column_groups, contributions, sentence
from distiller_udf.students.lexical import MODEL_FILE, LexicalStudent
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
    assert np.isnan(student.choose(left, right, np.zeros(2), scores)[1])


def test_a_choice_sees_its_own_tuple_only(student: LexicalStudent, people: People) -> None:
    left, right = sides(people)
    scores = np.linspace(0.01, 0.99, len(left))
    tuples = np.arange(len(left)) // 4
    whole = student.choose(left, right, tuples, scores)
    shuffled = np.random.default_rng(1).permutation(len(left))
    again = student.choose(left.take(shuffled), right.take(shuffled), tuples[shuffled] + 1000, scores[shuffled])
    np.testing.assert_allclose(again, whole[shuffled], rtol=0, atol=1e-12)


def test_a_strong_rival_lowers_the_choice_probability(student: LexicalStudent, people: People) -> None:
    left, right = (side.take(np.arange(2)) for side in sides(people))
    alone = student.choose(left, right, np.asarray([0, 1]), np.asarray([0.6, 0.99]))
    rivals = student.choose(left, right, np.asarray([0, 0]), np.asarray([0.6, 0.99]))
    assert rivals[0] < alone[0]


def test_context_features_are_what_they_say() -> None:
    probabilities, tuples = np.asarray([0.9, 0.2, 0.2, 0.7]), np.asarray([5, 5, 5, 9])
    found = dict(zip(CONTEXT, context_features(probabilities, tuples).T, strict=True))
    scores = logit(probabilities)
    np.testing.assert_allclose(found["logit"], scores)
    np.testing.assert_allclose(found["gap"][:3], [scores[0] - scores[1], scores[1] - scores[0], scores[1] - scores[0]])
    assert found["rank"].tolist() == [0, 1, 1, 0]
    assert found["candidates"].tolist() == [3, 3, 3, 1]
    np.testing.assert_allclose(found["rivals"][0], np.log(2 * 0.25))


def test_contributions_add_up_to_the_score(student: LexicalStudent, people: People) -> None:
    for left, right in (sides(people), sides(people, 1)):
        labels, parts = student.contributions(left, right)
        assert labels == [*student.info.left_columns, "baseline"]
        np.testing.assert_allclose(parts.sum(axis=1), logit(student.score(left, right)), atol=1e-6)


def test_contributions_depend_on_neither_the_order_nor_the_batch(student: LexicalStudent, people: People) -> None:
    left, right = sides(people, 1)
    _, whole = student.contributions(left, right)
    np.testing.assert_allclose(student.contributions(right, left)[1], whole, atol=1e-9)
    some = np.asarray([5, 3])
    np.testing.assert_allclose(student.contributions(left.take(some), right.take(some))[1], whole[some], atol=1e-9)


def test_a_column_without_values_contributes_nothing(student: LexicalStudent, people: People) -> None:
    rows = [{**person, "town": None} for person in people.left[:5]]
    labels, parts = student.contributions(Records.from_dicts(rows), Records.from_dicts(rows))
    np.testing.assert_allclose(parts[:, labels.index("town")], 0, atol=1e-9)


def test_an_empty_record_has_no_contributions(student: LexicalStudent, people: People) -> None:
    left = Records.from_dicts([people.left[0], {"name": None, "town": None, "born": None}])
    right = Records.from_dicts(people.right[:2])
    _, parts = student.contributions(left, right)
    assert np.isnan(parts).all(axis=1).tolist() == [False, True]
    assert student.explain(left, right)[1] == "A record is empty, so there is nothing to compare."


def test_plain_text_is_one_player(student: LexicalStudent, people: People) -> None:
    text = Records.from_texts(["anna bruno bonn 1950-01-02"])
    for right in (text, Records.from_dicts(people.right[:1])):
        labels, parts = student.contributions(text, right)
        assert labels == ["text", "baseline"]
        np.testing.assert_allclose(parts.sum(axis=1), logit(student.score(text, right)), atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8, 13])
def test_shapley_values_share_out_a_game(count: int) -> None:
    """Of a game with known Shapley values: own worth, half of every joint worth of two, all of the constant."""
    rng = np.random.default_rng(count)
    own, joint = rng.normal(size=count), np.triu(rng.normal(size=(count, count)), 1)

    def worth(left: Records, right: Records) -> np.ndarray:
        here = np.column_stack([np.zeros((len(left), 0)), *(c.codes >= 0 for c in left.columns.values())])
        np.testing.assert_array_equal(here[:, ::-1].T, [c.codes >= 0 for c in right.columns.values()] or here.T)
        return here @ own + np.einsum("ni,ij,nj->n", here, joint, here) - 2.0

    names = [f"c{i}" for i in range(count)]
    left = Records.from_dicts([dict.fromkeys(names, "x")] * 50).with_columns(names)
    groups = column_groups(names, names[::-1], [])
    parts = contributions(worth, left, left.with_columns(names[::-1]), groups)
    expected = [*(own + (joint + joint.T).sum(axis=1) / 2), -2.0]
    np.testing.assert_allclose(parts, np.tile(expected, (50, 1)), atol=1e-9)


def test_columns_are_grouped_by_what_they_are_compared_with() -> None:
    comparisons = [
        Comparison("record", ("title", "phone", "id", "fax"), ("name", "tel", "id")),
        Comparison("name", ("title",), ("name",)),
        Comparison("text", ("phone",), ("tel",)),
        Comparison("text", ("fax",), ("tel",)),
    ]
    groups = column_groups(comparisons[0].left_columns, comparisons[0].right_columns, comparisons)
    assert [g.label for g in groups] == ["title~name", "phone~tel", "id", "fax"]


def test_an_explanation_names_the_columns(student: LexicalStudent, people: People) -> None:
    match = student.explain(*sides(people))[0]
    other = student.explain(*sides(people, 1))[0]
    assert match.startswith("Likely the same (probability 0.99")
    assert other.startswith("Likely different (probability 0.00")
    assert all(f"{word} (+" in match for word in ("name", "born"))
    assert other.endswith(" against a match.")
    assert match.count("\n") == 0


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([4.1, -0.4, 5.0, -0.01, -0.9], "the same (probability 0.9996): c (+5.0), a (+4.1) speak for a match; "),
        ([4.1, -0.4, 5.0, -0.01, -0.9], "; b (-0.4) speaks against a match."),
        ([-9, 1, -0.5, 0, -2.5], "different (probability 0.00002): a (-9.0), c (-0.5) speak against a match; b (+1.0)"),
        ([0, 0, 0, 0, -3], "different (probability 0.0474): no column speaks for a match."),
        ([0, 1, 0, 0, -3], "different (probability 0.1192): b (+1.0) speaks for a match, but not enough."),
        ([0, 0, 0, 0, 3], "the same (probability 0.9526): no column speaks against a match."),
        ([20, 0, 0, 0, 0], "the same (probability above 0.999999): a (+20.0) speaks for a match."),
        ([-20, 0, 0, 0, 0], "different (probability below 0.000001): a (-20.0) speaks against a match."),
    ],
)
def test_sentences(parts: list[float], expected: str) -> None:
    assert expected in sentence("abcd", np.asarray(parts))


def test_a_sentence_names_the_strongest_columns_only() -> None:
    said = sentence("abcdefg", np.asarray([1, 2, 3, 4, 5, 6, 7, -9]))
    assert "g (+7.0), f (+6.0), e (+5.0), d (+4.0), c (+3.0) and 2 more speak for a match." in said


def test_no_pairs_are_no_trouble(student: LexicalStudent) -> None:
    none = Records.from_dicts([])
    assert student.score(none, none).shape == (0,)
    assert student.choose(none, none, np.zeros(0, dtype=int), np.zeros(0)).shape == (0,)
    assert student.explain(none, none) == []


def test_the_folder_holds_no_pickle(student_folder: Path) -> None:
    suffixes = {p.suffix for p in student_folder.rglob("*") if p.is_file()}
    assert suffixes == {".json", ".txt", ".parquet"}


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
    assert state["pair"]["boosters"] == len(list(student_folder.glob("pair_*.txt")))
