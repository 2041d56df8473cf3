"""A labelling run: tuples → labels, from every teacher that is asked, through the store and the budget."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from distiller_udf.budget import Budget, Ledger, Limits
from distiller_udf.errors import BudgetSpent, SettingsError, TeacherError
from distiller_udf.labels.answering import OnProgress, Progress, unseen
from distiller_udf.labels.panel import CostEstimate, Labelled, Panel, Texts
from distiller_udf.labels.store import LabelStore
from distiller_udf.labels.table import Key, label_schema, label_table
from distiller_udf.labels.tuples import Tuples
from distiller_udf.privacy import Privacy
from distiller_udf.prompts import Answer, Question
from distiller_udf.records.ids import id_texts
from distiller_udf.settings import Settings
from distiller_udf.teachers import entries, make_teachers
from distiller_udf.teachers.base import Learner, Prepared, Teacher
from distiller_udf.votes import vote

Rows: TypeAlias = "pa.Table | pa.RecordBatchReader"
Pairs: TypeAlias = "Callable[[], pa.Table] | None"

ANSWER = ("choice", "confidence", "probabilities", "explanation", "cost_usd", "input_tokens", "output_tokens", "error")
"""What of a vote is an answer."""


@dataclass(frozen=True)
class Run:
    """All that asking goes by; `vote` is how several teachers' answers become one.

    `privacy` says which columns no teacher outside this process may see.
    """

    teachers: Sequence[Teacher]
    store: LabelStore
    budget: Budget = field(default_factory=Budget)
    privacy: Privacy = field(default_factory=Privacy)
    vote: str = "majority"

    def label(self, tuples: Rows, *, pairs: Pairs = None, progress: OnProgress = unseen) -> pa.Table:
        """Have every teacher answer every tuple: rows of `er_labels`, one an answer, teacher by teacher.

        `tuples` has the columns of `er_tuples`; ids keep their type. `pairs` fetches all candidate pairs for a teacher
        that looks at them first; without it these are the tuples' own. A question that failed gives no row, so that an
        earlier answer stays where it is; it is not stored, and is asked again by the next run. A spent budget ends the
        run in the same manner, and the last progress says so.

        Raises LabelError when the tuples or the store cannot be used, SettingsError when a column that is to be private
        is not there, and TeacherError when a teacher cannot be asked; whatever was answered until then is kept.
        """
        read = _read(tuples)
        panel = self._panel(read, pairs, progress)
        tables = [_answered(read, panel.ask(teacher)) for teacher in self.teachers]
        return pa.concat_tables(tables) if tables else label_schema(read.left_id.type).empty_table()

    def estimate(self, tuples: Rows, *, pairs: Pairs = None) -> list[CostEstimate]:
        """What `label` would ask and about what it would cost, teacher by teacher. It asks nothing."""
        panel = self._panel(_read(tuples), pairs, unseen)
        return [part for teacher in self.teachers for part in panel.estimate(teacher)]

    def answer(self, texts: Sequence[Texts], columns: Sequence[str] | None = None) -> list[tuple[Answer, str]]:
        """One answer a tuple, given as canonical texts, and who gave it; for `er_label`.

        `columns` are those of the records, None where some are plain text; private ones must be among them, as a
        misspelt name would hide nothing. Teachers that need to see more than a question (embedded, encoder) are left
        out. With several teachers the answer is the majority's: how reliable they are cannot be told from a few
        questions, so `dawid_skene` counts as that here. Raises BudgetSpent, TeacherError, LabelError, SettingsError.
        """
        teachers = [teacher for teacher in self.teachers if not isinstance(teacher, (Prepared, Learner))]
        if not teachers:
            raise TeacherError(
                "er_label asks one question at a time, which needs an LLM: set er_teacher to openai or vllm, with an "
                "er_teacher_model. The embedded teacher and the encoder see all candidates first; `dbt build` asks them"
            )
        stopped: list[str] = []

        def watch(progress: Progress, /) -> None:
            if progress.stopped:
                stopped.append(progress.stopped)

        if self.privacy.hides and columns is not None:  # a text without columns is refused when it is shown
            self.privacy.check_columns(columns)
        panel = Panel(texts, self.store, self.budget, self.privacy, rows=columns is not None, progress=watch)
        said = [panel.ask(teacher) for teacher in teachers]
        if stopped:
            raise BudgetSpent(stopped[0])
        if len(said) == 1:
            return [(label.answer, label.teacher.name) for label in said[0]]
        return _voted(texts, said, "unanimous" if self.vote == "unanimous" else "majority")

    def _panel(self, read: Tuples, pairs: Pairs, progress: OnProgress) -> Panel:
        if read.columns is not None:
            self.privacy.check_columns(read.columns)
        return Panel(
            [(question.query, question.candidates) for question in read.questions],
            self.store,
            self.budget,
            self.privacy,
            records=_keys(read),
            rows=read.columns is not None,
            pairs=pairs or read.pairs,
            progress=progress,
        )


def make_run(settings: Settings, ledger: Ledger | None = None) -> Run:
    """The run that `settings` describe; runs with the same `ledger` spend from one purse.

    Raises SettingsError, LabelError.
    """
    listed = [entry.settings.teacher for entry in entries(settings)]
    if settings.vote == "unanimous" and listed == ["encoder"]:
        raise SettingsError(
            "an encoder and its base answer different questions, so they cannot be unanimous; use majority"
        )
    teachers = make_teachers(settings)
    limits = Limits(settings.budget_calls, settings.budget_tokens, settings.budget_usd)
    if limits.usd is not None:
        _check_prices(teachers)
    store = LabelStore(settings.label_store)
    private, masked = tuple(settings.private_columns), tuple(settings.masked_columns)
    privacy = Privacy(private, masked, store.secret() if masked else b"")
    return Run(teachers, store, Budget(limits, ledger), privacy, settings.vote)


@dataclass
class CurrentTeacher:
    """The teacher that `er_label` asks, and its store: made on first use, and asked by one thread at a time.

    DuckDB calls from several threads at once. One after the other they find each other's answers in the store, so
    nothing is paid for twice; the teacher itself has many questions of one call under way. Another `invocation` is
    another run, with a budget of its own: a connection may outlive a dbt command.
    """

    make: Callable[[], Run]
    invocation: Callable[[], str] = lambda: ""
    lock: threading.Lock = field(default_factory=threading.Lock)
    _made: tuple[str, Run] | None = None

    def answer(self, texts: Sequence[Texts], columns: Sequence[str] | None) -> list[tuple[Answer, str]]:
        """One answer a tuple, given as canonical texts, and the name of who gave it; see `Run.answer`.

        Raises SettingsError, LabelError, TeacherError and, where the budget does not reach, BudgetSpent.
        """
        with self.lock:
            invocation = self.invocation()
            if self._made is None or self._made[0] != invocation:
                if self._made is not None:
                    self._made[1].store.close()
                self._made = invocation, self.make()
            return self._made[1].answer(texts, columns)


def _check_prices(teachers: Sequence[Teacher]) -> None:
    """Raise SettingsError for a teacher whose price is unknown, before any other is paid."""
    for teacher in teachers:
        paid = teacher.base if isinstance(teacher, Learner) else teacher
        if paid.expect(Question("{}", ("{}",))).usd is None:
            raise SettingsError(
                f"budget_usd needs the price of {paid.name}, which is unknown; add it to the file of teacher_prices, "
                "or limit calls or tokens instead"
            )


def _read(tuples: Rows) -> Tuples:
    return Tuples.from_table(tuples.read_all() if isinstance(tuples, pa.RecordBatchReader) else tuples)


def _keys(read: Tuples) -> list[list[Key]]:
    """The source and id of every tuple's records, the left one first, as text."""
    left = list(zip(map(str, read.left_source.to_pylist()), id_texts(read.left_id), strict=True))
    members = list(zip(map(str, read.sources.to_pylist()), id_texts(read.ids), strict=True))
    spans = zip(left, read.offsets[:-1], read.offsets[1:], strict=True)
    return [[key, *members[start:stop]] for key, start, stop in spans]


def _rows(read: Tuples, labels: Sequence[Labelled]) -> pa.Table:
    """One teacher's labels as rows of `er_labels`."""
    teachers = [label.teacher for label in labels]
    how = [(teacher.asking.ask, teacher.asking.orders, teacher.asking.seed) for teacher in teachers]
    keys, answers = [label.key for label in labels], [label.answer for label in labels]
    return label_table(read, keys, answers, [teacher.name for teacher in teachers], how)


def _answered(read: Tuples, labels: Sequence[Labelled]) -> pa.Table:
    """One teacher's labels as rows of `er_labels`, without those that failed."""
    answered = [not label.answer.failed for label in labels]
    table = _rows(read, labels)
    return table if all(answered) else table.filter(pa.array(answered, pa.bool_()))


def _voted(texts: Sequence[Texts], said: Sequence[Sequence[Labelled]], method: str) -> list[tuple[Answer, str]]:
    """The teachers' answers to these tuples as one each; the tuples are numbered, for they have no ids here.

    A teacher without a reply does not vote, as one that abstains does not.
    """
    numbers = np.cumsum([0, *(len(candidates) for _, candidates in texts)])
    tuples = Tuples(
        left_source=pa.array([""] * len(texts), pa.string()),
        left_id=pa.array(range(len(texts)), pa.int64()),
        queries=[query for query, _ in texts],
        offsets=numbers.astype(np.int32),
        sources=pa.array([""] * int(numbers[-1]), pa.string()),
        ids=pa.array([i for _, candidates in texts for i in range(len(candidates))], pa.int64()),
        texts=[text for _, candidates in texts for text in candidates],
    )
    votes = vote(pa.concat_tables([_rows(tuples, labels) for labels in said]), method)
    rows = {row["left_id"]: row for row in votes.to_pylist()}
    return [(Answer(**{name: rows[i][name] for name in ANSWER}), rows[i]["teacher"]) for i in range(len(texts))]
