"""Which rows of `er_labels` count: one a teacher and left record, all of them about the same question."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distiller_udf.records import one_array
from distiller_udf.votes.candidates import Candidates
from distiller_udf.votes.codes import codes, together


def counting_rows(labels: pa.Table, teacher: np.ndarray, shown: Candidates) -> tuple[np.ndarray, np.ndarray]:
    """The rows that count, by left record and then by `teacher`, and the number of each one's question, from 0.

    The left records come in the order in which the table has them first.
    """
    left = together(codes(one_array(labels["left_source"])), codes(one_array(labels["left_id"])))
    question = _questions(labels, left, shown)
    answered = _answered(labels)
    rows = _last_answers(question, teacher, answered)
    rows = rows[np.isin(question[rows], _questions_that_count(left, question, rows, answered))]
    rows = rows[np.lexsort((teacher[rows], _first_seen(left)[rows]))]
    starts_question = np.diff(left[rows], prepend=-1) != 0
    return rows, np.cumsum(starts_question) - 1


def _questions(labels: pa.Table, left: np.ndarray, shown: Candidates) -> np.ndarray:
    """The question of each row: the same for the same left record, query and set of candidates."""
    query = codes(one_array(labels["query"]))
    in_order = np.empty_like(shown.code)
    in_order[shown.starts[shown.row] + shown.rank] = shown.code
    ends = shown.starts + shown.lengths
    number: dict[tuple[int, int, bytes], int] = {}
    rows = zip(left.tolist(), query.tolist(), shown.starts.tolist(), ends.tolist(), strict=True)
    asked = [number.setdefault((who, what, in_order[a:b].tobytes()), len(number)) for who, what, a, b in rows]
    return np.asarray(asked, dtype=np.int64)


def _answered(labels: pa.Table) -> np.ndarray:
    """The rows with a choice, or with a probability of a pair that was asked by itself."""
    chosen = np.asarray(labels["choice"].is_valid(), dtype=bool)
    if "ask" not in labels.column_names or "probabilities" not in labels.column_names:
        return chosen
    given = one_array(labels["probabilities"])
    if pa.types.is_null(given.type):
        return chosen
    match = pc.fill_null(pc.equal(labels["ask"], "match"), False).to_numpy().astype(bool)
    known = pc.list_parent_indices(given).filter(given.flatten().is_valid())
    return np.asarray(chosen | (match & np.isin(np.arange(len(labels)), known.to_numpy())))


def _last_answers(question: np.ndarray, teacher: np.ndarray, answered: np.ndarray) -> np.ndarray:
    """One row a question and teacher: the last answered one, or the last one where none is."""
    index = np.arange(len(question))
    return _last_of_each(np.lexsort((index, answered, teacher, question)), together(question, teacher))


def _questions_that_count(left: np.ndarray, question: np.ndarray, rows: np.ndarray, answered: np.ndarray) -> np.ndarray:
    """One question a left record: the one that most teachers answered, then the one that has the latest row."""
    count = int(question.max(initial=-1)) + 1
    answers = np.bincount(question[rows], answered[rows], count)
    latest = np.zeros(count, dtype=np.int64)
    np.maximum.at(latest, question, np.arange(len(question)))
    of_left = np.zeros(count, dtype=np.int64)
    of_left[question] = left
    return _last_of_each(np.lexsort((latest, answers, of_left)), of_left)


def _first_seen(left: np.ndarray) -> np.ndarray:
    """For each row, the first row about its left record."""
    first = np.full(int(left.max(initial=-1)) + 1, len(left))
    np.minimum.at(first, left, np.arange(len(left)))
    return np.asarray(first[left])


def _last_of_each(ranked: np.ndarray, group: np.ndarray) -> np.ndarray:
    """The last of each group, where `ranked` has the members of a group together."""
    return np.asarray(ranked[np.flatnonzero(np.diff(group[ranked], append=-1))])
