"""The students encoder and blend, trained on a tiny encoder: scores, explanations, damage, the same files again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from distiller_udf.errors import StudentDamaged
from distiller_udf.records import Records
from distiller_udf.students import load_student
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.choice import choose_alone
from distiller_udf.students.kinds import CLEAR, BlendStudent, EncoderStudent
from distiller_udf.students.odds import logit, sigmoid
from distiller_udf.training.train import train
from tests.conftest import People, label_table
from tests.tiny_encoder import needs_encoder, save_tiny_encoder

pytestmark = [pytest.mark.slow, needs_encoder, pytest.mark.usefixtures("one_thread")]

ROOT = Path(__file__).parents[2]
KINDS = ["encoder", "blend"]
Pairwise = EncoderStudent | BlendStudent


@dataclass(frozen=True)
class School:
    """Trains students of both kinds on the same labels and candidates."""

    encoder: str
    labels: pa.Table
    people: People

    def train(self, kind: str, folder: Path, **more: Any) -> StudentInfo:
        rows = [(i, (i + k) % 60) for i in range(60) for k in (0, 1, 5)]
        left, right = [self.people.left[i] for i, _ in rows], [self.people.right[j] for _, j in rows]
        batch = pa.RecordBatch.from_pydict({"left": left, "right": right, "tuple": [i for i, _ in rows]})
        fast = {"rounds": 10, "folds": 3, "self_training": 1, "encoder": self.encoder, "local_only": True}
        return train(kind, self.labels, folder, [batch], {**fast, **more})


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory, people: People) -> School:
    folder = tmp_path_factory.mktemp("tiny") / "bert"
    save_tiny_encoder(folder)
    return School(str(folder), label_table(People(people.left[:40], people.right[:40])), people)


@pytest.fixture(scope="module")
def folders(school: School, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("students")
    for kind in KINDS:
        school.train(kind, root / kind)
    return {kind: root / kind for kind in KINDS}


@pytest.fixture(scope="module", params=KINDS)
def student(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Pairwise:
    loaded = load_student(folders[request.param])
    assert isinstance(loaded, EncoderStudent | BlendStudent)
    assert loaded.info.kind == request.param
    return loaded


@pytest.fixture(scope="module")
def blend(folders: dict[str, Path]) -> BlendStudent:
    loaded = load_student(folders["blend"])
    assert isinstance(loaded, BlendStudent)
    return loaded


def sides(people: People, shift: int = 0) -> tuple[Records, Records]:
    return Records.from_dicts(people.left), Records.from_dicts(people.right[shift:] + people.right[:shift])


def both(people: People) -> tuple[Records, Records]:
    """Every person with itself and with the next."""
    return (
        Records.from_dicts(people.left * 2),
        Records.from_dicts([*people.right, *people.right[1:], people.right[0]]),
    )


def test_matches_score_higher_than_others(student: Pairwise, people: People) -> None:
    matches, others = (student.score(*sides(people, shift)) for shift in (0, 1))
    assert ((matches >= 0) & (matches <= 1)).all()
    assert np.mean(matches > others) > 0.9
    assert np.mean(matches) > np.mean(others) + 0.3


def test_scores_depend_on_neither_the_order_nor_the_batch(student: Pairwise, people: People) -> None:
    left, right = both(people)
    whole = student.score(left, right)
    np.testing.assert_array_equal(student.score(right, left), whole)
    parts = [student.score(left.take(rows), right.take(rows)) for rows in np.array_split(np.arange(len(left)), 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    one = np.asarray([17])
    assert student.score(left.take(one), right.take(one))[0] == whole[17]


def test_an_empty_record_has_no_probability(student: Pairwise, people: People) -> None:
    left = Records.from_dicts([people.left[0], {"name": None, "town": None, "born": None}])
    right = Records.from_dicts(people.right[:2])
    scores = student.score(left, right)
    assert np.isnan(scores).tolist() == [False, True]
    choices = choose_alone(student.info, scores, np.zeros(2, dtype=int), right.distinct[1])
    assert np.isnan(choices).tolist() == [False, True]
    assert student.explain(left, right, [True] * len(left))[1] == "A record is empty, so there is nothing to compare."
    none = Records.from_dicts([])
    assert student.score(none, none).shape == (0,)


def test_plain_text_is_scored_too(student: Pairwise) -> None:
    texts = Records.from_texts(["anna adler bonn", "paul peters jena"])
    scores = student.score(texts, texts.take(np.asarray([0, 0])))
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scores[0] > scores[1]


def test_contributions_and_words_add_up(student: Pairwise, people: People) -> None:
    left, right = (side.take(np.arange(0, 240, 12)) for side in both(people))
    expected = logit(student.score(left, right))
    labels, parts = student.contributions(left, right)
    assert labels == [*student.info.left_columns, "baseline"]
    np.testing.assert_allclose(parts.sum(axis=1), expected, atol=1e-6)
    few = np.arange(4)
    for explanation, score in zip(student.explanations(left.take(few), right.take(few)), expected[few], strict=True):
        assert explanation is not None
        total = explanation.baseline + sum(column.value for column in explanation.columns)
        assert total == pytest.approx(score, abs=1e-6)
        for column in explanation.columns:
            assert sum(word.value for word in column.words) == pytest.approx(column.value, abs=1e-6)


def test_a_loaded_student_scores_as_the_one_that_was_saved(
    student: Pairwise, people: People, folders: dict[str, Path], tmp_path: Path
) -> None:
    student.save(tmp_path / "again")
    student.info.write(tmp_path / "again")
    again = load_student(tmp_path / "again")
    # What is loaded from a folder says so in the tokenizer's own file; nothing else differs.
    changed = {name for name, digest in again.info.files.items() if student.info.files[name] != digest}
    assert changed <= {"encoding/tokenizer_config.json"}
    np.testing.assert_array_equal(again.score(*both(people)), student.score(*both(people)))


def test_a_blend_asks_the_encoder_where_it_is_unsure_alone(
    blend: BlendStudent, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right = both(people)
    features = blend.similarity.transform(left, right)
    first = blend.models[0].log_odds(features)
    clear = np.abs(first) >= CLEAR
    assert 0 < clear.sum() < len(clear)
    found = blend.log_odds(left, right)
    np.testing.assert_array_equal(found[clear], first[clear])
    second = blend.models[1].log_odds(np.column_stack([features, blend.encoding.transform(left, right)]))
    np.testing.assert_array_equal(found[~clear], second[~clear])
    assert not np.array_equal(first[~clear], second[~clear])
    np.testing.assert_allclose(blend.score(left, right), sigmoid(found))
    asked: list[int] = []
    transform = blend.encoding.transform
    monkeypatch.setattr(blend.encoding, "transform", lambda a, b: (asked.append(len(a)), transform(a, b))[1])
    blend.score(left, right)
    rows = np.flatnonzero(clear)
    blend.score(left.take(rows), right.take(rows))
    assert asked == [int((~clear).sum())], "clear pairs need no encoder at all"


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_labels_and_seed_give_the_same_files(
    kind: str, school: School, folders: dict[str, Path], tmp_path: Path
) -> None:
    known = load_student(folders[kind]).info
    again = school.train(kind, tmp_path / "again")
    assert again.files == known.files
    assert again == known
    for file in (file for file in folders[kind].rglob("*") if file.is_file()):
        assert file.read_bytes() == (tmp_path / "again" / file.relative_to(folders[kind])).read_bytes(), file.name


@pytest.mark.slow
def test_another_process_trains_the_same_student(school: School, folders: dict[str, Path], tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
import torch
from tests.conftest import People, label_table, make_people
from tests.training.test_encoder_training import School
torch.set_num_threads(1)
people = make_people(120)
labels = label_table(People(people.left[:40], people.right[:40]))
School(sys.argv[1], labels, people).train("blend", Path(sys.argv[2]))
"""
    environment = {**os.environ, "PYTHONHASHSEED": "5"}  # sets of strings have another order in each
    command = [sys.executable, "-c", program, school.encoder, str(tmp_path / "blend")]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    assert load_student(tmp_path / "blend").info == load_student(folders["blend"]).info


def test_another_seed_gives_other_files(school: School, folders: dict[str, Path], tmp_path: Path) -> None:
    assert school.train("encoder", tmp_path / "other", seed=9).files != load_student(folders["encoder"]).info.files


def test_no_file_is_a_pickle(folders: dict[str, Path]) -> None:
    for folder in folders.values():
        suffixes = {p.suffix for p in folder.rglob("*") if p.is_file()}
        assert suffixes <= {".json", ".txt", ".parquet", ".safetensors", ".md"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", ["cut", "flipped", "gone"])
def test_a_damaged_weight_file_is_named(kind: str, change: str, folders: dict[str, Path], tmp_path: Path) -> None:
    names = load_student(folders[kind]).info.files
    assert any("model.safetensors" in name for name in names)
    folder = tmp_path / "copy"
    shutil.copytree(folders[kind], folder)
    for name in names:
        whole = (folder / name).read_bytes()
        if change == "gone":
            (folder / name).unlink()
        elif change == "cut":
            (folder / name).write_bytes(whole[: len(whole) // 2])
        else:
            middle = len(whole) // 2
            (folder / name).write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
        with pytest.raises(StudentDamaged, match=name):
            load_student(folder)
        (folder / name).write_bytes(whole)
    assert load_student(folder).info.kind == kind


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_cannot_be_read_are_damage_even_where_the_manifest_agrees(
    kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """A manifest written over files that were cut before: the digests agree, the weights still cannot be read."""
    for name in ("encoding/model.safetensors", "encoding/encoding.safetensors", "encoding/encoding.json"):
        folder = tmp_path / name.replace("/", "-")
        shutil.copytree(folders[kind], folder)
        info = load_student(folder).info
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
        info.write(folder)
        with pytest.raises(StudentDamaged, match="train it again"):
            load_student(folder)


def test_the_manifest_says_which_encoder_and_how(folders: dict[str, Path], school: School) -> None:
    for folder in folders.values():
        info = load_student(folder).info
        assert info.settings["encoder"] == Path(school.encoder).name
        assert info.settings["max_length"] >= 1
        assert info.metrics["unlabelled_pairs"] == 60


def test_students_need_no_encoder_but_their_own(school: School, people: People, tmp_path: Path) -> None:
    elsewhere = tmp_path / "encoder"
    shutil.copytree(school.encoder, elsewhere)
    moved = School(str(elsewhere), school.labels, people)
    moved.train("encoder", tmp_path / "student")
    shutil.rmtree(elsewhere)
    student = load_student(tmp_path / "student")
    assert np.isfinite(student.score(*sides(people))).all()
