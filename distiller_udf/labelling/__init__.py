"""Labelling: tuples go in, labels come out, and nothing is paid for twice."""

from distiller_udf.labelling.answering import answer_questions
from distiller_udf.labelling.imports import ImportedReport, imported_labels
from distiller_udf.labelling.label import estimate, label_tuples
from distiller_udf.labelling.panel import Estimate, Labelled, Panel
from distiller_udf.labelling.progress import OnProgress, Progress

__all__ = [
    "Estimate",
    "ImportedReport",
    "Labelled",
    "OnProgress",
    "Panel",
    "Progress",
    "answer_questions",
    "estimate",
    "imported_labels",
    "label_tuples",
]
