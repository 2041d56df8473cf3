"""What columns and words add to a pair's log odds, measured on the model itself, as Shapley values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import permutations

import numpy as np

from distiller_udf.records import Column, Records
from distiller_udf.similarity import Comparison
from distiller_udf.similarity.words import MAX_COMPARED_CHARACTERS
from distiller_udf.students.explain.clues import Clues, Row, WordRarity, find_clues
from distiller_udf.students.explain.sentence import MINIMUM_CONTRIBUTION, ColumnShare, Explanation, WordShare

EXACT_PLAYERS = 4
"""Up to this many players every order is tried, which makes the Shapley values exact."""

_Game = tuple[np.ndarray, np.ndarray]
"""Sets of players, and what makes contributions of their values; see `_game`."""

LogOdds = Callable[[Records, Records], np.ndarray]
"""The log odds that row i of both sides is the same entity; records may lack any value."""

COLUMN_SHIFTS, WORD_SHIFTS = 8, 4
"""So many cyclic shifts of columns, or of words, are tried, each forwards and backwards, where there are many of them.

Of those of words, one half is asked about without the other columns, the other half among them.
"""

MANY_WORDS = 9
"""From so many on, half as many shifts have to do: the longer the text, the less a single word weighs."""

MAX_ROWS = 20_000
"""Rows that are scored at once."""

MAX_TEXT = 4_000_000
"""Characters of records that are scored at once: texts that differ in a word alone still take their memory."""

LEAST_TEXT = 200
"""A shorter pair of records counts as so many characters."""


def _orders(players: int, shifts: int) -> list[tuple[int, ...]]:
    """The orders in which players join: the same ones always, and each with its reverse.

    Above EXACT_PLAYERS they are up to `shifts` cyclic shifts, forwards and backwards: players come early, late and
    between. An order and its reverse are exact where no more than two players work together.
    """
    if players <= EXACT_PLAYERS:
        return list(permutations(range(players)))
    starts = [i * players // min(players, shifts) for i in range(min(players, shifts))]
    shifted = [tuple((start + i) % players for i in range(players)) for start in starts]
    return [*shifted, *(order[::-1] for order in shifted)]


def _game(joining: Sequence[tuple[int, ...]], players: int) -> _Game:
    """The sets of players that the orders pass through, and how their values become contributions.

    The sets are rows of a boolean array, the empty one first; values (pairs, sets) times the second array,
    (sets, players + 1), are the contributions and the baseline.
    """
    index: dict[frozenset[int], int] = {frozenset(): 0}
    steps = []
    for order in joining:
        for position, player in enumerate(order):
            joined = frozenset(order[: position + 1])
            steps.append((player, index[joined - {player}], index.setdefault(joined, len(index))))
    coalitions = np.asarray([[p in members for p in range(players)] for members in index], dtype=bool)
    shares = np.zeros((len(index), players + 1))
    shares[0, players] = 1.0
    for player, before, after in steps:
        shares[before, player] -= 1 / len(joining)
        shares[after, player] += 1 / len(joining)
    return coalitions, shares


def contributions(log_odds: LogOdds, left: Records, right: Records, groups: Sequence[Comparison]) -> np.ndarray:
    """Each group's share of a pair's log odds, the baseline (no column at all) last: shape (pairs, groups + 1).

    A row adds up to what `log_odds` gives for the pair.
    """
    coalitions, shares = _game(_orders(len(groups), COLUMN_SHIFTS), len(groups))
    step = max(MAX_ROWS // len(coalitions), 1)
    values = np.zeros((len(left), len(coalitions)))
    for start in range(0, len(left), step):
        pairs = np.arange(start, min(start + step, len(left)))
        present = np.tile(coalitions, (len(pairs), 1))
        sides = (
            _blanked(left.take(pairs), len(coalitions), present, [g.left_columns for g in groups]),
            _blanked(right.take(pairs), len(coalitions), present, [g.right_columns for g in groups]),
        )
        values[pairs] = log_odds(*sides).reshape(len(pairs), -1)
    return np.asarray(values @ shares)


def _blanked(records: Records, times: int, present: np.ndarray, groups: Sequence[tuple[str, ...]]) -> Records:
    """Each record `times` over, row by row without the columns of the groups that are not `present`."""
    rows = np.repeat(np.arange(len(records)), times)
    columns = {}
    for name, column in records.columns.items():
        position = next(i for i, names in enumerate(groups) if name in names)
        own = Column.from_values(column.to_list())  # the values of these rows alone
        columns[name] = Column(np.where(present[:, position], own.codes[rows], np.int32(-1)), own.values)
    return replace(records.take(rows), columns=columns)


@dataclass(frozen=True)
class _Question:
    """One group of columns in one pair, whose contribution is to be shared out among its clues.

    `games` are those of its words without the other columns and among them. `characters` are those of both records, as
    far as they are compared.
    """

    pair: int
    group: int
    contribution: float
    clues: Clues
    characters: int

    @cached_property
    def games(self) -> tuple[_Game, _Game]:
        return _word_game(self.clues.players, True), _word_game(self.clues.players, False)

    @property
    def rows(self) -> int:
        """Rows to score."""
        return sum(len(coalitions) for coalitions, _ in self.games)


def explanations(
    log_odds: LogOdds, left: Records, right: Records, groups: Sequence[Comparison], rarity: WordRarity
) -> list[Explanation]:
    """Each pair's log odds by column and by word.

    The words of a column join one by one, once without any other column and once with all of them. The two are weighed
    so that the words add up to the column's contribution; what they cannot is left to the remainder, the last word
    share of every column. `rarity` weighs a folded word; the rarest are looked at by themselves.
    """
    parts = contributions(log_odds, left, right, groups)
    rows = left.to_dicts(), right.to_dicts()
    words: dict[tuple[int, int], tuple[WordShare, ...]] = {}
    for batch in _batches(_questions(parts, *rows, groups, lru_cache(maxsize=65_536)(rarity))):
        for question, shares in zip(batch, _shares(log_odds, left, right, groups, batch), strict=True):
            words[question.pair, question.group] = _named(question, shares)
    return [
        Explanation(
            float(row[-1]),
            tuple(
                ColumnShare(group.label, float(row[g]), words.get((pair, g), (WordShare("rest", (), float(row[g])),)))
                for g, group in enumerate(groups)
            ),
        )
        for pair, row in enumerate(parts)
    ]


def _questions(
    parts: np.ndarray, left: Sequence[Row], right: Sequence[Row], groups: Sequence[Comparison], rarity: WordRarity
) -> Iterator[_Question]:
    for pair, g in zip(*np.nonzero(np.abs(parts[:, : len(groups)]) >= MINIMUM_CONTRIBUTION), strict=True):
        clues = find_clues(left[pair], right[pair], groups[g], rarity)
        texts = (text for row in (left[pair], right[pair]) for text in row.values() if text is not None)
        characters = sum(min(len(text), MAX_COMPARED_CHARACTERS) for text in texts)
        yield _Question(int(pair), int(g), float(parts[pair, g]), clues, characters)


def _batches(questions: Iterable[_Question]) -> Iterator[list[_Question]]:
    batch: list[_Question] = []
    size = 0
    for question in questions:
        characters = question.rows * max(question.characters, LEAST_TEXT)
        if batch and size + characters > MAX_TEXT:
            yield batch
            batch, size = [], 0
        batch.append(question)
        size += characters
    if batch:
        yield batch


def _named(question: _Question, shares: np.ndarray) -> tuple[WordShare, ...]:
    """The clues with their shares; the last takes what is missing to the column's contribution."""
    *clues, last = question.clues.clues
    values = shares[: len(clues)].tolist()
    named = [WordShare(clue.kind, clue.texts, value) for clue, value in zip(clues, values, strict=True)]
    return (*named, WordShare(last.kind, last.texts, question.contribution - sum(values)))


def _shares(
    log_odds: LogOdds, left: Records, right: Records, groups: Sequence[Comparison], questions: Sequence[_Question]
) -> list[np.ndarray]:
    """The shares of each question's players, in log odds; a lone player needs no asking."""
    asked = [question for question in questions if question.clues.players > 1]
    if asked:
        values = log_odds(*(_variants(r, groups, asked, side) for side, r in enumerate((left, right))))
        parts = iter(np.split(values, np.cumsum([len(sets) for q in asked for sets, _ in q.games])))
    result = []
    for question in questions:
        if question.clues.players == 1:
            result.append(np.asarray([question.contribution]))
        else:
            alone, among = ((next(parts) @ shares)[:-1] for _, shares in question.games)
            result.append(_weighed(alone, among, question.contribution))
    return result


def _weighed(alone: np.ndarray, among: np.ndarray, contribution: float) -> np.ndarray:
    """The mixture of both that adds up to the contribution, or the one that comes nearest to it."""
    gap = float(alone.sum() - among.sum())
    share = 0.5 if abs(gap) < 1e-9 else float(np.clip((contribution - among.sum()) / gap, 0.0, 1.0))
    return share * alone + (1 - share) * among


@lru_cache(maxsize=256)
def _word_game(players: int, alone: bool) -> _Game:
    """The sets of words to ask about: other orders without the other columns (`alone`) than with them."""
    joining = _orders(players, WORD_SHIFTS if players < MANY_WORDS else WORD_SHIFTS // 2)
    if players > EXACT_PLAYERS:
        half = len(joining) // 2
        joining = [joining[i + reverse] for i in range(0 if alone else 1, half, 2) for reverse in (0, half)]
    return _game(joining, players)


def _variants(records: Records, groups: Sequence[Comparison], questions: Sequence[_Question], side: int) -> Records:
    """One side of every row to ask about: the words present, in their column, the other columns NULL or as they are."""
    pairs = np.repeat([q.pair for q in questions], [q.rows for q in questions])
    counts = [len(sets) for q in questions for sets, _ in q.games]
    alone = np.repeat(np.tile([True, False], len(questions)), counts)
    starts = np.cumsum([0, *(q.rows for q in questions)])
    columns = {}
    for name, column in records.columns.items():
        own = Column.from_values(column.take(pairs).to_list())  # the values of these rows alone
        codes = np.where(alone, np.int32(-1), own.codes)
        index = {value: code for code, value in enumerate(own.values)}
        for question, start in zip(questions, starts, strict=False):
            group = groups[question.group]
            if name in (group.left_columns, group.right_columns)[side]:
                texts = [text for sets, _ in question.games for text in question.clues.texts(side, name, sets)]
                codes[start : start + len(texts)] = [
                    -1 if t is None else index.setdefault(t, len(index)) for t in texts
                ]
        columns[name] = Column(codes, tuple(index))
    return replace(records.take(pairs), columns=columns)
