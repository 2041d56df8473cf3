"""How rare tokens and 3-grams are among the records that a student was fitted on: what is rare tells more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distiller_udf.similarity.text import GRAM_BITS, fold, grams, tokens

TOKENS_FILE = "tokens.parquet"
GRAMS_FILE = "grams.parquet"

UNSEEN = 1.0
"""The weight of what never occurred, that of the rarest."""

_DOCUMENTS_AT_ONCE = 1_000

FLOOR = 0.01
"""Keeps a word that every record has from vanishing: a lone shared word is better than nothing."""


@dataclass(frozen=True)
class Rarity:
    """Inverse document frequencies over distinct texts: of every token, and of every bucket of 3-grams (by position).

    The weight is log((n + 2) / (df + 1)) / log(n + 2) in (0, 1]: corpora of any size have the same scale.
    """

    tokens: dict[str, float]
    grams: np.ndarray

    @classmethod
    def fit(cls, documents: Sequence[str]) -> Rarity:
        """Count in which of the documents each token and each 3-gram occurs."""
        counts: dict[str, int] = {}
        buckets = np.zeros(1 << GRAM_BITS, dtype=np.int64)
        for start in range(0, len(documents), _DOCUMENTS_AT_ONCE):
            folded = [fold(document) for document in documents[start : start + _DOCUMENTS_AT_ONCE]]
            for text in folded:
                for token in tokens(text):
                    counts[token] = counts.get(token, 0) + 1
            buckets += np.bincount(grams(folded)[0], minlength=len(buckets))
        known = _weights(np.fromiter(counts.values(), dtype=np.int64, count=len(counts)), len(documents))
        weighed = _weights(buckets, len(documents)).astype(np.float32)
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


def _weights(counts: np.ndarray, documents: int) -> np.ndarray:
    weights = np.log((2 + documents) / (1 + counts)) / np.log(2 + documents)
    # Steps of 1/4096 make sums of squares exact, so that the order in which texts were seen changes no digit.
    return np.asarray(np.round(4096 * np.clip(weights, FLOOR, UNSEEN)) / 4096)
