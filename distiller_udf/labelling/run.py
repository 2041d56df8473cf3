"""A labelling run: the teachers, the store, the budget and what is kept private, made from settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from distiller_udf.budget import Budget, Ledger, Limits
from distiller_udf.errors import BudgetSpent, SettingsError, TeacherError, one_of
from distiller_udf.labelling.panel import Labelled, Panel, Texts
from distiller_udf.labelling.progress import Progress
from distiller_udf.labels import LabelStore
from distiller_udf.privacy import Privacy
from distiller_udf.prompts import Answer, Question
from distiller_udf.teachers import IMPORTED, check_settings, check_text, entries, make_teachers
from distiller_udf.teachers import SETTINGS as TEACHER_SETTINGS
from distiller_udf.teachers.base import Learner, Prepared, Teacher
from distiller_udf.tuples import Tuples, label_table
from distiller_udf.votes import METHODS, vote

SETTINGS: Mapping[str, Any] = {
    **TEACHER_SETTINGS,
    "teachers": None,
    "vote": "majority",
    "label_store": "distiller/labels.sqlite",
    "budget_calls": None,
    "budget_tokens": None,
    "budget_usd": None,
    "private_columns": (),
    "masked_columns": (),
}
"""Every setting of a run, with its default. Paths are relative to the dbt project."""


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


def make_run(settings: Mapping[str, Any], folder: Path, ledger: Ledger | None = None) -> Run:
    """The run that `settings` describe (names of `SETTINGS`; others are ignored, None means the default).

    Relative paths start at `folder`; runs with the same `ledger` spend from one purse. Raises SettingsError,
    LabelError.
    """
    check_run_settings(settings)
    whole = {name: default if settings.get(name) is None else settings[name] for name, default in SETTINGS.items()}
    teachers = make_teachers(whole, folder)
    if limits(whole).usd is not None:
        _check_prices(teachers)
    store = LabelStore(folder / whole["label_store"])
    private, masked = tuple(whole["private_columns"]), tuple(whole["masked_columns"])
    privacy = Privacy(private, masked, store.secret() if masked else b"")
    return Run(teachers, store, Budget(limits(whole), ledger), privacy, whole["vote"])


def check_run_settings(settings: Mapping[str, Any]) -> None:
    """Raise SettingsError for a setting whose value can never be right; None means the default."""
    listed = entries(settings)
    for entry in listed:
        check_settings({**entry, "teacher": None} if entry.get("teacher") == IMPORTED else entry)
    one_of("vote", settings.get("vote") or "majority", METHODS)
    if settings.get("vote") == "unanimous" and [entry.get("teacher") for entry in listed] == ["encoder"]:
        raise SettingsError(
            "an encoder and its base answer different questions, so they cannot be unanimous; use majority"
        )
    check_text("label_store", settings.get("label_store"))
    for name in ("private_columns", "masked_columns"):
        columns = settings.get(name)
        if columns is not None and (isinstance(columns, str) or not all(isinstance(c, str) for c in columns)):
            raise SettingsError(f"{name} is {columns!r}; it must be a list of column names")
    limits(settings)


def limits(settings: Mapping[str, Any]) -> Limits:
    """The limits that `settings` set. Raises SettingsError for one that is no number."""
    values = {name: settings.get(f"budget_{name}") for name in ("calls", "tokens", "usd")}
    for name, value in values.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise SettingsError(f"budget_{name} is {value!r}; it must be a number, or null for no limit")
    return Limits(**values)


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
        tables.append(
            label_table(
                tuples, [label.key for label in labels], answers, [t.name for t in asked], [t.asking for t in asked]
            )
        )
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
