"""Who answers now: the student of a connection, loaded when it is first called."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from distiller_udf.constraint import Constraint
from distiller_udf.errors import StudentNotFound
from distiller_udf.registry import Registry
from distiller_udf.settings import Settings
from distiller_udf.students import Student, load_student
from distiller_udf.students.base import MANIFEST

if TYPE_CHECKING:
    from distiller_udf.students.llm import Serving


@dataclass
class CurrentStudent:
    """The student that answers: loaded on first use, one call at a time (DuckDB calls from several threads).

    `serving` says where a language model runs, `constraint` which one it is to decide under, where that is known.
    """

    source: str | Path | Student | None
    name: str = "default"
    serving: Serving | None = None
    constraint: Constraint | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    _loaded: Student | None = None

    @classmethod
    def of(cls, settings: Settings) -> CurrentStudent:
        """The student that the settings name, under their constraint: the one given, or else the current one."""
        from distiller_udf.students.llm import serving_of

        source = settings.student_path or settings.students_path
        return cls(source, settings.student_name, serving_of(settings), settings.known_constraint)

    def get(self) -> Student:
        """Load the student if that has not happened yet. Raises StudentNotFound, StudentDamaged, ConstraintMismatch."""
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
        version = folder if (folder / MANIFEST).exists() else self._registered(folder)
        return load_student(version, self.serving, self.constraint)

    def _registered(self, folder: Path) -> Path:
        """The current version, where `folder` is a registry's root (`students`) or one of its names."""
        if (folder / self.name).is_dir():
            return Registry(folder, self.name).current()
        if (folder / "CURRENT").exists():
            return Registry(folder.parent, folder.name).current()
        if folder.exists() and any(folder.iterdir()):
            return folder  # load_student says what is wrong with it
        raise StudentNotFound(f"no student at {folder}; train one with `dbt build` or `distiller train`")
