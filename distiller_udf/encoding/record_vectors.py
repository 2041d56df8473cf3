"""Records as one vector each, by a pretrained encoder that is left as it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distiller_udf.encoding.loading import DEFAULT_MODEL
from distiller_udf.encoding.texts import record_texts
from distiller_udf.encoding.token_encoder import TokenEncoder
from distiller_udf.records import Records

MAX_LENGTH = 128
"""Tokens of a record that are read: one vector for all of it has to see more than a comparison of columns does."""


class RecordEncoder:
    """Turns records into vectors of length 1: the mean of their tokens' vectors.

    `model` is a local folder or a hub id (`local_only`: the hub is never asked). Raises SettingsError when torch or
    transformers is missing, or when there is no such model.
    """

    def __init__(self, model: str = DEFAULT_MODEL, *, local_only: bool = False, precision: str = "auto") -> None:
        self._encoder = TokenEncoder(model, max_length=MAX_LENGTH, precision=precision, local_only=local_only)

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
