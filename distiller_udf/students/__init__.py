"""Students: small models that answer what the teacher was not asked."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from distiller_udf.errors import StudentDamaged
from distiller_udf.students.base import Student, StudentInfo, check_columns

KINDS = {
    "lexical": ("distiller_udf.students.lexical", "LexicalStudent"),
    "encoder": ("distiller_udf.students.encoder", "EncoderStudent"),
    "blend": ("distiller_udf.students.blend", "BlendStudent"),
}
"""Every kind of student: the module and the class that loads it, imported only when used."""

__all__ = ["KINDS", "Student", "StudentInfo", "check_columns", "load_student"]


def load_student(path: str | Path) -> Student:
    """Load a student from its folder.

    Raises StudentNotFound when there is no folder, StudentDamaged when it is incomplete, altered or foreign.
    """
    folder = Path(path)
    info = StudentInfo.read(folder)
    if info.kind not in KINDS:
        raise StudentDamaged(
            f"the student at {folder} is of kind {info.kind!r}, which this version does not know "
            f"(it knows {', '.join(KINDS)}); upgrade distiller-udf"
        )
    module, name = KINDS[info.kind]
    student: Student = getattr(import_module(module), name).load(folder, info)
    return student
