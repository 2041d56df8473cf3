"""How well the tokens of one text are met by those of another: late interaction.

As in ColBERT (Khattab and Zaharia 2020, arXiv 2004.12832): every token counts by the closest token of the other text.
`likenesses` are in whole numbers: vectors are int8 in few dimensions, so that float32 and float64 hold all products and
sums exactly. A pair's likenesses are the same to the last bit in any batch, on any number of threads, and whichever
side comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from distiller_udf.encoding.loading import LENGTH_STEP, torch_module
from distiller_udf.similarity.vectors import RARITY_STEPS, rarity_of

MAX_DIMENSIONS = 512
"""Up to here the product of two int8 vectors stays below 2**24, where float32 stops being exact."""

LIKENESSES = {
    "met_max": 1,
    "met_min": 1,
    "rare_met_max": 1,
    "rare_met_min": 1,
    "cosine": 1,
    "unmet_max": -1,
    "unmet_min": -1,
}
"""What `likenesses` gives, and how the probability of a match may move with each.

`met`: the mean likeness of a side's tokens to their closest; `rare_met`: the same, rare tokens counting more;
`unmet`: the weight of the token that is met worst, times what it lacks; `cosine`: of the mean vectors.
"""

_NUMBERS_AT_ONCE = 2_000_000
_LARGEST = 127


def closest(left: Any, right: Any, real: tuple[Any, Any] | None = None) -> tuple[Any, Any]:
    """The product of each token with the closest token of the other text: (pairs, left tokens), (pairs, right tokens).

    `left` and `right` are the token vectors of texts, (pairs, tokens, dimensions), padded with tokens of their own,
    which change no maximum; where they are not, `real` says of each side, (pairs, tokens), which ones count.
    """
    products = left @ right.transpose(1, 2)
    if real is not None:
        products = products.masked_fill(~(real[0][:, :, None] & real[1][:, None, :]), -1.0)
    return products.amax(2), products.amax(1)


def mean(values: Any, real: Any) -> Any:
    """The mean of each row of `values` over the tokens that are `real`, both (pairs, tokens)."""
    return (values * real).sum(1) / real.sum(1)


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


def token_weights(documents: Iterable[np.ndarray], vocabulary: int) -> np.ndarray:
    """How rare each token is over the token ids of distinct records: int16 (vocabulary,), in RARITY_STEPS."""
    frequency, count = np.zeros(vocabulary, dtype=np.int64), 0
    for ids in documents:
        frequency[np.unique(ids)] += 1
        count += 1
    return np.asarray((RARITY_STEPS * rarity_of(frequency, count)).astype(np.int16))


@dataclass(frozen=True)
class TokenBank:
    """The tokens of many records, one after the other.

    `vectors` int8 (tokens, dimensions), unit vectors times `scale`; `weights` int16 (tokens,), in RARITY_STEPS.
    """

    vectors: Any
    weights: Any
    scale: float


@dataclass(frozen=True)
class Spans:
    """Stretches of tokens in a bank: where each starts and how many tokens it has (at least one)."""

    starts: np.ndarray
    lengths: np.ndarray

    def take(self, rows: np.ndarray) -> Spans:
        """The spans at these positions."""
        return Spans(self.starts[rows], self.lengths[rows])


def likenesses(bank: TokenBank, left: Spans, right: Spans) -> np.ndarray:
    """The LIKENESSES of each pair of spans, in their order: float32, (pairs, likenesses)."""
    result = np.empty((len(left.starts), len(LIKENESSES)), dtype=np.float32)
    with torch_module().inference_mode():
        for rows in _groups(left.lengths, right.lengths, bank.vectors.shape[1]):
            result[rows] = _compared(bank, left.take(rows), right.take(rows))
    return result


def _groups(left: np.ndarray, right: np.ndarray, dimensions: int) -> Iterator[np.ndarray]:
    """Positions of pairs that are compared together: of about the same lengths, and few enough to stay in the cache."""
    high, wide = (-(-lengths // LENGTH_STEP) for lengths in (left, right))
    key = high.astype(np.int64) * (int(wide.max(initial=0)) + 1) + wide
    order = np.argsort(key, kind="stable")
    edges = np.flatnonzero(np.diff(key[order])) + 1
    for group in np.split(order, edges):
        if len(group):
            longest = max(int(left[group].max()), int(right[group].max()))
            size = max(1, _NUMBERS_AT_ONCE // (longest * max(longest, dimensions)))
            for start in range(0, len(group), size):
                yield group[start : start + size]


def _compared(bank: TokenBank, left: Spans, right: Spans) -> np.ndarray:
    torch = torch_module()
    sides = [_Side(bank, spans) for spans in (left, right)]
    best = closest(sides[0].vectors, sides[1].vectors)
    met = [side.met(found, bank.scale) for side, found in zip(sides, best, strict=True)]
    sums = [side.sums for side in sides]
    norms = (sums[0].square().sum(1) * sums[1].square().sum(1)).clamp_min(1.0).sqrt()
    columns = [reduce(a, b) for a, b in zip(*met, strict=True) for reduce in (torch.maximum, torch.minimum)]
    columns.insert(4, (sums[0] * sums[1]).sum(1) / norms)
    return np.asarray(torch.stack(columns, 1).float().cpu().numpy())


class _Side:
    """One side's spans as a block, each padded with its own last token."""

    def __init__(self, bank: TokenBank, spans: Spans) -> None:
        torch = torch_module()
        device = bank.vectors.device
        starts, lengths = torch.from_numpy(spans.starts).to(device), torch.from_numpy(spans.lengths).to(device)
        steps = torch.arange(int(spans.lengths.max()), device=device)
        rows = starts[:, None] + torch.minimum(steps, lengths[:, None] - 1)
        self.vectors = bank.vectors[rows].float()
        self._real = steps < lengths[:, None]
        self._weights = bank.weights[rows].double() * self._real

    def met(self, best: Any, scale: float) -> tuple[Any, Any, Any]:
        """Mean, weighted mean and worst of each token's likeness to its closest, `best`, all in (pairs, tokens)."""
        best, one = best.double(), scale * scale
        weighted = (best * self._weights).sum(1) / self._weights.sum(1) / one
        worst = ((1.0 - best / one) * (self._weights / RARITY_STEPS)).amax(1).clamp_min(0.0)
        return mean(best, self._real) / one, weighted, worst

    @property
    def sums(self) -> Any:
        """The sum of each span's vectors, float64 (pairs, dimensions)."""
        return (self._real.float()[:, None, :] @ self.vectors)[:, 0].double()
