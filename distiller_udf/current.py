"""Who answers now: the student and the teacher of a connection, loaded when they are first called."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from distiller_udf.errors import StudentNotFound
from distiller_udf.registry import Registry
from distiller_udf.students import Student, load_student
from distiller_udf.students.base import MANIFEST

if TYPE_CHECKING:
    from distiller_udf.labels.panel import Texts
    from distiller_udf.labels.run import Run
    from distiller_udf.prompts import Answer
    from distiller_udf.students.llm import Serving


@dataclass
class CurrentStudent:
    """The student that answers: loaded on first use, one call at a time (DuckDB calls from several threads).

    `serving` says where a language model runs.
    """

    source: str | Path | Student | None
    name: str = "default"
    serving: Serving | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    _loaded: Student | None = None

    def get(self) -> Student:
        """Load the student if that has not happened yet. Raises StudentNotFound, StudentDamaged."""
        with self.lock:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def _load(self) -> Student:
        if self.source is None:
            raise StudentNotFound(
                "no student was given: register(connection, student=FOLDER), or in profiles.yml under the plug-in's "
                "config: students_path: distiller/students. Train one with `dbt build` or `distiller train`"
            )
        if not isinstance(self.source, (str, Path)):
            return self.source
        folder = Path(self.source)
        return load_student(folder if (folder / MANIFEST).exists() else self._registered(folder), self.serving)

    def _registered(self, folder: Path) -> Path:
        """The current version, where `folder` is a registry's root (`students`) or one of its names."""
        if (folder / self.name).is_dir():
            return Registry(folder, self.name).current()
        if (folder / "CURRENT").exists():
            return Registry(folder.parent, folder.name).current()
        if folder.exists() and any(folder.iterdir()):
            return folder  # load_student says what is wrong with it
        raise StudentNotFound(f"no student at {folder}; train one with `dbt build` or `distiller train`")


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
