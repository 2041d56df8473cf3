"""The label store: every answer that was paid for, in one SQLite file beside the warehouse."""

from distiller_udf.labels.erasure import Deleted
from distiller_udf.labels.schema import EXPORT_SCHEMA, IMPORTED_SCHEMA, SCHEMA_VERSION
from distiller_udf.labels.store import LabelStore, TeacherSummary

__all__ = [
    "EXPORT_SCHEMA",
    "IMPORTED_SCHEMA",
    "SCHEMA_VERSION",
    "Deleted",
    "LabelStore",
    "TeacherSummary",
]
