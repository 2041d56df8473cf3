"""Text of one value: folding, tokens, numbers and dates. What the sparse vectors and the comparisons are made of."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

MAX_COMPARED_CHARACTERS = 2_000
"""Similarities look at this much of a value: a page of text decides, the rest only costs time."""

GRAM_BITS = 18
"""Character 3-grams are hashed into 2**GRAM_BITS buckets, so that no vocabulary has to be kept."""

_PIECE = re.compile(r"\w+(?:[-/.]\w+)*")
DIGIT = re.compile(r"\d")
_NUMBER_WITHIN = re.compile(r"\d{2,}")
_SEPARATORS = re.compile(r"[-/.]")
# A currency before, a unit behind: `$1,299.00`, `EUR 40`, `40 GB`; but not `TS8`, which is a code.
_QUANTITY = re.compile(r"(?:[^\w+.,-]{0,3}|[a-z]{1,4}\.? )([-+]?[\d.,]*\d(?:e[-+]?\d+)?) ?[^\d]{0,4}", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?\d*(?:\.\d+)?(?:e[-+]?\d+)?")
_ISO_DATE = re.compile(r"(\d{4})[-/.](\d{1,2})(?:[-/.](\d{1,2}))?(?:[ T].*)?")
_DAY_FIRST = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})")
_PACKED = re.compile(r"((?:1[5-9]|20)\d\d)(\d\d)(\d\d)")
_YEAR = re.compile(r"(?:1[5-9]|20)\d\d(?:\.0)?")


def fold(value: str) -> str:
    """Lower case without accents, cut to MAX_COMPARED_CHARACTERS."""
    text = value[:MAX_COMPARED_CHARACTERS]
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join(c for c in decomposed if not unicodedata.combining(c))
    return text.casefold()


def tokens(text: str) -> set[str]:
    """The words of a folded text, and what they may be called elsewhere.

    `dsc-w120` is also `dscw120`, as another catalogue writes it, and a number within a word stands for itself:
    `mdrex55bk` and `ex55/blk` share the 55.
    """
    found: set[str] = set()
    for piece in _PIECE.findall(text):
        if not piece.isalpha() and not piece.isdigit():
            found.update(_NUMBER_WITHIN.findall(piece))
        if piece.isalnum():
            found.add(piece)
            continue
        words = _SEPARATORS.split(piece)
        found.update(words)
        # A decimal stays itself; anything else is also seen without its separators.
        found.add(piece if all(map(str.isdigit, words)) else "".join(words))
    return found


def codes(text: str) -> str:
    """The words of a folded text that hold a digit, without separators: part numbers, sizes, years.

    Their 3-grams tell that `ex55/blk` and `mdrex55bk` are close where neither token equals the other.
    """
    pieces = (_SEPARATORS.sub("", piece) for piece in _PIECE.findall(text) if not piece.isalpha())
    return " ".join(piece for piece in pieces if len(piece) >= 3 and DIGIT.search(piece))


def grams(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Hashed character 3-grams of folded texts, each text padded by a space on both sides.

    Returns (buckets, offsets): text i's distinct buckets, ascending, are `buckets[offsets[i]:offsets[i + 1]]`.
    """
    padded = "".join(f" {text} " for text in texts)
    points = np.frombuffer(padded.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    ends = np.cumsum([len(text) + 2 for text in texts], dtype=np.int64)
    if len(points) < 3:
        return np.zeros(0, dtype=np.int32), np.zeros(len(texts) + 1, dtype=np.int64)
    hashed = (points[:-2] * np.uint64(1_000_003) + points[1:-1]) * np.uint64(1_000_003) + points[2:]
    hashed = (hashed * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - GRAM_BITS)
    owner = np.repeat(np.arange(len(texts)), np.diff(ends, prepend=0))
    inside = owner[:-2] == owner[2:]
    keys = np.sort((owner[:-2][inside].astype(np.uint64) << np.uint64(GRAM_BITS)) | hashed[inside])
    fresh = np.ones(len(keys), dtype=bool)
    fresh[1:] = keys[1:] != keys[:-1]
    keys = keys[fresh]
    counts = np.bincount((keys >> np.uint64(GRAM_BITS)).astype(np.int64), minlength=len(texts))
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return (keys & np.uint64((1 << GRAM_BITS) - 1)).astype(np.int32), offsets


@lru_cache(maxsize=65_536)
def parse_number(value: str) -> float:
    """The number a value states, without currency, unit or thousands separators; NaN when it states none."""
    match = _QUANTITY.fullmatch(value) if len(value) <= 40 else None
    text = match[1].lower() if match else ""
    if "," in text:
        head, _, tail = text.rpartition(",")
        decimal = "." not in text and len(tail) in (1, 2) and "," not in head
        text = f"{head}.{tail}" if decimal else text.replace(",", "")
    if not text or not _NUMBER.fullmatch(text):
        return float("nan")
    number = float(text)
    return number if abs(number) < 1e15 else float("nan")


@lru_cache(maxsize=65_536)
def parse_date(value: str) -> tuple[float, float]:
    """(year, day number) of a date; the day is NaN where only the year is known, both where there is no date."""
    nan = float("nan")
    text = value.strip()
    if _YEAR.fullmatch(text):
        return float(text[:4]), nan
    if match := _ISO_DATE.fullmatch(text):
        year, month, day = match[1], match[2], match[3] or "1"
    elif match := _DAY_FIRST.fullmatch(text):
        # Day-first and month-first cannot be told apart; both sides are read alike, so equal dates stay equal.
        year, month, day = match[3], match[2], match[1]
    elif match := _PACKED.fullmatch(text):
        year, month, day = match[1], match[2], match[3]
    else:
        return nan, nan
    return float(year), float(int(year) * 372 + int(month) * 31 + int(day))
