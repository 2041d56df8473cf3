"""Words of a text, as similarity and blocking see them. `macros/utils/_er_words.sql` cuts the same text into the same.

A text is folded first: no accents, no case, letters of one kind (ß is ss, full width is plain), and what is written
without spaces (Chinese, Japanese) set apart. Its words are

- the *parts*: runs of letters and digits;
- parts that one sign joins (`-`, `/`, `.`, `'`, `&`, `_`) as one word: `dsc-w120` is dscw120 too, `O'Brien` obrien,
  `L.K.W.` lkw; but 7.2 stays 7.2, and is no 72;
- single letters in a row as one word: `C. L. R. James` has clr;
- the numbers within a word, from two digits on: `mdrex55bk` has 55;
- of a part in Chinese or Japanese, each two neighbouring signs.

Parts in their order, a space between them, are what 3-grams are cut from.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

MAX_COMPARED_CHARACTERS = 2_000
"""Similarities look at this much of a value: a page of text decides, the rest only costs time."""

GRAM_BITS = 18
"""Character 3-grams are hashed into 2**GRAM_BITS buckets, so that no vocabulary has to be kept."""

JOINING = "-‐‑–/.'’`´&_·"
"""The signs that join two parts into one word."""

_FULL_WIDTH = {c + 0xFEE0: c for c in map(ord, "0123456789abcdefghijklmnopqrstuvwxyz-./'&_")}
_SPELLED = str.maketrans(dict(zip("øđłħıŧðʼßæœþ", [*"odlhitd'", "ss", "ae", "oe", "th"], strict=True)))
_SPACELESS = (
    r"\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)

_SPACELESS_RUN = re.compile(f"([{_SPACELESS}]+)")
_PART = re.compile(r"[^\W_]+")
_PIECE = re.compile(rf"[^\W_]+(?:[{re.escape(JOINING)}][^\W_]+)*")
_JOINED = re.compile(rf"[^\W_]+(?:[{re.escape(JOINING)}][^\W_]+)+")
_SINGLES = re.compile(r"(?:^|[\W_])((?:[^\W\d_][. ]{1,2}){1,6}[^\W\d_])(?:[\W_]|$)")
_NUMBER_WITHIN = re.compile(r"[0-9]{2,}")
_DECIMAL = re.compile(r"[0-9]+\.[0-9]+")
_SIGNS = re.compile(r"[\W_]+")
DIGIT = re.compile(r"[0-9]")


def fold(value: str) -> str:
    """Lower case without accents, cut to MAX_COMPARED_CHARACTERS; what is written without spaces between spaces."""
    text = value[:MAX_COMPARED_CHARACTERS]
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFD", text)
    bare = "".join(c for c in decomposed if unicodedata.category(c)[0] != "M")
    text = unicodedata.normalize("NFC", bare).replace("Σ", "σ").lower().translate(_FULL_WIDTH | _SPELLED)
    return _SPACELESS_RUN.sub(r" \1 ", text)


def tokens(text: str) -> set[str]:
    """The words of a folded text."""
    found = set(_PART.findall(text))
    found.update(map(whole, (*_JOINED.findall(text), *_SINGLES.findall(text))))
    found.update(_NUMBER_WITHIN.findall(text))
    if not text.isascii():
        for run in _SPACELESS_RUN.findall(text):
            found.update(run[i : i + 2] for i in range(len(run) - 1))
    return found


def parts(text: str) -> str:
    """The parts of a folded text in their order, a space between them."""
    return " ".join(_PART.findall(text))


def whole(piece: str) -> str:
    """Parts that signs join, as one word; a decimal stays as it is."""
    return piece if _DECIMAL.fullmatch(piece) else _SIGNS.sub("", piece)


def codes(text: str) -> str:
    """The words of a folded text that hold a digit, without signs: part numbers, sizes, years.

    Their 3-grams tell that `ex55/blk` and `mdrex55bk` are close where neither token equals the other.
    """
    pieces = (_SIGNS.sub("", piece) for piece in _PIECE.findall(text) if not piece.isalpha())
    return " ".join(piece for piece in pieces if len(piece) >= 3 and DIGIT.search(piece))


def grams(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Hashed character 3-grams of texts, each text padded by a space on both sides.

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
