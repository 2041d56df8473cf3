"""What each word adds to its column's contribution, measured on the model itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from distiller_udf.records import Column, Records
from distiller_udf.similarity.text import MAX_COMPARED_CHARACTERS
from distiller_udf.students.explain.columns import Group, contributions
from distiller_udf.students.explain.sentence import MINIMUM_CONTRIBUTION, ColumnShare, Explanation, WordShare
from distiller_udf.students.explain.shapley import EXACT_PLAYERS, LogOdds, game, orders
from distiller_udf.students.explain.words import Clues, Rarity, Row, find_clues

SHIFTS = 4
"""So many cyclic shifts of the words are tried, each forwards and backwards, half of them without other columns."""

MANY_PLAYERS = 9
"""From so many on, half as many shifts have to do: the longer the text, the less a single word weighs."""

MAX_TEXT = 4_000_000
"""Characters of records that are scored at once: texts that differ in a word alone still take their memory."""

LEAST_TEXT = 200
"""A shorter pair of records counts as so many characters."""


@dataclass(frozen=True)
class _Question:
    """One group of columns in one pair, whose contribution is to be shared out among its clues.

    `characters` are those of both records, as far as they are compared.
    """

    pair: int
    group: int
    contribution: float
    clues: Clues
    characters: int

    @property
    def players(self) -> int:
        return self.clues.players

    @property
    def size(self) -> int:
        """Characters to score."""
        rows = sum(len(_word_game(self.players, alone)[0]) for alone in (True, False))
        return rows * max(self.characters, LEAST_TEXT)


def explanations(
    log_odds: LogOdds, left: Records, right: Records, groups: Sequence[Group], rarity: Rarity
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
    parts: np.ndarray, left: Sequence[Row], right: Sequence[Row], groups: Sequence[Group], rarity: Rarity
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
        if batch and size + question.size > MAX_TEXT:
            yield batch
            batch, size = [], 0
        batch.append(question)
        size += question.size
    if batch:
        yield batch


def _named(question: _Question, shares: np.ndarray) -> tuple[WordShare, ...]:
    """The clues with their shares; the last takes what is missing to the column's contribution."""
    *clues, last = question.clues.clues
    values = shares[: len(clues)].tolist()
    named = [WordShare(clue.kind, clue.texts, value) for clue, value in zip(clues, values, strict=True)]
    return (*named, WordShare(last.kind, last.texts, question.contribution - sum(values)))


def _shares(
    log_odds: LogOdds, left: Records, right: Records, groups: Sequence[Group], questions: Sequence[_Question]
) -> list[np.ndarray]:
    """The shares of each question's players, in log odds; a lone player needs no asking."""
    asked = [question for question in questions if question.players > 1]
    values = np.zeros(0)
    if asked:
        sides = [_variants(r, groups, asked, side) for side, r in enumerate((left, right))]
        values = log_odds(sides[0], sides[1])
    result, at = [], 0
    for question in questions:
        if question.players == 1:
            result.append(np.asarray([question.contribution]))
            continue
        found = []
        for alone in (True, False):
            coalitions, shares = _word_game(question.players, alone)
            found.append((values[at : at + len(coalitions)] @ shares)[:-1])
            at += len(coalitions)
        result.append(_weighed(found[0], found[1], question.contribution))
    return result


def _weighed(alone: np.ndarray, among: np.ndarray, contribution: float) -> np.ndarray:
    """The mixture of both that adds up to the contribution, or the one that comes nearest to it."""
    gap = float(alone.sum() - among.sum())
    share = 0.5 if abs(gap) < 1e-9 else float(np.clip((contribution - among.sum()) / gap, 0.0, 1.0))
    return share * alone + (1 - share) * among


@lru_cache(maxsize=256)
def _word_game(players: int, alone: bool) -> tuple[np.ndarray, np.ndarray]:
    """The sets of words to ask about: other orders without the other columns (`alone`) than with them."""
    joining = orders(players, SHIFTS if players < MANY_PLAYERS else SHIFTS // 2)
    if players > EXACT_PLAYERS:
        half = len(joining) // 2
        joining = [joining[i + reverse] for i in range(0 if alone else 1, half, 2) for reverse in (0, half)]
    return game(joining, players)


def _variants(records: Records, groups: Sequence[Group], questions: Sequence[_Question], side: int) -> Records:
    """One side of every row to ask about: the words present, in their column, the other columns NULL or as they are."""
    games = [[_word_game(q.players, alone)[0] for alone in (True, False)] for q in questions]
    counts = [[len(alone), len(among)] for alone, among in games]
    pairs = np.repeat([q.pair for q in questions], [sum(count) for count in counts])
    alone = np.repeat(np.tile([True, False], len(questions)), np.concatenate(counts))
    starts = np.cumsum([0, *(sum(count) for count in counts)])
    columns = {}
    for name, column in records.columns.items():
        own = Column.from_values(column.take(pairs).to_list())  # the values of these rows alone
        codes = np.where(alone, np.int32(-1), own.codes)
        index = {value: code for code, value in enumerate(own.values)}
        for question, sets, start in zip(questions, games, starts, strict=False):
            group = groups[question.group]
            if name in (group.left, group.right)[side]:
                texts = [text for present in sets for text in question.clues.texts(side, name, present)]
                codes[start : start + len(texts)] = [
                    -1 if t is None else index.setdefault(t, len(index)) for t in texts
                ]
        columns[name] = Column(codes, tuple(index))
    return replace(records.take(pairs), columns=columns)
