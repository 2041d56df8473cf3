"""Rows of `er_labels` by the question that they answer, with their candidates brought into one order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distiller_udf.errors import LabelError
from distiller_udf.records import one_array
from distiller_udf.votes.ballots import Ballots
from distiller_udf.votes.candidates import Candidates
from distiller_udf.votes.codes import stored
from distiller_udf.votes.counting import counting_rows

NEEDED = ("left_source", "left_id", "teacher", "choice", "query", "options")
UNANSWERED = -1


@dataclass(frozen=True)
class Questions:
    """The rows that count: one a teacher and left record, the rows of a question together, by the teacher's name.

    One entry a row: `question`, `teacher` (a position in `names`), `choice` (0 = none, else a candidate of the
    question, from 1; -1 = unanswered). One entry a question: `first` (its first row, whose order of candidates counts),
    `sizes` (candidates), `is_match` (every pair was asked by itself). One entry a candidate of a row: `row`, `slot`
    (its place among all questions' candidates) and `p` (its probability, NaN where the teacher gave none).
    """

    labels: pa.Table
    names: list[str]
    question: np.ndarray
    teacher: np.ndarray
    choice: np.ndarray
    first: np.ndarray
    sizes: np.ndarray
    is_match: np.ndarray
    row: np.ndarray
    slot: np.ndarray
    p: np.ndarray

    @cached_property
    def offsets(self) -> np.ndarray:
        """The first slot of each question."""
        return np.concatenate([[0], np.cumsum(self.sizes)])[:-1].astype(np.int64)

    @cached_property
    def slot_question(self) -> np.ndarray:
        """The question of each slot."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    @cached_property
    def usable(self) -> np.ndarray:
        """The rows with an answer: a choice, or one to any of the pairs. Where there are no pairs, none is one."""
        pairs = np.bincount(self.row[self.is_yes | self.is_no], minlength=len(self.question)) > 0
        by_pair = (self.is_match & (self.sizes > 0))[self.question]
        return np.where(by_pair, pairs, self.choice != UNANSWERED)

    @cached_property
    def answers(self) -> np.ndarray:
        """How many rows of each question have an answer."""
        return np.bincount(self.question[self.usable], minlength=len(self.sizes))

    @cached_property
    def is_yes(self) -> np.ndarray:
        """The pairs of which a row says that they match."""
        return np.asarray(self.is_match[self.question[self.row]] & (self.p > 0.5))

    @cached_property
    def is_no(self) -> np.ndarray:
        """The pairs of which a row says that they do not match."""
        return np.asarray(self.is_match[self.question[self.row]] & (self.p < 0.5))

    @cached_property
    def selecting(self) -> Ballots:
        """The votes on whole questions; those whose pairs were asked by themselves have none."""
        rows = np.flatnonzero((self.choice != UNANSWERED) & ~self.is_match[self.question])
        return Ballots(self.question[rows], self.teacher[rows], self.choice[rows], self.sizes)

    @cached_property
    def matching(self) -> Ballots:
        """The votes on single pairs: every slot is a unit with one candidate."""
        votes = np.flatnonzero(self.is_yes | self.is_no)
        one_each = np.ones(len(self.slot_question), dtype=np.int64)
        return Ballots(self.slot[votes], self.teacher[self.row[votes]], self.is_yes[votes].astype(np.int64), one_each)


def read_questions(labels: pa.Table) -> Questions:
    """Group the rows of `er_labels`; raises LabelError when columns are missing or a choice is out of range.

    Two rows answer the same question where left record, query and candidates (source, id and text, in any order) are
    the same. Of a teacher's rows about one question the last answered one counts; of several questions about one left
    record the one with the most answers, then the one whose last row comes later. The left records come in their order
    in the table where there is one teacher, otherwise by their keys: sums then do not depend on the order of the rows.
    """
    missing = [name for name in NEEDED if name not in labels.column_names]
    if missing:
        raise LabelError(f"the labels lack the columns {', '.join(missing)}; they come from er_labels")
    names = sorted(pc.unique(labels["teacher"]).to_pylist())
    if len(names) > 1:
        labels = _by_left_record(labels)
    codes = pc.index_in(one_array(labels["teacher"]), value_set=pa.array(names, labels["teacher"].type))
    teacher = codes.to_numpy(zero_copy_only=False).astype(np.int64)
    rows, question = counting_rows(labels, teacher, Candidates.of(labels))
    return _aligned(labels.take(pa.array(rows)), names, teacher[rows], question)


def _by_left_record(labels: pa.Table) -> pa.Table:
    """The rows by left record; rows of one left record stay in their order."""
    keys = pa.table({name: stored(one_array(labels[name])) for name in ("left_source", "left_id")})
    order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names])
    return labels.take(order)


def _aligned(labels: pa.Table, names: list[str], teacher: np.ndarray, question: np.ndarray) -> Questions:
    """The rows that count, with every choice and probability at its candidate's place in the question's first row."""
    shown = Candidates.of(labels)
    first = np.flatnonzero(np.diff(question, prepend=-1))
    sizes = shown.lengths[first]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    slot = _slots(shown, first, offsets[question])
    choice = _choices(labels, shown, slot, offsets[question])
    is_match = _all_match(labels, first)
    p = _probabilities(labels, shown)
    by_pair = is_match[question[shown.row]]
    p = np.where(by_pair, _with_plain_answers(p, shown, choice, slot - offsets[question[shown.row]] + 1), p)
    return Questions(labels, names, question, teacher, choice, first, sizes, is_match, shown.row, slot, p)


def _slots(shown: Candidates, first: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The slot of each row's candidates; `offsets` has the first slot of each row's question."""
    base = offsets[shown.row]
    # The slot of a rank is where the question's first row shows the candidate of this rank.
    slot_of_rank = np.zeros(int(shown.lengths[first].sum()), dtype=np.int64)
    in_first = np.isin(shown.row, first)
    slot_of_rank[(base + shown.rank)[in_first]] = (base + shown.position)[in_first]
    return np.asarray(slot_of_rank[base + shown.rank])


def _all_match(labels: pa.Table, first: np.ndarray) -> np.ndarray:
    """The questions whose pairs were asked by themselves, of every teacher."""
    if "ask" not in labels.column_names or not len(first):
        return np.zeros(len(first), dtype=bool)
    match = pc.fill_null(pc.equal(labels["ask"], "match"), False).to_numpy().astype(bool)
    return np.asarray(np.logical_and.reduceat(match, first))


def _with_plain_answers(p: np.ndarray, shown: Candidates, choice: np.ndarray, number: np.ndarray) -> np.ndarray:
    """The probabilities of pairs, with a plain yes or no of the rows that give none; `number` is the pair's, from 1.

    A choice says yes to one pair and nothing of the others, none says no to all.
    """
    told = choice[shown.row]
    plain = np.where(told == 0, 0.0, np.where(number == told, 1.0, np.nan))
    silent = np.bincount(shown.row, np.isfinite(p), len(choice)) == 0
    return np.where(silent[shown.row] & (told != UNANSWERED), plain, p)


def _choices(labels: pa.Table, shown: Candidates, slot: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Each row's choice in the order of its question's candidates."""
    given = pc.fill_null(one_array(labels["choice"]).cast(pa.int64()), UNANSWERED)
    choice: np.ndarray = given.to_numpy(zero_copy_only=False).copy()
    wrong = np.flatnonzero((choice > shown.lengths) | (choice < UNANSWERED))
    if wrong.size:
        raise LabelError(
            f"a label chooses candidate {choice[wrong[0]]} of {shown.lengths[wrong[0]]}; a choice is 1-based, "
            "0 means none of them"
        )
    chosen = np.flatnonzero(choice > 0)
    choice[chosen] = slot[shown.starts[chosen] + choice[chosen] - 1] - offsets[chosen] + 1
    return choice


def _probabilities(labels: pa.Table, shown: Candidates) -> np.ndarray:
    """The probability of each candidate, NaN where its row has none, or not one for each of its candidates."""
    p = np.full(len(shown.row), np.nan)
    if "probabilities" in labels.column_names:
        given = one_array(labels["probabilities"])
        if not pa.types.is_null(given.type):
            lengths = pc.fill_null(pc.list_value_length(given), 0).to_numpy(zero_copy_only=False).astype(np.int64)
            values = given.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False)
            fits = lengths == shown.lengths
            p[fits[shown.row]] = values[np.repeat(fits, lengths)]
    return np.where(np.isfinite(p), np.clip(p, 0.0, 1.0), np.nan)
