"""What the Python model er_student does: votes and pairs → a student, trained where they ask for another one."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from distiller_udf.constraint import Constraint
from distiller_udf.english import counted
from distiller_udf.errors import TrainingError
from distiller_udf.pipeline.labels import imported_models, imported_teachers
from distiller_udf.pipeline.relations import PAIR_KEYS, RIVAL_KEYS, TUPLE_KEYS, is_empty
from distiller_udf.registry import Registry
from distiller_udf.scoring import BATCH_ROWS
from distiller_udf.settings import Settings
from distiller_udf.settings.training import FINE_TUNING
from distiller_udf.students import load_student
from distiller_udf.students.base import MANIFEST, StudentInfo

from .learned import Learned
from .schedule.evaluation_set import split
from .versions import Recipe, ensure_student

if TYPE_CHECKING:
    import duckdb

logger = logging.getLogger(__name__)

STUDENT_SCHEMA = pa.schema(
    [
        ("student", pa.string()),
        ("kind", pa.string()),
        ("is_current", pa.bool_()),
        ("constraint", pa.string()),
        ("threshold", pa.float64()),
        ("choice_threshold", pa.float64()),
        ("labels", pa.int64()),
        ("label_fingerprint", pa.string()),
        ("teachers", pa.list_(pa.string())),
        ("metrics", pa.string()),
        ("path", pa.string()),
    ]
)


def student_model(
    session: duckdb.DuckDBPyConnection,
    labels: duckdb.DuckDBPyRelation,
    pairs: duckdb.DuckDBPyRelation,
    settings: Settings,
) -> pa.Table:
    """The rows of the dbt model `er_student`; trains when the labels changed, unless `distiller retrain` does that.

    `labels` are the rows of `er_votes`. Without any candidate pair there is nothing to decide, so no student is needed
    and none is trained.
    """
    if settings.student_path:
        return single_student_table(Path(settings.student_path), settings.resolved_constraint)
    registry = Registry.of(settings)
    answered = labels.to_arrow_table()
    if answered.num_rows == 0 and is_empty(pairs):
        logger.warning("there are no candidate pairs, so there is nothing to train on and nothing to decide")
        return student_table(registry)
    wanted = imported_models(settings)
    if answered.num_rows == 0 and wanted:
        raise TrainingError(_no_imported_labels(wanted, Path(settings.label_store)))
    to_learn = answered
    if settings.training == "schedule":
        to_learn, _ = split(answered, settings.evaluation_share)
        if is_usable(registry, settings.resolved_constraint):
            _say_what_is_newer(to_learn, registry)
            return student_table(registry)
    recipe = Recipe(
        settings.student,
        training_settings(settings),
        candidates=lambda: sampled(session, pairs),
        columns=record_columns(pairs),
    )
    ensure_student(to_learn, registry, recipe)
    return student_table(registry)


def is_usable(registry: Registry, constraint: Constraint) -> bool:
    """Whether there is a current student that can answer under the project's constraint."""
    current = registry.current_version()
    return current is not None and registry.exists(current) and registry.read(current).constraint is constraint


def _say_what_is_newer(labels: pa.Table, registry: Registry) -> None:
    current = registry.current()
    newer = Learned.read(current).new(labels).num_rows
    if newer:
        new = counted(newer, "label is", "labels are")
        logger.info("%s newer than %s; `distiller retrain` trains a student and weighs it", new, current.name)


def training_settings(settings: Settings) -> dict[str, Any]:
    """The settings of training, without those of other kinds of student."""
    chosen: dict[str, Any] = {"seed": settings.seed, "constraint": settings.resolved_constraint}
    if settings.target_precision is not None:
        chosen["target_precision"] = settings.target_precision
    if settings.student == "llm":
        return llm_settings(settings)
    if settings.student != "lexical":
        chosen["encoder"] = settings.student_encoder
        chosen["local_only"] = settings.local_only
    return chosen


def llm_settings(
    settings: Settings, method: str | None = None, instead: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The settings of a language model's training by a `method`, of its own accord by that of `er_llm_training`.

    A setting that another method has too, with another default, is not meant for it. Those of `instead` take the place
    of the project's. Raises StudentNotFound where the student to go on from is neither a folder nor a version.
    """
    own = dict(settings.llm_training or {})
    projects = own.pop("method", "sft")
    if method and method != projects:
        theirs, ours = FINE_TUNING[projects].model_fields, FINE_TUNING[method].model_fields
        own = {name: v for name, v in own.items() if name in ours and ours[name].default == theirs[name].default}
    instead = instead or {}
    found = {
        "seed": settings.seed,
        "constraint": settings.resolved_constraint,
        "target_precision": settings.target_precision,
        "local_only": settings.local_only,
        "model": None if "start" in instead else settings.llm_model,
        **own,
        "method": method or projects,
        **instead,
    }
    if start := found.get("start"):
        registry = Registry.of(settings)
        is_folder = (Path(start) / MANIFEST).is_file()
        found["start"] = str(Path(start) if is_folder else registry.path(registry.find(start)))
    return found


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


def student_table(registry: Registry) -> pa.Table:
    """All versions of a registry as rows of `er_student`."""
    current = registry.current_version()
    return student_rows([(info, registry.path(info.version), info.version == current) for info in registry.versions()])


def single_student_table(path: Path, constraint: Constraint) -> pa.Table:
    """A given student's folder as the one row of `er_student`.

    Raises StudentNotFound, StudentDamaged, ConstraintMismatch.
    """
    return student_rows([(load_student(path, constraint=constraint).info, path, True)])


def student_rows(students: Iterable[tuple[StudentInfo, Path, bool]]) -> pa.Table:
    """Students as rows of `er_student`: each with its folder, and whether it is the current one."""
    rows = [
        {
            "student": info.version,
            "kind": info.kind,
            "is_current": is_current,
            "constraint": str(info.constraint),
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
