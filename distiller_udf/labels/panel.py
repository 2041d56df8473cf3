"""One teacher and many tuples: which texts it sees, which questions that makes, and one answer a tuple."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

import pyarrow as pa

from distiller_udf.budget import Budget, Cost
from distiller_udf.english import counted
from distiller_udf.labels.answering import OnProgress, Progress, answer_questions, known_answers, unseen
from distiller_udf.labels.store import LabelStore
from distiller_udf.labels.table import Key
from distiller_udf.privacy import Privacy
from distiller_udf.prompts import Answer, Posed, Question
from distiller_udf.records import content_hash
from distiller_udf.teachers.base import Learner, Prepared, Teacher

logger = logging.getLogger(__name__)

Texts = tuple[str, tuple[str, ...]]
"""A tuple as canonical texts: the query and its candidates."""


@dataclass(frozen=True)
class Labelled:
    """What one teacher says of one tuple; `key` finds the answer (of several, the first) in the store."""

    answer: Answer
    key: str
    teacher: Teacher


@dataclass(frozen=True)
class CostEstimate:
    """What asking a teacher will take: `questions` distinct ones about so many tuples, of which `asked` are still open.

    `cost` is about what these cost; its `usd` is None where the price is unknown.
    """

    teacher: str
    tuples: int
    questions: int
    cached: int
    asked: int
    cost: Cost

    def __str__(self) -> str:
        given, made = self.cost.input_tokens, self.cost.output_tokens
        return (
            f"{self.teacher}: {counted(self.tuples, 'tuple')}, {counted(self.questions, 'question')}, {self.cached:,} "
            f"answered before, {self.asked:,} to ask: about {given:,} tokens in, {made:,} out, {self.cost.price}"
        )


@dataclass(frozen=True)
class Panel:
    """The tuples of a run, with all that asking any teacher about them takes.

    `texts` are the tuples; `records` are their records' keys, the query's first, or None where they are unknown.
    `rows` says that the records are rows, none of them a text without columns. `pairs` fetches all candidate pairs.
    """

    texts: Sequence[Texts]
    store: LabelStore
    budget: Budget
    privacy: Privacy
    records: Sequence[Sequence[Key]] | None = None
    rows: bool = False
    pairs: Callable[[], pa.Table] | None = None
    progress: OnProgress = unseen

    def ask(self, teacher: Teacher) -> list[Labelled]:
        """What the teacher says of every tuple; where it learns from another one, that one says a share of it.

        Raises TeacherError, LabelError.
        """
        if not isinstance(teacher, Learner):
            return self._ask(teacher)
        taught, others = self._split(teacher.share)
        base = self._part(taught).ask(teacher.base)
        if any(labelled.answer.failed for labelled in base):
            # Taught by fewer answers it would be another teacher, and a worse one.
            reason = f"{teacher.base.name} has not answered all that it has to teach"
            logger.warning("%s was not asked: %s", teacher.name, reason)
            self.progress(Progress(teacher.name, total=len(others), failed=len(others)))
            failed = Answer(None, error=f"no answer: {reason}", failed=True)
            own = [Labelled(failed, "", teacher) for _ in others]
        else:
            teacher.learn([(Question(*self.texts[i]), told.answer) for i, told in zip(taught, base, strict=True)])
            own = self._part(others)._ask(teacher)
        said = dict(zip([*taught, *others], [*base, *own], strict=True))
        return [said[i] for i in range(len(self.texts))]

    def estimate(self, teacher: Teacher) -> Iterator[CostEstimate]:
        """What asking this teacher will take, and first what its base will where it learns from one."""
        if isinstance(teacher, Learner):
            taught, others = self._split(teacher.share)
            yield from self._part(taught).estimate(teacher.base)
            yield CostEstimate(teacher.name, len(others), len(others), 0, len(others), Cost())
            return
        self._prepare(teacher)
        texts = self._seen(teacher)
        posed = _posed(teacher, texts)
        questions = {p.question.key(teacher): p.question for _, p in posed}
        known = known_answers(questions, self.store)
        if reasons := _reasons(teacher, texts, posed, known):
            questions |= reasons
            known |= self.store.get(questions)
        cost = sum((teacher.expect(q) for key, q in questions.items() if key not in known), Cost())
        yield CostEstimate(teacher.name, len(texts), len(questions), len(known), len(questions) - len(known), cost)

    def _ask(self, teacher: Teacher) -> list[Labelled]:
        """What this very teacher says of every tuple."""
        self._prepare(teacher)
        texts = self._seen(teacher)
        posed = _posed(teacher, texts)
        said = self._answers(teacher, posed, self.progress)
        by_key = {p.question.key(teacher): answer for (_, p), answer in zip(posed, said, strict=True)}
        answers, keys = [], []
        for i, questions in _by_tuple(posed):
            mine = [by_key[p.question.key(teacher)] for p in questions]
            answers.append(teacher.asking.combine(len(texts[i][1]), questions, mine))
            keys.append(questions[0].question.key(teacher))
        if teacher.asking.justify or teacher.asking.justify_each:
            answers = self._justified(teacher, texts, answers)
        return [Labelled(answer, key, teacher) for answer, key in zip(answers, keys, strict=True)]

    def _justified(self, teacher: Teacher, texts: Sequence[Texts], answers: list[Answer]) -> list[Answer]:
        """The answers with the reasons that the teacher gives when it is asked for them afterwards."""
        asked = teacher.asking.reasons
        posed = [(i, p) for i, answer in enumerate(answers) for p in asked(*texts[i], answer.choice)]

        def named(progress: Progress, /) -> None:
            self.progress(replace(progress, teacher=f"{teacher.name}, reasons"))

        given = self._answers(teacher, posed, named)
        by_key = {p.question.key(teacher): reason for (_, p), reason in zip(posed, given, strict=True)}
        result = list(answers)
        for i, questions in _by_tuple(posed):
            mine = [by_key[p.question.key(teacher)] for p in questions]
            result[i] = teacher.asking.explained(answers[i], len(texts[i][1]), questions, mine)
        return result

    def _answers(self, teacher: Teacher, posed: Sequence[_Posed], progress: OnProgress) -> list[Answer]:
        """Answers through the store, which is told before which records the questions show."""
        if self.records is not None:
            records = self.records
            self.store.mention((p.question.key(teacher), [records[i][place] for place in p.places]) for i, p in posed)
        questions = [p.question for _, p in posed]
        return answer_questions(questions, teacher=teacher, store=self.store, budget=self.budget, progress=progress)

    def _prepare(self, teacher: Teacher) -> None:
        if self.texts and self.pairs is not None and isinstance(teacher, Prepared):
            teacher.prepare(self.pairs())

    def _seen(self, teacher: Teacher) -> Sequence[Texts]:
        """The tuples as this teacher sees them."""
        if teacher.local:
            return self.texts
        texts = [text for query, candidates in self.texts for text in (query, *candidates)]
        shown = iter(self.privacy.shown(texts, rows=self.rows))
        return [(next(shown), tuple(next(shown) for _ in candidates)) for _, candidates in self.texts]

    def _split(self, share: float) -> tuple[list[int], list[int]]:
        """The tuples that a base answers, drawn by their content, and the others."""
        order = sorted(
            range(len(self.texts)), key=lambda i: content_hash("taught", self.texts[i][0], *self.texts[i][1])
        )
        taught = set(order[: math.ceil(share * len(order))])
        return sorted(taught), [i for i in range(len(order)) if i not in taught]

    def _part(self, rows: Sequence[int]) -> Panel:
        records = None if self.records is None else [self.records[i] for i in rows]
        return replace(self, texts=[self.texts[i] for i in rows], records=records)


_Posed = tuple[int, Posed]
"""The number of a tuple and one of its questions."""


def _by_tuple(posed: Sequence[_Posed]) -> Iterator[tuple[int, list[Posed]]]:
    for i, group in itertools.groupby(posed, key=itemgetter(0)):
        yield i, [question for _, question in group]


def _reasons(
    teacher: Teacher, texts: Sequence[Texts], posed: Sequence[_Posed], known: Mapping[str, Answer]
) -> dict[str, Question]:
    """The reasons that will be asked for, by key; where the answer is still open, that of none stands for it."""
    found = {}
    for i, questions in _by_tuple(posed):
        answers = [known.get(p.question.key(teacher)) for p in questions]
        given = [answer for answer in answers if answer is not None]
        whole = len(given) == len(questions)
        choice = teacher.asking.combine(len(texts[i][1]), questions, given).choice if whole else 0
        for number, why in enumerate(p.question for p in teacher.asking.reasons(*texts[i], choice)):
            # An open one's key is made up: what is stored of none does not answer it.
            found[why.key(teacher) if whole else f"open {i} {number}"] = why
    return found


def _posed(teacher: Teacher, texts: Sequence[Texts]) -> list[_Posed]:
    return [(i, posed) for i, text in enumerate(texts) for posed in teacher.asking.pose(*text)]
