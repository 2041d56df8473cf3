"""Labels → a student version: trained when the labels or the settings changed, otherwise the one that is there."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from distiller_udf import __version__
from distiller_udf.errors import SettingsError, one_of
from distiller_udf.registry import Registry
from distiller_udf.settings import DEFAULT_ENCODER
from distiller_udf.students import KINDS
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.llm.causal import looks_like_a_path

from . import kinds
from .fingerprint import in_order, label_fingerprint, teachers, usable_labels
from .material import Report
from .recipe import Recipe
from .train import train

logger = logging.getLogger(__name__)

STANDARD = Recipe()


@dataclass(frozen=True)
class Outcome:
    """A version that is there now, its folder, and whether it was trained just now."""

    info: StudentInfo
    path: Path
    trained: bool


def ensure_student(
    labels: pa.Table, registry: Registry, recipe: Recipe = STANDARD, progress: Report | None = None
) -> Outcome:
    """Train and promote a student unless one of these very labels, settings and code is there already.

    As `publish_student`, and then the version is the current one unless another is pinned.
    """
    published = publish_student(labels, registry, recipe, progress)
    version = published.info.version
    if registry.current_version() != version and not registry.succeed(version):
        current = registry.current_version()
        logger.warning("%s stays the current student because it is pinned; these labels give %s", current, version)
    return published


def publish_student(
    labels: pa.Table, registry: Registry, recipe: Recipe = STANDARD, progress: Report | None = None
) -> Outcome:
    """Train a student and make it a version, unless one of these very labels, settings and code is there already.

    `labels` has the shape of `er_labels`. The current student stays the current one. Raises TrainingError when the
    labels cannot carry a student, StudentError when it cannot be written.
    """
    kind = one_of("er_student", recipe.kind, KINDS)
    version = recipe.version(labels)
    path = registry.path(version)
    if registry.exists(version):
        return Outcome(StudentInfo.read(path), path, trained=False)
    if hasattr(kinds.KINDS[kind].settings, "encoder"):
        _check_encoder((recipe.settings or {}).get("encoder", DEFAULT_ENCODER))
    with registry.work(version) as work, registry.staging() as folder:
        if registry.exists(version):  # another process has trained it meanwhile
            return Outcome(StudentInfo.read(path), path, trained=False)
        info = train(
            kind,
            in_order(labels),
            folder,
            recipe.candidates() if recipe.candidates else None,
            recipe.settings,
            version=version,
            trained_from={
                "label_fingerprint": label_fingerprint(labels),
                "teachers": teachers(labels),
                "code_version": __version__,
                "labels": usable_labels(labels),
            },
            progress=progress,
            work=work,
        )
        registry.publish(folder, version)
    return Outcome(info, path, trained=True)


def _check_encoder(encoder: str) -> None:
    """Raise SettingsError before the first minutes of training where the encoder will not load."""
    from distiller_udf.encoding.loading import torch_module

    if looks_like_a_path(encoder) and not Path(encoder).is_dir():
        raise SettingsError(
            f"there is no encoder at {encoder}; er_student_encoder (--encoder) is a folder with a pretrained encoder, "
            f"or the id of a model on the hub such as {DEFAULT_ENCODER}"
        )
    torch_module()
