"""Records as one vector each, by a frozen pretrained encoder, and the nearest of each: exactly, or by an index."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from distiller_udf.encoding.texts import record_texts
from distiller_udf.encoding.token_encoder import TokenEncoder
from distiller_udf.english import counted
from distiller_udf.errors import SettingsError, one_of
from distiller_udf.records import Records
from distiller_udf.settings import DEFAULT_ENCODER

logger = logging.getLogger(__name__)

MAX_LENGTH = 128
"""Tokens of a record that are read: one vector for all of it has to see more than a comparison of columns does."""

INDEXES = ("exact", "hnsw")
NEIGHBOUR = pa.struct([("n", pa.uint32()), ("shared", pa.int32()), ("score", pa.int32())])
"""A neighbour: its number, and its cosine in millionths, once as what ranks it in the list and once as its score."""

_QUERIES_AT_ONCE = 8_192
_LINKS, _BUILD_EFFORT = 32, 200
"""How many links a vector has in the graph, and how many vectors are looked at for them."""


class RecordEncoder:
    """Turns records into vectors of length 1: the mean of their tokens' vectors.

    `model` is a local folder or a hub id (`local_only`: the hub is never asked). Raises SettingsError when torch or
    transformers is missing, or when there is no such model.
    """

    def __init__(self, model: str = DEFAULT_ENCODER, *, local_only: bool = False) -> None:
        self._encoder = TokenEncoder(model, max_length=MAX_LENGTH, local_only=local_only)

    @property
    def width(self) -> int:
        """How many numbers a vector has."""
        return self._encoder.width

    def encode(self, records: Records, columns: Sequence[str]) -> np.ndarray:
        """A vector a record, float32 (records, width), of the given columns in their order; NaN where all are empty."""
        texts, inverse = record_texts(records, columns)
        there = [i for i, text in enumerate(texts) if text is not None]
        tokens = self._encoder.tokenise([text.text for text in texts if text is not None])
        vectors = np.full((len(texts), self.width), np.nan, dtype=np.float32)
        for position, found in self._encoder.encode(tokens):
            mean = found.mean(axis=0)
            vectors[there[position]] = mean / max(float(np.linalg.norm(mean)), 1e-12)
        return np.asarray(vectors[inverse])


def shortlists(
    vectors: np.ndarray, numbers: np.ndarray, sources: np.ndarray, task: str, length: int, index: str = "exact"
) -> pa.ListArray:
    """For each vector its `length` nearest in every source that the task lets it meet, by cosine: a list of NEIGHBOUR.

    `vectors` is float32 (records, width), each of length 1; `numbers` and `sources` are integers, one a record. `index`
    is `exact`, which compares all with all, or `hnsw` (Malkov, Yashunin: Efficient and robust approximate nearest
    neighbor search using hierarchical navigable small world graphs, 2016), which finds nearly all in a fraction of the
    time and may find others on another run. Raises SettingsError for another index, or where faiss is missing.
    """
    one_of("er_blocking_index", index, INDEXES)
    found = [_Found(*(np.empty(0, dtype=np.int64) for _ in range(3)))]
    present = np.unique(sources).tolist()
    for known in present:
        base = np.flatnonzero(sources == known)
        searchable = _index(vectors[base], index, length)
        for asked in present:
            if (asked == known) != (task == "dedupe") and task != "link_and_dedupe":
                continue
            rows = np.flatnonzero(sources == asked)
            for start in range(0, len(rows), _QUERIES_AT_ONCE):
                some = rows[start : start + _QUERIES_AT_ONCE]
                # One more where a record finds itself.
                cosines, places = searchable.search(vectors[some], min(length + (asked == known), len(base)))
                found.append(_without_itself(some, base, places, cosines, length))
                done, all_of_it = f"{start + len(some):,}", counted(len(rows), "record")
                logger.info("er_neighbours_by_embeddings: searched for the nearest of %s of %s", done, all_of_it)
    rows, others, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(rows, kind="stable")
    offsets = np.searchsorted(rows[order], np.arange(len(numbers) + 1)).astype(np.int32)
    values = (numbers[others[order]].astype(np.uint32), *(scores[order].astype(np.int32),) * 2)
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(values, fields=list(NEIGHBOUR)))


class _Found(NamedTuple):
    """Pairs of positions, and their cosines in millionths."""

    rows: np.ndarray
    others: np.ndarray
    scores: np.ndarray


def _index(vectors: np.ndarray, kind: str, length: int) -> Any:
    try:
        import faiss
    except ImportError as error:
        raise SettingsError(
            "blocking by embeddings needs faiss; install it with the extra encoder, in a checkout "
            "`pip install -c constraints.txt '.[encoder]'`"
        ) from error
    built: Any
    if kind == "exact":
        built = faiss.IndexFlatIP(vectors.shape[1])
    else:
        built = faiss.IndexHNSWFlat(vectors.shape[1], _LINKS, faiss.METRIC_INNER_PRODUCT)
        built.hnsw.efConstruction = _BUILD_EFFORT
        built.hnsw.efSearch = max(64, 4 * length)
    built.add(vectors)
    return built


def _without_itself(rows: np.ndarray, base: np.ndarray, places: np.ndarray, cosines: np.ndarray, length: int) -> _Found:
    """The first `length` of what was found for each row that are not the row itself; a place of -1 is nothing."""
    others = base[np.maximum(places, 0)]
    kept = (places >= 0) & (others != rows[:, None])
    kept &= np.cumsum(kept, axis=1) <= length
    scores = np.round(np.clip(cosines, 0, 1) * 1e6).astype(np.int64)
    return _Found(np.repeat(rows, kept.sum(axis=1)), others[kept], scores[kept])
