"""Pairs of records as features that a frozen encoder sees: fitted once on the candidates, without labels."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distiller_udf.encoding.loading import read_arrays
from distiller_udf.encoding.maxsim import (
    LIKENESSES,
    MAX_DIMENSIONS,
    Reduction,
    Spans,
    TokenBank,
    likenesses,
    token_weights,
)
from distiller_udf.encoding.texts import COMPARED, RecordText, layouts, record_texts, tokens_by_column
from distiller_udf.encoding.token_encoder import TokenEncoder
from distiller_udf.errors import SettingsError
from distiller_udf.records import Records
from distiller_udf.settings import DEFAULT_ENCODER
from distiller_udf.similarity import ComparedFeatures, Comparison
from distiller_udf.similarity.vectors import RARITY_STEPS

MAX_LENGTH = 64
"""Tokens of a record that are read: 96 and 128 cost 30 to 40 % more time on long records and found no more matches."""

DIMENSIONS = 64
"""Bytes kept a token: 128 and 384 found no more matches."""

MAX_CACHED_BYTES = 512 * 1024**2
"""About 120,000 records of 60 tokens each in 64 dimensions."""

SETTINGS_FILE = "encoding.json"
ARRAYS_FILE = "encoding.safetensors"

_WEIGHED_RECORDS = 20_000
_REDUCED_RECORDS = 500
_PAIRS_AT_ONCE = 8_192
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
    """Encoded records by their key, up to so many bytes; those that were not used for longest go first."""

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


class EncoderFeatures(ComparedFeatures):
    """Turns pairs of records into likenesses of their tokens, as a pretrained encoder sees them in their record.

    Every distinct record is encoded once and kept (`cache`, bounded in bytes).
    """

    def __init__(
        self,
        comparisons: Sequence[Comparison],
        encoder: TokenEncoder,
        reduction: Reduction,
        weights: np.ndarray,
    ) -> None:
        super().__init__(comparisons, dict.fromkeys(COMPARED, LIKENESSES))
        self.encoder = encoder
        self.cache = RecordCache()
        self._reduction = reduction
        self._weights = weights
        self._layouts = layouts(self.comparisons)
        self._lock = threading.Lock()

    @classmethod
    def fit(
        cls,
        left: Records,
        right: Records,
        comparisons: Sequence[Comparison],
        model: str = DEFAULT_ENCODER,
        *,
        max_length: int = MAX_LENGTH,
        dimensions: int = DIMENSIONS,
        local_only: bool = False,
    ) -> EncoderFeatures:
        """Fit on candidate pairs: row i of both sides is one pair. `comparisons` are those of `PairFeatures`.

        `model` is a local folder or a hub id (`local_only`: the hub is never asked); a record's tokens after
        `max_length` are cut; each token is kept as `dimensions` bytes. Raises SettingsError for impossible values,
        when torch or transformers is missing, or when there is no such model.
        """
        if isinstance(dimensions, bool) or not isinstance(dimensions, int) or not 1 <= dimensions <= MAX_DIMENSIONS:
            raise SettingsError(f"dimensions is {dimensions!r}; it must be a whole number from 1 to {MAX_DIMENSIONS}")
        encoder = TokenEncoder(model, max_length=max_length, local_only=local_only)
        rng = np.random.default_rng(0)
        texts = _sample(left, right, layouts(comparisons), rng)
        tokens = encoder.tokenise([text.text for text in texts])
        inside = [tokens_by_column(text, own)[0] for text, own in zip(texts, tokens, strict=True)]
        weights = token_weights((t.ids[own] for t, own in zip(tokens, inside, strict=True)), encoder.vocabulary)
        some = np.sort(rng.permutation(len(texts))[:_REDUCED_RECORDS]).tolist()
        vectors = [v[inside[some[i]]] for i, v in encoder.encode([tokens[i] for i in some])]
        empty = np.zeros((0, encoder.width), dtype=np.float32)
        reduction = Reduction.fit(np.concatenate([empty, *vectors]), min(dimensions, encoder.width))
        return cls(comparisons, encoder, reduction, weights)

    def transform(self, left: Records, right: Records) -> np.ndarray:
        """Features of each pair: float32, shape (pairs, features); NaN = not comparable.

        The same pair has the same features in any batch, and where both sides have the same columns also with its
        records swapped.
        """
        result = np.full((len(left), len(self.names)), np.nan, dtype=np.float32)
        if not self.names:
            return result
        with self._lock:
            for start in range(0, len(left), _PAIRS_AT_ONCE):
                rows = np.arange(start, min(start + _PAIRS_AT_ONCE, len(left)))
                result[rows] = self._transformed(left.take(rows), right.take(rows))
        return result

    def save(self, folder: Path) -> None:
        """Write encoder and fitted state into `folder`, which transformers reads too: JSON and safetensors only."""
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        self.encoder.save(folder)
        seen = np.flatnonzero(self._weights != RARITY_STEPS).astype(np.int32)
        arrays = {"projection": self._reduction.matrix, "token_ids": seen, "token_weights": self._weights[seen]}
        save_file(arrays, folder / ARRAYS_FILE)
        state = {
            "max_length": self.encoder.max_length,
            "precision": self.encoder.precision,
            "scale": self._reduction.scale,
            "comparisons": [comparison.state for comparison in self.comparisons],
        }
        (folder / SETTINGS_FILE).write_text(json.dumps(state, ensure_ascii=False, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, precision: str = "auto") -> EncoderFeatures:
        """Read what `save` wrote; on the same machine it gives the same features, bit by bit.

        A machine that computes in another precision gives slightly others (up to 0.01). Raises SettingsError when
        torch or transformers is missing or the weights cannot be read, OSError, ValueError or KeyError for the other
        files.
        """
        state = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
        comparisons = list(map(Comparison.of, state["comparisons"]))
        encoder = TokenEncoder(str(folder), max_length=state["max_length"], precision=precision, local_only=True)
        arrays = read_arrays(folder / ARRAYS_FILE)
        weights = np.full(encoder.vocabulary, RARITY_STEPS, dtype=np.int16)
        weights[arrays["token_ids"]] = arrays["token_weights"]
        return cls(comparisons, encoder, Reduction(arrays["projection"], state["scale"]), weights)

    def _transformed(self, left: Records, right: Records) -> np.ndarray:
        (texts, left_rows), (right_texts, right_rows) = map(record_texts, (left, right), self._layouts)
        rows = left_rows, right_rows + len(texts)
        texts += right_texts
        records = self._encoded(texts)
        bank, starts = self._bank(records)
        parts = []
        for comparison in self.comparisons:
            if comparison.kind in COMPARED:
                columns = (comparison.left_columns, comparison.right_columns)
                stretches = [_stretches(records, starts, comparison.kind, names) for names in columns]
                a, b = (s.take(row) for s, row in zip(stretches, rows, strict=True))
                part = np.full((len(left), len(LIKENESSES)), np.nan, dtype=np.float32)
                both = np.flatnonzero((a.lengths > 0) & (b.lengths > 0))
                part[both] = likenesses(bank, a.take(both), b.take(both))
                parts.append(part)
        return np.concatenate(parts, axis=1)

    def _encoded(self, texts: Sequence[RecordText | None]) -> list[EncodedRecord | None]:
        """Every text encoded, those that are in the cache from there; None stays None."""
        found = {text.key: self.cache.get(text.key) for text in texts if text is not None}
        fresh = {text.key: text for text in texts if text is not None and found[text.key] is None}
        for key, record in self._fresh(list(fresh.values())):
            found[key] = record
            self.cache.put(key, record)
        return [None if text is None else found[text.key] for text in texts]

    def _fresh(self, texts: Sequence[RecordText]) -> Iterator[tuple[bytes, EncodedRecord]]:
        tokens = self.encoder.tokenise([text.text for text in texts])
        for i, vectors in self.encoder.encode(tokens, self._reduction.matrix):
            inside, columns = tokens_by_column(texts[i], tokens[i])
            weights = self._weights[tokens[i].ids[inside]]
            yield texts[i].key, EncodedRecord(self._reduction.whole(vectors[inside]), weights, columns)

    def _bank(self, records: Sequence[EncodedRecord | None]) -> tuple[TokenBank, np.ndarray]:
        """All tokens of these records, and where each record's begin."""
        empty = EncodedRecord(np.zeros((0, self._reduction.matrix.shape[1]), np.int8), np.zeros(0, np.int16), {})
        known = [empty, *(empty if record is None else record for record in records)]
        starts = np.cumsum([len(record.weights) for record in known])[:-1]
        arrays = np.concatenate([r.vectors for r in known]), np.concatenate([r.weights for r in known])
        vectors, weights = map(self.encoder.tensor, arrays)
        return TokenBank(vectors, weights, self._reduction.scale), starts


def _sample(
    left: Records, right: Records, columns: Sequence[Sequence[str]], rng: np.random.Generator
) -> list[RecordText]:
    """Distinct records of both sides that are not empty, each once; of many, some."""
    found = {}
    for side, layout in zip((left, right), columns, strict=True):
        first, _ = side.distinct
        some = side.take(np.sort(rng.permutation(first)[: _WEIGHED_RECORDS // 2]))
        found.update({text.key: text for text in record_texts(some, layout)[0] if text is not None})
    return list(found.values())


def _stretches(records: Sequence[EncodedRecord | None], starts: np.ndarray, kind: str, names: Sequence[str]) -> Spans:
    """The tokens that a comparison sees of each record; none (length 0) where it has none of these columns."""
    found = np.zeros((len(records), 2), dtype=np.int64)
    for row, record in enumerate(records):
        if record is not None:
            if kind == "record":
                found[row] = 0, len(record.weights)
            else:
                found[row] = next((record.columns[name] for name in names if name in record.columns), (0, 0))
    return Spans(starts + found[:, 0], found[:, 1] - found[:, 0])
