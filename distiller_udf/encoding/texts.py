"""Records as texts for an encoder: which columns in which order, and which tokens belong to which column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from distiller_udf.encoding.token_encoder import Tokens
from distiller_udf.records import TEXT_COLUMN, Records, parse_text
from distiller_udf.records.values import leaf_text
from distiller_udf.similarity import Comparison

COMPARED = ("record", "name", "text", "long")
"""The kinds of comparisons that an encoder sees; numbers and dates are compared better as what they are."""

_SEPARATOR = "; "


@dataclass(frozen=True)
class RecordText:
    """One record as text; column `columns[i]` is `text[starts[i]:ends[i]]`. Records with equal keys are equal."""

    key: bytes
    text: str
    columns: tuple[str, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]


def layouts(comparisons: Sequence[Comparison]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns of the left and of the right record in the order in which they are read: what names a record first.

    A long text is cut, so the columns of one value each come before those of sentences.
    """
    kinds = ("name", "text", "number", "date", "long", "record")
    ranked = sorted(comparisons, key=lambda c: kinds.index(c.kind))
    left = tuple(dict.fromkeys(name for c in ranked for name in c.left_columns))
    right = tuple(dict.fromkeys(name for c in ranked for name in c.right_columns))
    # Sides that share their columns are read alike, so that the order of two records makes no difference.
    return left, left if set(left) == set(right) else right


def record_texts(records: Records, layout: Sequence[str]) -> tuple[list[RecordText | None], np.ndarray]:
    """The distinct records as texts (None where a record is empty), and each row's index into them."""
    names = [TEXT_COLUMN] if records.is_plain else [name for name in layout if name in records.columns]
    known = records.with_columns(names).leaves()
    first, inverse = known.distinct
    lists = [column.to_list() for column in known.take(first).columns.values()]
    rows = zip(*lists, strict=True) if lists else [()] * len(first)
    return [_record_text(names, row) for row in rows], inverse


def readable(records: Records) -> list[str]:
    """Each record with its columns' names: `name: Sony Turntable; price: 399`; plain text and lone columns unnamed."""
    first, inverse = records.distinct
    some = records.take(first).leaves()
    rows = zip(some.to_dicts(), some.plain, strict=True)
    lone = len(some.names) == 1
    texts = [
        _SEPARATOR.join(value if lone or plain else f"{name}: {value}" for name, value in row.items() if value)
        for row, plain in rows
    ]
    return [texts[i] for i in inverse]


def readable_text(text: str) -> str:
    """A canonical text as `readable` writes its record; text that is no record is the column `text`."""
    return _SEPARATOR.join(f"{name}: {leaf_text(str(value))}" for name, value in parse_text(text).items())


def tokens_by_column(text: RecordText, tokens: Tokens) -> tuple[np.ndarray, dict[str, tuple[int, int]]]:
    """Which tokens belong to a column (a mask), and each column's tokens as (start, end) among these."""
    starts = np.asarray(text.starts)
    # By its last character: some tokenizers count the space before a word as part of its token.
    last = tokens.ends - 1
    owner = np.searchsorted(starts, last, side="right") - 1
    inside = (tokens.ends > tokens.starts) & (owner >= 0) & (last < np.asarray(text.ends)[np.maximum(owner, 0)])
    bounds = np.searchsorted(owner[inside], np.arange(len(starts) + 1))
    found = {name: (int(a), int(b)) for name, a, b in zip(text.columns, bounds[:-1], bounds[1:], strict=True) if b > a}
    return inside, found


def _record_text(names: Sequence[str], row: Sequence[str | None]) -> RecordText | None:
    filled = [(name, value) for name, value in zip(names, row, strict=True) if value is not None]
    if not filled:
        return None
    digest = blake2b(digest_size=16)
    starts, ends, position = [], [], 0
    for name, value in filled:
        digest.update(f"{len(name)}:{name}{len(value)}:{value}".encode("utf-8", "surrogatepass"))
        starts.append(position)
        ends.append(position + len(value))
        position = ends[-1] + len(_SEPARATOR)
    columns = tuple(name for name, _ in filled)
    return RecordText(digest.digest(), _SEPARATOR.join(v for _, v in filled), columns, tuple(starts), tuple(ends))
