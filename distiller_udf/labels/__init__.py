"""Labels: their one shape, the store that keeps them, what people bring, and asking teachers through the store."""

from distiller_udf.labels.answering import Lines, Progress, answer_questions
from distiller_udf.labels.erasure import Deleted
from distiller_udf.labels.finding import FoundReport, labels_on_records, labels_with_records, labels_without_records
from distiller_udf.labels.importing import ImportResult
from distiller_udf.labels.panel import CostEstimate
from distiller_udf.labels.reading import good_labels, read_labels
from distiller_udf.labels.rows import SCHEMA_VERSION
from distiller_udf.labels.run import Run, make_run
from distiller_udf.labels.store import LabelStore, TeacherSummary
from distiller_udf.labels.table import (
    EXPORT_SCHEMA,
    Label,
    has_answer,
    label_id_columns,
    label_schema,
    without_label_columns,
)
from distiller_udf.labels.tuples import Tuples

__all__ = [
    "EXPORT_SCHEMA",
    "SCHEMA_VERSION",
    "CostEstimate",
    "Deleted",
    "FoundReport",
    "ImportResult",
    "Label",
    "LabelStore",
    "Lines",
    "Progress",
    "Run",
    "TeacherSummary",
    "Tuples",
    "answer_questions",
    "good_labels",
    "has_answer",
    "label_id_columns",
    "label_schema",
    "labels_on_records",
    "labels_with_records",
    "labels_without_records",
    "make_run",
    "read_labels",
    "without_label_columns",
]
