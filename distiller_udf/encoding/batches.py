"""Texts of similar length together: what an encoder reads at once, bounded in tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

LENGTH_STEP = 8
"""Texts are padded to a multiple of so many tokens: how far does not depend on the texts beside them."""

CHARACTERS_PER_TOKEN = 32
"""No token is longer on average, so a text is cut there before it is tokenised."""


def padded_lengths(lengths: Sequence[int], most: int) -> np.ndarray:
    """Each length as the next multiple of `LENGTH_STEP`, and `most` where that is longer than the model reads."""
    padded = -(-np.maximum(np.asarray(lengths, dtype=np.int64), 1) // LENGTH_STEP) * LENGTH_STEP
    return np.asarray(np.minimum(padded, most))


def length_batches(lengths: Sequence[int], most: int, tokens: int) -> Iterator[tuple[list[int], int]]:
    """Positions of texts that are read together, the longest first, and the length that they are padded to.

    A batch has at most `tokens` tokens, or one text.
    """
    padded = padded_lengths(lengths, most)
    order = np.argsort(-padded, kind="stable")
    for length in np.unique(padded)[::-1]:
        alike = order[padded[order] == length].tolist()
        size = max(1, tokens // int(length))
        for start in range(0, len(alike), size):
            yield alike[start : start + size], int(length)


def clean(text: str, max_length: int) -> str:
    """The part of a text that `max_length` tokens can hold, without lone surrogates, which tokenizers refuse."""
    text = text[: CHARACTERS_PER_TOKEN * max_length]
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
