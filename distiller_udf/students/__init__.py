"""Students: small models that answer what the teacher was not asked."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from distiller_udf.constraint import Constraint
from distiller_udf.errors import StudentDamaged
from distiller_udf.students.base import Student, StudentInfo, check_columns

KINDS = {
    "lexical": ("distiller_udf.students.kinds", "LexicalStudent"),
    "encoder": ("distiller_udf.students.kinds", "EncoderStudent"),
    "blend": ("distiller_udf.students.kinds", "BlendStudent"),
    "cross_encoder": ("distiller_udf.students.kinds", "CrossEncoderStudent"),
    "llm": ("distiller_udf.students.llm", "LLMStudent"),
}
"""Every kind of student: the module and the class that loads it, imported only when used."""

SERVED = {"llm"}
"""Kinds that can run elsewhere than in this process, as a `Serving` says."""

if TYPE_CHECKING:
    from distiller_udf.students.llm import Serving

__all__ = ["KINDS", "Student", "StudentInfo", "check_columns", "load_student"]


def load_student(path: str | Path, serving: Serving | None = None, constraint: Constraint | None = None) -> Student:
    """Load a student from its folder; `serving` says where a language model runs.

    `constraint` is the one that it is to decide under; None where pairs are only scored. Raises StudentNotFound when
    there is no folder, StudentDamaged when it is incomplete, altered or foreign, ConstraintMismatch.
    """
    folder = Path(path)
    info = StudentInfo.read(folder)
    if constraint is not None:
        info.check_constraint(constraint)
    if info.kind not in KINDS:
        raise StudentDamaged(
            f"the student at {folder} is of kind {info.kind!r}, which this version does not know "
            f"(it knows {', '.join(KINDS)}); upgrade distiller-udf"
        )
    module, name = KINDS[info.kind]
    loader = getattr(import_module(module), name)
    student: Student = loader.load(folder, info, serving) if info.kind in SERVED else loader.load(folder, info)
    return student
