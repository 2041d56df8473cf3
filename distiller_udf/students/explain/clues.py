"""What two records say: columns that belong together, and the clues in them.

A clue is a word that both sides have, words that are alike, one that a side lacks, or two whole values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from distiller_udf.similarity import Comparison
from distiller_udf.similarity.words import MAX_COMPARED_CHARACTERS, fold

MAX_CLUES = 6
"""The rarest shared words, and the rarest that either side lacks, are looked at by themselves: six of each."""

ALIKE = 70
"""Two words are alike from this similarity on (out of 100): a slip of the pen, or codes that differ in a digit."""

MAX_ALIKE_CHARACTERS = 100
"""As much of two words is looked at to see whether they are alike."""

WordRarity = Callable[[str], float]
"""The weight of a folded word: the rarer, the larger."""

Row = Mapping[str, "str | None"]
"""A record's values by column."""

_Found = tuple["Clue", set[str]]
"""A clue and the words that it is made of."""

# What the similarities call a word, on a value as it was written: accents and signs that folding removes are within.
_WORD = re.compile(r"(?:\w|[^\x00-\x7f\s])+(?:[-/.](?:\w|[^\x00-\x7f\s])+)*")
_SIGNS = re.compile(r"\W")


def column_groups(left: Sequence[str], right: Sequence[str], comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Every column in one group: with the column it is compared with most, else with its namesake, else alone.

    Where that column is in a group already, as a full name is beside the last name, a first name joins the two.
    """
    left, right = tuple(left), tuple(right)
    kinds = {(c.left_columns, c.right_columns): c.kind for c in comparisons if c.kind not in ("record", "name")}
    namesakes = [Comparison(kinds.get(((n,), (n,)), "text"), (n,), (n,)) for n in left if n in right]
    if set(left) == set(right):
        return namesakes
    matched = [c for c in comparisons if c.kind != "record"]
    alone = [*(Comparison("text", (n,), ()) for n in left), *(Comparison("text", (), (n,)) for n in right)]
    groups: list[Comparison] = []
    free = set(left), set(right)
    for group in (*matched, *namesakes, *alone):
        free_left, free_right = free[0].issuperset(group.left_columns), free[1].issuperset(group.right_columns)
        if free_left and free_right:
            groups.append(group)
        elif (place := _split_place(group, groups, free_left, free_right)) is not None:
            known = groups[place]
            left_columns = tuple(dict.fromkeys((*known.left_columns, *group.left_columns)))
            right_columns = tuple(dict.fromkeys((*known.right_columns, *group.right_columns)))
            group = groups[place] = Comparison(known.kind, left_columns, right_columns)
        else:
            continue
        free[0].difference_update(group.left_columns)
        free[1].difference_update(group.right_columns)
    return groups


def _split_place(group: Comparison, groups: Sequence[Comparison], free_left: bool, free_right: bool) -> int | None:
    """The place of the group of texts with which this one has a side in common, its other side being free."""
    for place, known in enumerate(groups):
        of_texts = {group.kind, known.kind} <= {"text", "long", "name"} and group.left_columns and group.right_columns
        by_left = free_right and group.left_columns == known.left_columns
        if of_texts and (by_left or (free_left and group.right_columns == known.right_columns)):
            return place
    return None


@dataclass(frozen=True)
class Clue:
    """Something in a pair's values that may speak for or against a match.

    `kind` and `texts`: `both` (one text, which both sides have), `like` (two words that are almost the same), `values`
    (the two whole values), `elsewhere` (one side has it here, the other in another column), `lacked` (one side has
    it), `empty` (one side has no value here) and `rest` (all else), without texts.
    """

    kind: str
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Clues:
    """The clues of one group of columns in one pair, rarest words first, `rest` or `empty` last.

    `pieces` holds for each side, and for each of its filled columns, the value in pieces: a text and the number of the
    clue that it belongs to. Joined they are the value, as much of it as is compared.
    """

    clues: tuple[Clue, ...]
    pieces: tuple[Mapping[str, Sequence[tuple[str, int]]], Mapping[str, Sequence[tuple[str, int]]]] = ({}, {})

    @property
    def players(self) -> int:
        """How many of the clues own a piece; the last one may own none."""
        owners = {owner for side in self.pieces for column in side.values() for _, owner in column}
        return max(owners, default=0) + 1

    def texts(self, side: int, column: str, present: np.ndarray) -> list[str | None]:
        """The column's value with the clues alone that are present: row by row of a boolean array, (sets, players)."""
        pieces = self.pieces[side].get(column, ())
        return ["".join(text for text, owner in pieces if row[owner]).strip() or None for row in present.tolist()]


@dataclass(frozen=True)
class _Split:
    """A value in words, each with what follows it up to the next; equal `keys` are the same word."""

    segments: tuple[str, ...]
    keys: tuple[str, ...]
    written: Mapping[str, str]


def find_clues(left: Row, right: Row, group: Comparison, rarity: WordRarity) -> Clues:
    """What a group of columns has to say about a pair. Swapping the sides changes nothing but the sides of `pieces`."""
    sides = _splits(left, group.left_columns), _splits(right, group.right_columns)
    if all(sides) and (
        group.kind in ("number", "date") or all(sum(len(split.keys) for split in side.values()) <= 1 for side in sides)
    ):
        values = [" ".join(str(row[name]) for name in side) for row, side in zip((left, right), sides, strict=True)]
        same = values[0] == values[1]
        return Clues((Clue("both", (values[0],)) if same else Clue("values", _ordered(values[0], values[1], group)),))
    written = _written(sides[0]), _written(sides[1])
    lone = [_rarest(written[i].keys() - written[1 - i].keys(), rarity) for i in (0, 1)]
    found: list[_Found] = []
    if all(sides):
        shared = _rarest(written[0].keys() & written[1].keys(), rarity)
        found += [(Clue("both", (min(written[0][key], written[1][key]),)), {key}) for key in shared]
        for a, b in _alike(*lone):
            found.append((Clue("like", _ordered(written[0][a], written[1][b], group)), {a, b}))
            lone[0].remove(a)
            lone[1].remove(b)
    others = _others(left, group.left_columns), _others(right, group.right_columns)
    for i in (0, 1):
        for key in lone[i]:
            elsewhere = any(key in split.written for split in others[1 - i])
            if elsewhere or all(sides):
                found.append((Clue("elsewhere" if elsewhere else "lacked", (written[i][key],)), {key}))
    found.sort(key=lambda item: (-max(map(rarity, item[1])), item[0].kind, item[0].texts))
    owners = {key: number for number, (_, keys) in enumerate(found) for key in keys}
    pieces = _pieces(sides[0], owners, len(found)), _pieces(sides[1], owners, len(found))
    return Clues((*(clue for clue, _ in found), Clue("rest" if all(sides) else "empty")), pieces)


@lru_cache(maxsize=4096)
def _split(value: str) -> _Split:
    value = value[:MAX_COMPARED_CHARACTERS]
    words = [(match.start(), _key(match.group()), match.group()) for match in _WORD.finditer(value)]
    words = [word for word in words if word[1]]
    if not words:
        return _Split((value,), ("",), {})
    starts = [0, *(start for start, _, _ in words[1:]), len(value)]
    written: dict[str, str] = {}
    for _, key, text in words:
        written[key] = min(text, written.get(key, text))
    segments = tuple(value[start:end] for start, end in pairwise(starts))
    return _Split(segments, tuple(key for _, key, _ in words), written)


def _key(word: str) -> str:
    """What makes two words the same: no case, no accents, no separators but those of a number."""
    folded = fold(word)
    key = _SIGNS.sub("", folded)
    return folded if key.isdigit() and folded.isascii() else key


def _splits(row: Row, names: Iterable[str]) -> dict[str, _Split]:
    return {name: _split(value) for name in names if (value := row.get(name)) is not None}


def _others(row: Row, names: Sequence[str]) -> list[_Split]:
    return list(_splits(row, [name for name in row if name not in names]).values())


def _written(side: Mapping[str, _Split]) -> dict[str, str]:
    """Every word of a side, as it is written there; where it is written in several ways, the first of these."""
    result: dict[str, str] = {}
    for split in side.values():
        for key, text in split.written.items():
            result[key] = min(text, result.get(key, text))
    return result


def _ordered(left: str, right: str, group: Comparison) -> tuple[str, str]:
    """The left text first where the columns differ, as in their label; else swapped sides would read otherwise."""
    return (left, right) if group.left_columns != group.right_columns else (min(left, right), max(left, right))


def _rarest(keys: Iterable[str], rarity: WordRarity) -> list[str]:
    return sorted(keys, key=lambda key: (-rarity(key), key))[:MAX_CLUES]


def _alike(left: Sequence[str], right: Sequence[str]) -> list[tuple[str, str]]:
    """Words of both sides in pairs, the most similar first, each word in one pair at most."""
    from rapidfuzz import fuzz, process

    if not left or not right:
        return []
    cut = [[word[:MAX_ALIKE_CHARACTERS] for word in side] for side in (left, right)]
    similarity = process.cdist(*cut, scorer=fuzz.ratio, score_cutoff=ALIKE)
    close = [
        (-float(similarity[i, j]), min(a, b), max(a, b), i, j)
        for i, a in enumerate(left)
        for j, b in enumerate(right)
        if similarity[i, j] > 0
    ]
    free = set(range(len(left))), set(range(len(right)))
    pairs: list[tuple[str, str]] = []
    for _, _, _, i, j in sorted(close):
        if i in free[0] and j in free[1]:
            pairs.append((left[i], right[j]))
            free[0].remove(i)
            free[1].remove(j)
    return pairs


def _pieces(side: Mapping[str, _Split], owners: Mapping[str, int], rest: int) -> dict[str, list[tuple[str, int]]]:
    """Each column's value in pieces, neighbours that belong to the same clue in one."""
    result: dict[str, list[tuple[str, int]]] = {}
    for name, split in side.items():
        pieces: list[tuple[str, int]] = []
        for segment, key in zip(split.segments, split.keys, strict=True):
            owner = owners.get(key, rest)
            if pieces and pieces[-1][1] == owner:
                segment = pieces.pop()[0] + segment
            pieces.append((segment, owner))
        result[name] = pieces
    return result
