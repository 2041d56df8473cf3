"""The SQL functions: thin shells over students and teachers, for any DuckDB connection.

    import duckdb, distiller_udf
    distiller_udf.register(connection, student="distiller/students")
    connection.sql("select er_match(a, b) from left_table a, right_table b")

All functions are Arrow functions with side effects declared, so that DuckDB neither folds nor repeats a call; NULLs
are handled here, because DuckDB's default would drop rows whose struct is NULL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distiller_udf.errors import DistillerError, RecordError, SettingsError, StudentNotFound, TeacherError
from distiller_udf.records import Records, common_columns, one_array
from distiller_udf.registry.current import CurrentStudent
from distiller_udf.scoring import comparable, score_records
from distiller_udf.students import Student
from distiller_udf.students.verdict import DECIDED, verdict

if TYPE_CHECKING:
    import duckdb

    from distiller_udf.budget import Budget
    from distiller_udf.labels import LabelStore
    from distiller_udf.labels.run import CurrentTeacher, Run
    from distiller_udf.privacy import Privacy
    from distiller_udf.students.llm import Serving
    from distiller_udf.teachers.base import Teacher

DECISION = pa.struct(
    {
        "is_match": pa.bool_(),
        "probability": pa.float64(),
        "decided_by": pa.string(),
        "student": pa.string(),
        "error": pa.string(),
    }
)
CHOICE = pa.struct(
    {
        "choice": pa.int32(),
        "probability": pa.float64(),
        "probabilities": pa.list_(pa.float64()),
        "student": pa.string(),
        "error": pa.string(),
    }
)
LABEL = pa.struct(
    {
        "choice": pa.int32(),
        "confidence": pa.float64(),
        "explanation": pa.string(),
        "teacher": pa.string(),
        "cost_usd": pa.float64(),
        "error": pa.string(),
    }
)
EMPTY = "a record is NULL or empty"
NO_TEACHER = (
    "er_label needs a teacher: register(connection, teacher=…, store=…), or in dbt the variables er_teacher: openai "
    "and er_teacher_model"
)

Array: TypeAlias = "pa.Array | pa.ChunkedArray"


@dataclass
class Functions:
    """The bodies of the SQL functions over one student and, for `er_label`, one teacher and store.

    They take and return whole columns, row for row. A record is a STRUCT (any row, named by its table) or text; one
    that is NULL or empty gives NULL, and RecordError where `strict` is set. All raise RecordError for values that are
    no records, ColumnsMismatch where records lack columns that the student was trained on, and StudentNotFound or
    StudentDamaged where there is no student that could answer.
    """

    current: CurrentStudent
    teacher: CurrentTeacher | None = None
    strict: bool = False

    def er_score(self, a: Array, b: Array) -> pa.Array:
        """DOUBLE: the probability, from 0 to 1, that the records `a` and `b` are the same, by these two alone."""
        return pa.array(self._probabilities(a, b), pa.float64(), from_pandas=True)

    def er_match(self, a: Array, b: Array) -> pa.Array:
        """BOOLEAN: whether the probability that `a` and `b` are the same reaches the student's threshold of a pair."""
        probability = self._probabilities(a, b)
        return pa.array(probability >= self.current.get().info.threshold, pa.bool_(), mask=np.isnan(probability))

    def er_decide(self, a: Array, b: Array) -> pa.Array:
        """STRUCT, as `DECISION`: what `er_match` and `er_score` say of `a` and `b`, and the student's version.

        `error` says why nothing is decided; `decided_by` is always `student`.
        """
        probability = self._probabilities(a, b)
        info, unknown = self.current.get().info, np.isnan(probability)
        columns = [
            pa.array(probability >= info.threshold, pa.bool_(), mask=unknown),
            pa.array(probability, pa.float64(), from_pandas=True),
            pa.array(["student"] * len(probability), pa.string(), mask=unknown),
            pa.array([info.version] * len(probability), pa.string()),
            pa.array([EMPTY] * len(probability), pa.string(), mask=~unknown),
        ]
        return pa.StructArray.from_arrays(columns, fields=list(DECISION))

    def er_select(self, query: Array, candidates: Array) -> pa.Array:
        """STRUCT, as `CHOICE`: which one of a LIST of `candidates` is the record `query`, each seen beside the others.

        `choice` counts from 1, 0 = none of them. `probability`, from 0 to 1, is that of the choice, `probabilities` has
        one value a candidate, NULL of an empty one; `error` says why nothing is chosen. An empty list has no match.
        RecordError where the candidates are no list.
        """
        student = self.current.get()
        left, right, tuples = _tuple_rows(query, candidates)
        with self.current.lock:
            _, choice = score_records(student, left, right, tuples)
        rows = np.searchsorted(tuples, np.arange(len(query) + 1))
        empty, copies = Records.from_arrow(query).empty, right.distinct[1]
        listed = pc.is_valid(one_array(candidates)).to_numpy(zero_copy_only=False)
        return pa.array(
            [
                self._selected(student, choice[start:stop], copies[start:stop], bool(listed[i] and not empty[i]))
                for i, (start, stop) in enumerate(pairwise(rows))
            ],
            CHOICE,
        )

    def er_explain(self, *columns: Array) -> pa.Array:
        """VARCHAR: in a few sentences, whether two records are a match and what speaks for and against it.

        `columns` are both records and, if the third is given, the pair's row of er_decisions, er_matches or er_choices
        (NULL where it has none): then it is said as well what was decided among the rivals. RecordError for another
        number of columns, or another kind of row.
        """
        if len(columns) not in (2, 3):
            raise RecordError("er_explain takes two records and, if you like, the pair's row of er_decisions")
        student = self.current.get()
        left, right = Records.from_arrow(columns[0]), Records.from_arrow(columns[1])
        decided = _decisions(columns[2]) if len(columns) == 3 else [None] * len(left)
        self._check_empty(left, right)
        sentences: list[str | None] = [None] * len(left)
        with self.current.lock:
            for rows, first, second in comparable(student.info, left, right):
                probabilities = student.score(first, second)
                found = [verdict(student.info, p, decided[row]) for row, p in zip(rows, probabilities, strict=True)]
                told = student.explain(first, second, [one.is_match for one in found])
                for row, one, evidence in zip(rows, found, told, strict=True):
                    sentences[row] = " ".join(filter(None, (one.text, evidence)))
        return pa.array(sentences, pa.string())

    def er_label(self, query: Array, candidates: Array) -> pa.Array:
        """STRUCT, as `LABEL`: which one of a LIST of `candidates` is the record `query`, as the teacher says.

        `choice` counts from 1, 0 = none of them, NULL = no answer, with the reason in `error`; `confidence` is from 0
        to 1, `cost_usd` in US dollars, NULL where the price is unknown. What the label store knows is not asked again.
        Raises TeacherError where no teacher is set or it cannot be asked, BudgetSpent, LabelError and SettingsError.
        """
        if self.teacher is None:
            raise TeacherError(NO_TEACHER)
        left = Records.from_arrow(query)
        _, right, tuples = _tuple_rows(query, candidates)
        rows = np.searchsorted(tuples, np.arange(len(query) + 1))
        options, texts = right.texts(), left.texts()
        # An empty list is a question too: it has no match, as er_select says.
        asked = pc.is_valid(one_array(candidates)).to_numpy(zero_copy_only=False) & ~left.empty
        wanted = {i: (texts[i], tuple(options[rows[i] : rows[i + 1]])) for i in np.flatnonzero(asked).tolist()}
        by_row = dict(zip(wanted, self.teacher.answer(list(wanted.values()), common_columns(left, right)), strict=True))
        rows_said = (by_row.get(i) for i in range(len(query)))
        return pa.array(
            [vars(said[0]) | {"teacher": said[1]} if said else self._unlabelled() for said in rows_said], LABEL
        )

    def er_version(self) -> str:
        """VARCHAR: the versions of this package and of the student that answers. Raises StudentDamaged."""
        from distiller_udf import __version__

        try:
            return f"distiller-udf {__version__}, student {self.current.get().info.version}"
        except StudentNotFound:
            return f"distiller-udf {__version__}, no student"

    def _probabilities(self, a: Array, b: Array) -> np.ndarray:
        student = self.current.get()
        left, right = Records.from_arrow(a), Records.from_arrow(b)
        self._check_empty(left, right)
        with self.current.lock:
            return score_records(student, left, right)[0]

    def _check_empty(self, left: Records, right: Records) -> np.ndarray:
        empty: np.ndarray = left.empty | right.empty
        if self.strict and empty.any():
            raise RecordError(f"row {int(np.argmax(empty)) + 1} of this chunk: {EMPTY} (strict mode is on)")
        return empty

    def _selected(self, student: Student, choice: np.ndarray, copies: np.ndarray, usable: bool) -> dict[str, Any]:
        result: dict[str, Any] = dict.fromkeys(("choice", "probability", "probabilities", "error"))
        result["student"] = student.info.version
        if not usable:
            if self.strict:
                raise RecordError(f"er_select: {EMPTY}, or the candidates are NULL (strict mode is on)")
            return {**result, "error": EMPTY}
        known = np.nan_to_num(choice, nan=0.0)
        best = int(np.argmax(known)) if len(known) else -1
        chosen = best >= 0 and known[best] >= student.info.tuple_threshold
        result["choice"] = best + 1 if chosen else 0
        result["probability"] = float(known[best] if chosen else _none(student, known, copies))
        result["probabilities"] = [None if np.isnan(p) else float(p) for p in choice]
        return result

    def _unlabelled(self) -> dict[str, Any]:
        if self.strict:
            raise RecordError(f"er_label: {EMPTY}, or the candidates are NULL (strict mode is on)")
        return {"error": f"{EMPTY}, or the candidates are NULL"}


def _none(student: Student, choice: np.ndarray, copies: np.ndarray) -> float:
    """The probability that no candidate matches; those that share a number in `copies` are one."""
    distinct = choice[np.unique(copies, return_index=True)[1]]
    # Where several may match, candidates do not share what there is, and the likeliest says most.
    taken = distinct.sum() if student.info.constraint.limits_left else distinct.max(initial=0.0)
    return float(np.clip(1 - taken, 0.0, 1.0))


def register(
    connection: duckdb.DuckDBPyConnection,
    student: str | Path | Student | None = None,
    *,
    name: str = "default",
    teacher: Teacher | Sequence[Teacher] | None = None,
    store: LabelStore | str | Path | None = None,
    budget: Budget | None = None,
    privacy: Privacy | None = None,
    serving: Serving | None = None,
    strict: bool = False,
) -> None:
    """Register `er_score`, `er_match`, `er_decide`, `er_select`, `er_label`, `er_explain` and `er_version`.

    `student`: a student's folder, a registry's folder (its current version under `name` answers), or a loaded student;
    it is loaded at the first call. `teacher` (or several, who vote), `store`, `budget` and `privacy` are for `er_label`
    alone; without a budget it asks without limit. `serving` says where a student runs that is a language model.
    `strict`: an empty record raises instead of giving NULL. Registering again on the same connection replaces the
    functions; all its cursors share them. Raises SettingsError for a cursor of a connection that has them.
    """

    def ask() -> Run:
        from distiller_udf.budget import Budget
        from distiller_udf.labels import LabelStore
        from distiller_udf.labels.run import Run
        from distiller_udf.privacy import Privacy

        if teacher is None or store is None:
            raise TeacherError("er_label needs both: register(connection, teacher=…, store='labels.sqlite')")
        teachers = teacher if isinstance(teacher, Sequence) else [teacher]
        opened = LabelStore(Path(store)) if isinstance(store, (str, Path)) else store
        return Run(teachers, opened, budget or Budget(), privacy or Privacy())

    functions = Functions(CurrentStudent(student, name, serving), strict=strict)
    if teacher is not None or store is not None:
        from distiller_udf.labels.run import CurrentTeacher

        functions.teacher = CurrentTeacher(ask)
    register_functions(connection, functions)


def register_functions(connection: duckdb.DuckDBPyConnection, functions: Functions) -> None:
    """Register the bodies of `functions` on a connection; all its cursors see them."""
    returns = {
        "er_score": pa.float64(),
        "er_match": pa.bool_(),
        "er_decide": DECISION,
        "er_select": CHOICE,
        "er_label": LABEL,
        "er_explain": pa.string(),
    }
    for name, kind in returns.items():
        body = _clear_errors(name, getattr(functions, name))
        _create(connection, name, body, parameters=None, return_type=_sql_type(kind), type="arrow")
    _create(connection, "er_version", functions.er_version, parameters=[], return_type="VARCHAR", type="native")


def _create(connection: duckdb.DuckDBPyConnection, name: str, body: Callable[..., Any], **options: Any) -> None:
    import duckdb

    with suppress(duckdb.Error):
        connection.remove_function(name)
    try:
        connection.create_function(  # type: ignore[call-overload]
            name, body, null_handling="special", side_effects=True, **options
        )
    except duckdb.CatalogException as error:
        # A cursor sees the functions of its connection but cannot replace them.
        raise SettingsError(
            f"{name} is registered already on the connection that this one is a cursor of; register on that connection"
        ) from error


def _sql_type(kind: pa.DataType) -> str:
    """DuckDB's name of an Arrow type."""
    if pa.types.is_struct(kind):
        return f"STRUCT({', '.join(f'{field.name} {_sql_type(field.type)}' for field in kind)})"
    if pa.types.is_list(kind):
        return f"{_sql_type(kind.value_type)}[]"
    return {"bool": "BOOLEAN", "int32": "INTEGER", "double": "DOUBLE", "string": "VARCHAR"}[str(kind)]


def _clear_errors(name: str, body: Callable[..., pa.Array]) -> Callable[..., pa.Array]:
    """DuckDB keeps only a message of whatever is raised, so ours go out as they are and others get the name."""

    def of_any(*columns: Array) -> pa.Array:
        try:
            return body(*columns)
        except DistillerError:
            raise
        except Exception as error:
            raise RuntimeError(f"{name} failed: {type(error).__name__}: {error}") from error

    def of_two(a: Array, b: Array) -> pa.Array:
        return of_any(a, b)

    # DuckDB knows a function by its parameters; it has neither defaults nor overloads.
    return of_any if name == "er_explain" else of_two


def _decisions(rows: Array) -> list[dict[str, Any] | None]:
    """What is known of how each pair was decided. Raises RecordError for what are no rows of decisions."""
    rows = one_array(rows)
    if pa.types.is_null(rows.type):
        return [None] * len(rows)
    if not pa.types.is_struct(rows.type) or DECIDED not in {field.name for field in rows.type}:
        raise RecordError(
            f"the third argument of er_explain is a row of er_decisions, er_matches or er_choices, with its {DECIDED}, "
            f"not {rows.type}"
        )
    return list(rows.to_pylist())


def _tuple_rows(query: Array, candidates: Array) -> tuple[Records, Records, np.ndarray]:
    """One row a candidate: the query repeated, the candidate, and the number of the tuple."""
    lists = one_array(candidates)
    if not (pa.types.is_list(lists.type) or pa.types.is_large_list(lists.type) or pa.types.is_null(lists.type)):
        raise RecordError(
            f"the candidates are a list of records, not {lists.type}; as in er_select(query, list(candidate))"
        )
    if pa.types.is_null(lists.type):
        return Records({}, 0), Records({}, 0), np.zeros(0, dtype=np.int64)
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    tuples = np.repeat(np.arange(len(lists)), lengths)
    return Records.from_arrow(query).take(tuples), Records.from_arrow(lists.flatten()), tuples
