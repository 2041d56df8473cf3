"""What the Python models er_votes and er_teacher_reliability do: the answers of the teachers that are set, as one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from distiller_udf.pipeline.labels import imported_models, named_teachers
from distiller_udf.pipeline.relations import with_id_type
from distiller_udf.settings import Settings
from distiller_udf.teachers import IMPORTED, entries, make_teachers
from distiller_udf.teachers.base import Learner

if TYPE_CHECKING:
    import duckdb


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
