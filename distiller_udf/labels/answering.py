"""Questions → answers: what the store has is not asked again, what arrives is stored before anything else happens.

A teacher that fails midway loses nothing; the next run asks only what is missing.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from distiller_udf.budget import Budget
from distiller_udf.english import counted, listed
from distiller_udf.errors import BudgetSpent, TeacherError
from distiller_udf.labels.store import LabelStore
from distiller_udf.prompts import Answer, Question
from distiller_udf.teachers.base import Teacher, Together

logger = logging.getLogger(__name__)

EMPTY_TEXT = "{}"
_FREE_AT_ONCE = 500
_SECONDS_TO_WAIT_FOR_OTHERS = 1.0


@dataclass(frozen=True)
class Progress:
    """Where a run stands with one teacher, in distinct questions.

    `total` = `cached` + `answered` + `failed` + those still to come. `cached` came from the store, `answered` from the
    teacher in this run; of these `abstained` are unusable. `tokens` and `cost_usd` are what this run has used as far as
    known; `cost_unknown` counts the answers without a price. `stopped` says why the run ended early without an error:
    the budget is spent; what is `to_come` then was not asked.
    """

    teacher: str = ""
    total: int = 0
    cached: int = 0
    answered: int = 0
    abstained: int = 0
    failed: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    cost_unknown: int = 0
    stopped: str | None = None

    @property
    def to_come(self) -> int:
        """How many questions have neither been answered nor failed yet."""
        return self.total - self.cached - self.answered - self.failed

    def plus(self, answer: Answer) -> Progress:
        """The same after one more answer from the teacher."""
        return replace(
            self,
            answered=self.answered + (not answer.failed),
            abstained=self.abstained + answer.abstained,
            failed=self.failed + answer.failed,
            tokens=self.tokens + (answer.input_tokens or 0) + (answer.output_tokens or 0),
            cost_usd=self.cost_usd + (answer.cost_usd or 0.0),
            cost_unknown=self.cost_unknown + (answer.cost_usd is None and not answer.failed),
        )

    def __str__(self) -> str:
        known = f"${self.cost_usd:.4f}" if self.cost_unknown < self.answered or not self.answered else ""
        unknown = f"{counted(self.cost_unknown, 'answer')} of unknown price" if self.cost_unknown else ""
        return (
            f"{self.teacher}: {self.cached + self.answered:,} of {counted(self.total, 'question')} answered "
            f"({self.cached:,} of them before), {counted(self.abstained, 'abstention')}, "
            f"{counted(self.failed, 'failure')}; {counted(self.tokens, 'token')}, {listed([known, unknown])}"
        )


class OnProgress(Protocol):
    """Called once at the start and after every answer, in the thread that labels."""

    def __call__(self, progress: Progress, /) -> None: ...


def unseen(progress: Progress, /) -> None:
    """Nobody watches."""


class Lines:
    """Says where a run stands in a line every so many seconds."""

    def __init__(self, say: Callable[[str], None], seconds: float = 10.0) -> None:
        self._say = say
        self._seconds = seconds
        self._said_at = time.monotonic()

    def __call__(self, progress: Progress, /) -> None:
        now = time.monotonic()
        if now - self._said_at >= self._seconds:
            self._said_at = now
            self._say(str(progress))


def answer_questions(
    questions: Sequence[Question],
    *,
    teacher: Teacher,
    store: LabelStore,
    budget: Budget | None = None,
    progress: OnProgress = unseen,
) -> list[Answer]:
    """The answer to each question, from the store or else from the teacher; those that failed say so.

    Where the budget ends the run, the questions that were not asked have failed, and the progress says why it stopped.
    Raises LabelError when the store cannot be used and TeacherError when the teacher cannot be asked; whatever was
    answered until then is kept.
    """
    keys = [question.key(teacher) for question in questions]
    distinct = dict(zip(keys, questions, strict=True))
    answers = known_answers(distinct, store)
    missing = {key: question for key, question in distinct.items() if key not in answers}
    asking = _Asking(teacher, store, budget or Budget(), progress)
    asking.tell(Progress(teacher.name, total=len(distinct), cached=len(answers)))
    if missing:
        logger.debug("asking %s: %d questions, %d more are answered already", teacher.name, len(missing), len(answers))
        asked = asking.all_of(missing) if teacher.free else asking.those_not_claimed(missing)
        answers |= asked
        _log_end(asking.state, [answer for answer in asked.values() if answer.failed])
    return [answers[key] for key in keys]


def known_answers(questions: dict[str, Question], store: LabelStore) -> dict[str, Answer]:
    """The answers, by key, that nobody needs to be asked for: stored ones, and those that go without saying."""
    answers = {key: given for key, question in questions.items() if (given := _without_asking(question))}
    return answers | store.get(key for key in questions if key not in answers)


@dataclass
class _Asking:
    """One teacher being asked; `progress` is told where it stands after every step."""

    teacher: Teacher
    store: LabelStore
    budget: Budget
    progress: OnProgress
    state: Progress = field(default_factory=Progress)

    def tell(self, state: Progress) -> None:
        self.state = state
        self.progress(state)

    def those_not_claimed(self, missing: dict[str, Question]) -> dict[str, Answer]:
        """Ask what is missing; what another run is asking right now is waited for instead of paid for twice."""
        answers: dict[str, Answer] = {}
        waited = False
        with self.store.claims() as claims:
            while len(answers) < len(missing) and not self.state.stopped:
                still = {key: question for key, question in missing.items() if key not in answers}
                mine = claims.take(still)
                arrived = self.store.get(still)  # after claiming: what is there now was answered by others
                answers |= arrived
                if arrived:
                    self.tell(replace(self.state, cached=self.state.cached + len(arrived)))
                wanted = {key: question for key, question in still.items() if key in mine and key not in arrived}
                if wanted:
                    answers |= self.all_of(wanted)
                    claims.release(wanted)  # those that failed, another run may ask at once
                elif not arrived:
                    if not waited:
                        who, count = self.teacher.name, len(still)
                        logger.info("waiting for %s of %s that another run asks for", counted(count, "answer"), who)
                    waited = True
                    time.sleep(_SECONDS_TO_WAIT_FOR_OTHERS)
        return _unasked(missing, f"no answer: {self.state.stopped}") | answers

    def all_of(self, missing: dict[str, Question]) -> dict[str, Answer]:
        """Ask all of these and store every answer as it arrives; a question left unanswered counts as failed."""
        key_of = {question: key for key, question in missing.items()}
        answers: dict[str, Answer] = {}
        before = self.state.answered
        try:
            with contextlib.closing(_chunks(self.teacher, list(missing.values()), self.budget)) as chunks:
                for chunk in chunks:
                    for (question, given), held in zip(chunk, self.store.put_many(chunk, self.teacher), strict=True):
                        answers[key_of[question]] = held
                        self.tell(self.state.plus(given))
        except BudgetSpent as spent:
            self.tell(replace(self.state, stopped=str(spent)))
        except TeacherError as error:
            arrived = self.state.answered - before
            if not arrived:
                raise
            kept = (
                f"{arrived:,} of {counted(len(missing), 'answer')} arrived and are kept; run again to ask only the rest"
            )
            raise type(error)(f"{error} ({kept})") from error
        if len(answers) < len(missing) and not self.state.stopped:
            self.tell(replace(self.state, failed=self.state.failed + len(missing) - len(answers)))
        return _unasked(missing, f"no answer: {self.state.stopped or 'the teacher passed over it'}") | answers


def _unasked(questions: Iterable[str], reason: str) -> dict[str, Answer]:
    return {key: Answer(None, error=reason, failed=True) for key in questions}


def _log_end(state: Progress, failed: Sequence[Answer]) -> None:
    """Say in one line what was asked and what it cost, and warn where questions failed."""
    logger.info("%s", state)
    if state.stopped:
        unasked = counted(state.to_come, "question")
        logger.warning("%s stopped early, with %s unasked: %s", state.teacher, unasked, state.stopped)
    elif failed:
        logger.warning(
            "%s of %s to %s failed and will be asked again by the next run; the first: %s",
            *(f"{len(failed):,}", counted(state.total, "question"), state.teacher, failed[0].error),
        )


def _chunks(
    teacher: Teacher, questions: list[Question], budget: Budget
) -> Generator[Sequence[tuple[Question, Answer]], None, None]:
    """The answers as they arrive; those of a free teacher many at a time, as losing them costs nothing."""
    if isinstance(teacher, Together):
        with contextlib.closing(teacher.answer_together(questions, budget)) as together:
            yield from together
        return
    answers = teacher.answer(questions, budget)
    try:
        while chunk := list(itertools.islice(answers, _FREE_AT_ONCE if teacher.free else 1)):
            yield chunk
    finally:
        close = getattr(answers, "close", None)
        if close:
            close()  # stops the calls that are still under way


def _without_asking(question: Question) -> Answer | None:
    """The answer to a question that nobody needs to be asked."""
    if question.query == EMPTY_TEXT:
        return Answer(None, cost_usd=0.0, error="abstained: the record is empty")
    if not question.candidates:
        return Answer(0, confidence=1.0, cost_usd=0.0, explanation="It has no candidates.")
    return None
