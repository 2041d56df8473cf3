"""What a teacher is: someone who answers questions, in any order, at a price; and what language models share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from distiller_udf.budget import Budget, Cost
from distiller_udf.prompts import Answer, Answerer, Asking, Question
from distiller_udf.teachers.bodies import Requests
from distiller_udf.teachers.prices import Price

FAILURES_IN_A_ROW = 10
"""So many questions that fail one after the other end a run."""


class Teacher(Answerer, Protocol):
    """Answers questions.

    `free`: answers cost nothing and come at once, so they may be stored many at a time. `local`: questions never leave
    this process, so they may show columns that are private. `asking`: how it is asked about a tuple.
    """

    @property
    def free(self) -> bool: ...

    @property
    def local(self) -> bool: ...

    @property
    def asking(self) -> Asking: ...

    def expect(self, question: Question) -> Cost:
        """About what asking this question costs."""
        ...

    def answer(self, questions: Sequence[Question], budget: Budget) -> Iterator[tuple[Question, Answer]]:
        """Answer every question once, in order of completion; every call is reserved in `budget`.

        A question without a reply gives an answer that `failed`, with its reason. Raises TeacherUnreachable or
        TeacherRefused when asking on is pointless, and BudgetSpent when the budget allows no further call; what was
        answered until then has been yielded.
        """
        ...


@runtime_checkable
class Together(Protocol):
    """A teacher whose answers arrive several at once, so that they can be stored in one go."""

    def answer_together(
        self, questions: Sequence[Question], budget: Budget
    ) -> Generator[Sequence[tuple[Question, Answer]], None, None]:
        """As `answer`, with those answers together that have arrived since the last were taken."""
        ...


@runtime_checkable
class Prepared(Protocol):
    """A teacher that wants to see all candidate pairs before the first question."""

    def prepare(self, pairs: pa.Table) -> None:
        """See all pairs: `left_record` and `right_record` (STRUCT or canonical text), `left_source`, `right_source`.

        It is called in every run, before the keys are made: it should be quick, and where answers depend on the pairs,
        `parameters` must tell them apart afterwards.
        """
        ...


@runtime_checkable
class Learner(Protocol):
    """A teacher that learns from another one: `base` answers a `share` of the questions, it answers the rest itself."""

    @property
    def base(self) -> Teacher: ...

    @property
    def share(self) -> float: ...

    def learn(self, answered: Sequence[tuple[Question, Answer]]) -> None:
        """Take the base's answers to select questions, before the keys are made: `parameters` tell them apart
        afterwards.

        The same answers, in any order, make the same teacher. Raises TeacherError where they cannot teach.
        """
        ...


class ChatTeacher(ABC):
    """A teacher that is a language model, asked in chat messages.

    `model` is what it is called where it runs, `name` what its labels are stored under. `asking`: how tuples become
    questions. `parameters` go into every request and into the label's key, on top of `DEFAULT_PARAMETERS` (None removes
    one); replies that need fewer tokens are given fewer, unless `max_tokens` is among them. `price` None means unknown.
    """

    free = False

    def __init__(
        self,
        model: str,
        name: str,
        asking: Asking | None,
        parameters: Mapping[str, Any] | None,
        price: Price | None,
    ) -> None:
        self.name = name
        self.asking = asking or Asking()
        self._model = model
        self._requests = Requests(model, parameters, price)

    @cached_property
    def parameters(self) -> Mapping[str, Any]:
        """What goes into a label's key."""
        # Under a name of its own, the model still tells its labels from those of another one of that name.
        return {**self._requests.parameters, **({} if self.name == self._model else {"model": self._model})}

    def expect(self, question: Question) -> Cost:
        """About what asking this question costs, attempts that fail not counted."""
        return self._requests.expect(question)

    def answer(self, questions: Sequence[Question], budget: Budget | None = None) -> Iterator[tuple[Question, Answer]]:
        """Answer every question, in order of completion; see `Teacher.answer`."""
        with closing(self.answer_together(questions, budget)) as together:
            for answered in together:
                yield from answered

    def answer_together(
        self, questions: Sequence[Question], budget: Budget | None = None
    ) -> Generator[Sequence[tuple[Question, Answer]], None, None]:
        """As `answer`, with those answers together that arrive together: so that they can be stored in one go."""
        budget = budget or Budget()
        self._requests.check_limited(budget.limits, questions)
        yield from self._answered(questions, budget)

    @abstractmethod
    def _answered(
        self, questions: Sequence[Question], budget: Budget
    ) -> Iterator[Sequence[tuple[Question, Answer]]]: ...
