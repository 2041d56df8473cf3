"""Rows of `er_labels` by the question that they answer, with their candidates brought into one order."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distiller_udf.errors import LabelError
from distiller_udf.records import one_array
from distiller_udf.votes.dawid_skene import ABSTAINED, Ballots

NEEDED = ("left_source", "left_id", "teacher", "choice", "query", "options")
_PROBABILITIES = pa.list_(pa.float64())


@dataclass(frozen=True)
class Questions:
    """The rows that count: one a teacher and left record, the rows of a question together, by the teacher's name.

    One entry a row: `question`, `teacher` (a position in `names`), `choice` (0 = none, else a candidate of the
    question, from 1; -1 = abstained), `is_soft` (it gives a probability of every candidate). One entry a question:
    `sizes` (candidates, in the order of its first row), `offsets` (the slot of the first of them), `is_match` (every
    pair was asked by itself). One entry a candidate of a row: `row`, `slot` (its place among all questions' candidates)
    and `p` (see `_opinions`).
    """

    labels: pa.Table
    names: list[str]
    question: np.ndarray
    teacher: np.ndarray
    choice: np.ndarray
    is_soft: np.ndarray
    sizes: np.ndarray
    offsets: np.ndarray
    is_match: np.ndarray
    row: np.ndarray
    slot: np.ndarray
    p: np.ndarray

    @cached_property
    def rows(self) -> list[range]:
        """The rows of each question."""
        ends = np.cumsum(np.bincount(self.question, minlength=len(self.sizes)))
        return [range(a, b) for a, b in itertools.pairwise([0, *ends.tolist()])]

    @cached_property
    def slot_question(self) -> np.ndarray:
        """The question of each slot."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    @cached_property
    def pair_votes(self) -> np.ndarray:
        """The entries of pairs that were asked by themselves where the row says yes or no."""
        by_pair = self.is_match[self.question[self.row]]
        return np.flatnonzero(by_pair & np.isfinite(self.p) & (self.p != 0.5))

    @cached_property
    def usable(self) -> np.ndarray:
        """The rows with an answer: a choice, or one to any of the pairs. Where there are no pairs, none is one."""
        pairs = np.bincount(self.row[self.pair_votes], minlength=len(self.question))
        by_pair = (self.is_match & (self.sizes > 0))[self.question]
        return np.where(by_pair, pairs > 0, self.choice != ABSTAINED)

    @cached_property
    def answers(self) -> np.ndarray:
        """How many rows of each question have an answer."""
        return np.bincount(self.question[self.usable], minlength=len(self.sizes))

    @cached_property
    def selecting(self) -> Ballots:
        """The votes on whole questions; those whose pairs were asked by themselves have none."""
        rows = np.flatnonzero((self.choice != ABSTAINED) & ~self.is_match[self.question])
        return Ballots(len(self.names), self.question[rows], self.teacher[rows], self.choice[rows], self.sizes)

    @cached_property
    def matching(self) -> Ballots:
        """The votes on single pairs: every slot is a unit with one candidate."""
        votes = self.pair_votes
        teacher, yes = self.teacher[self.row[votes]], (self.p[votes] > 0.5).astype(np.int64)
        return Ballots(len(self.names), self.slot[votes], teacher, yes, np.ones_like(self.slot_question))

    def agree(self, choice: np.ndarray) -> np.ndarray:
        """The rows whose choice is that of their question."""
        return np.asarray((self.choice == choice[self.question]) & (self.choice != ABSTAINED))


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
    names = sorted(one_array(labels["teacher"]).unique().to_pylist())
    if len(names) > 1:
        keys = pa.table({name: _stored(labels[name]) for name in ("left_source", "left_id")})
        labels = labels.take(pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names]))
    return _aligned(labels.take(_rows_that_count(labels, names)), names)


def column(labels: pa.Table, name: str, kind: pa.DataType) -> pa.Array:
    """A column of labels, NULL where they lack it."""
    return one_array(labels[name]).cast(kind) if name in labels.column_names else pa.nulls(len(labels), kind)


def last_of_each(group: np.ndarray, *keys: np.ndarray) -> np.ndarray:
    """The member of each group that comes last by the first key, then by the next; of equal ones the last."""
    order = np.lexsort((*reversed(keys), group))
    return np.asarray(order[np.flatnonzero(np.diff(group[order], append=-1))])


def _rows_that_count(labels: pa.Table, names: list[str]) -> np.ndarray:
    """One row a teacher and left record, by left record and then by teacher (see `read_questions`)."""
    left, teacher = _numbers(labels["left_source"], labels["left_id"]), _teachers(labels, names)
    lengths, _, candidate = _candidates(labels)
    question = _numbers(left, labels["query"], _sets(candidate, lengths))
    given = column(labels, "probabilities", _PROBABILITIES)
    has_any = np.isin(np.arange(len(labels)), pc.list_parent_indices(given).filter(given.flatten().is_valid()))
    answered = np.asarray(labels["choice"].is_valid()) | (_is_match(labels) & has_any)
    rows = last_of_each(question * len(names) + teacher, answered)
    answers = np.bincount(question[rows], answered[rows])
    counting = question[last_of_each(left, answers[question])]
    rows = rows[np.isin(question[rows], counting)]
    return np.asarray(rows[np.lexsort((teacher[rows], left[rows]))])


def _aligned(labels: pa.Table, names: list[str]) -> Questions:
    """The rows that count, with every choice and probability at its candidate's place in the question's first row."""
    question, teacher = _numbers(labels["left_source"], labels["left_id"]), _teachers(labels, names)
    is_match = np.bincount(question, ~_is_match(labels)) == 0
    lengths, row, candidate = _candidates(labels)
    sizes = lengths[np.flatnonzero(np.diff(question, prepend=-1))]
    offsets = np.cumsum(sizes) - sizes
    # By first appearance, so that a question's slots are in the order of its first row.
    slot = _numbers(question[row], candidate)
    choice = _choices(labels, lengths)
    is_chosen = np.arange(len(row)) == (np.cumsum(lengths) - lengths + choice - 1)[row]
    choice[row[is_chosen]] = (slot - offsets[question[row]] + 1)[is_chosen]
    p, is_soft = _opinions(_probabilities(labels, lengths), row, choice, is_chosen, is_match[question])
    return Questions(labels, names, question, teacher, choice, is_soft, sizes, offsets, is_match, row, slot, p)


def _teachers(labels: pa.Table, names: list[str]) -> np.ndarray:
    """The position of each row's teacher in `names`."""
    named = one_array(labels["teacher"])
    return np.asarray(pc.index_in(named, pa.array(names, named.type)), dtype=np.int64)


def _is_match(labels: pa.Table) -> np.ndarray:
    """The rows whose pairs were asked by themselves."""
    return np.asarray(pc.equal(column(labels, "ask", pa.string()), "match").fill_null(False))


def _candidates(labels: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How many candidates each row shows; the row of each of them, and its number, the same for the same candidate."""
    options = one_array(labels["options"])
    lengths = _lengths(options)
    row, number = np.repeat(np.arange(len(lengths)), lengths), _numbers(*options.flatten().flatten())
    shown = _numbers(row, number)
    if shown.max(initial=-1) + 1 < len(shown):
        # What a row shows twice is another candidate the second time, so that rows remain lists of distinct ones.
        order = np.argsort(shown, kind="stable")
        again = np.empty_like(shown)
        again[order] = np.arange(len(shown)) - np.searchsorted(shown[order], shown[order])
        number = _numbers(number, again)
    return lengths, row, number


def _sets(members: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """A number for each list of so many members, the same where the members are, in any order."""
    ends, numbers = np.cumsum(lengths).tolist(), members.tolist()
    sets: dict[frozenset[int], int] = {}
    of_rows = (frozenset(numbers[a:b]) for a, b in itertools.pairwise([0, *ends]))
    return np.asarray([sets.setdefault(one, len(sets)) for one in of_rows], dtype=np.int64)


def _numbers(*columns: pa.Array | pa.ChunkedArray | np.ndarray) -> np.ndarray:
    """A number for each row, from 0 by first appearance, the same where all columns have equal values."""
    number = _codes(columns[0])
    for code in map(_codes, columns[1:]):
        number = _codes(number * (code.max(initial=0) + 1) + code)
    return number


def _codes(values: pa.Array | pa.ChunkedArray | np.ndarray) -> np.ndarray:
    """The number of each value, from 0 by first appearance."""
    plain = pa.array(values) if isinstance(values, np.ndarray) else _stored(values)
    if pa.types.is_null(plain.type):
        return np.zeros(len(plain), dtype=np.int64)
    return np.asarray(plain.dictionary_encode(null_encoding="encode").indices, dtype=np.int64)


def _stored(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Values of a type that Arrow can count and sort: those below an extension type, as UUID is one."""
    plain = one_array(values)
    return plain.storage if isinstance(plain, pa.ExtensionArray) else plain


def _lengths(lists: pa.Array) -> np.ndarray:
    """How many members each list has; NULL has none."""
    return np.asarray(pc.list_value_length(lists).fill_null(0), dtype=np.int64)


def _choices(labels: pa.Table, lengths: np.ndarray) -> np.ndarray:
    """Each row's choice among the candidates as it shows them."""
    choice = np.array(column(labels, "choice", pa.int64()).fill_null(ABSTAINED))
    wrong = np.flatnonzero((choice > lengths) | (choice < ABSTAINED))
    if wrong.size:
        chosen = f"candidate {choice[wrong[0]]} of {lengths[wrong[0]]}"
        raise LabelError(f"a label chooses {chosen}; a choice is 1-based, 0 means none of them")
    return choice


def _probabilities(labels: pa.Table, lengths: np.ndarray) -> np.ndarray:
    """The probability of each candidate, NaN where its row has none, or not one for each of its candidates."""
    given = column(labels, "probabilities", _PROBABILITIES)
    given_lengths = _lengths(given)
    fits = given_lengths == lengths
    p = np.full(int(lengths.sum()), np.nan)
    p[np.repeat(fits, lengths)] = np.asarray(given.flatten(), dtype=np.float64)[np.repeat(fits, given_lengths)]
    return np.where(np.isfinite(p), np.clip(p, 0.0, 1.0), np.nan)


def _opinions(
    given: np.ndarray, row: np.ndarray, choice: np.ndarray, is_chosen: np.ndarray, by_pair: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What rows say of their candidates, NaN = nothing, and the rows that say it with probabilities of all.

    Others choose: that says 1 of the chosen candidate and 0 of the rest, but nothing of the rest where pairs were asked
    by themselves; there an answer to some pairs counts, too. Abstained rows say nothing but what they say of pairs.
    """
    rows, answered = len(choice), choice != ABSTAINED
    known = np.bincount(row, np.isfinite(given), rows)
    is_soft = answered & (known == np.bincount(row, minlength=rows))
    rest = np.where(answered & ~(by_pair & (choice > 0)), 0.0, np.nan)
    is_plain = np.where(by_pair, known == 0, ~is_soft)
    return np.where(is_plain[row], np.where(is_chosen, 1.0, rest[row]), given), is_soft
