"""What the Python models do: DuckDB relations in, Arrow out. The models themselves are a few lines each."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from distiller_udf.scoring import BATCH_ROWS, score_pairs
from distiller_udf.students import Student, load_student
from distiller_udf.teachers import IMPORTED, entries, make_teachers, voices
from distiller_udf.teachers.base import Learner

if TYPE_CHECKING:
    import duckdb

    from distiller_udf.labels import LabelStore

logger = logging.getLogger(__name__)

TUPLE_KEYS = ("left_source", "left_id")
PAIR_KEYS = (*TUPLE_KEYS, "right_source", "right_id")
PACKED = "struct_pack(*columns(* exclude (source, id, fingerprint)))"
ARROW_ROWS, STAGED_ROWS = "er_arrow_rows", "er_staged_rows"
_CONTENT = (
    f"{', '.join(TUPLE_KEYS)}, count(*) as pairs, bit_xor(hash(right_source, right_id, pair_fingerprint)) as content"
)

Settings = Mapping[str, Any]


def label(
    session: duckdb.DuckDBPyConnection,
    tuples: duckdb.DuckDBPyRelation,
    pairs: duckdb.DuckDBPyRelation,
    records: duckdb.DuckDBPyRelation,
    settings: Settings,
    folder: Path,
    invocation: str | None = None,
) -> duckdb.DuckDBPyRelation:
    """The rows of `er_labels`: the teachers' answers to these tuples, and imported labels on these records.

    `settings` are the model's er_* variables, `folder` is the dbt project that their paths are relative to. What the
    run will ask is logged before anything is spent; all that is asked in one `invocation` of dbt shares a budget.

    What the label store knows is not asked again; where a student is given, nothing is asked at all. A spent budget
    ends the asking, not the run. Raises SettingsError, LabelError, TeacherError.
    """
    from distiller_udf.budget import ledger_of
    from distiller_udf.labelling import Lines, estimate, label_tuples, make_run

    def all_pairs() -> pa.Table:
        return pairs.select(", ".join((*TUPLE_KEYS, "right_source", "left_record", "right_record"))).to_arrow_table()

    run = make_run(settings, folder, ledger_of(invocation) if invocation else None)
    named = [*(name for teacher in run.teachers for name in voices(teacher)), *imported_models(settings)]
    with run.store as store:
        tables = [_imported(store, records, model, named, settings) for model in imported_models(settings)]
        if run.teachers:
            questions = (tuples.limit(0) if settings["student_path"] else tuples).to_arrow_table()
            paid = [teacher for teacher in run.teachers if not teacher.free or isinstance(teacher, Learner)]
            for expected in estimate(questions, teachers=paid, store=store, privacy=run.privacy, pairs=all_pairs):
                logger.info("%s", expected)
            tables.append(
                label_tuples(
                    questions,
                    teachers=run.teachers,
                    store=store,
                    budget=run.budget,
                    privacy=run.privacy,
                    pairs=all_pairs,
                    progress=Lines(logger.info),
                )
            )
    return _with_id_type(session, pa.concat_tables(tables), pairs)


def vote(
    session: duckdb.DuckDBPyConnection, labels: duckdb.DuckDBPyRelation, settings: Settings, folder: Path
) -> duckdb.DuckDBPyRelation:
    """The rows of `er_votes`: one label a left record from the answers of the teachers that are set."""
    from distiller_udf.votes import vote

    answers = _answers(labels, settings, folder)
    return _with_id_type(session, vote(answers, settings["vote"], asked=_asked(settings, answers)), labels)


def reliability(
    session: duckdb.DuckDBPyConnection, labels: duckdb.DuckDBPyRelation, settings: Settings, folder: Path
) -> duckdb.DuckDBPyRelation:
    """The rows of `er_teacher_reliability`: how right each teacher that is set is, by the others' answers."""
    from distiller_udf.votes import reliabilities

    return _with_id_type(session, reliabilities(_answers(labels, settings, folder)), labels)


def _answers(labels: duckdb.DuckDBPyRelation, settings: Settings, folder: Path) -> pa.Table:
    """The labels of the teachers that are set, one voice a teacher."""
    answers = by_teachers(labels, teacher_names(settings, folder)).to_arrow_table()
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
    listed = [entry for entry in entries(settings) if entry["teacher"] != IMPORTED or entry.get("teacher_model")]
    if None not in imported_models(settings):
        return len(listed)
    teachers = make_teachers(settings)
    named = {name for teacher in teachers for name in voices(teacher)} | set(imported_models(settings))
    return len(listed) + len(set(answers["teacher"].to_pylist()) - named)


def score(
    session: duckdb.DuckDBPyConnection,
    pairs: duckdb.DuckDBPyRelation,
    students: duckdb.DuckDBPyRelation,
    scored: duckdb.DuckDBPyRelation | None = None,
) -> duckdb.DuckDBPyRelation:
    """The rows of `er_scores`: the pairs of new or changed tuples, scored by the current student.

    `scored` are the scores that are there already; a tuple is scored again when its candidates, their records or
    the student changed. Raises StudentNotFound, StudentDamaged, ColumnsMismatch.
    """
    wanted = pairs.select(", ".join((*PAIR_KEYS, "left_record", "right_record", "pair_fingerprint")))
    if is_empty(students) and is_empty(pairs):
        nothing = pa.RecordBatchReader.from_batches(_score_schema(wanted.to_arrow_table().schema), [])
        return _with_id_type(session, nothing, pairs)
    student = current_student(students)
    if scored is not None:
        changed = _changed(pairs, scored, student.info.version)
        wanted = wanted.set_alias("pairs").join(changed.set_alias("changed"), ", ".join(TUPLE_KEYS), how="semi")
    # Read on a cursor of its own: a session cannot write while one of its results is still being read.
    query = wanted.order(", ".join(TUPLE_KEYS)).sql_query()
    reader = session.cursor().sql(query).to_arrow_reader(BATCH_ROWS)
    schema = _score_schema(reader.schema)
    rows = pa.RecordBatchReader.from_batches(schema, _score_rows(student, reader, schema))
    return _with_id_type(session, rows, pairs)


def current_student(students: duckdb.DuckDBPyRelation) -> Student:
    """The student that `er_student` names as the current one. Raises StudentNotFound when it names none."""
    from distiller_udf.errors import StudentNotFound

    paths = students.filter("is_current").select("path").fetchall()
    if not paths:
        raise StudentNotFound("er_student has no current student; run `dbt build --select er_student` first")
    return load_student(paths[0][0])


def _with_id_type(
    session: duckdb.DuckDBPyConnection, rows: pa.Table | pa.RecordBatchReader, pairs: duckdb.DuckDBPyRelation
) -> duckdb.DuckDBPyRelation:
    """Arrow rows as a relation, with their ids in the type that `left_id` has in `pairs`; Arrow may not know it (UUID,
    HUGEINT).

    They are staged in a temporary table, so that the stream they come from ends here.
    """
    kind = pairs.types[pairs.columns.index("left_id")]
    options = f"STRUCT(source VARCHAR, id {kind}, record VARCHAR)[]"
    casts = {"left_id": kind, "right_id": kind, "options": options}
    columns = ", ".join(f"cast({c} as {casts[c]}) as {c}" if c in casts else c for c in rows.schema.names)
    session.register(ARROW_ROWS, rows)
    try:
        session.execute(f"create or replace temp table {STAGED_ROWS} as select {columns} from {ARROW_ROWS}")  # noqa: S608
    finally:
        session.unregister(ARROW_ROWS)
    return session.table(STAGED_ROWS)


def teacher_names(settings: Settings, folder: Path) -> list[str]:
    """The names under which the teachers that are set answer; of imported ones all that labels were imported of."""
    teachers = make_teachers(settings)
    names = [name for teacher in teachers for name in voices(teacher)]
    models = imported_models(settings)
    names += [model for model in models if model is not None]
    return names + imported_teachers(folder / settings["label_store"]) if None in models else names


def imported_teachers(path: Path) -> list[str]:
    """The teachers of whom the label store at `path` has imported labels."""
    from distiller_udf.labels import LabelStore

    with LabelStore(path) as store:
        return list(dict.fromkeys(summary.teacher for summary in store.summary() if summary.imported))


def imported_models(settings: Settings) -> list[str | None]:
    """The teachers whose imported labels are wanted; None stands for all of them."""
    return [entry.get("teacher_model") for entry in entries(settings) if entry["teacher"] == IMPORTED]


def _imported(
    store: LabelStore,
    records: duckdb.DuckDBPyRelation,
    teacher: str | None,
    named: Sequence[str | None],
    settings: Settings,
) -> pa.Table:
    """Imported labels of a teacher, or of all but the `named` ones, as rows of `er_labels`; logs unusable ones."""
    from distiller_udf.labelling import imported_labels

    packed = records.select(f"source, id, cast(id as varchar) as id_text, {PACKED} as record").to_arrow_table()
    sources = [str(source["name"]) for source in settings["sources"]]
    table, report = imported_labels(store, packed, teacher=teacher, sources=sources)
    for example in report.examples:
        logger.warning("imported label not used: %s", example)
    if report.options_dropped:
        logger.warning("%d options of imported labels are no records of the input", report.options_dropped)
    if teacher is not None:
        return table
    # Who is named answers under that name already.
    return table.filter(pa.array([name not in named for name in table["teacher"].to_pylist()], pa.bool_()))


def by_teachers(labels: duckdb.DuckDBPyRelation, names: Sequence[str]) -> duckdb.DuckDBPyRelation:
    """The labels of these teachers."""
    import duckdb

    if not names:
        return labels.limit(0)
    return labels.filter(duckdb.ColumnExpression("teacher").isin(*(duckdb.ConstantExpression(name) for name in names)))


def is_empty(relation: duckdb.DuckDBPyRelation) -> bool:
    """Whether a relation has no rows. It is counted: DuckDB 2.0 can hang on `limit 1` over a large join."""
    return bool(relation.aggregate("count(*)").fetchall()[0][0] == 0)


def _score_rows(student: Student, reader: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    done = 0
    for batch in score_pairs(student, reader, TUPLE_KEYS):
        done += batch.num_rows
        logger.info("scored %d pairs", done)
        version = pa.array([student.info.version] * batch.num_rows, pa.string())
        yield batch.append_column("student", version).select(schema.names)


def _score_schema(pairs: pa.Schema) -> pa.Schema:
    keys = [pairs.field(name) for name in PAIR_KEYS]
    scores = [("probability", pa.float64()), ("choice_probability", pa.float64()), ("student", pa.string())]
    return pa.schema([*keys, *(pa.field(*score) for score in scores), pairs.field("pair_fingerprint")])


def _changed(pairs: duckdb.DuckDBPyRelation, scored: duckdb.DuckDBPyRelation, version: str) -> duckdb.DuckDBPyRelation:
    """The left records whose pairs are not exactly those that this version has scored before."""
    import duckdb

    by_version = scored.filter(duckdb.ColumnExpression("student") == duckdb.ConstantExpression(version))
    now, before = pairs.aggregate(_CONTENT), by_version.aggregate(_CONTENT)
    return now.except_(before).select(", ".join(TUPLE_KEYS))
