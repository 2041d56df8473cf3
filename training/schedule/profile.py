"""What pairs are like, small enough to be kept with a student, and how far others have moved from that."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distiller_udf.records import Column, Records

PROFILE_FILE = "profile.json"
"""In a student's folder: the profile of the pairs that it was trained on."""

FORMAT = 1
BINS = 10
LENGTHS = (2, 4, 8, 12, 16, 24, 32, 48, 64, 128)
"""Where the bins of a value's length in characters begin, after the first."""

_SMALLEST, _LARGEST = 2**13, 2**20
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class ColumnProfile:
    """How many records fill a column, of how many, and how long their values are (counts, see `LENGTHS`)."""

    filled: int
    rows: int
    lengths: tuple[int, ...]


@dataclass(frozen=True)
class PairProfile:
    """What pairs are like: counts of their probabilities in equal bins, the columns of both sides, their words.

    `words` is a Bloom filter (two hashes a word) of all words, in base64; `unseen` is the share of the words of one
    half of the records that the other half does not have, which is what new records would show without any drift.
    """

    probabilities: tuple[int, ...]
    columns: Mapping[str, ColumnProfile]
    words: str
    unseen: float
    occurrences: int

    @classmethod
    def of(cls, left: Records, right: Records, probabilities: np.ndarray) -> PairProfile:
        """Profile pairs, row i of both sides one; `probabilities` are a student's, of these or some of these."""
        sides = {"left": left.take(left.distinct[0]), "right": right.take(right.distinct[0])}
        halves = [
            count_words(records.take(np.arange(half, len(records), 2)) for records in sides.values()) for half in (0, 1)
        ]
        alone = sum(times for word, times in halves[1].items() if word not in halves[0])
        words = halves[0] + halves[1]
        return cls(
            probabilities=_histogram(probabilities),
            columns={
                f"{side} {name}": _column(column, len(records))
                for side, records in sides.items()
                for name, column in records.columns.items()
            },
            words=_bloom(words),
            unseen=alone / max(sum(halves[1].values()), 1),
            occurrences=sum(words.values()),
        )

    def write(self, folder: Path) -> None:
        """Write it into a student's folder."""
        state = {**asdict(self), "format": FORMAT}
        text = json.dumps(state, sort_keys=True, ensure_ascii=False)
        (folder / PROFILE_FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> PairProfile | None:
        """The profile in a student's folder; None where there is none that this version reads."""
        try:
            state: dict[str, Any] = json.loads((folder / PROFILE_FILE).read_text(encoding="utf-8"))
            if state.pop("format") != FORMAT:
                return None
            columns = {
                name: ColumnProfile(column["filled"], column["rows"], tuple(column["lengths"]))
                for name, column in state["columns"].items()
            }
            return cls(**{**state, "columns": columns, "probabilities": tuple(state["probabilities"])})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def unseen_share(self, words: Mapping[str, int]) -> float:
        """The share of the words (with how often they occur) that the profile's records do not have."""
        known = np.frombuffer(base64.b64decode(self.words), dtype=np.uint8)
        missing = [times for word, times in words.items() if not all(_bit(known, at) for at in _places(word, known))]
        return sum(missing) / max(sum(words.values()), 1)


@dataclass(frozen=True)
class Shift:
    """One thing about pairs and its population stability index; `chance` is what no drift at all may well show."""

    what: str
    psi: float
    chance: float


def count_words(batches: Iterable[Records]) -> Counter[str]:
    """How often each word occurs in records, in lower case."""
    counts: Counter[str] = Counter()
    for records in batches:
        for column in records.columns.values():
            times = np.bincount(column.codes[column.codes >= 0], minlength=len(column.values))
            for value, often in zip(column.values, times.tolist(), strict=True):
                if often:
                    for word in _WORD.findall(value.lower()):
                        counts[word] += often
    return counts


def psi(before: Sequence[float], now: Sequence[float]) -> float:
    """The population stability index of two rows of counts over the same bins: the sum of (q - p) ln(q / p).

    Every bin that either fills counts half a case more than it has, so that an empty one is no infinite change.
    """
    counts = np.asarray([before, now], dtype=float)
    counts = counts[:, counts.sum(axis=0) > 0] + 0.5
    p, q = counts / counts.sum(axis=1, keepdims=True)
    return float(((q - p) * np.log(q / p)).sum())


def shifts(before: PairProfile, now: PairProfile, unseen: float) -> list[Shift]:
    """How far today's pairs are from those trained on, the farthest first.

    `unseen` is the share of today's words that those did not have. Columns that only one of them has are left out.
    """
    found = [_shift("probabilities", before.probabilities, now.probabilities)]
    for name in before.columns:
        if name in now.columns:
            old, new = before.columns[name], now.columns[name]
            found.append(_shift(f"{name}: filled", *((c.filled, c.rows - c.filled) for c in (old, new))))
            found.append(_shift(f"{name}: length", old.lengths, new.lengths))
    old_words, new_words = before.occurrences, now.occurrences
    more = max(unseen, before.unseen)  # fewer new words than usual are no drift
    counts = ((share * n, (1 - share) * n) for share, n in ((before.unseen, old_words), (more, new_words)))
    found.append(_shift("new words", *counts))
    return sorted((shift for shift in found if shift is not None), key=lambda shift: -shift.psi)


def _histogram(probabilities: np.ndarray) -> tuple[int, ...]:
    known = probabilities[~np.isnan(probabilities)]
    counts = np.bincount(np.minimum((known * BINS).astype(int), BINS - 1), minlength=BINS)
    return tuple(int(n) for n in counts)


def _column(column: Column, rows: int) -> ColumnProfile:
    filled = column.codes[column.codes >= 0]
    bins = np.searchsorted(LENGTHS, [len(value) for value in column.values], side="right")
    counts = np.bincount(bins[filled], minlength=len(LENGTHS) + 1) if len(filled) else np.zeros(len(LENGTHS) + 1)
    return ColumnProfile(len(filled), rows, tuple(int(n) for n in counts))


def _bloom(words: Iterable[str]) -> str:
    known = list(words)
    bits = _SMALLEST
    while bits < min(16 * len(known), _LARGEST):
        bits *= 2
    filter_ = np.zeros(bits // 8, dtype=np.uint8)
    for word in known:
        for at in _places(word, filter_):
            filter_[at // 8] |= np.uint8(1 << at % 8)
    return base64.b64encode(filter_.tobytes()).decode("ascii")


def _places(word: str, filter_: np.ndarray) -> tuple[int, int]:
    digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
    bits = 8 * len(filter_)
    return int.from_bytes(digest[:4], "big") % bits, int.from_bytes(digest[4:], "big") % bits


def _bit(filter_: np.ndarray, at: int) -> bool:
    return bool(filter_[at // 8] >> at % 8 & 1)


def _shift(what: str, before: Sequence[float], now: Sequence[float]) -> Shift | None:
    """A shift, or None where one of them has nothing to count.

    Without drift the index is about (1 / n + 1 / m) times a chi-square of one degree less than there are bins (Yurdakul
    2018); what is not above its mean by three standard deviations may be chance.
    """
    n, m = sum(before), sum(now)
    if not n or not m:
        return None
    free = max(int(((np.asarray(before) + np.asarray(now)) > 0).sum()) - 1, 1)
    return Shift(what, psi(before, now), (1 / n + 1 / m) * (free + 3 * math.sqrt(2 * free)))
