"""Labels and a recipe → a student version: trained when they changed, otherwise the one that is there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from distiller_udf import __version__
from distiller_udf.errors import SettingsError, one_of
from distiller_udf.records import content_hash
from distiller_udf.registry import Registry
from distiller_udf.settings import DEFAULT_ENCODER, checked
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.llm.causal import looks_like_a_path
from distiller_udf.teachers.weights import model_identity

from .fit import KINDS
from .learned import canonical, in_order, label_fingerprint, teachers, usable_labels
from .material import MODELS, Report, model_name
from .train import train

logger = logging.getLogger(__name__)

Candidates = Iterable[pa.RecordBatch]

REVISION = 8
"""Raised when the same labels and settings give another student than before."""


@dataclass(frozen=True)
class Recipe:
    """The `kind` of a student and the `settings` of its training (see `KINDS`).

    `candidates` fetches the unlabelled pairs, only when training happens. `columns` describes the candidates' columns:
    where they change, another student is wanted.
    """

    kind: str = "lexical"
    settings: Mapping[str, Any] | None = None
    candidates: Callable[[], Candidates] | None = None
    columns: str = ""

    def version(self, labels: pa.Table) -> str:
        """The name of the student that these labels give: one of the very same labels, settings and code.

        Settings count as they apply: a default that is named makes no other student.

        Models count by their weights: others in the same folder make another student. Whether the hub may be asked for
        them does not change what is learned.
        """
        settings = self.effective
        models = {name: model_identity(settings[name]) for name in MODELS if settings.get(name)}
        taught = label_fingerprint(labels, reasons=bool(settings.get("explanations")))
        known = canonical({**settings, **models})
        return f"{self.kind}-{content_hash(self.kind, taught, known, self.columns, __version__, str(REVISION))[:12]}"

    def made(self, info: StudentInfo) -> bool:
        """Whether a student was made by this recipe and this code; of a folder with a model the name alone is known."""
        shown = {n: model_name(v) if n in MODELS and v else v for n, v in self.effective.items()}
        same = all(name in info.settings and info.settings[name] == value for name, value in shown.items())
        return info.kind == self.kind and same and info.trained_from.get("code_version") == __version__

    @property
    def effective(self) -> dict[str, Any]:
        """All settings that say what is learned, defaults included. Raises SettingsError."""
        settings = checked(KINDS[self.kind].settings, self.settings).model_dump()
        return {name: value for name, value in settings.items() if name != "local_only"}


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
    if encoder := recipe.effective.get("encoder"):
        _check_encoder(encoder)
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
