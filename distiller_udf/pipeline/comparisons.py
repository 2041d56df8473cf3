"""What the Python model er_student_comparisons does: the files that retraining wrote → rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from distiller_udf.comparison import Archive
from distiller_udf.registry import Registry


def student_comparisons(settings: Mapping[str, Any], folder: Path) -> pa.Table:
    """The rows of `er_student_comparisons`: every comparison that `distiller retrain` has made in this registry.

    `settings` are er_students_path and er_student_name; `folder` is the dbt project.
    """
    registry = Registry(folder / settings["students_path"], settings["student_name"])
    return Archive(registry.folder).table()
