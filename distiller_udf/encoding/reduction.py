"""Token vectors made small: fewer dimensions, whole numbers; and how rare each token is. Fitted without labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from distiller_udf.encoding.maxsim import WEIGHT_STEPS

_LARGEST = 127


@dataclass(frozen=True)
class Reduction:
    """`matrix` float32 (width, dimensions) takes a token's vector to fewer dimensions; int8 = round(vector * scale)."""

    matrix: np.ndarray
    scale: float

    @classmethod
    def fit(cls, vectors: np.ndarray, dimensions: int, seed: int = 0) -> Reduction:
        """Keep what tells most of these unit vectors, (tokens, width), apart: their principal directions.

        The directions are turned at random (`seed`), which changes no product and spreads the values evenly, so that
        the largest leaves the others enough steps.
        """
        moments = vectors.T.astype(np.float64) @ vectors / max(len(vectors), 1)
        _, directions = np.linalg.eigh(moments)
        kept = directions[:, ::-1][:, :dimensions]
        turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(kept.shape[1], kept.shape[1])))
        matrix = np.ascontiguousarray(kept @ turn, dtype=np.float32)
        reduced = vectors @ matrix
        reduced /= np.maximum(np.linalg.norm(reduced, axis=1, keepdims=True), 1e-12)
        largest = float(np.abs(reduced).max(initial=0.0))
        return cls(matrix, _LARGEST / largest if largest > 0 else 1.0)

    def whole(self, reduced: np.ndarray) -> np.ndarray:
        """Reduced unit vectors as int8."""
        whole = np.clip(np.rint(reduced * np.float32(self.scale)), -_LARGEST, _LARGEST)
        return np.asarray(whole, dtype=np.int8)


@dataclass(frozen=True)
class TokenWeights:
    """How rare each token is: `weights` int16 (vocabulary,), in WEIGHT_STEPS; a token never seen counts as 1."""

    weights: np.ndarray

    @classmethod
    def fit(cls, documents: Iterable[np.ndarray], vocabulary: int) -> TokenWeights:
        """Inverse document frequency, log((n + 2) / (df + 1)) / log(n + 2), over the token ids of distinct records."""
        frequency, count = np.zeros(vocabulary, dtype=np.int64), 0
        for ids in documents:
            frequency[np.unique(ids)] += 1
            count += 1
        weights = np.log((2 + count) / (1 + frequency)) / math.log(2 + count)
        # The floor keeps a token that every record has from vanishing.
        return cls(np.rint(WEIGHT_STEPS * np.clip(weights, 0.01, 1.0)).astype(np.int16))

    @classmethod
    def of(cls, ids: Sequence[int] | np.ndarray, weights: np.ndarray, vocabulary: int) -> TokenWeights:
        """From the tokens that were seen and their weights."""
        dense = np.full(vocabulary, WEIGHT_STEPS, dtype=np.int16)
        dense[ids] = weights
        return cls(dense)

    @property
    def seen(self) -> tuple[np.ndarray, np.ndarray]:
        """The tokens that do not count as 1, int32, and their weights."""
        ids = np.flatnonzero(self.weights != WEIGHT_STEPS).astype(np.int32)
        return ids, self.weights[ids]
