"""The encoder as teacher: it learns from a few of another teacher's answers and gives the rest itself, for free.

Following DistillER (arXiv 2602.05452), which fine-tunes a RoBERTa or MiniLM on a fifth of an LLM's labels.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from distiller_udf.budget import Budget, Cost
from distiller_udf.encoding.pair_encoder import FineTuning, Lesson, PairEncoder
from distiller_udf.encoding.texts import readable_text
from distiller_udf.english import counted
from distiller_udf.errors import SettingsError, TeacherError
from distiller_udf.prompts import Answer, Asking, Question
from distiller_udf.records import content_hash
from distiller_udf.teachers.base import Teacher
from distiller_udf.teachers.weights import model_identity

logger = logging.getLogger(__name__)

MINIMUM_ANSWERS = 10
"""From fewer answers nothing is learned."""

_VERSION = 1
_STEPS, _LEAST_EPOCHS, _MOST_EPOCHS = 60, 1, 10
_QUESTIONS_AT_ONCE = 100


class EncoderTeacher:
    """Answers as `base` would: an encoder that is fine-tuned on its answers to a `share` of the tuples.

    `model` is a local folder or a hub id (`local_only`: the hub is never asked). `epochs` None means as many as make
    about 60 steps, 1 to 10. `max_length` is in tokens for one record, `batch_size` in pairs. It is
    trained when the first question is asked; `learn` comes before that. Raises SettingsError for impossible values.
    """

    free = True
    local = True

    def __init__(
        self,
        base: Teacher,
        model: str,
        *,
        share: float = 0.2,
        seed: int = 42,
        epochs: int | None = None,
        max_length: int = 128,
        batch_size: int = 16,
        learning_rate: float = 3e-5,
        local_only: bool = False,
    ) -> None:
        _check(share=share, epochs=epochs, max_length=max_length, batch_size=batch_size, learning_rate=learning_rate)
        self.base = base
        self.share = share
        self.name = f"encoder of {base.name}"
        self.asking = Asking()
        self._model = model
        self._epochs = epochs
        self._local_only = local_only
        self._settings = FineTuning(seed, batch_size, learning_rate, max_length)
        self._lessons: list[Lesson] = []
        self._encoder: PairEncoder | None = None
        self._lock = threading.Lock()
        self.parameters: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        return f"EncoderTeacher({self.base!r}, {self._model!r})"

    def learn(self, answered: Sequence[tuple[Question, Answer]]) -> None:
        """Take the base's answers; see `Learner.learn`. Training waits for the first question."""
        taught = {question.key(self.base): _lesson(question, answer) for question, answer in answered}
        # Sorted by content: the same answers in any order make the same teacher.
        lessons = [lesson for _, lesson in sorted(taught.items()) if lesson is not None]
        self._check_lessons(lessons)
        fingerprint = content_hash(*(f"{key}:{e.choice}" for key, e in sorted(taught.items()) if e is not None))
        parameters = {
            **asdict(self._settings),
            "version": _VERSION,
            "model": model_identity(self._model),
            "epochs": self._epochs,
            "learned_from": fingerprint,
        }
        with self._lock:
            if parameters != self.parameters:
                self._lessons, self._encoder, self.parameters = lessons, None, parameters

    def expect(self, question: Question) -> Cost:
        """Nothing: the encoder runs in this process."""
        return Cost()

    def answer(self, questions: Sequence[Question], budget: Budget) -> Iterator[tuple[Question, Answer]]:
        """Answer every question, in order, training first where that has not been done; see `Teacher.answer`."""
        if not questions:
            return
        encoder = self._trained()
        said = f"encoder, trained on {counted(len(self._lessons), 'answer')} of {self.base.name}"
        for start in range(0, len(questions), _QUESTIONS_AT_ONCE):
            some = questions[start : start + _QUESTIONS_AT_ONCE]
            started = time.monotonic()
            with self._lock:
                found = encoder.probabilities([_readable(question) for question in some])
            seconds = round((time.monotonic() - started) / len(some), 6)
            for question, probabilities in zip(some, found, strict=True):
                yield question, _answer(question, probabilities.tolist(), said, seconds)

    def _trained(self) -> PairEncoder:
        with self._lock:
            if not self._lessons:
                raise TeacherError(f"{self.name} has learned nothing yet; give it answers of {self.base.name} first")
            if self._encoder is None:
                started = time.monotonic()
                encoder = PairEncoder(self._model, self._settings, local_only=self._local_only)
                encoder.fit(self._lessons, self._steps())
                seconds = time.monotonic() - started
                lessons = counted(len(self._lessons), "answer")
                logger.info("%s: trained on %s of %s in %.0f s", self.name, lessons, self.base.name, seconds)
                self._encoder = encoder
            return self._encoder

    def _steps(self) -> int:
        """How many steps these lessons need."""
        an_epoch = max(1.0, sum(len(e.candidates) for e in self._lessons) / self._settings.batch_size)
        epochs = self._epochs or min(max(_STEPS / an_epoch, _LEAST_EPOCHS), _MOST_EPOCHS)
        return math.ceil(epochs * an_epoch)

    def _check_lessons(self, lessons: Sequence[Lesson]) -> None:
        matches = sum(e.choice > 0 for e in lessons)
        if len(lessons) < MINIMUM_ANSWERS:
            problem = (
                f"{counted(len(lessons), 'usable answer is', 'usable answers are')} too few; it needs {MINIMUM_ANSWERS}"
            )
        elif not matches:
            problem = "no answer chose a candidate"
        elif all(e.choice and len(e.candidates) == 1 for e in lessons):
            problem = "no answer turned a candidate down"
        else:
            return
        raise TeacherError(
            f"{self.name} cannot learn: {problem}; let {self.base.name} answer more (a larger share, more tuples)"
        )


def _lesson(question: Question, answer: Answer) -> Lesson | None:
    """What an answer teaches; None for one that chose nothing, or among nothing."""
    if question.ask == "justify" or answer.choice is None or not question.candidates:
        return None
    return Lesson(*_readable(question), answer.choice)


def _readable(question: Question) -> tuple[str, tuple[str, ...]]:
    return readable_text(question.query), tuple(map(readable_text, question.candidates))


def _answer(question: Question, probabilities: list[float], said: str, seconds: float) -> Answer:
    none = max(0.0, 1.0 - math.fsum(probabilities))
    shares = [none, *probabilities]
    # none wins a tie: a match is only claimed where it is likelier.
    choice = max(range(len(shares)), key=shares.__getitem__) if question.chosen is None else question.chosen
    return Answer(choice, shares[choice], tuple(probabilities), said, 0.0, seconds=seconds)


def _check(*, share: float, epochs: int | None, max_length: int, batch_size: int, learning_rate: float) -> None:
    if not 0 < share < 1:
        raise SettingsError(f"share is {share!r}; it must be a number between 0 and 1, such as 0.2")
    for name, value in (("epochs", epochs), ("max_length", max_length), ("batch_size", batch_size)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise SettingsError(f"{name} is {value!r}; it must be a whole number from 1")
    if not 0 < learning_rate < 1:
        raise SettingsError(f"learning_rate is {learning_rate!r}; it must be a small number, such as 0.0001")
