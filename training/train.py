"""Train a student, in four steps: the material, a fit to it, decisions, and the folder that is written."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from distiller_udf.errors import one_of
from distiller_udf.settings import checked
from distiller_udf.students.base import StudentInfo

from .decide import decide
from .fit import KINDS
from .material import Material, Report
from .write import write

logger = logging.getLogger(__name__)


def train(
    kind: str,
    labels: pa.Table,
    folder: Path,
    candidates: Iterable[pa.RecordBatch] | None = None,
    settings: Mapping[str, Any] | None = None,
    version: str | None = None,
    trained_from: Mapping[str, Any] | None = None,
    progress: Report | None = None,
    work: Path | None = None,
) -> StudentInfo:
    """Train a student of a kind (see `KINDS`) into the empty `folder` and return its manifest.

    `labels` has the shape of `er_labels`. `candidates` are batches of unlabelled pairs (`left`, `right`, optional
    integer `tuple`): they tell how rare words are, which columns belong together, and what the unlabelled rest looks
    like. `progress` is called with a step's name and the share done. `work` is a folder for what a long training
    keeps in case it is killed; the caller removes it.
    Raises TrainingError when the labels cannot carry a student, SettingsError for an unknown kind or setting.
    """
    one_of("student", kind, KINDS)
    chosen = checked(KINDS[kind].settings, settings)
    report = progress or (lambda step, share: logger.info("er_student: %s (%.0f %%)", step, 100 * share))
    report("reading labels and candidates", 0.0)
    work = work or folder.with_name(f"{folder.name}.work")
    material = Material.of(labels, candidates, chosen, work, KINDS[kind].reads_all)
    report("fitting", 0.1)
    trained = KINDS[kind].train(material, report)
    report("deciding", 0.95)
    decisions = decide(trained, material)
    report("writing the student", 0.97)
    info = write(folder, kind, version or kind, trained, material, decisions, trained_from or {})
    report("done", 1.0)
    return info
