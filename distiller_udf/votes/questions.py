"""Rows of `er_labels` by the question that they answer, with their candidates brought into one order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distiller_udf.errors import LabelError
from distiller_udf.records import one_array
from distiller_udf.votes.dawid_skene import Ballots

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
        """The rows with an answer: a choice, or one to any of the pairs."""
        pairs = np.bincount(self.row[self.is_yes | self.is_no], minlength=len(self.question)) > 0
        return np.where(self.is_match[self.question], pairs, self.choice != UNANSWERED)

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
    options = _Options.of(labels)
    rows, question = _counting_rows(labels, teacher, options)
    kept = labels.take(pa.array(rows))
    return _aligned(kept, names, teacher[rows], question, _Options.of(kept))


def _by_left_record(labels: pa.Table) -> pa.Table:
    """The rows by left record; rows of one left record stay in their order."""
    keys = pa.table({name: _stored(one_array(labels[name])) for name in ("left_source", "left_id")})
    order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names])
    return labels.take(order)


@dataclass(frozen=True)
class _Options:
    """The candidates of each row: `starts` and `lengths` a row; one entry a candidate: its `row`, `position` there,
    `code` (which names the candidate) and `rank` among the row's codes.
    """

    starts: np.ndarray
    lengths: np.ndarray
    row: np.ndarray
    position: np.ndarray
    rank: np.ndarray
    code: np.ndarray

    @classmethod
    def of(cls, labels: pa.Table) -> _Options:
        options = one_array(labels["options"])
        lengths = pc.fill_null(pc.list_value_length(options), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(lengths)])[:-1].astype(np.int64)
        code = np.zeros(int(lengths.sum()), dtype=np.int64)
        for part in options.flatten().flatten():
            code = _together(code, _codes(part))
        row = np.repeat(np.arange(len(lengths)), lengths)
        position = np.arange(len(row)) - starts[row]
        rank = np.empty_like(position)
        rank[np.lexsort((code, row))] = position
        return cls(starts, lengths, row, position, rank, code)


def _counting_rows(labels: pa.Table, teacher: np.ndarray, options: _Options) -> tuple[np.ndarray, np.ndarray]:
    """Which rows count, in the order of their left records and teachers, and the question of each, from 0."""
    left = _together(_codes(one_array(labels["left_source"])), _codes(one_array(labels["left_id"])))
    query = _codes(one_array(labels["query"]))
    shown = np.empty_like(options.code)
    shown[options.starts[options.row] + options.rank] = options.code
    ends = options.starts + options.lengths
    number: dict[tuple[int, int, bytes], int] = {}
    spans = zip(left.tolist(), query.tolist(), options.starts.tolist(), ends.tolist(), strict=True)
    asked = [number.setdefault((who, what, shown[a:b].tobytes()), len(number)) for who, what, a, b in spans]
    question = np.asarray(asked, dtype=np.int64)
    answered = np.asarray(labels["choice"].is_valid()) | _any_probability(labels)
    index = np.arange(len(left))
    rows = _best(np.lexsort((index, answered, teacher, question)), _together(question, teacher))
    answers = np.bincount(question[rows], answered[rows], len(number))
    newest, of_left = np.zeros((2, len(number)), dtype=np.int64)
    np.maximum.at(newest, question, index)
    of_left[question] = left
    chosen = _best(np.lexsort((newest, answers, of_left)), of_left)
    seen = np.full(int(left.max(initial=-1)) + 1, len(left))
    np.minimum.at(seen, left, index)
    rows = rows[np.isin(question[rows], chosen)]
    rows = rows[np.lexsort((teacher[rows], seen[left[rows]]))]
    return rows, np.cumsum(np.diff(left[rows], prepend=-1) != 0) - 1


def _best(ranked: np.ndarray, group: np.ndarray) -> np.ndarray:
    """The last of each group, where `ranked` has the members of a group together."""
    return ranked[np.flatnonzero(np.diff(group[ranked], append=-1))]


def _aligned(
    labels: pa.Table, names: list[str], teacher: np.ndarray, question: np.ndarray, options: _Options
) -> Questions:
    first = np.flatnonzero(np.diff(question, prepend=-1))
    sizes = options.lengths[first]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    base = offsets[question[options.row]]
    # The slot of a rank is where the question's first row shows the candidate of this rank.
    slot_of_rank = np.zeros(int(offsets[-1]), dtype=np.int64)
    in_first = np.isin(options.row, first)
    slot_of_rank[(base + options.rank)[in_first]] = (base + options.position)[in_first]
    slot = slot_of_rank[base + options.rank]
    choice = _choices(labels, options, slot, offsets[question])
    match = np.zeros(len(question), dtype=bool)
    if "ask" in labels.column_names:
        match = pc.fill_null(pc.equal(labels["ask"], "match"), False).to_numpy().astype(bool)
    is_match = np.logical_and.reduceat(match, first) if len(first) else np.zeros(0, dtype=bool)
    p = _probabilities(labels, options)
    # A pair's yes or no without a probability: a choice says yes to one pair and nothing of the others, none no to all.
    told = choice[options.row]
    hard = np.where(told == 0, 0.0, np.where(slot == base + told - 1, 1.0, np.nan))
    silent = np.bincount(options.row, np.isfinite(p), len(question)) == 0
    p = np.where(is_match[question[options.row]] & silent[options.row] & (told != UNANSWERED), hard, p)
    return Questions(labels, names, question, teacher, choice, first, sizes, is_match, options.row, slot, p)


def _choices(labels: pa.Table, options: _Options, slot: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Each row's choice in the order of its question's candidates."""
    given = pc.fill_null(one_array(labels["choice"]).cast(pa.int64()), UNANSWERED)
    choice: np.ndarray = given.to_numpy(zero_copy_only=False).copy()
    wrong = np.flatnonzero((choice > options.lengths) | (choice < UNANSWERED))
    if wrong.size:
        raise LabelError(
            f"a label chooses candidate {choice[wrong[0]]} of {options.lengths[wrong[0]]}; a choice is 1-based, "
            "0 means none of them"
        )
    chosen = np.flatnonzero(choice > 0)
    choice[chosen] = slot[options.starts[chosen] + choice[chosen] - 1] - offsets[chosen] + 1
    return choice


def _probabilities(labels: pa.Table, options: _Options) -> np.ndarray:
    """The probability of each candidate, NaN where its row has none, or not one for each of its candidates."""
    p = np.full(len(options.row), np.nan)
    if "probabilities" in labels.column_names:
        given = one_array(labels["probabilities"])
        if not pa.types.is_null(given.type):
            lengths = pc.fill_null(pc.list_value_length(given), 0).to_numpy(zero_copy_only=False).astype(np.int64)
            values = given.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False)
            fits = lengths == options.lengths
            p[fits[options.row]] = values[np.repeat(fits, lengths)]
    return np.where(np.isfinite(p), np.clip(p, 0.0, 1.0), np.nan)


def _any_probability(labels: pa.Table) -> np.ndarray:
    """The rows of pairs asked by themselves of which any has an answer."""
    if "ask" not in labels.column_names or "probabilities" not in labels.column_names:
        return np.zeros(len(labels), dtype=bool)
    match = pc.fill_null(pc.equal(labels["ask"], "match"), False).to_numpy().astype(bool)
    given = one_array(labels["probabilities"])
    if pa.types.is_null(given.type):
        return np.zeros(len(labels), dtype=bool)
    known = pc.list_parent_indices(given).filter(given.flatten().is_valid())
    return np.asarray(match & np.isin(np.arange(len(labels)), known.to_numpy()))


def _codes(values: pa.Array) -> np.ndarray:
    """A number for each value, the same for equal ones."""
    stored = _stored(values)
    if pa.types.is_null(stored.type):
        return np.zeros(len(stored), dtype=np.int64)
    indices = stored.dictionary_encode(null_encoding="encode").indices
    return np.asarray(indices.to_numpy(zero_copy_only=False), dtype=np.int64)


def _stored(values: pa.Array) -> pa.Array:
    """Values of a type that Arrow can count and sort: those below an extension type, as UUID is one."""
    return values.storage if isinstance(values, pa.ExtensionArray) else values


def _together(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A number for each pair of numbers, from 0 without gaps."""
    both = one * (int(other.max(initial=0)) + 1) + other
    return np.unique(both, return_inverse=True)[1].reshape(-1).astype(np.int64)
