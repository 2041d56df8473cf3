"""What the Python model er_student_comparisons does: the files that retraining wrote → rows."""

from __future__ import annotations

import pyarrow as pa

from distiller_udf.comparison import Archive
from distiller_udf.registry import Registry


def student_comparisons(registry: Registry) -> pa.Table:
    """The rows of `er_student_comparisons`: every comparison that `distiller retrain` has made in this registry."""
    return Archive(registry.folder).table()
