"""Generated persons to link: two tables of any size, with typing errors, swaps, missing values and skewed names.

Names are made of syllables and drawn with a Zipf distribution, as real ones are: a few are everywhere, most are rare.
A share of the right table are persons of the left one, written down by somebody else.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

COLUMNS = ("first_name", "surname", "birth_date", "street", "house", "town", "postcode", "phone")
TYPOS = {
    "first_name": 0.12,
    "surname": 0.12,
    "street": 0.12,
    "town": 0.05,
    "postcode": 0.04,
    "phone": 0.06,
    "birth_date": 0.05,
}
"""Which share of the copies has a typing error in a column."""

MISSING = {
    "first_name": 0.01,
    "birth_date": 0.08,
    "street": 0.05,
    "house": 0.08,
    "town": 0.03,
    "postcode": 0.08,
    "phone": 0.35,
}
MOVED, SWAPPED = 0.08, 0.03
"""Copies of somebody who has moved, and copies with first name and surname in each other's place."""

_ONSETS, _VOWELS = (
    ("b", "br", "d", "f", "g", "gr", "h", "k", "kl", "l", "m", "n", "p", "r", "s", "st", "t", "v", "w", "z"),
    "aeiou",
)


@dataclass(frozen=True)
class People:
    """Both tables (`id` and `COLUMNS`, texts) and the true pairs (`left_id`, `right_id`)."""

    left: pa.Table
    right: pa.Table
    gold: pa.Table


def people(rows: int, seed: int = 0, shared: float = 0.6) -> People:
    """`rows` persons a side, of whom a share stands on both."""
    rng = np.random.default_rng(seed)
    world = _World(rng, rows)
    left = world.persons(rows)
    both = round(shared * rows)
    copied = rng.permutation(rows)[:both]
    noted = world.noted({name: values[copied] for name, values in left.items()})
    others = world.persons(rows - both)
    right = {name: np.concatenate([noted[name], others[name]]) for name in COLUMNS}
    order = rng.permutation(rows)
    right = {name: values[order] for name, values in right.items()}
    place = np.argsort(order)[:both]
    gold = pa.table({"left_id": pa.array(copied), "right_id": pa.array(place)})
    return People(_table(left, rng), _table(right, rng), gold)


def copies(rows: int, each: int, seed: int = 0, shared: float = 0.75) -> People:
    """`rows` persons on the left; a share of them are somebody of the right table, each of whom is noted `each` times.

    A third of the right table are relatives of another one, at the same address.
    """
    rng = np.random.default_rng(seed)
    world = _World(rng, rows)
    both = round(shared * rows)
    noted = np.repeat(np.arange(-(-both // each)), each)[:both]
    right = world.families(-(-both // each) + rows // 4)
    own, strangers = world.noted({name: values[noted] for name, values in right.items()}), world.persons(rows - both)
    left = {name: np.concatenate([own[name], strangers[name]]) for name in COLUMNS}
    places = [rng.permutation(len(table["surname"])) for table in (left, right)]
    tables = [
        _table({name: values[place] for name, values in table.items()}, rng)
        for table, place in zip((left, right), places, strict=True)
    ]
    ends = [np.argsort(place) for place in places]
    gold = pa.table({"left_id": pa.array(ends[0][:both]), "right_id": pa.array(ends[1][noted])})
    return People(tables[0], tables[1], gold)


def duplicates(rows: int, sizes: tuple[int, int], seed: int = 0) -> tuple[pa.Table, pa.Table]:
    """One table of about `rows` notes, of each person as many as `sizes` say, and its true pairs, the smaller id first.

    A third of the persons are relatives of another one, at the same address.
    """
    rng = np.random.default_rng(seed)
    world = _World(rng, rows)
    size = rng.integers(sizes[0], sizes[1] + 1, round(2 * rows / sum(sizes)))
    person = rng.permutation(np.repeat(np.arange(len(size)), size))
    notes = world.noted({name: values[person] for name, values in world.families(len(size)).items()})
    first, second = np.nonzero(np.triu(person[:, None] == person, 1))
    return _table(notes, rng), pa.table({"left_id": pa.array(first), "right_id": pa.array(second)})


class _World:
    """The names that there are, as many as a place with so many people has."""

    def __init__(self, rng: np.random.Generator, rows: int) -> None:
        self.rng = rng
        self.first_names = self._names(max(200, round(rows**0.5)), (2, 3))
        self.surnames = self._names(max(1_000, round(2 * rows**0.7)), (2, 4))
        self.streets = self._names(max(500, round(rows**0.6)), (2, 4), " street")
        self.towns = self._names(max(100, round(rows**0.45)), (2, 3))

    def persons(self, count: int) -> dict[str, np.ndarray]:
        rng = self.rng
        born = np.datetime64("1930-01-01") + rng.integers(0, 29_000, count)
        own = {
            "first_name": self._drawn(self.first_names, count, 0.8),
            "surname": self._drawn(self.surnames, count, 0.8),
            "birth_date": born.astype(str).astype(object),
        }
        homes = self.homes(count)
        return {name: (own | homes)[name] for name in COLUMNS}

    def families(self, count: int) -> dict[str, np.ndarray]:
        """Persons of whom every third has the surname and the home of the one before."""
        persons = self.persons(count)
        related = np.arange(2, count, 3)
        for name in ("surname", "street", "house", "town", "postcode", "phone"):
            persons[name][related] = persons[name][related - 1]
        return persons

    def noted(self, persons: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The same persons, written down by somebody else."""
        rng, count = self.rng, len(persons["surname"])
        noted = {name: np.array(values) for name, values in persons.items()}
        moved = np.flatnonzero(rng.random(count) < MOVED)
        for name, values in self.homes(len(moved)).items():
            noted[name][moved] = values
        swapped = rng.random(count) < SWAPPED
        noted["first_name"], noted["surname"] = (
            np.where(swapped, noted["surname"], noted["first_name"]),
            np.where(swapped, noted["first_name"], noted["surname"]),
        )
        for name, share in TYPOS.items():
            noted[name] = _changed(noted[name], share, lambda text: misspelt(text, rng), rng)
        return noted

    def homes(self, count: int) -> dict[str, np.ndarray]:
        """Where people live, and their telephones."""
        towns = self._places(len(self.towns), count, 0.7)
        return {
            "street": self._drawn(self.streets, count, 0.5),
            "house": self.rng.integers(1, 150, count).astype(str).astype(object),
            "town": self.towns[towns],
            "postcode": np.char.zfill((1_000 + 7 * towns + self.rng.integers(0, 5, count)).astype(str), 5).astype(
                object
            ),
            "phone": np.char.zfill(self.rng.integers(0, 10**9, count).astype(str), 10).astype(object),
        }

    def _names(self, count: int, syllables: tuple[int, int], ending: str = "") -> np.ndarray:
        rng = self.rng
        onsets, vowels = np.asarray(_ONSETS), np.asarray(list(_VOWELS))
        most = syllables[1] + 1
        parts = np.char.add(
            onsets[rng.integers(0, len(onsets), (3 * count, most))], vowels[rng.integers(0, 5, (3 * count, most))]
        )
        lengths = rng.integers(syllables[0], most, 3 * count)
        names = {"".join(row[:length]) + ending for row, length in zip(parts.tolist(), lengths.tolist(), strict=True)}
        return np.asarray(rng.permutation(np.asarray(sorted(names), dtype=object))[:count])

    def _drawn(self, names: np.ndarray, count: int, skew: float) -> np.ndarray:
        return np.asarray(names[self._places(len(names), count, skew)])

    def _places(self, names: int, count: int, skew: float) -> np.ndarray:
        shares = 1 / np.arange(1, names + 1) ** skew
        return self.rng.choice(names, count, p=shares / shares.sum())


def misspelt(text: str, rng: np.random.Generator) -> str:
    """A text with two neighbours swapped, one sign left out, one too many, or another one."""
    if len(text) < 2:
        return text
    at = int(rng.integers(0, len(text) - 1))
    before, here, behind = text[:at], text[at], text[at + 1 :]
    letters = string.digits if here.isdigit() else string.ascii_lowercase
    letter = letters[int(rng.integers(0, len(letters)))]
    return (
        before + behind[0] + here + behind[1:],
        before + behind,
        before + letter + here + behind,
        before + letter + behind,
    )[int(rng.integers(0, 4))]


def _changed(values: np.ndarray, share: float, change: Callable[[str], str], rng: np.random.Generator) -> np.ndarray:
    rows = np.flatnonzero(rng.random(len(values)) < share)
    changed = np.array(values)
    changed[rows] = [change(text) for text in values[rows]]
    return changed


def _table(values: dict[str, np.ndarray], rng: np.random.Generator) -> pa.Table:
    count = len(values["surname"])
    columns = {
        name: pa.array(column, pa.string(), mask=rng.random(count) < MISSING.get(name, 0.0))
        for name, column in values.items()
    }
    return pa.table({"id": pa.array(range(count), pa.int64())} | columns)
