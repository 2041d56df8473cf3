"""Labels → the current student: trained when the labels or the settings changed, otherwise the one that is there."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from distiller_udf import __version__
from distiller_udf.encoding import DEFAULT_MODEL
from distiller_udf.errors import LabelError, SettingsError, TrainingError, one_of
from distiller_udf.pipeline.labels import imported_models
from distiller_udf.pipeline.relations import PAIR_KEYS, RIVAL_KEYS, TUPLE_KEYS, is_empty
from distiller_udf.pipeline.votes import imported_teachers
from distiller_udf.records import content_hash
from distiller_udf.registry import Registry
from distiller_udf.scoring import BATCH_ROWS
from distiller_udf.students import KINDS, load_student
from distiller_udf.students.base import StudentInfo
from distiller_udf.teachers.weights import model_identity

from .train import RECIPE, train

if TYPE_CHECKING:
    import duckdb

logger = logging.getLogger(__name__)

Candidates = Iterable[pa.RecordBatch]

STUDENT_SCHEMA = pa.schema(
    [
        ("student", pa.string()),
        ("kind", pa.string()),
        ("is_current", pa.bool_()),
        ("threshold", pa.float64()),
        ("choice_threshold", pa.float64()),
        ("labels", pa.int64()),
        ("label_fingerprint", pa.string()),
        ("teachers", pa.list_(pa.string())),
        ("metrics", pa.string()),
        ("path", pa.string()),
    ]
)


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


def student_model(
    session: duckdb.DuckDBPyConnection,
    labels: duckdb.DuckDBPyRelation,
    pairs: duckdb.DuckDBPyRelation,
    settings: Mapping[str, Any],
    folder: Path,
) -> pa.Table:
    """The rows of the dbt model `er_student`; trains when the labels changed.

    `labels` are the rows of `er_votes`. `settings` are its er_* variables, `folder` is the dbt project that their paths
    are relative to. Without any candidate pair there is nothing to decide, so
    no student is needed and none is trained.
    """
    if settings["student_path"]:
        return single_student_table(folder / settings["student_path"])
    registry = Registry(folder / settings["students_path"], settings["student_name"])
    answered = labels.to_arrow_table()
    if answered.num_rows == 0 and is_empty(pairs):
        logger.warning("there are no candidate pairs, so there is nothing to train on and nothing to decide")
        return student_table(registry)
    wanted = imported_models(settings)
    if answered.num_rows == 0 and wanted:
        raise TrainingError(_no_imported_labels(wanted, folder / settings["label_store"]))
    ensure_student(
        answered,
        registry,
        kind=settings["student"],
        settings=training_settings(settings, folder),
        candidates=lambda: sampled(session, pairs),
        columns=record_columns(pairs),
    )
    return student_table(registry)


def training_settings(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The settings of training, from the er_* variables as dbt has them, without those of other kinds of student."""
    chosen: dict[str, Any] = {"seed": settings["seed"], "multi": may_match_several(settings)}
    if settings["target_precision"] is not None:
        chosen["target_precision"] = settings["target_precision"]
    if settings["student"] != "lexical":
        local = folder / settings["student_encoder"]
        chosen["encoder"] = str(local) if local.is_dir() else settings["student_encoder"]
        chosen["local_only"] = settings["local_only"]
    return chosen


def _no_imported_labels(wanted: Sequence[str | None], store: Path) -> str:
    known = ", ".join(imported_teachers(store))
    if None not in wanted and known:
        names = ", ".join(str(name) for name in wanted)
        return f"no labels of {names} on these records; er_teacher_model can be: {known}"
    return f"there are no imported labels on these records in {store}; bring some with `distiller labels import FILE`"


def sampled(session: duckdb.DuckDBPyConnection, pairs: duckdb.DuckDBPyRelation) -> pa.RecordBatchReader:
    """The pairs of `shuffled`, read on a cursor of their own."""
    return session.cursor().sql(shuffled(pairs).sql_query()).to_arrow_reader(BATCH_ROWS)


def shuffled(pairs: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Candidate pairs in an order that is the same each time and arbitrary: training looks at the first of them.

    Without the keys of `er_pairs`, by the records' content.
    """
    if not set(PAIR_KEYS) <= set(pairs.columns):
        return pairs.select("left_record, right_record").order("md5(left_record::varchar), md5(right_record::varchar)")
    draw = f"md5(concat_ws(':', {', '.join(f'{key}::varchar' for key in TUPLE_KEYS)}))"
    rivals = f"dense_rank() over (order by {', '.join(RIVAL_KEYS)})"
    return pairs.order(", ".join((draw, *PAIR_KEYS))).select(f"left_record, right_record, {rivals} as tuple")


def record_columns(pairs: duckdb.DuckDBPyRelation) -> str:
    """The names and types of the columns on both sides of the pairs."""
    return ", ".join(str(pairs.types[pairs.columns.index(side)]) for side in ("left_record", "right_record"))


def may_match_several(settings: Mapping[str, Any]) -> bool:
    """Whether a left record may match several others, from er_constraint, er_task and er_sources as dbt has them."""
    if settings["constraint"] != "auto":
        return bool(settings["constraint"] == "none")
    if settings["task"] != "auto":
        return bool(settings["task"] != "link")
    return len(settings["sources"]) < 2


def student_table(registry: Registry) -> pa.Table:
    """All versions of a registry as rows of `er_student`."""
    current = registry.current_version()
    return _table([(info, registry.path(info.version), info.version == current) for info in registry.versions()])


def single_student_table(path: Path) -> pa.Table:
    """A given student's folder as the one row of `er_student`. Raises StudentNotFound, StudentDamaged."""
    return _table([(load_student(path).info, path, True)])


def _table(students: Iterable[tuple[StudentInfo, Path, bool]]) -> pa.Table:
    rows = [
        {
            "student": info.version,
            "kind": info.kind,
            "is_current": is_current,
            "threshold": info.threshold,
            "choice_threshold": info.choice_threshold,
            "labels": info.trained_from.get("labels"),
            "label_fingerprint": info.trained_from.get("label_fingerprint"),
            "teachers": info.trained_from.get("teachers"),
            "metrics": json.dumps(dict(info.metrics), sort_keys=True),
            "path": str(path),
        }
        for info, path, is_current in students
    ]
    return pa.Table.from_pylist(rows, schema=STUDENT_SCHEMA)


def _said(row: Mapping[str, Any]) -> dict[str, Any]:
    """A label without the ids of its records, which say nothing about what was answered."""
    return {**row, "options": [option["record"] for option in row["options"] or []]}


def _canonical(value: Any) -> str:
    return json.dumps(value or {}, sort_keys=True, ensure_ascii=False, default=str)
