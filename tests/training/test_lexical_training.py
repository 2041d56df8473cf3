"""Training the lexical student: what it learns from labels, from little, from one-sided and from odd data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from distiller_udf.constraint import Constraint
from distiller_udf.errors import SettingsError, TrainingError
from distiller_udf.metrics.figures import expected_calibration_error, measures
from distiller_udf.records import Records
from distiller_udf.settings.training import PairSettings
from distiller_udf.students import load_student
from distiller_udf.students.choice import choose_alone
from distiller_udf.students.pair_model import Scale
from distiller_udf.training.decide import f1_threshold
from distiller_udf.training.fit.calibration import PENALISED, calibration
from distiller_udf.training.fit.pair_model import Rows, cross_fit
from distiller_udf.training.labelled import BESIDE_CHOSEN, labelled_pairs
from distiller_udf.training.train import train
from tests.conftest import People, label_table, make_people

FAST: dict[str, Any] = {"rounds": 20, "folds": 3}


def answer(choice: int | None, options: int = 2, left: str = "1", **more: Any) -> dict[str, Any]:
    records = [{"source": "r", "id": str(i), "record": f'{{"name":"option {i}"}}'} for i in range(options)]
    row = {"left_source": "l", "left_id": left, "choice": choice, "query": f'{{"name":"query {left}"}}'}
    return {**row, "options": records, **more}


def candidates(people: People) -> pa.RecordBatch:
    """Every left record with its own right record and two others."""
    rows = [(i, (i + k) % len(people.right)) for i in range(len(people.left)) for k in (0, 1, 5)]
    left, right = [people.left[i] for i, _ in rows], [people.right[j] for _, j in rows]
    return pa.RecordBatch.from_pydict({"left": left, "right": right, "tuple": [i for i, _ in rows]})


def test_labels_become_pairs() -> None:
    pairs = labelled_pairs(pa.Table.from_pylist([answer(2), answer(0, left="2"), answer(None, left="3")]))
    assert pairs.labels.tolist() == [0, 1, 0, 0]
    assert pairs.tuples.tolist() == [0, 0, 1, 1]
    assert pairs.left.to_dicts()[0] == {"name": "query 1"}
    assert pairs.right.to_dicts()[1] == {"name": "option 1"}
    assert pairs.questions == 2


def test_teachers_that_disagree_make_soft_labels() -> None:
    rows = [answer(1, teacher="a"), answer(2, teacher="b"), answer(1, teacher="c")]
    assert labelled_pairs(pa.Table.from_pylist(rows)).labels.tolist() == pytest.approx([2 / 3, 1 / 3])


def test_probabilities_are_soft_labels_and_a_pair_without_one_does_not_teach() -> None:
    soft = labelled_pairs(pa.Table.from_pylist([answer(1, probabilities=[0.7, 0.1])]))
    assert soft.labels.tolist() == [0.7, 0.1]
    gap = labelled_pairs(pa.Table.from_pylist([answer(1, probabilities=[0.7, None])]))
    assert gap.labels.tolist() == [0.7]
    assert gap.right.to_dicts() == [{"name": "option 0"}]
    hard = labelled_pairs(pa.Table.from_pylist([answer(1, probabilities=[None, None])]))
    assert hard.labels.tolist() == [1.0, 0.0]


def test_without_a_constraint_the_unchosen_beside_a_chosen_one_are_doubted() -> None:
    table = pa.Table.from_pylist([answer(1), answer(0, left="2")])
    assert labelled_pairs(table, Constraint.NONE).weights.tolist() == [1.0, BESIDE_CHOSEN, 1.0, 1.0]
    assert labelled_pairs(table).weights.tolist() == [1.0] * 4


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([answer(None)], "no usable labels"),
        ([answer(3)], "chooses candidate 3 of 2"),
        ([{"left_id": "1"}], "lacks left_source"),
    ],
)
def test_bad_labels_say_what_is_wrong(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        labelled_pairs(pa.Table.from_pylist(rows))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([answer(1, left="1"), answer(0, left="2")], "too few"),
        ([answer(0, left=str(i)) for i in range(9)], "found no match"),
        ([answer(1, options=1, left=str(i)) for i in range(9)], "every labelled pair is a match \\(9 of 9\\)"),
    ],
)
def test_labels_that_cannot_teach_raise(rows: list[dict[str, Any]], message: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=message):
        train("lexical", pa.Table.from_pylist(rows), tmp_path / "student")
    assert not (tmp_path / "student").exists()


def test_an_unknown_setting_lists_the_known_ones(labels: pa.Table, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"deepness.*Allowed: .*rounds"):
        train("lexical", labels, tmp_path / "student", settings={"deepness": 3})


def test_the_student_generalises_to_people_it_has_not_seen(labels: pa.Table, people: People, tmp_path: Path) -> None:
    info = train("lexical", labels, tmp_path / "student", [candidates(people)], FAST)
    student = load_student(tmp_path / "student")
    strangers = make_people(200, seed=11)
    left, right = Records.from_dicts(strangers.left), Records.from_dicts(strangers.right)
    others = Records.from_dicts(strangers.right[1:] + strangers.right[:1])
    scores = np.concatenate([student.score(left, right), student.score(left, others)])
    matched = scores >= info.threshold
    assert measures(matched[:200].sum(), matched.sum(), 200)["f1"] > 0.95
    assert info.metrics["choice_f1"] > 0.9
    assert info.metrics["labelled_tuples"] == labels.num_rows
    assert 0 < info.choice_threshold <= 0.5


def test_training_is_deterministic(labels: pa.Table, people: People, tmp_path: Path) -> None:
    first = train("lexical", labels, tmp_path / "a", [candidates(people)], FAST)
    second = train("lexical", labels, tmp_path / "b", [candidates(people)], FAST)
    assert first.files == second.files
    third = train("lexical", labels, tmp_path / "c", [candidates(people)], {**FAST, "seed": 5})
    assert third.files != first.files


def test_progress_ends_with_done(labels: pa.Table, tmp_path: Path) -> None:
    steps: list[tuple[str, float]] = []
    train("lexical", labels, tmp_path / "student", settings=FAST, progress=lambda *step: steps.append(step))
    assert steps[-1] == ("done", 1.0)
    assert [share for _, share in steps] == sorted(share for _, share in steps)


def test_a_handful_of_tuples_is_enough_to_start(people: People, tmp_path: Path) -> None:
    few = label_table(People(people.left[:8], people.right[:8]))
    train("lexical", few, tmp_path / "student", [candidates(people)], FAST)
    student = load_student(tmp_path / "student")
    left, right = Records.from_dicts(people.left), Records.from_dicts(people.right)
    others = Records.from_dicts(people.right[3:] + people.right[:3])
    assert np.mean(student.score(left, right)) > np.mean(student.score(left, others))


def test_without_a_constraint_choices_are_pair_probabilities(labels: pa.Table, people: People, tmp_path: Path) -> None:
    train("lexical", labels, tmp_path / "student", [candidates(people)], {**FAST, "constraint": "none"})
    student = load_student(tmp_path / "student")
    left, right = Records.from_dicts(people.left[:9]), Records.from_dicts(people.right[:9])
    scores = student.score(left, right)
    np.testing.assert_array_equal(choose_alone(student.info, scores, np.zeros(9, dtype=int), right.distinct[1]), scores)


def test_records_of_one_text_column_can_be_learnt(people: People, tmp_path: Path) -> None:
    plain = People([{"text": p["name"]} for p in people.left], [{"text": p["name"]} for p in people.right])
    train("lexical", label_table(plain), tmp_path / "student", settings=FAST)
    student = load_student(tmp_path / "student")
    scores = student.score(Records.from_texts(["anna adler"] * 2), Records.from_texts(["anna adler", "olga zzz"]))
    assert scores[0] > scores[1]


def test_held_out_scores_come_from_models_that_have_not_seen_the_tuple() -> None:
    rng = np.random.default_rng(0)
    tuples = np.repeat(np.arange(200), 2)
    noise = Rows(rng.normal(size=(400, 3)), rng.integers(0, 2, 400).astype(float), np.ones(400), tuples)
    fit = cross_fit(noise, [0, 0, 0], PairSettings(rounds=50, leaves=16, leaf_size=1), Scale.fit(noise.matrix))
    in_sample = np.corrcoef(fit.model.raw(noise.matrix), noise.labels)[0, 1]
    held_out = np.corrcoef(fit.held_out, noise.labels)[0, 1]
    assert in_sample > 0.5
    assert abs(held_out) < 0.25


def test_more_similarity_never_lowers_a_score() -> None:
    rng = np.random.default_rng(1)
    similarity = rng.random(300)
    rows = Rows(similarity[:, None], (similarity < 0.2).astype(float), np.ones(300), np.arange(300))
    scores = cross_fit(rows, [1], PairSettings(), Scale.fit(rows.matrix)).model.raw(np.linspace(0, 1, 50)[:, None])
    assert (np.diff(scores) >= 0).all()


def test_calibration_finds_the_curve_it_was_drawn_from() -> None:
    scores = np.linspace(-6, 6, 4000)
    labels = 1 / (1 + np.exp(-(0.5 * scores - 1)))
    slope, intercept = calibration(scores, labels, np.ones(4000), PENALISED)
    assert slope == pytest.approx(0.5, abs=0.02)
    assert intercept == pytest.approx(-1.0, abs=0.05)


def test_thresholds_and_calibration_follow_their_definitions() -> None:
    assert f1_threshold(np.asarray([1.0, 1.0, 0.0])) == 0.5
    assert f1_threshold(np.full(10, 0.2)) == pytest.approx(1 / 6)  # all chosen: F1 = 2 · 2 / (10 + 2)
    assert f1_threshold(np.zeros(3)) == 0.5
    assert expected_calibration_error(np.asarray([0.9, 0.9]), np.asarray([1.0, 0.0])) == pytest.approx(0.4)


def test_a_student_knows_only_columns_that_have_a_partner(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What one side alone has is in no feature and in no explanation, and its words change no probability."""
    made = make_people(60)
    left = [{**row, "fax": f"q{i * 7919 % 997}x"} for i, row in enumerate(made.left)]
    right = [{"called": row["name"], "town": row["town"], "born": row["born"]} for row in made.right]
    people = People(left, right)  # type: ignore[arg-type]
    info = train("lexical", label_table(people), tmp_path / "student", [candidates(people)], FAST)
    assert (info.left_columns, info.right_columns) == (("name", "town", "born"), ("called", "town", "born"))
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == ["nobody compares left: fax"]
    student = load_student(tmp_path / "student")
    pair = Records.from_dicts(left[:1]), Records.from_dicts(right[:1])
    assert student.score(*pair) == student.score(Records.from_dicts([{**left[0], "fax": right[0]["called"]}]), pair[1])
    assert student.score(*pair) == student.score(Records.from_dicts(made.left[:1]), pair[1]), "it may be left out"
    assert "fax" not in student.explain(*pair, [True])[0]
