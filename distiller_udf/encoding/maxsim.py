"""How well the tokens of one text are met by those of another: late interaction, in whole numbers.

As in ColBERT (Khattab and Zaharia 2020, arXiv 2004.12832): every token counts by the closest token of the other text.
Vectors are int8, so that all products and sums are whole numbers that float32 and float64 hold exactly: a pair's
likenesses are the same to the last bit in any batch, on any number of threads, and whichever side comes first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from distiller_udf.encoding.loading import torch_module

MAX_DIMENSIONS = 512
"""Up to here the product of two int8 vectors stays below 2**24, where float32 stops being exact."""

WEIGHT_STEPS = 4_096
"""Token weights are whole numbers of steps, up to this many."""

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
_LENGTH_STEP = 8


@dataclass(frozen=True)
class TokenBank:
    """The tokens of many records, one after the other.

    `vectors` int8 (tokens, dimensions), unit vectors times `scale`; `weights` int16 (tokens,), in WEIGHT_STEPS.
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
    high, wide = (-(-lengths // _LENGTH_STEP) for lengths in (left, right))
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
    products = torch.bmm(sides[0].vectors, sides[1].vectors.transpose(1, 2))
    # A span is padded with its own last token, which changes no maximum.
    met = [s.met(products.amax(axis), bank.scale) for s, axis in zip(sides, (2, 1), strict=True)]
    sums = [side.sums for side in sides]
    norms = (sums[0].square().sum(1) * sums[1].square().sum(1)).clamp_min(1.0).sqrt()
    columns = [reduce(a, b) for a, b in zip(*met, strict=True) for reduce in (torch.maximum, torch.minimum)]
    columns.insert(4, (sums[0] * sums[1]).sum(1) / norms)
    return np.asarray(torch.stack(columns, 1).float().cpu().numpy())


class _Side:
    """One side's spans as a padded block."""

    def __init__(self, bank: TokenBank, spans: Spans) -> None:
        torch = torch_module()
        device = bank.vectors.device
        starts, lengths = torch.from_numpy(spans.starts).to(device), torch.from_numpy(spans.lengths).to(device)
        steps = torch.arange(int(spans.lengths.max()), device=device)
        rows = starts[:, None] + torch.minimum(steps, lengths[:, None] - 1)
        self.vectors = bank.vectors[rows].float()
        self._real = steps < lengths[:, None]
        self._weights = bank.weights[rows].double() * self._real
        self._lengths = lengths

    def met(self, best: Any, scale: float) -> tuple[Any, Any, Any]:
        """Mean, weighted mean and worst of each token's likeness to its closest, `best`, all in (pairs, tokens)."""
        best, one = best.double(), scale * scale
        mean = (best * self._real).sum(1) / self._lengths / one
        weighted = (best * self._weights).sum(1) / self._weights.sum(1) / one
        worst = ((1.0 - best / one) * (self._weights / WEIGHT_STEPS)).amax(1).clamp_min(0.0)
        return mean, weighted, worst

    @property
    def sums(self) -> Any:
        """The sum of each span's vectors, float64 (pairs, dimensions)."""
        return (self._real.float()[:, None, :] @ self.vectors)[:, 0].double()
