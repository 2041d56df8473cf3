"""One comparison of a batch of pairs: typed similarities, computed once for each distinct pair of values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from distiller_udf.records import Column
from distiller_udf.similarity.quantities import parse_date, parse_quantity
from distiller_udf.similarity.vectors import ValueCache

if TYPE_CHECKING:
    from distiller_udf.similarity.columns import Comparison

MAX_EDIT_CHARACTERS = 120
"""Edit distances look at this much of a text: they cost length times length."""

AT_ONCE = 8_192
"""Pairs whose sparse vectors are laid side by side: long texts take 36 kB a pair."""

_VECTORS = {
    "token_cosine": 1,
    "contained_max": 1,
    "contained_min": 1,
    "shared": 1,
    "rarest_lacked_max": -1,
    "rarest_lacked_min": -1,
    "digit_cosine": 1,
    "digit_lacked_max": -1,
    "digit_lacked_min": -1,
    "code_contained_max": 1,
    "code_contained_min": 1,
    "gram_cosine": 1,
    "gram_contained_max": 1,
    "gram_contained_min": 1,
}
_EDITS = {"ratio": 1, "sorted_ratio": 1, "set_ratio": 1, "jaro_winkler": 1}
_STRINGS = {"token_cosine": 1, "contained_max": 1, "contained_min": 1, "shared": 1, "gram_cosine": 1}
_TEXTS = {**_STRINGS, "gram_contained_max": 1, "gram_contained_min": 1}
_NUMBERS = {"closeness": 1, "difference": -1, "digits_ratio": 1}
_DATES = {"years": -1, "same_day": 1, "digits_ratio": 1}

FEATURES: dict[str, dict[str, int]] = {
    "record": _VECTORS,
    "name": {**_VECTORS, **_EDITS, "length_ratio": 0},
    "text": {**_TEXTS, "ratio": 1, "jaro_winkler": 1},
    "long": _STRINGS,
    "number": _NUMBERS,
    "date": _DATES,
}
"""The features of each kind of comparison and how the probability of a match may move with each."""


def compare(comparison: Comparison, left: Column, right: Column, cache: ValueCache) -> dict[str, np.ndarray]:
    """The FEATURES of a comparison's kind for each pair of values, float64 (pairs,); NaN where a side is NULL.

    Swapping the sides changes nothing.
    """
    kind = comparison.kind
    both = (left.codes >= 0) & (right.codes >= 0)
    width = len(right.values) + 1
    keys, inverse = np.unique(left.codes[both].astype(np.int64) * width + right.codes[both], return_inverse=True)
    result = {name: np.full(len(both), np.nan) for name in FEATURES[kind]}
    if not len(keys):
        return result
    a, b = keys // width, keys % width
    if kind == "number":
        values = _numbers(comparison.decimals, left, right, a, b)
    elif kind == "date":
        values = _dates(left, right, a, b)
    else:
        values = _texts(left, right, a, b, cache, _EDITED.get(kind, ()))
    for name, feature in result.items():
        feature[both] = values[name][inverse]
    return result


def _texts(
    left: Column, right: Column, a: np.ndarray, b: np.ndarray, cache: ValueCache, edits: tuple[str, ...]
) -> dict[str, np.ndarray]:
    used_left, a = np.unique(a, return_inverse=True)
    used_right, b = np.unique(b, return_inverse=True)
    x = cache.rows([left.values[i] for i in used_left])[a]
    y = cache.rows([right.values[i] for i in used_right])[b]
    parts = [_vectors(cache, x[start:][:AT_ONCE], y[start:][:AT_ONCE]) for start in range(0, len(x), AT_ONCE)]
    result = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if edits:
        result |= _edits(cache.texts, x, y, edits)
    return result


def _vectors(cache: ValueCache, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    overlap = cache.token_overlap(x, y)
    gram_cosine, *in_grams = cache.gram_overlap(x, y)
    shared, cosine, contained = _shares(overlap, "")
    _, digit_cosine, _ = _shares(overlap, "digit_")
    # Without digits on either side there is nothing to agree or to disagree about.
    either = np.minimum(overlap["digit_norm_left"], overlap["digit_norm_right"]) > 0
    features = {
        "gram_cosine": gram_cosine,
        "token_cosine": cosine,
        "shared": np.log1p(shared),
        "digit_cosine": np.where(either, digit_cosine, np.nan),
    }
    of_each_side = {
        "gram_contained": in_grams,
        "code_contained": cache.code_overlap(x, y),
        "contained": contained,
        "rarest_lacked": (overlap["rarest_left"], overlap["rarest_right"]),
        "digit_lacked": (overlap["digit_lacked_left"], overlap["digit_lacked_right"]),
    }
    for name, sides in of_each_side.items():
        features[f"{name}_max"], features[f"{name}_min"] = np.maximum(*sides), np.minimum(*sides)
    return features


def _shares(
    overlap: dict[str, np.ndarray], prefix: str
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Shared weight, cosine, and the share of each side's weight that the other side has too."""
    norms = overlap[f"{prefix}norm_left"], overlap[f"{prefix}norm_right"]
    # Both differences equal the shared weight up to rounding; their mean is the same whichever side comes first.
    shared = norms[0] - overlap[f"{prefix}lacked_left"] + (norms[1] - overlap[f"{prefix}lacked_right"])
    shared = np.maximum(shared / 2, 0.0)
    contained = shared / np.maximum(norms[0], 1e-12), shared / np.maximum(norms[1], 1e-12)
    return shared, shared / np.sqrt(np.maximum(norms[0] * norms[1], 1e-24)), contained


def _edits(texts: list[str], x: np.ndarray, y: np.ndarray, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    from rapidfuzz import distance, fuzz

    scorers: dict[str, tuple[Callable[..., float], float]] = {
        "ratio": (fuzz.ratio, 100.0),
        "sorted_ratio": (fuzz.token_sort_ratio, 100.0),
        "set_ratio": (fuzz.token_set_ratio, 100.0),
        "jaro_winkler": (distance.JaroWinkler.similarity, 1.0),
    }
    # Some scorers depend on the order of their arguments, so the smaller text always comes first.
    pairs = [(texts[i][:MAX_EDIT_CHARACTERS], texts[j][:MAX_EDIT_CHARACTERS]) for i, j in zip(x, y, strict=True)]
    first, second = [min(p) for p in pairs], [max(p) for p in pairs]
    result = {name: _pairwise(first, second, *scorers[name]) for name in names}
    lengths = np.asarray([[len(texts[i]), len(texts[j])] for i, j in zip(x, y, strict=True)], dtype=float)
    result["length_ratio"] = (lengths.min(axis=1) + 1) / (lengths.max(axis=1) + 1)
    return result


def _pairwise(first: list[str], second: list[str], scorer: Callable[..., float], scale: float) -> np.ndarray:
    from rapidfuzz import process

    return np.asarray(process.cpdist(first, second, scorer=scorer, workers=-1), dtype=np.float64) / scale


def _numbers(
    decimals: tuple[str, str], left: Column, right: Column, a: np.ndarray, b: np.ndarray
) -> dict[str, np.ndarray]:
    quantities = [
        [parse_quantity(value, decimal) for value in column.values]
        for column, decimal in zip((left, right), decimals, strict=True)
    ]
    x, y = (np.asarray([q.number for q in side])[rows] for side, rows in zip(quantities, (a, b), strict=True))
    # 1 TB is not 1: what is told in two units cannot be compared.
    units: dict[str, int] = {}
    u, v = (
        np.asarray([units.setdefault(q.unit, len(units)) for q in side])[rows]
        for side, rows in zip(quantities, (a, b), strict=True)
    )
    x = np.where(u == v, x, np.nan)
    difference = np.abs(x - y)
    relative = difference / np.maximum(np.maximum(np.abs(x), np.abs(y)), 1e-9)
    return {
        "closeness": np.exp(-8 * relative),
        "difference": np.log1p(difference),
        "digits_ratio": _raw_ratio(left, right, a, b),
    }


def _dates(left: Column, right: Column, a: np.ndarray, b: np.ndarray) -> dict[str, np.ndarray]:
    years = np.abs(_parsed(left, a, lambda v: parse_date(v)[0]) - _parsed(right, b, lambda v: parse_date(v)[0]))
    days = _parsed(left, a, lambda v: parse_date(v)[1]), _parsed(right, b, lambda v: parse_date(v)[1])
    same_day = np.where(np.isnan(days[0] + days[1]), np.nan, days[0] == days[1])
    return {
        "years": np.log1p(np.minimum(years, 100)),
        "same_day": same_day,
        "digits_ratio": _raw_ratio(left, right, a, b),
    }


def _parsed(column: Column, rows: np.ndarray, parse: Callable[[str], float]) -> np.ndarray:
    used, inverse = np.unique(rows, return_inverse=True)
    return np.asarray([parse(column.values[i]) for i in used], dtype=np.float64)[inverse]


def _raw_ratio(left: Column, right: Column, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Edit similarity of the values as written: a slipped digit is a small difference, whatever the number says."""
    from rapidfuzz.distance import OSA

    pairs = [(left.values[i][:40], right.values[j][:40]) for i, j in zip(a, b, strict=True)]
    return _pairwise([min(p) for p in pairs], [max(p) for p in pairs], OSA.normalized_similarity, 1.0)


_EDITED = {"name": tuple(_EDITS), "text": ("ratio", "jaro_winkler")}
