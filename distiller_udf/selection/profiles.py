"""What is known of the left records: one profile each, in the order in which they are drawn."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distiller_udf.records import one_array


@dataclass(frozen=True)
class Pool:
    """The profiles in the order of their draw: `profiles`, the `row` of each in the table they come from, its `draw` (a
    hash), `best` and `second` similarity. `similarities` lie one after the other; `member` is the profile of each.
    """

    profiles: pa.Table
    row: np.ndarray
    draw: np.ndarray
    similarities: np.ndarray
    member: np.ndarray
    best: np.ndarray
    second: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def of(cls, profiles: pa.Table, seed: int) -> Pool:
        """The pool of `profiles` as `select` takes them."""
        keys = zip(profiles["left_source"].to_pylist(), profiles["id_text"].to_pylist(), strict=True)
        draw = np.asarray([_draw(seed, source, text) for source, text in keys], dtype="S32")
        row = np.argsort(draw, kind="stable")
        ordered = profiles.take(pa.array(row))
        similarities, starts, member = lists(ordered["similarities"])
        best = np.full(len(row), -np.inf)
        np.maximum.at(best, member, similarities)
        order = np.lexsort((-similarities, member))
        counts = np.bincount(member, minlength=len(row))
        second = np.zeros(len(row))
        second[counts > 1] = similarities[order[starts[counts > 1] + 1]]
        return cls(ordered, row, draw[row], similarities, member, best, second)


@dataclass(frozen=True)
class Chosen:
    """The chosen profiles, by rank: `rows` of the pool, the `scores` that they were chosen by, the `rounds` they are of
    (None: there is one round).
    """

    rows: np.ndarray
    scores: np.ndarray
    rounds: np.ndarray | None = None


def in_turns(likely: np.ndarray, unlikely: np.ndarray) -> np.ndarray:
    """One of each in turn, the likely one first; what is left of the longer at the end."""
    position = np.concatenate([np.arange(len(likely)), np.arange(len(unlikely)) + 0.5])
    return np.concatenate([likely, unlikely])[np.argsort(position, kind="stable")].astype(np.int64)


def lists(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A column of lists as its values (NaN for NULL), where each list starts, and the list of each value."""
    array = one_array(column)
    counts = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    values = array.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False)
    starts = np.concatenate([[0], np.cumsum(counts)])[:-1].astype(np.int64)
    return values, starts, np.repeat(np.arange(len(counts)), counts)


def _draw(seed: int, source: str, id_text: str) -> str:
    """What decides where nothing else does: the same on every run and machine."""
    return hashlib.md5(f"{seed}:{source}:{id_text}".encode(), usedforsecurity=False).hexdigest()
