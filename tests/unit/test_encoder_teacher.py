"""The encoder as teacher: it learns what its base goes by, and gives the same answers each time."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from distiller_udf.budget import Budget, Cost
from distiller_udf.encoding.pair_encoder import FineTuning, Lesson, PairEncoder
from distiller_udf.encoding.texts import readable_text
from distiller_udf.errors import SettingsError, TeacherError
from distiller_udf.labels import LabelStore, Run
from distiller_udf.prompts import Answer, Asking, Question
from distiller_udf.records import record_text
from distiller_udf.settings import DEFAULT_ENCODER
from distiller_udf.teachers.base import Learner
from distiller_udf.teachers.encoder import MINIMUM_ANSWERS, EncoderTeacher
from distiller_udf.teachers.weights import model_identity
from tests.tiny_encoder import needs_encoder, save_bert

pytestmark = [pytest.mark.slow, needs_encoder, pytest.mark.usefixtures("one_thread")]

CODES = [f"code{i}" for i in range(30)]
WORDS = "red blue green round large small new old".split()
LEARNING = {"epochs": 13, "batch_size": 48, "learning_rate": 5e-3, "max_length": 32}
Answered = list[tuple[Question, Answer]]


class Base:
    """Goes by the code alone."""

    name = "base"
    parameters: Mapping[str, Any] = {}
    free = True
    local = False
    asking = Asking()

    def __init__(self) -> None:
        self.asked: list[Question] = []

    def expect(self, question: Question) -> Cost:
        return Cost(1)

    def answer(self, questions: Sequence[Question], budget: Budget) -> Iterator[tuple[Question, Answer]]:
        for question in questions:
            self.asked.append(question)
            yield question, told(question)


def told(question: Question) -> Answer:
    """The right answer: the candidate with the query's code."""
    codes = [json.loads(text)["name"].split()[0] for text in (question.query, *question.candidates)]
    return Answer(codes[1:].index(codes[0]) + 1 if codes[0] in codes[1:] else 0)


def questions(count: int, seed: int = 1) -> list[Question]:
    """Records of one code and two words. A decoy has all the words of the query; the match may have none of them."""
    rng = random.Random(seed)

    def record(code: str, words: Sequence[str]) -> str:
        return record_text({"name": " ".join([code, *words])})

    made = []
    for i in range(count):
        code, *others = rng.sample(CODES, 4)
        words = rng.sample(WORDS, 2)
        candidates = [record(others[0], words), record(others[1], rng.sample(WORDS, 2))]
        candidates.append(record(code if i % 3 else others[2], rng.sample(WORDS, 2)))
        rng.shuffle(candidates)
        made.append(Question(record(code, words), tuple(candidates)))
    return made


def answered(count: int, seed: int = 1) -> Answered:
    return [(question, told(question)) for question in questions(count, seed)]


def save_tiny_bert(folder: Path) -> None:
    """A BERT of random weights that knows every word of these tests."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    signs = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "name", ":", ";"]
    words = {word: number for number, word in enumerate([*signs, *WORDS, *CODES])}
    bare = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    bare.pre_tokenizer = pre_tokenizers.Whitespace()
    without_chance = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    save_bert(folder, bare, hidden_size=64, max_position_embeddings=40, **without_chance)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("encoder") / "bert"
    save_tiny_bert(folder)
    return str(folder)


def taught(model: str, lessons: Answered, **settings: Any) -> EncoderTeacher:
    teacher = EncoderTeacher(Base(), model, **{**LEARNING, **settings})
    teacher.learn(lessons)
    return teacher


def choices(teacher: EncoderTeacher, asked: Sequence[Question]) -> list[int | None]:
    return [answer.choice for _, answer in teacher.answer(asked, Budget())]


def told_lessons(count: int) -> list[Lesson]:
    return [
        Lesson(readable_text(q.query), tuple(map(readable_text, q.candidates)), a.choice or 0)
        for q, a in answered(count)
    ]


def test_it_learns_what_the_base_goes_by(model: str) -> None:
    unseen = answered(90, seed=2)
    asked = [question for question, _ in unseen]
    right = [answer.choice for _, answer in unseen]
    teacher = taught(model, answered(120))
    said = list(teacher.answer(asked, Budget()))
    assert [question for question, _ in said] == asked
    assert sum(answer.choice == known for (_, answer), known in zip(said, right, strict=True)) >= 80
    assert len({answer.choice for _, answer in said}) == 4
    for question, answer in said:
        assert answer.error is None
        assert answer.probabilities is not None
        assert len(answer.probabilities) == len(question.candidates)
        none = 1 - sum(answer.probabilities)
        assert none > -1e-6
        assert answer.confidence == pytest.approx(max(none, *answer.probabilities), abs=1e-6)
        assert answer.cost_usd == 0.0
        assert answer.explanation == "encoder, trained on 120 answers of base"


def test_the_distinction_is_not_there_before(model: str) -> None:
    """Untrained, the decoy looks better: what the test above sees is learned."""
    encoder = PairEncoder(model, FineTuning(max_length=32))
    encoder.head.weight.data.fill_(1.0)
    found = encoder.probabilities([(e.query, e.candidates) for e in told_lessons(60)])
    hits = [p.argmax() + 1 == e.choice for p, e in zip(found, told_lessons(60), strict=True) if e.choice]
    assert sum(hits) < len(hits) / 2


def test_the_loss_falls_and_every_weight_moves(model: str) -> None:
    encoder = PairEncoder(model, FineTuning(batch_size=48, learning_rate=5e-3, max_length=32))
    before = {name: value.detach().clone() for name, value in encoder.model.named_parameters()}
    encoder.fit(told_lessons(120), steps=60)
    assert len(encoder.losses) == 60
    assert sum(encoder.losses[-10:]) < 0.5 * sum(encoder.losses[:10])
    still = {name for name, value in encoder.model.named_parameters() if value.equal(before[name])}
    assert still == {"pooler.dense.weight", "pooler.dense.bias"}, "all but what likenesses do not pass through"
    assert encoder.head.weight.abs().min() > 0


def test_the_same_answers_in_any_order_make_the_same_teacher(model: str) -> None:
    lessons, asked = answered(40), questions(30, seed=2)
    shuffled = random.Random(5).sample(lessons, len(lessons))
    first, second = taught(model, lessons), taught(model, [*shuffled, lessons[0]])
    assert first.parameters == second.parameters
    one, two = (list(teacher.answer(asked, Budget())) for teacher in (first, second))
    assert [a.choice for _, a in one] == [a.choice for _, a in two]
    assert [a.probabilities for _, a in one] == [pytest.approx(a.probabilities) for _, a in two]


def test_other_answers_settings_or_weights_make_another_teacher(model: str, tmp_path: Path) -> None:
    lessons = answered(20)
    question, answer = lessons[0]
    changed = [(question, Answer(0 if answer.choice else 1)), *lessons[1:]]
    other = tmp_path / "other"
    shutil.copytree(model, other)
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    teachers = [
        taught(model, lessons),
        taught(model, changed),
        taught(model, lessons[1:]),
        taught(model, lessons, seed=1),
        taught(model, lessons, epochs=1),
        taught(model, lessons, learning_rate=1e-3),
        taught(str(other), lessons),
    ]
    assert len({question.key(teacher) for teacher in teachers}) == len(teachers)


def test_a_model_is_known_by_its_content_not_its_place(model: str, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(model, copy)
    assert model_identity(str(copy)) == model_identity(model)
    assert model_identity("sentence-transformers/all-MiniLM-L6-v2") == "sentence-transformers/all-MiniLM-L6-v2"


def test_training_leaves_the_caller_s_random_numbers_alone(model: str) -> None:
    import torch

    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    choices(taught(model, answered(20), epochs=1), questions(2))
    assert torch.rand(3).equal(expected)


def test_nothing_is_trained_before_a_question_is_asked(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[int] = []
    fit = PairEncoder.fit

    def counted(self: PairEncoder, given: Sequence[Lesson], steps: int) -> None:
        trained.append(len(given))
        fit(self, given, steps)

    monkeypatch.setattr(PairEncoder, "fit", counted)
    teacher = taught(model, answered(20), epochs=1)
    assert list(teacher.answer([], Budget())) == []
    assert trained == []
    choices(teacher, questions(3))
    teacher.learn(answered(20))  # the same answers again
    choices(teacher, questions(3))
    assert trained == [20]
    teacher.learn(answered(21))
    choices(teacher, questions(3))
    assert trained == [20, 21]


def test_the_base_answers_a_share_and_the_encoder_the_rest(model: str, tmp_path: Path) -> None:
    rows = [
        {
            "left_source": "a",
            "left_id": i,
            "query": json.loads(q.query),
            "candidates": [
                {"source": "b", "id": 10 * i + j, "record": json.loads(c)} for j, c in enumerate(q.candidates)
            ],
        }
        for i, q in enumerate(questions(60))
    ]
    tuples = pa.Table.from_pylist(rows)
    base = Base()
    teacher = EncoderTeacher(base, model, share=0.5, **LEARNING)
    assert isinstance(teacher, Learner)
    with LabelStore(tmp_path / "labels.sqlite") as store:
        labels = Run([teacher], store).label(tuples)
        assert sorted(labels["teacher"].to_pylist()) == ["base"] * 30 + ["encoder of base"] * 30
        assert len(base.asked) == 30
        # A second run asks nobody and trains nothing: the model is not even there any more.
        again = EncoderTeacher(base, model, share=0.5, **LEARNING)
        again._trained = lambda: pytest.fail("nothing is to be trained")  # type: ignore[method-assign]
        assert Run([again], store).label(tuples).equals(labels)
        assert len(base.asked) == 30


@pytest.mark.parametrize(
    ("lessons", "problem"),
    [
        (answered(MINIMUM_ANSWERS - 1), "too few"),
        ([(q, Answer(0)) for q in questions(20)], "chose a candidate"),
        ([(Question(q.query, q.candidates[:1]), Answer(1)) for q in questions(20)], "turned a candidate down"),
        ([(q, Answer(None, error="abstained")) for q in questions(20)], "too few"),
        ([(Question(q.query, ()), Answer(0)) for q in questions(20)], "too few"),
    ],
)
def test_answers_that_cannot_teach(model: str, lessons: Answered, problem: str) -> None:
    with pytest.raises(TeacherError, match=f"encoder of base cannot learn.*{problem}"):
        EncoderTeacher(Base(), model).learn(lessons)


def test_asked_before_it_has_learned(model: str) -> None:
    with pytest.raises(TeacherError, match="has learned nothing yet"):
        choices(EncoderTeacher(Base(), model), questions(1))


@pytest.mark.parametrize(
    "setting",
    [{"share": 0}, {"share": 1}, {"epochs": 0}, {"max_length": 0}, {"batch_size": True}, {"learning_rate": 0.0}],
)
def test_impossible_settings(setting: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=f"{next(iter(setting))} is "):
        EncoderTeacher(Base(), "some/model", **setting)


def test_a_model_that_is_not_there_or_needs_pickle(model: str, tmp_path: Path) -> None:
    import torch

    with pytest.raises(SettingsError, match="cannot be loaded; give a local folder with safetensors"):
        choices(taught(str(tmp_path / "nowhere"), answered(20), local_only=True), questions(1))
    pickled = tmp_path / "pickled"
    shutil.copytree(model, pickled)
    (pickled / "model.safetensors").unlink()
    torch.save({}, pickled / "pytorch_model.bin")
    with pytest.raises(SettingsError, match="safetensors"):
        choices(taught(str(pickled), answered(20), local_only=True), questions(1))


def test_a_record_is_read_as_columns_and_values() -> None:
    assert readable_text('{"name":"Sony Turntable","price":"399.0"}') == "name: Sony Turntable; price: 399.0"
    assert readable_text("plain words") == "text: plain words"


def test_long_records_and_many_candidates(model: str) -> None:
    words = " ".join(WORDS * 30)
    asked = Question(record_text({"name": words}), tuple(record_text({"name": f"{code} {words}"}) for code in CODES))
    (answer,) = (a for _, a in taught(model, answered(20), epochs=1, max_length=512).answer([asked], Budget()))
    assert answer.probabilities is not None
    assert len(answer.probabilities) == len(CODES)


@pytest.mark.slow
def test_pretrained_weights_learn_from_few_answers() -> None:
    """MiniLM, a dozen answers: names with typing errors, against others that share a first name or a town."""
    from conftest import make_people

    people = make_people(72)
    rng = random.Random(1)
    lessons = []
    for i, person in enumerate(people.left):
        others = rng.sample([j for j in range(72) if j != i], 3)
        options = sorted([*others, i] if i % 3 else others)
        right = options.index(i) + 1 if i in options else 0
        lessons.append(
            (Question(record_text(person), tuple(record_text(people.right[j]) for j in options)), Answer(right))
        )
    teacher = EncoderTeacher(Base(), DEFAULT_ENCODER, epochs=3, max_length=32, local_only=True)
    teacher.learn(lessons[:12])
    unseen = lessons[12:48]
    said = choices(teacher, [question for question, _ in unseen])
    assert sum(a == answer.choice for a, (_, answer) in zip(said, unseen, strict=True)) >= 33
