"""How reliable each teacher is, as a table."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from distiller_udf.votes.ballots import Ballots
from distiller_udf.votes.dawid_skene import compared_units, estimate
from distiller_udf.votes.questions import read_questions

SCHEMA = pa.schema(
    [
        ("teacher", pa.string()),
        ("ask", pa.string()),
        ("answers", pa.int64()),
        ("compared", pa.int64()),
        ("none_given_none", pa.float64()),
        ("match_given_match", pa.float64()),
        ("none_given_match", pa.float64()),
        ("accuracy", pa.float64()),
        ("prior_none", pa.float64()),
    ]
)


def reliabilities(labels: pa.Table) -> pa.Table:
    """What dawid_skene makes of each teacher: one row a teacher and `ask`; shares from 0 to 1.

    `answers`: how many it gave (to whole questions, or to pairs where `ask` is match), `compared`: those that another
    teacher answered too. `none_given_none`: it says none where none is right; `match_given_match`: it names the right
    candidate where one is right; `none_given_match`: it says none there (the rest are wrong candidates); `accuracy`: it
    is right, over all; `prior_none`: of how many none is right, the same for all teachers.

    They are estimated from the teachers' agreement alone: what all of them get wrong together does not show. A teacher
    who is compared with nobody has NULL. Raises LabelError when columns are missing.
    """
    asked = read_questions(labels)
    rows = [
        *_rows("select", asked.selecting, asked.names),
        *_rows("match", asked.matching, asked.names),
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _rows(ask: str, ballots: Ballots, names: list[str]) -> Iterator[dict[str, object]]:
    found = estimate(ballots, len(names))
    answers = np.bincount(ballots.teacher, minlength=len(names))
    compared = np.bincount(ballots.teacher[compared_units(ballots)[ballots.unit]], minlength=len(names))
    right = (1 - found.none_given_match) * (found.right_among if ask == "select" else 1.0)
    accuracy = found.prior_none * found.none_given_none + (1 - found.prior_none) * right
    for teacher in np.flatnonzero(answers):
        shares = {
            "none_given_none": found.none_given_none[teacher],
            "match_given_match": right[teacher],
            "none_given_match": found.none_given_match[teacher],
            "accuracy": accuracy[teacher],
            "prior_none": found.prior_none,
        }
        known = shares if compared[teacher] else dict.fromkeys(shares)
        yield {
            "teacher": names[teacher],
            "ask": ask,
            "answers": answers[teacher],
            "compared": compared[teacher],
            **known,
        }
