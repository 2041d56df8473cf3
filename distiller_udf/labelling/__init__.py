"""Labelling: tuples go in, labels come out, and nothing is paid for twice."""

from distiller_udf.labelling.answering import answer_questions
from distiller_udf.labelling.imports import ImportedReport, imported_labels
from distiller_udf.labelling.label import estimate, label_tuples
from distiller_udf.labelling.panel import Estimate, Labelled, Panel
from distiller_udf.labelling.progress import Lines, OnProgress, Progress
from distiller_udf.labelling.run import Run, make_run

__all__ = [
    "Estimate",
    "ImportedReport",
    "Labelled",
    "Lines",
    "OnProgress",
    "Panel",
    "Progress",
    "Run",
    "answer_questions",
    "estimate",
    "imported_labels",
    "label_tuples",
    "make_run",
]
