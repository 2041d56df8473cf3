"""Labels → a student version: trained when the labels or the settings changed, otherwise the one that is there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from distiller_udf import __version__
from distiller_udf.encoding import DEFAULT_MODEL
from distiller_udf.errors import SettingsError, one_of
from distiller_udf.records import content_hash
from distiller_udf.registry import Registry
from distiller_udf.students import KINDS, load_student
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.llm.causal import looks_like_a_path
from distiller_udf.teachers.weights import model_identity

from . import kinds
from .fingerprint import canonical, in_order, label_fingerprint, teachers, usable_labels
from .material import Report
from .train import RECIPE, train

logger = logging.getLogger(__name__)

Candidates = Iterable[pa.RecordBatch]


@dataclass(frozen=True)
class Outcome:
    """A version that is there now, its folder, and whether it was trained just now."""

    info: StudentInfo
    path: Path
    trained: bool


def ensure_student(
    labels: pa.Table,
    registry: Registry,
    *,
    kind: str = "lexical",
    settings: Mapping[str, Any] | None = None,
    candidates: Callable[[], Candidates] | None = None,
    columns: str = "",
    progress: Report | None = None,
) -> Outcome:
    """Train and promote a student unless one of these very labels, settings and code is there already.

    As `publish_student`, and then the version is the current one unless another is pinned.
    """
    published = publish_student(
        labels, registry, kind=kind, settings=settings, candidates=candidates, columns=columns, progress=progress
    )
    version = published.info.version
    current = registry.current_version()
    if current is not None and current != version and registry.pinned and registry.exists(current):
        logger.warning("%s stays the current student because it is pinned; these labels give %s", current, version)
    elif current != version:
        registry.promote(version)
    path = registry.current()
    return Outcome(load_student(path).info, path, published.trained)


def publish_student(
    labels: pa.Table,
    registry: Registry,
    *,
    kind: str = "lexical",
    settings: Mapping[str, Any] | None = None,
    candidates: Callable[[], Candidates] | None = None,
    columns: str = "",
    progress: Report | None = None,
) -> Outcome:
    """Train a student and make it a version, unless one of these very labels, settings and code is there already.

    `labels` has the shape of `er_labels`; `candidates` fetches the unlabelled pairs, only when training happens.
    The current student stays the current one. `columns` describes the candidates' columns: where they change, another
    student is wanted. Raises TrainingError when the labels cannot carry a student, StudentError when it cannot be
    written.
    """
    one_of("er_student", kind, KINDS)
    fingerprint = label_fingerprint(labels)
    known = canonical(_identified(settings))
    taught = label_fingerprint(labels, reasons=bool((settings or {}).get("explanations")))
    version = f"{kind}-{content_hash(kind, taught, known, columns, __version__, str(RECIPE))[:12]}"
    path = registry.path(version)
    if registry.exists(version):
        return Outcome(StudentInfo.read(path), path, trained=False)
    if kind != "lexical" and hasattr(kinds.KINDS[kind].settings, "encoder"):
        _check_encoder((settings or {}).get("encoder", DEFAULT_MODEL))
    origin = {"label_fingerprint": fingerprint, "teachers": teachers(labels), "code_version": __version__}
    with registry.work(version) as work, registry.staging() as folder:
        if registry.exists(version):  # another process has trained it meanwhile
            return Outcome(StudentInfo.read(path), path, trained=False)
        info = train(
            kind,
            in_order(labels),
            folder,
            candidates() if candidates else None,
            settings,
            version=version,
            trained_from={**origin, "labels": usable_labels(labels)},
            progress=progress,
            work=work,
        )
        registry.publish(folder, version)
    return Outcome(info, path, trained=True)


def _identified(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings with models named by their weights: other weights in the same folder make another student.

    Whether the hub may be asked for them does not change what is learned.
    """
    known = {name: value for name, value in (settings or {}).items() if name != "local_only"}
    models = {name: model_identity(known[name]) for name in ("encoder", "model", "start") if known.get(name)}
    return {**known, **models}


def _check_encoder(encoder: str) -> None:
    """Raise SettingsError before the first minutes of training where the encoder will not load."""
    from distiller_udf.encoding.loading import torch_module

    if looks_like_a_path(encoder) and not Path(encoder).is_dir():
        raise SettingsError(
            f"there is no encoder at {encoder}; er_student_encoder (--encoder) is a folder with a pretrained encoder, "
            f"or the id of a model on the hub such as {DEFAULT_MODEL}"
        )
    torch_module()
