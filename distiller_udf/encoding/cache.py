"""Encoded records, kept across batches up to so many bytes; those that were not used for longest go first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

MAX_CACHED_BYTES = 512 * 1024**2
"""About 120,000 records of 60 tokens each in 64 dimensions."""

_OVERHEAD = 600


@dataclass(frozen=True)
class EncodedRecord:
    """A record's tokens: `vectors` int8 (tokens, dimensions), `weights` int16 (tokens,), and each column's stretch."""

    vectors: np.ndarray
    weights: np.ndarray
    columns: Mapping[str, tuple[int, int]]

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return self.vectors.nbytes + self.weights.nbytes + _OVERHEAD


class RecordCache:
    """Encoded records by their key."""

    def __init__(self, max_bytes: int = MAX_CACHED_BYTES) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._records: OrderedDict[bytes, EncodedRecord] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def get(self, key: bytes) -> EncodedRecord | None:
        """The record, which now counts as used last."""
        found = self._records.get(key)
        if found is not None:
            self._records.move_to_end(key)
        return found

    def put(self, key: bytes, record: EncodedRecord) -> None:
        """Keep a record, dropping those that were not used for longest."""
        before = self._records.pop(key, None)
        self.bytes += record.size - (before.size if before else 0)
        self._records[key] = record
        while self.bytes > self.max_bytes and self._records:
            _, dropped = self._records.popitem(last=False)
            self.bytes -= dropped.size
