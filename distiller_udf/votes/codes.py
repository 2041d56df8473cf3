"""Values as numbers, for grouping and sorting."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def codes(values: pa.Array) -> np.ndarray:
    """A number for each value, the same for equal ones."""
    plain = stored(values)
    if pa.types.is_null(plain.type):
        return np.zeros(len(plain), dtype=np.int64)
    indices = plain.dictionary_encode(null_encoding="encode").indices
    return np.asarray(indices.to_numpy(zero_copy_only=False), dtype=np.int64)


def stored(values: pa.Array) -> pa.Array:
    """Values of a type that Arrow can count and sort: those below an extension type, as UUID is one."""
    return values.storage if isinstance(values, pa.ExtensionArray) else values


def together(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A number for each pair of numbers, from 0 without gaps."""
    both = one * (int(other.max(initial=0)) + 1) + other
    return np.unique(both, return_inverse=True)[1].reshape(-1).astype(np.int64)
