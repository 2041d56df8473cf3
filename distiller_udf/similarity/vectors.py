"""Texts as sparse vectors of tokens and 3-grams, which weigh the more the rarer they are among the records.

Every distinct text is folded, split and weighed once, then kept as a row of sparse matrices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distiller_udf.similarity.words import DIGIT, GRAM_BITS, codes, fold, grams, parts, tokens

TOKENS_FILE = "tokens.parquet"
GRAMS_FILE = "grams.parquet"

RARITY_STEPS = 4_096

UNSEEN = 1.0
"""The weight of what never occurred, that of the rarest."""

_DOCUMENTS_AT_ONCE = 1_000

FLOOR = 0.01
"""Keeps a word that every record has from vanishing: a lone shared word is better than nothing."""

MAX_CACHED_ENTRIES = 8_000_000
"""Sparse entries kept across batches (about 12 bytes each) before the cache starts afresh."""


@dataclass(frozen=True)
class Rarity:
    """How rare every token is over distinct texts, and every bucket of 3-grams (by position)."""

    tokens: dict[str, float]
    grams: np.ndarray

    @classmethod
    def fit(cls, documents: Sequence[str]) -> Rarity:
        """Count in which of the documents each token and each 3-gram occurs."""
        counts: Counter[str] = Counter()
        buckets = np.zeros(1 << GRAM_BITS, dtype=np.int64)
        for start in range(0, len(documents), _DOCUMENTS_AT_ONCE):
            folded = [fold(document) for document in documents[start : start + _DOCUMENTS_AT_ONCE]]
            for text in folded:
                counts.update(tokens(text))
            buckets += np.bincount(grams([*map(parts, folded)])[0], minlength=len(buckets))
        known = rarity_of(np.fromiter(counts.values(), dtype=np.int64, count=len(counts)), len(documents))
        weighed = rarity_of(buckets, len(documents)).astype(np.float32)
        return cls(dict(zip(counts, known.tolist(), strict=True)), weighed)

    def of(self, token: str) -> float:
        """The weight of a folded token."""
        return self.tokens.get(token, UNSEEN)

    def save(self, folder: Path) -> None:
        """Write both tables; what has the weight of the unseen is left out of that of the 3-grams."""
        named = sorted(self.tokens.items())
        table = pa.table({"token": [t for t, _ in named], "weight": pa.array([w for _, w in named], pa.float64())})
        pq.write_table(table, folder / TOKENS_FILE, compression="zstd")
        known = np.flatnonzero(self.grams != UNSEEN)
        table = pa.table({"bucket": pa.array(known, pa.int32()), "weight": pa.array(self.grams[known], pa.float32())})
        pq.write_table(table, folder / GRAMS_FILE, compression="zstd")

    @classmethod
    def load(cls, folder: Path) -> Rarity:
        """Read what `save` wrote."""
        table = pq.read_table(folder / TOKENS_FILE)
        known = dict(zip(table["token"].to_pylist(), table["weight"].to_pylist(), strict=True))
        table = pq.read_table(folder / GRAMS_FILE)
        weighed = np.full(1 << GRAM_BITS, UNSEEN, dtype=np.float32)
        weighed[table["bucket"].to_numpy()] = table["weight"].to_numpy()
        return cls(known, weighed)


def rarity_of(counts: np.ndarray, documents: int) -> np.ndarray:
    """The weight of what occurs in `counts` of so many documents, in (0, 1], in steps of 1 / RARITY_STEPS.

    It is log((n + 2) / (df + 1)) / log(n + 2), an inverse document frequency: corpora of any size have the same scale.
    The steps make sums of squares exact, so that the order in which texts were seen changes no digit.
    """
    weights = np.log((2 + documents) / (1 + counts)) / np.log(2 + documents)
    return np.asarray(np.round(RARITY_STEPS * np.clip(weights, FLOOR, UNSEEN)) / RARITY_STEPS)


class Buffer:
    """A one-dimensional array that grows at its end in amortised constant time."""

    def __init__(self, dtype: type, first: Sequence[int] = ()) -> None:
        self._data: np.ndarray = np.zeros(1024, dtype=dtype)
        self.length = 0
        self.extend(np.asarray(first, dtype=dtype))

    def extend(self, items: np.ndarray) -> None:
        """Append a one-dimensional array."""
        end = self.length + len(items)
        if end > len(self._data):
            grown = np.zeros(max(end, 2 * len(self._data)), dtype=self._data.dtype)
            grown[: self.length] = self._data[: self.length]
            self._data = grown
        self._data[self.length : end] = items
        self.length = end

    @property
    def view(self) -> np.ndarray:
        """The items so far, (items,), without a copy; void once there are more."""
        return self._data[: self.length]


class SparseRows:
    """A sparse matrix that grows by rows: their column numbers, ascending, and a value for each."""

    def __init__(self, dtype: type) -> None:
        self._data = Buffer(dtype)
        self._ids = Buffer(np.int32)
        self._ends = Buffer(np.int32, [0])

    def extend(self, ids: np.ndarray, data: np.ndarray, ends: np.ndarray) -> None:
        """Add rows; row i's entries end at `ends[i]`."""
        self._ends.extend(self._ids.length + ends)
        self._ids.extend(ids)
        self._data.extend(data)

    @property
    def entries(self) -> int:
        """How many entries all rows have."""
        return self._ids.length

    @property
    def sizes(self) -> np.ndarray:
        """How many entries each row has: (rows,)."""
        return np.diff(self._ends.view)

    def matrix(self, width: int) -> Any:
        """The rows as a scipy matrix, without a copy."""
        from scipy.sparse import csr_array

        shape = (self._ends.length - 1, width)
        return csr_array((self._data.view, self._ids.view, self._ends.view), shape=shape, copy=False)

    def shared(self, left: np.ndarray, right: np.ndarray, width: int) -> np.ndarray:
        """How many columns two lists of rows have in common, pair by pair: float64 (pairs,)."""
        matrix = self.matrix(width)
        return np.asarray(matrix[left].multiply(matrix[right]).sum(axis=1), dtype=np.float64).ravel()


class ValueCache:
    """Distinct texts as rows: their folded text, IDF-weighted token vector and sets of hashed 3-grams.

    `rarity` weighs them as they occur in the records that the student was fitted on.
    Rows are valid until the next call of `begin`, which starts the cache afresh once it has grown too large.
    """

    def __init__(self, rarity: Rarity) -> None:
        self._rarity = rarity
        self._reset()

    def begin(self) -> None:
        """Start a batch: rows handed out before are void when the cache is full."""
        if self._tokens.entries + self._grams.entries > MAX_CACHED_ENTRIES:
            self._reset()

    def rows(self, values: Sequence[str]) -> np.ndarray:
        """The row of each value, int64 (values,), adding those not seen yet."""
        known = self._rows
        fresh = list(dict.fromkeys(v for v in values if v not in known))
        if fresh:
            self._add(fresh)
        return np.fromiter((known[v] for v in values), dtype=np.int64, count=len(values))

    def _reset(self) -> None:
        self._rows: dict[str, int] = {}
        self._vocabulary: dict[str, int] = {}
        self.texts: list[str] = []
        self._weights = Buffer(np.float64)
        self._has_digit = Buffer(np.float64)
        self._norms = Buffer(np.float64)
        self._digit_norms = Buffer(np.float64)
        self._gram_norms = Buffer(np.float64)
        self._tokens = SparseRows(np.float64)
        self._grams = SparseRows(np.float32)
        self._code_grams = SparseRows(np.float32)

    def _add(self, values: Sequence[str]) -> None:
        folded = [fold(v) for v in values]
        self._rows.update((v, len(self.texts) + i) for i, v in enumerate(values))
        self.texts.extend(folded)
        ids = self._token_ids_of(folded)
        lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        flat = np.fromiter((i for row in ids for i in row), dtype=np.int32, count=int(lengths.sum()))
        weights = self._weights.view[flat]
        self._tokens.extend(flat, weights, np.cumsum(lengths))
        owner = np.repeat(np.arange(len(ids)), lengths)
        squared = weights**2
        self._norms.extend(np.bincount(owner, squared, minlength=len(ids)))
        self._digit_norms.extend(np.bincount(owner, squared * self._has_digit.view[flat], minlength=len(ids)))
        buckets, offsets = grams([*map(parts, folded)])
        weighed = self._rarity.grams[buckets]
        self._grams.extend(buckets, weighed, offsets[1:])
        owner = np.repeat(np.arange(len(folded)), np.diff(offsets))
        self._gram_norms.extend(np.bincount(owner, weighed.astype(np.float64) ** 2, minlength=len(folded)))
        buckets, offsets = grams([codes(text) for text in folded])
        self._code_grams.extend(buckets, np.ones(len(buckets), dtype=np.float32), offsets[1:])

    def _token_ids_of(self, folded: Sequence[str]) -> list[list[int]]:
        """The sorted token ids of each text, numbering tokens not seen yet."""
        known, before = self._vocabulary, len(self._vocabulary)
        ids = []
        for text in folded:
            row = [known.setdefault(token, len(known)) for token in tokens(text)]
            row.sort()
            ids.append(row)
        fresh = list(islice(known, before, None))
        self._weights.extend(np.asarray([self._rarity.of(token) for token in fresh], dtype=np.float64))
        self._has_digit.extend(np.asarray([bool(DIGIT.search(token)) for token in fresh], dtype=np.float64))
        return ids

    def gram_overlap(self, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cosine of the weighed 3-grams of two lists of rows, and the share of each side's weight that both have.

        All three are float64 (pairs,).
        """
        shared = self._grams.shared(left, right, 1 << GRAM_BITS)
        norms = (np.maximum(self._gram_norms.view[rows], 1e-9) for rows in (left, right))
        first, second = (shared / norm for norm in norms)
        return np.sqrt(first * second), first, second

    def code_overlap(self, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The share of each side's code 3-grams that the other has too, (pairs,); NaN where a side has no codes."""
        shared, sizes = self._code_grams.shared(left, right, 1 << GRAM_BITS), self._code_grams.sizes
        shared[(sizes[left] == 0) | (sizes[right] == 0)] = np.nan
        return shared / np.maximum(sizes[left], 1), shared / np.maximum(sizes[right], 1)

    def token_overlap(self, left: np.ndarray, right: np.ndarray) -> dict[str, np.ndarray]:
        """What the token sets of two lists of rows share and lack, pair by pair, in squared IDF weight.

        `norm_*`: all tokens of that side; `lacked_*`: those the other side lacks; `rarest_*`: the largest weight
        among them (0 if none); `digit_*`: the same for tokens with a digit (model codes, volumes, years).
        """
        vectors = self._tokens.matrix(max(self._weights.length, 1))
        # A shared token has the same weight on both sides and cancels; what is left tells the sides apart by sign.
        rest = vectors[left] - vectors[right]
        has_digit = self._has_digit.view if self._has_digit.length else np.zeros(1)
        result: dict[str, np.ndarray] = {}
        for side, rows, lacked in (("left", left, rest.maximum(0)), ("right", right, -rest.minimum(0))):
            squared = lacked.power(2)
            result[f"norm_{side}"] = self._norms.view[rows]
            result[f"digit_norm_{side}"] = self._digit_norms.view[rows]
            result[f"lacked_{side}"] = squared.sum(axis=1)
            result[f"digit_lacked_{side}"] = squared @ has_digit
            result[f"rarest_{side}"] = lacked.max(axis=1).toarray().ravel()
        return result
