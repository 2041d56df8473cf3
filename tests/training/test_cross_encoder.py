"""The cross-encoder student on a tiny encoder: what it learns from, what it scores, its files, its settings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import distiller_udf
from distiller_udf.encoding.pair_classifier import PairClassifier
from distiller_udf.encoding.texts import readable
from distiller_udf.errors import SettingsError, StudentDamaged, TrainingError
from distiller_udf.records import Records, record_text
from distiller_udf.registry import Registry
from distiller_udf.settings import checked
from distiller_udf.students import load_student
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.choice import choose_alone
from distiller_udf.students.kinds import CrossEncoderStudent
from distiller_udf.students.odds import logit, sigmoid
from distiller_udf.training.fit.calibration import calibration
from distiller_udf.training.fit.cross_encoder import CrossEncoderSettings, Examples, fit
from distiller_udf.training.labelled import LabelledPairs, held_out, labelled_pairs
from distiller_udf.training.train import train
from distiller_udf.training.versions import Recipe, ensure_student, publish_student
from tests.conftest import People, label_table
from tests.tiny_encoder import needs_encoder, save_tiny_encoder

pytestmark = [pytest.mark.slow, needs_encoder, pytest.mark.usefixtures("one_thread")]

ROOT = Path(__file__).parents[2]
FAST = {"learning_rate": 3e-3, "head_learning_rate": 0.1, "epochs": 3, "max_length": 64, "local_only": True}


@dataclass(frozen=True)
class School:
    """Trains students on the same labels; the encoder knows nothing, so it learns faster than a pretrained one."""

    encoder: str
    labels: pa.Table

    def train(self, folder: Path, labels: pa.Table | None = None, **more: Any) -> StudentInfo:
        settings = {**FAST, "encoder": self.encoder, **more}
        return train("cross_encoder", self.labels if labels is None else labels, folder, settings=settings)


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory, people: People) -> School:
    folder = tmp_path_factory.mktemp("tiny") / "bert"
    save_tiny_encoder(folder)
    return School(str(folder), telling(label_table(People(people.left[:40], people.right[:40]))))


@pytest.fixture(scope="module")
def folder(school: School, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("students") / "student"
    school.train(folder)
    return folder


@pytest.fixture(scope="module")
def student(folder: Path) -> CrossEncoderStudent:
    loaded = load_student(folder)
    assert isinstance(loaded, CrossEncoderStudent)
    return loaded


@pytest.fixture(scope="module")
def pairs(school: School) -> LabelledPairs:
    return labelled_pairs(school.labels)


def both(people: People) -> tuple[Records, Records]:
    """Every person with itself and with the next."""
    right = [told(p, True) for p in people.right] + [told(p, False) for p in (*people.right[1:], people.right[0])]
    return Records.from_dicts([told(person, True) for person in people.left * 2]), Records.from_dicts(right)


def told(person: Mapping[str, Any], matches: bool) -> dict[str, Any]:
    """A record that says whether it matches: an encoder that knows nothing learns no more than that in seconds."""
    return {"model": " ".join(["sony" if matches else "bose"] * 6), "name": person["name"]}


def telling(labels: pa.Table) -> pa.Table:
    """The labels with records that say it."""
    rows = labels.to_pylist()
    for row in rows:
        row["query"] = record_text(told(json.loads(row["query"]), True))
        for number, option in enumerate(row["options"], 1):
            option["record"] = record_text(told(json.loads(option["record"]), number == row["choice"]))
    return pa.Table.from_pylist(rows, schema=labels.schema)


def weights(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "encoder" / name).read_bytes() for name in ("model.safetensors", "head.safetensors")}


def texts_of(pairs: LabelledPairs, rows: np.ndarray) -> set[str]:
    return set(pairs.left.take(np.flatnonzero(rows)).texts())


# --- What is held out ------------------------------------------------------------------------------------------------


def test_a_fifth_of_the_tuples_is_held_out_whole_and_of_both_kinds(pairs: LabelledPairs) -> None:
    rows = held_out(pairs, 0.2, seed=0)
    tuples = np.unique(pairs.tuples[rows])
    assert len(tuples) == 8
    assert set(tuples).isdisjoint(pairs.tuples[~rows])
    matched = np.bincount(pairs.tuples, pairs.labels)[tuples] > 0
    assert (matched.sum(), (~matched).sum()) == (6, 2)
    assert not np.array_equal(rows, held_out(pairs, 0.2, seed=1))


def test_what_is_held_out_does_not_depend_on_the_order_of_rows(pairs: LabelledPairs) -> None:
    turned = pairs.take(np.arange(len(pairs))[::-1])
    chosen = [texts_of(each, held_out(each, 0.2, seed=0)) for each in (pairs, turned)]
    assert chosen[0] == chosen[1]


def test_tuples_about_the_same_record_stay_together(pairs: LabelledPairs) -> None:
    twice = np.tile(np.arange(len(pairs)), 2)
    doubled = pairs.take(twice)
    doubled.tuples[len(pairs) :] += pairs.questions
    rows = held_out(doubled, 0.3, seed=0)
    np.testing.assert_array_equal(rows[: len(pairs)], rows[len(pairs) :])
    np.testing.assert_array_equal(rows[: len(pairs)], held_out(pairs, 0.3, seed=0))


@pytest.mark.parametrize(
    ("matched", "chosen", "rest"),
    [
        ([1, 0], [0], [1]),
        ([1, 1, 0], [1], [0, 1]),
        ([1, 0, 0], [0], [0, 1]),
        ([1, 1, 1, 0, 0, 0], [0, 1], [0, 0, 1, 1]),
    ],
)
def test_few_tuples_leave_a_match_to_train_on(matched: list[int], chosen: list[int], rest: list[int]) -> None:
    left = Records.from_dicts([{"name": f"person {i}"} for i in range(len(matched))])
    few = LabelledPairs(left, left, np.asarray(matched, float), np.ones(len(matched)), np.arange(len(matched)))
    rows = held_out(few, 0.2, seed=0)
    assert (sorted(few.labels[rows]), sorted(few.labels[~rows])) == (chosen, rest)


def test_tuples_about_one_record_alone_cannot_be_divided(school: School, tmp_path: Path) -> None:
    rows = [{**row, "query": '{"name":"anna"}'} for row in school.labels.slice(0, 8).to_pylist()]
    alike = pa.Table.from_pylist(rows, schema=school.labels.schema)
    with pytest.raises(TrainingError, match="about one record"):
        school.train(tmp_path / "student", alike)


def test_held_out_labels_change_the_calibration_and_no_weight(
    school: School, pairs: LabelledPairs, tmp_path: Path
) -> None:
    unseen = texts_of(pairs, held_out(pairs, 0.2, seed=0))
    rows = school.labels.to_pylist()
    for row in rows:
        if row["query"] in unseen and row["choice"]:
            row["choice"] = row["choice"] % len(row["options"]) + 1
    told = {"as it is": school.labels, "otherwise": pa.Table.from_pylist(rows, schema=school.labels.schema)}
    infos = {name: school.train(tmp_path / name, labels, epochs=1) for name, labels in told.items()}
    assert weights(tmp_path / "as it is") == weights(tmp_path / "otherwise")
    states = [json.loads((tmp_path / name / "model.json").read_text()) for name in told]
    assert states[0]["slope"] > states[1]["slope"] + 0.1
    for info in infos.values():
        assert (info.metrics["judged_tuples"], info.metrics["labelled_tuples"]) == (8, 40)


# --- How it learns ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lesson:
    """A classifier that was fitted, on what, what was reported, and its weights before."""

    classifier: PairClassifier
    known: Examples
    unseen: Examples
    before: dict[str, dict[str, Any]]
    steps: list[str]

    @property
    def held(self) -> list[float]:
        """The held-out loss after each epoch, as it was reported."""
        return [float(step.split("held out ")[1].split()[0]) for step in self.steps if "held out" in step]

    def loss(self, examples: Examples) -> float:
        raw = [self.classifier.raw(side) for side in (examples.forward, examples.backward)]
        return examples.loss((raw[0] + raw[1]) / 2)


def fitted(school: School, pairs: LabelledPairs, **more: Any) -> Lesson:
    settings = checked(CrossEncoderSettings, {**FAST, "encoder": school.encoder, **more})
    classifier = PairClassifier(school.encoder, max_length=64, local_only=True)
    rows = held_out(pairs, 0.2, seed=0)
    known, unseen = (Examples.of(classifier, pairs.take(np.flatnonzero(part))) for part in (~rows, rows))
    lesson = Lesson(classifier, known, unseen, classifier.state(), [])
    fit(classifier, known, unseen, settings, lambda step, share: lesson.steps.append(f"{step} at {share:.2f}"))
    return lesson


def test_every_parameter_moves_and_the_loss_falls(school: School, pairs: LabelledPairs) -> None:
    lesson = fitted(school, pairs, epochs=4)
    after = lesson.classifier.state()
    for part, weights in lesson.before.items():
        assert weights
        for name, value in weights.items():
            assert not np.array_equal(value.numpy(), after[part][name].numpy()), name
    assert not any("pooler" in name for name in after["model"]), "nothing reads a pooler"
    share = lesson.known.share
    guessed = float(-share * np.log(share) - (1 - share) * np.log(1 - share))
    assert lesson.loss(lesson.known) < 0.5 * guessed, "half of what is lost by whoever knows but the share of matches"
    assert lesson.steps[-1].startswith("epoch 4 of 4, loss ")
    assert lesson.steps[-1].endswith("at 1.00")


def test_training_stops_when_the_held_out_loss_does_not_fall(school: School, pairs: LabelledPairs) -> None:
    held = fitted(school, pairs, epochs=12, patience=1, learning_rate=1e-1).held
    assert len(held) < 12
    assert held[-1] >= min(held[:-1])


def test_the_best_epoch_is_kept(school: School, pairs: LabelledPairs) -> None:
    lesson = fitted(school, pairs, patience=3, learning_rate=3e-2)
    assert max(lesson.held) > min(lesson.held) + 1e-3
    assert lesson.loss(lesson.unseen) == pytest.approx(min(lesson.held), abs=1e-3)


def test_a_rate_that_diverges_says_what_to_lower(school: School, pairs: LabelledPairs) -> None:
    with pytest.raises(TrainingError, match="lower learning_rate"):
        fitted(school, pairs, learning_rate=1e30, epochs=1)


def test_calibration_keeps_what_few_pairs_do_not_contradict() -> None:
    log_odds = np.asarray([3.0, -3.0, -2.5])
    slope, intercept = calibration(log_odds, np.asarray([1.0, 0.0, 0.0]), np.ones(3))
    assert 0.9 < slope < 1.3
    assert abs(intercept) < 0.3


def test_calibration_follows_many_pairs() -> None:
    rng = np.random.default_rng(0)
    log_odds = rng.normal(size=4000) * 4
    slope, intercept = calibration(log_odds, sigmoid(0.5 * log_odds - 1), np.ones(4000))
    assert slope == pytest.approx(0.5, abs=0.02)
    assert intercept == pytest.approx(-1, abs=0.05)
    assert calibration(log_odds, sigmoid(-log_odds), np.ones(4000))[0] > 0, "the order of pairs is never turned around"


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("epochs", 0, "a whole number from 1"),
        ("batch_size", 1.5, "a whole number from 1"),
        ("learning_rate", -1, "a number above 0"),
        ("head_learning_rate", "fast", "a number above 0"),
        ("held_out", 1.0, "a number between 0 and 1"),
        ("max_length", 3, "a whole number from 16"),
        ("weight_decay", -0.1, "a number from 0"),
        ("encoder", "", "a folder, or the id of a model on the hub"),
    ],
)
def test_impossible_settings_are_refused_by_name(
    school: School, tmp_path: Path, name: str, value: object, wanted: str
) -> None:
    with pytest.raises(SettingsError, match=rf"^{name} is .*\. Allowed: {wanted}"):
        school.train(tmp_path / "student", **{name: value})
    assert not (tmp_path / "student").exists()


def test_settings_of_other_kinds_are_refused(school: School, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"there is no setting rounds\. Allowed: .*batch_size"):
        school.train(tmp_path / "student", rounds=3)


# --- What it reads ---------------------------------------------------------------------------------------------------


def test_records_read_as_columns_and_plain_text_as_it_is() -> None:
    records = Records.from_dicts([{"name": "Sony", "price": 399.0}, {"name": None, "price": None}, {"name": "a"}])
    assert readable(records) == ["name: Sony; price: 399", "", "name: a"]
    assert readable(Records.from_texts(["anna adler", '{"name":"anna"}', None])) == ["anna adler", "name: anna", ""]


def test_the_longer_record_is_cut_and_the_shorter_one_is_whole(school: School) -> None:
    classifier = PairClassifier(school.encoder, max_length=24, local_only=True)
    (long_first,) = classifier.tokenise([("a " * 500, "bonn")])
    (long_last,) = classifier.tokenise([("bonn", "a " * 500)])
    for tokens in (long_first, long_last):
        read = classifier.tokenizer.convert_ids_to_tokens(tokens.ids.tolist())
        assert len(read) == 24
        assert [piece for piece in read if piece not in ("a", "[CLS]", "[SEP]")] == ["b", "##o", "##n", "##n"]
    read = classifier.tokenizer.convert_ids_to_tokens(classifier.tokenise([("a", "b")])[0].ids.tolist())
    assert read == ["[CLS]", "a", "[SEP]", "b"], "a tokenizer without a format for pairs is given one"


def test_a_tokenizer_with_a_format_for_pairs_keeps_it(school: School, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, processors

    shutil.copytree(school.encoder, tmp_path / "bert")
    bare = Tokenizer.from_file(str(tmp_path / "bert" / "tokenizer.json"))
    signs = [(sign, bare.token_to_id(sign)) for sign in ("[CLS]", "[SEP]")]
    bare.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=signs
    )
    bare.save(str(tmp_path / "bert" / "tokenizer.json"))
    config = json.loads((tmp_path / "bert" / "tokenizer_config.json").read_text())
    config["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    (tmp_path / "bert" / "tokenizer_config.json").write_text(json.dumps(config))
    classifier = PairClassifier(str(tmp_path / "bert"), local_only=True)
    (tokens,) = classifier.tokenise([("a", "b")])
    assert classifier.tokenizer.convert_ids_to_tokens(tokens.ids.tolist()) == ["[CLS]", "a", "[SEP]", "b", "[SEP]"]
    assert tokens.types is not None
    assert tokens.types.tolist() == [0, 0, 0, 1, 1]
    with_types, without = classifier._inputs([tokens], 8), classifier._inputs([type(tokens)(tokens.ids, None)], 8)
    assert with_types["token_type_ids"].sum() == 2
    assert without["token_type_ids"].sum() == 0


# --- What it scores --------------------------------------------------------------------------------------------------


def test_matches_score_higher_than_others(student: CrossEncoderStudent, people: People) -> None:
    scores = student.score(*both(people))
    matches, others = scores[:120], scores[120:]
    assert ((scores > 0) & (scores < 1)).all()
    assert np.mean(matches > others) > 0.9
    assert np.mean(matches) > np.mean(others) + 0.3


def test_the_order_of_the_two_records_does_not_matter(student: CrossEncoderStudent, people: People) -> None:
    left, right = both(people)
    scores = student.score(left, right)
    np.testing.assert_allclose(student.score(right, left), scores, rtol=0, atol=1e-5)
    one, other = (side.to_dicts() for side in (left, right))
    together = student.score(Records.from_dicts(one + other), Records.from_dicts(other + one))
    np.testing.assert_array_equal(together[:240], together[240:], "in one batch to the last bit")


def test_a_score_does_not_depend_on_the_batch(student: CrossEncoderStudent, people: People) -> None:
    left, right = both(people)
    whole = student.score(left, right)
    parts = [student.score(left.take(rows), right.take(rows)) for rows in np.array_split(np.arange(240), 7)]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-5)
    alone = [student.score(left.take(np.asarray([i])), right.take(np.asarray([i])))[0] for i in range(20)]
    np.testing.assert_allclose(alone, whole[:20], rtol=0, atol=1e-5)


def test_a_pair_is_read_once_in_each_order(student: CrossEncoderStudent, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, read = student.classifier, []
    logits = classifier.logits
    monkeypatch.setattr(classifier, "logits", lambda pairs, length: (read.append(len(pairs)), logits(pairs, length))[1])
    scores = classifier.score(["anna", "bonn", "anna", "jena"], ["bonn", "anna", "bonn", "jena"])
    assert sum(read) == 3
    assert scores[0] == scores[1] == scores[2]


def test_odd_records_have_a_probability_and_empty_ones_none(student: CrossEncoderStudent, people: People) -> None:
    odd = [
        {"name": "anna", "model": None},
        {"name": "🎉\ud83d [SEP] [PAD]", "model": "李小龙" * 900},
        {"name": "x" * 30_000, "model": ""},
        {"name": None, "model": None},
    ]
    left = Records.from_dicts(odd)
    right = Records.from_dicts([told(people.right[0], True)] * 4)
    for sides in ((left, right), (right, left)):
        scores = student.score(*sides)
        assert np.isnan(scores).tolist() == [False, False, False, True]
        choices = choose_alone(student.info, scores, np.zeros(4, dtype=int), sides[1].distinct[1])
        assert np.isnan(choices).tolist() == [False, False, False, True]
    assert student.explain(left, right, [True] * len(left))[3] == "A record is empty, so there is nothing to compare."
    none = Records.from_dicts([])
    assert student.score(none, none).shape == (0,)
    texts = Records.from_texts(["anna adler bonn", "paul peters jena"])
    assert np.isfinite(student.score(texts, texts.take(np.asarray([0, 0])))).all()


def test_explanations_add_up_to_the_score(student: CrossEncoderStudent, people: People) -> None:
    left, right = (side.take(np.asarray([0, 121])) for side in both(people))
    expected = logit(student.score(left, right))
    labels, parts = student.contributions(left, right)
    assert labels == ["model", "name", "baseline"]
    np.testing.assert_allclose(parts.sum(axis=1), expected, atol=1e-4)
    for explanation, score in zip(student.explanations(left, right), expected, strict=True):
        assert explanation is not None
        total = explanation.baseline + sum(column.value for column in explanation.columns)
        assert total == pytest.approx(score, abs=1e-4)
        assert f"together {score:+.1f}." in explanation.sentence(True)


# --- Its folder ------------------------------------------------------------------------------------------------------


def test_a_loaded_student_scores_as_the_one_that_was_saved(
    student: CrossEncoderStudent, people: People, tmp_path: Path
) -> None:
    student.save(tmp_path / "again")
    student.info.write(tmp_path / "again")
    again = load_student(tmp_path / "again")
    np.testing.assert_array_equal(again.score(*both(people)), student.score(*both(people)))
    assert weights(tmp_path / "again").keys() == {"model.safetensors", "head.safetensors"}


def test_the_folder_holds_the_whole_encoder_and_no_pickle(folder: Path, school: School) -> None:
    from transformers import AutoModel, AutoTokenizer

    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {Path(name).suffix for name in files} <= {".json", ".txt", ".md", ".parquet", ".safetensors"}
    assert {"student.json", "model.json", "encoder/model.safetensors", "encoder/tokenizer.json"} <= files
    assert AutoModel.from_pretrained(folder / "encoder").config.hidden_size == 32
    assert len(AutoTokenizer.from_pretrained(folder / "encoder")) > 0
    info = load_student(folder).info
    assert info.settings["encoder"] == Path(school.encoder).name
    assert info.settings["held_out"] == 0.2


@pytest.mark.slow
def test_the_same_labels_in_any_order_and_process_give_the_same_files(
    school: School, folder: Path, tmp_path: Path
) -> None:
    known = load_student(folder).info.files
    program = """
import sys
from pathlib import Path
import torch
from tests.conftest import People, label_table, make_people
from tests.training.test_cross_encoder import School, telling
torch.set_num_threads(1)
people = make_people(120)
School(sys.argv[1], telling(label_table(People(people.left[:40], people.right[:40])))).train(Path(sys.argv[2]))
"""
    environment = {**os.environ, "PYTHONHASHSEED": "5"}  # sets of strings have another order in each
    command = [sys.executable, "-c", program, school.encoder, str(tmp_path / "process")]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    assert load_student(tmp_path / "process").info.files == known
    turned = school.labels.take(list(range(school.labels.num_rows - 1, -1, -1)))
    school.train(tmp_path / "turned", turned)
    assert weights(tmp_path / "turned") == weights(folder)
    assert school.train(tmp_path / "other", seed=9).files != known


@pytest.mark.parametrize("name", ["model.safetensors", "head.safetensors", "classifier.json", "tokenizer.json"])
def test_files_that_cannot_be_read_are_damage(name: str, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    file = copy / "encoder" / name
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StudentDamaged, match=name):
        load_student(copy)
    load_student(folder).info.write(copy)  # a manifest that agrees with the damage
    with pytest.raises(StudentDamaged, match="train it again"):
        load_student(copy)


def test_a_head_of_another_encoder_is_damage(folder: Path, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    shutil.copytree(folder, tmp_path / "copy")
    arrays = {"weight": np.zeros((1, 6), np.float32), "bias": np.zeros(1, np.float32)}
    save_file(arrays, tmp_path / "copy" / "encoder" / "head.safetensors")
    load_student(folder).info.write(tmp_path / "copy")
    with pytest.raises(StudentDamaged, match="is damaged: "):
        load_student(tmp_path / "copy")


# --- In its place ----------------------------------------------------------------------------------------------------


def test_several_candidates_may_match(school: School, people: People, tmp_path: Path) -> None:
    info = school.train(tmp_path / "student", constraint="none", epochs=1)
    assert info.choice == {}
    loaded = load_student(tmp_path / "student")
    left, right = both(people)
    scores = loaded.score(left, right)
    choices = choose_alone(loaded.info, scores, np.zeros(240, dtype=int), right.distinct[1])
    np.testing.assert_array_equal(choices, scores)


def test_a_published_student_answers_in_sql(school: School, people: People, tmp_path: Path) -> None:
    settings = {**FAST, "encoder": school.encoder}
    registry = Registry(tmp_path / "students")
    first = publish_student(school.labels, registry, Recipe("cross_encoder", settings))
    assert (first.trained, registry.current_version()) == (True, None)
    outcome = ensure_student(school.labels, registry, Recipe("cross_encoder", settings))
    assert (outcome.trained, registry.current_version()) == (False, first.info.version)
    assert first.info.version.startswith("cross_encoder-")
    connection = duckdb.connect()
    left, right = both(people)
    connection.register("l", pa.Table.from_pylist(left.to_dicts()))
    connection.register("r", pa.Table.from_pylist(right.to_dicts()))
    distiller_udf.register(connection, registry.root)
    found = connection.sql("select er_score(l, r), er_match(l, r) from l positional join r").fetchall()
    expected = load_student(outcome.path).score(left, right)
    np.testing.assert_allclose([score for score, _ in found], expected, rtol=0, atol=1e-5)
    assert [matches for _, matches in found] == [score >= outcome.info.threshold for score, _ in found]


def test_an_encoder_that_is_not_there_is_refused_before_training(school: School, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "students")
    settings = {**FAST, "encoder": str(tmp_path / "gone")}
    with pytest.raises(SettingsError, match="there is no encoder at"):
        ensure_student(school.labels, registry, Recipe("cross_encoder", settings))
