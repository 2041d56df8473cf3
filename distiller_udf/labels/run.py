"""A labelling run: the teachers, the store, the budget and what is kept private, made from settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from distiller_udf.budget import Budget, Ledger, Limits
from distiller_udf.errors import BudgetSpent, SettingsError, TeacherError
from distiller_udf.labels.panel import Labelled, Panel, Texts
from distiller_udf.labels.progress import Progress
from distiller_udf.labels.store import LabelStore
from distiller_udf.labels.table import label_table
from distiller_udf.labels.tuples import Tuples
from distiller_udf.privacy import Privacy
from distiller_udf.prompts import Answer, Question
from distiller_udf.settings import Settings
from distiller_udf.teachers import entries, make_teachers
from distiller_udf.teachers.base import Learner, Prepared, Teacher
from distiller_udf.votes import vote


@dataclass(frozen=True)
class Run:
    """All that asking goes by; `vote` is how several teachers' answers become one."""

    teachers: Sequence[Teacher]
    store: LabelStore
    budget: Budget
    privacy: Privacy
    vote: str = "majority"

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


def _check_prices(teachers: Sequence[Teacher]) -> None:
    """Raise SettingsError for a teacher whose price is unknown, before any other is paid."""
    for teacher in teachers:
        paid = teacher.base if isinstance(teacher, Learner) else teacher
        if paid.expect(Question("{}", ("{}",))).usd is None:
            raise SettingsError(
                f"budget_usd needs the price of {paid.name}, which is unknown; add it to the file of teacher_prices, "
                "or limit calls or tokens instead"
            )


def _voted(texts: Sequence[Texts], said: Sequence[Sequence[Labelled]], method: str) -> list[tuple[Answer, str]]:
    """The teachers' answers to these tuples as one each; the tuples are numbered, for they have no ids here."""
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
    tables = []
    for labels in said:
        # A teacher without a reply does not vote, as one that abstains does not.
        answers = [replace(label.answer, choice=None) if label.answer.failed else label.answer for label in labels]
        asked = [label.teacher for label in labels]
        keys, names = [label.key for label in labels], [t.name for t in asked]
        how = [(t.asking.ask, t.asking.orders, t.asking.seed) for t in asked]
        tables.append(label_table(tuples, keys, answers, names, how))
    rows = {row["left_id"]: row for row in vote(pa.concat_tables(tables), method).to_pylist()}
    fields = (
        "choice",
        "confidence",
        "probabilities",
        "explanation",
        "cost_usd",
        "input_tokens",
        "output_tokens",
        "error",
    )
    return [(Answer(**{name: rows[i][name] for name in fields}), rows[i]["teacher"]) for i in range(len(texts))]
