"""What the Python models er_labels, er_votes and er_teacher_reliability do: tuples → answers → one label each."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from distiller_udf.english import counted
from distiller_udf.pipeline.relations import TUPLE_KEYS, with_id_type
from distiller_udf.settings import Settings
from distiller_udf.teachers import IMPORTED, entries, make_teachers, voices
from distiller_udf.teachers.base import Learner

if TYPE_CHECKING:
    import duckdb

    from distiller_udf.labels import LabelStore

logger = logging.getLogger(__name__)

PACKED = "struct_pack(*columns(* exclude (source, id, fingerprint)))"


def label(
    session: duckdb.DuckDBPyConnection,
    tuples: duckdb.DuckDBPyRelation,
    pairs: duckdb.DuckDBPyRelation,
    records: duckdb.DuckDBPyRelation,
    settings: Settings,
    invocation: str | None = None,
) -> duckdb.DuckDBPyRelation:
    """The rows of `er_labels`: the teachers' answers to these tuples, and imported labels on these records.

    What the run will ask is logged before anything is spent; all that is asked in one `invocation` of dbt shares a
    budget.

    What the label store knows is not asked again; where a student is given, nothing is asked at all. A spent budget
    ends the asking, not the run. Raises SettingsError, LabelError, TeacherError.
    """
    from distiller_udf.budget import ledger_of
    from distiller_udf.labels import Lines, make_run

    def all_pairs() -> pa.Table:
        return pairs.select(", ".join((*TUPLE_KEYS, "right_source", "left_record", "right_record"))).to_arrow_table()

    run = make_run(settings, ledger_of(invocation) if invocation else None)
    with run.store as store:
        asking = run.teachers and not settings.student_path
        questions = (tuples if asking else tuples.limit(0)).to_arrow_table()
        paid = [teacher for teacher in run.teachers if not teacher.free or isinstance(teacher, Learner)]
        for expected in replace(run, teachers=paid).estimate(questions, pairs=all_pairs):
            logger.info("%s", expected)
        asked = run.label(questions, pairs=all_pairs, progress=Lines(logger.info))
        return with_id_type(session, _with_imported(asked, store, records, settings), pairs)


def vote(
    session: duckdb.DuckDBPyConnection, labels: duckdb.DuckDBPyRelation, settings: Settings
) -> duckdb.DuckDBPyRelation:
    """The rows of `er_votes`: one label a left record from the answers of the teachers that are set."""
    from distiller_udf.votes import vote

    answers = _answers(labels, settings)
    return with_id_type(session, vote(answers, settings.vote, asked=_asked(settings, answers)), labels)


def reliability(
    session: duckdb.DuckDBPyConnection, labels: duckdb.DuckDBPyRelation, settings: Settings
) -> duckdb.DuckDBPyRelation:
    """The rows of `er_teacher_reliability`: how right each teacher that is set is, by the others' answers."""
    from distiller_udf.votes import reliabilities

    return with_id_type(session, reliabilities(_answers(labels, settings)), labels)


def teacher_names(settings: Settings) -> list[str]:
    """The names under which the teachers that are set answer; of imported ones all that labels were imported of."""
    names = sorted(named_teachers(settings))
    everyone = None in imported_models(settings)
    return names + imported_teachers(Path(settings.label_store)) if everyone else names


def imported_teachers(path: Path) -> list[str]:
    """The teachers of whom the label store at `path` has imported labels."""
    from distiller_udf.labels import LabelStore

    with LabelStore(path) as store:
        return list(dict.fromkeys(summary.teacher for summary in store.summary() if summary.imported))


def by_teachers(labels: duckdb.DuckDBPyRelation, names: Sequence[str]) -> duckdb.DuckDBPyRelation:
    """The labels of these teachers."""
    import duckdb

    if not names:
        return labels.limit(0)
    return labels.filter(duckdb.ColumnExpression("teacher").isin(*(duckdb.ConstantExpression(name) for name in names)))


def named_teachers(settings: Settings) -> set[str]:
    """The names that the settings give: of all who are asked, and of imported labels where they name their teacher."""
    asked = {name for teacher in make_teachers(settings) for name in voices(teacher)}
    return asked | {model for model in imported_models(settings) if model is not None}


def imported_models(settings: Settings) -> list[str | None]:
    """The teachers whose imported labels are wanted; None stands for all of them."""
    listed = (entry.settings for entry in entries(settings))
    return [entry.teacher_model for entry in listed if entry.teacher == IMPORTED]


def _with_imported(
    asked: pa.Table, store: LabelStore, records: duckdb.DuckDBPyRelation, settings: Settings
) -> pa.Table:
    """The teachers' answers with the imported labels that are wanted, which correct them; logs what is not used."""
    from distiller_udf.labels import labels_on_records

    wanted = imported_models(settings)
    corrections = named_teachers(settings) if None not in wanted else None
    labels = [label for label in store.imported() if corrections is None or label.teacher in corrections]
    for model in wanted:
        if not any(model in (None, label.teacher) for label in labels):
            logger.warning("no labels of %s have been imported", model or "anyone")
    if not labels:
        return asked
    packed = records.select(f"source, id, cast(id as varchar) as id_text, {PACKED} as record").to_arrow_table()
    table, report = labels_on_records(
        labels, packed, asked=asked, sources=settings.source_names, constraint=settings.resolved_constraint
    )
    if report.used < report.total:
        logger.warning(
            "%d of %d imported labels name records that are not there", report.total - report.used, report.total
        )
    for example in report.examples:
        logger.warning("imported label not used: %s", example)
    for contradiction in report.contradictions:
        logger.warning("%s; neither is used", contradiction)
    if report.options_dropped:
        dropped = counted(report.options_dropped, "option of an imported label is", "options of imported labels are")
        logger.warning("%s left out: er_records has no such record", dropped)
    return table


def _answers(labels: duckdb.DuckDBPyRelation, settings: Settings) -> pa.Table:
    """The labels of the teachers that are set, one voice a teacher."""
    answers = by_teachers(labels, teacher_names(settings)).to_arrow_table()
    for teacher in make_teachers(settings):
        if isinstance(teacher, Learner):
            answers = _without_answers_of(answers, teacher.name, where=teacher.base.name)
    return answers


def _without_answers_of(labels: pa.Table, learner: str, where: str) -> pa.Table:
    """The labels without a learner's where its base has answered, now or before: they would be a second vote."""
    keys = list(zip(labels["left_source"].to_pylist(), labels["left_id"].to_pylist(), strict=True))
    names = labels["teacher"].to_pylist()
    answered = {key for key, name in zip(keys, names, strict=True) if name == where}
    kept = [name != learner or key not in answered for key, name in zip(keys, names, strict=True)]
    return labels.filter(pa.array(kept, pa.bool_()))


def _asked(settings: Settings, answers: pa.Table) -> int:
    """How many teachers each record is asked of: one an entry, and everyone whose labels were imported."""
    given = (entry.settings for entry in entries(settings))
    listed = [entry for entry in given if entry.teacher != IMPORTED or entry.teacher_model]
    if None not in imported_models(settings):
        return len(listed)
    return len(listed) + len(set(answers["teacher"].to_pylist()) - named_teachers(settings))
