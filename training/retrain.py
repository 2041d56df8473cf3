"""Labels → the current student: trained when the labels or the settings changed, otherwise the one that is there."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from distiller_udf import __version__
from distiller_udf.encoding import DEFAULT_MODEL
from distiller_udf.errors import LabelError, SettingsError, one_of
from distiller_udf.records import content_hash
from distiller_udf.registry import Registry
from distiller_udf.students import KINDS, load_student
from distiller_udf.students.base import StudentInfo
from distiller_udf.teachers.weights import model_identity

from .train import RECIPE, train

logger = logging.getLogger(__name__)

Candidates = Iterable[pa.RecordBatch]


@dataclass(frozen=True)
class Outcome:
    """What `ensure_student` did: the current version, its folder, and whether it was trained just now."""

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
    progress: Callable[[str, float], None] | None = None,
) -> Outcome:
    """Train and promote a student unless one of these very labels, settings and code is there already.

    `labels` has the shape of `er_labels`; `candidates` fetches the unlabelled pairs, only when training happens.
    A version that exists is not trained again; it becomes the current one unless another is pinned. `columns`
    describes the candidates' columns: where they change, another student is wanted. Raises TrainingError when the
    labels cannot carry a student, StudentError when it cannot be written; the current student stays as it was.
    """
    one_of("er_student", kind, KINDS)
    fingerprint = label_fingerprint(labels)
    known = _identified(settings)
    version = f"{kind}-{content_hash(kind, fingerprint, _canonical(known), columns, __version__, str(RECIPE))[:12]}"
    if registry.exists(version):
        return _current(registry, version, trained=False)
    if kind != "lexical":
        _check_encoder((settings or {}).get("encoder", DEFAULT_MODEL))
    labels = in_order(labels)
    with registry.staging() as folder:
        origin = {"label_fingerprint": fingerprint, "teachers": teachers(labels), "code_version": __version__}
        train(
            kind,
            labels,
            folder,
            candidates() if candidates else None,
            settings,
            version=version,
            trained_from={**origin, "labels": usable_labels(labels)},
            progress=progress,
        )
        registry.publish(folder, version)
    return _current(registry, version, trained=True)


def _identified(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings with the encoder named by its weights: other weights in the same folder make another student.

    Whether the hub may be asked for them does not change what is learned.
    """
    known = {name: value for name, value in (settings or {}).items() if name != "local_only"}
    if "encoder" in known:
        known["encoder"] = model_identity(known["encoder"])
    return known


def _check_encoder(encoder: str) -> None:
    """Raise SettingsError before the first minutes of training where the encoder will not load."""
    from distiller_udf.encoding.loading import torch_module

    looks_like_a_path = encoder.startswith((".", "~", "/")) or encoder.count("/") > 1 or "\\" in encoder
    if looks_like_a_path and not Path(encoder).is_dir():
        raise SettingsError(
            f"there is no encoder at {encoder}; er_student_encoder (--encoder) is a folder with a pretrained encoder, "
            f"or the id of a model on the hub such as {DEFAULT_MODEL}"
        )
    torch_module()


def _current(registry: Registry, version: str, trained: bool) -> Outcome:
    """Promote the version that belongs to the labels, unless someone pinned another one."""
    current = registry.current_version()
    if current is not None and current != version and registry.pinned and registry.exists(current):
        logger.warning("%s stays the current student because it is pinned; these labels give %s", current, version)
    elif current != version:
        registry.promote(version)
    path = registry.current()
    return Outcome(load_student(path).info, path, trained)


def in_order(labels: pa.Table) -> pa.Table:
    """The labels in an order that their content gives: the same ones train the same student, however they came."""
    said = _hashes(labels)
    return labels.take(pa.array(sorted(range(labels.num_rows), key=said.__getitem__), pa.int64()))


def label_fingerprint(labels: pa.Table) -> str:
    """A hash of all that the labels say, whatever the order of their rows.

    Raises LabelError when the table is not of the shape of `er_labels`.
    """
    return content_hash(*sorted(_hashes(labels)))


def _hashes(labels: pa.Table) -> list[str]:
    """What each label says, as a hash."""
    missing = {"query", "options", "choice", "teacher"} - set(labels.column_names)
    if missing:
        raise LabelError(f"the label table lacks {', '.join(sorted(missing))}; pass er_labels as dbt built it")
    columns = [
        name for name in ("query", "options", "choice", "teacher", "probabilities") if name in labels.column_names
    ]
    return [content_hash(_canonical(_said(row))) for row in labels.select(columns).to_pylist()]


def teachers(labels: pa.Table) -> list[str]:
    """Who answered, in alphabetical order; of votes, who voted."""
    if "teachers" in labels.column_names:
        return sorted({str(name) for names in labels["teachers"].to_pylist() for name in names or []})
    return sorted({str(name) for name in labels["teacher"].to_pylist()})


def usable_labels(labels: pa.Table) -> int:
    """How many answers there are besides abstentions."""
    return int(labels.num_rows - labels["choice"].null_count)


def _said(row: Mapping[str, Any]) -> dict[str, Any]:
    """A label without the ids of its records, which say nothing about what was answered."""
    return {**row, "options": [option["record"] for option in row["options"] or []]}


def _canonical(value: Any) -> str:
    return json.dumps(value or {}, sort_keys=True, ensure_ascii=False, default=str)
