"""What the Python model er_choices does: scored pairs → their probabilities in the light of all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from distiller_udf.constraint import Constraint
from distiller_udf.pipeline.relations import PAIR_KEYS, is_empty
from distiller_udf.pipeline.scores import current_student_path
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.choice import choose_linked

if TYPE_CHECKING:
    import duckdb

_NUMBERED, _CHOSEN, _RESULT = "er_numbered_scores", "er_choice_values", "er_chosen_scores"

# Records of one source with the same content are one end: which of them was meant, nothing can tell.
_CONTENTS = "source, id, dense_rank() over (order by source, fingerprint) as content"

_ENDS = {
    # A record has one match in each source, so it is as many ends as there are sources.
    Constraint.ONE_TO_ONE: """
        dense_rank() over (order by left_content, right_source) as left_end,
        dense_rank() over (order by right_content, left_source) as right_end
    """,
    Constraint.NONE: "left_content as left_end, right_content as right_end",
}


def choices(
    session: duckdb.DuckDBPyConnection,
    scores: duckdb.DuckDBPyRelation,
    records: duckdb.DuckDBPyRelation,
    students: duckdb.DuckDBPyRelation,
    constraint: Constraint,
) -> duckdb.DuckDBPyRelation:
    """The rows of `er_choices`: those of `er_scores`, `choice_probability` having seen what all other pairs say.

    Under many_to_one no record on the right competes, so that `er_scores` has seen all; there, and where the scores are
    not the current student's, they stay as they are. `records` has the `fingerprint` of each record. Raises
    StudentNotFound, StudentDamaged, ConstraintMismatch.
    """
    columns = f"{', '.join(PAIR_KEYS)}, probability, choice_probability, student"
    if constraint not in _ENDS or is_empty(scores):
        return scores.select(columns)
    info = StudentInfo.read(current_student_path(students))
    info.check_constraint(constraint)
    if info.version not in {name for (name,) in scores.select("student").distinct().fetchall()}:
        return scores.select(columns)
    ends, contents = scores.select(columns), records.select(_CONTENTS)
    for side in ("left", "right"):
        known = contents.select(f"source as {side}_source, id as {side}_id, content as {side}_content")
        ends = ends.set_alias("pairs").join(known.set_alias("records"), f"{side}_source, {side}_id", how="left")
    number = f"row_number() over (order by {', '.join(PAIR_KEYS)}) as pair_number"
    numbered = ends.select(f"{columns}, {number}, {_ENDS[constraint]}").sql_query()
    session.execute(f"create or replace temp table {_NUMBERED} as {numbered}")
    pairs = session.table(_NUMBERED).select("pair_number, left_end, right_end, probability").fetchnumpy()
    probabilities = np.ma.filled(pairs["probability"].astype(np.float64), np.nan)
    chosen = choose_linked(info, probabilities, np.asarray(pairs["left_end"]), np.asarray(pairs["right_end"]))
    values = pa.array(chosen, pa.float64(), from_pandas=True)
    session.register(_CHOSEN, pa.table({"pair_number": np.asarray(pairs["pair_number"]), "chosen": values}))
    try:
        session.execute(
            f"create or replace temp table {_RESULT} as "  # noqa: S608
            f"select {', '.join(PAIR_KEYS)}, probability, chosen as choice_probability, student "
            f"from {_NUMBERED} inner join {_CHOSEN} using (pair_number)"
        )
    finally:
        session.unregister(_CHOSEN)
        session.execute(f"drop table {_NUMBERED}")
    return session.table(_RESULT)
