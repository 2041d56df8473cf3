"""Records: from any rows to canonical text, the only place that serialises a record.

A record's canonical text is a compact JSON object of its non-empty columns, in their order:
`{"name":"Sony Turntable","price":"399.0"}`. It is what prompts show, what hashes cover and what the label
store keeps; it reads back into the same record. Students see the same normalised values, column by column.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distiller_udf.errors import RecordError

TEXT_COLUMN = "text"
"""The single column of a record that was given as plain text instead of a row."""

MAX_VALUE_CHARACTERS = 20_000
"""Longer values are cut here: what follows never decided a match, and a 1 MB text must not stall a run."""

_NOT_PRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\s]+")


def normalise_value(value: str) -> str | None:
    """One value as canonical text: NFC, whitespace and control characters collapsed, cut; None when empty."""
    if _is_normal(value):
        return value or None
    text = value[: 2 * MAX_VALUE_CHARACTERS]
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))
    text = _NOT_PRINTABLE.sub(" ", text).strip()
    return text[:MAX_VALUE_CHARACTERS].rstrip() or None


def _is_normal(value: str) -> bool:
    """Whether normalising would change nothing: a cheap look, for most values are as they should be."""
    return (
        len(value) <= MAX_VALUE_CHARACTERS
        and value.isprintable()  # among white space, the space alone is printable
        and "  " not in value
        and value[:1] != " "
        and value[-1:] != " "
        and (value.isascii() or unicodedata.is_normalized("NFC", value))
    )


def record_text(record: Mapping[str, str | None]) -> str:
    """The canonical text of one record whose values are normalised already."""
    return json.dumps({k: v for k, v in record.items() if v is not None}, ensure_ascii=False, separators=(",", ":"))


def content_hash(*texts: str) -> str:
    """SHA-256, in hex, over texts that are kept apart by their lengths."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(f"{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Column:
    """One column of a batch, dictionary-encoded: `values[codes[i]]` is row i's text, code -1 is NULL.

    `values` holds distinct normalised texts, so work that depends on one value alone is done once a batch.
    """

    codes: np.ndarray
    values: tuple[str, ...]

    @classmethod
    def from_values(cls, values: Iterable[str | None]) -> Column:
        """Encode already normalised texts."""
        index: dict[str, int] = {}
        codes = [-1 if v is None else index.setdefault(v, len(index)) for v in values]
        return cls(np.asarray(codes, dtype=np.int32), tuple(index))

    @classmethod
    def from_arrow(cls, array: pa.Array) -> Column:
        """Encode an Arrow array of any type, normalising every distinct value once."""
        encoded = _as_text(array).dictionary_encode()
        index: dict[str, int] = {}
        recode = np.full(len(encoded.dictionary) + 1, -1, dtype=np.int32)
        for i, raw in enumerate(encoded.dictionary.to_pylist()):
            text = None if raw is None else normalise_value(raw)
            if text is not None:
                recode[i] = index.setdefault(text, len(index))
        codes = pc.fill_null(encoded.indices, len(recode) - 1).to_numpy(zero_copy_only=False)
        return cls(recode[codes], tuple(index))

    def take(self, rows: np.ndarray) -> Column:
        """The same column for the rows given by position."""
        return Column(self.codes[rows], self.values)

    def to_list(self) -> list[str | None]:
        """Row by row as Python texts."""
        padded = (*self.values, None)
        return [padded[c] for c in self.codes]


@dataclass(frozen=True)
class Records:
    """A batch of records by column; all columns have the same number of rows.

    `names` are the columns in their order. A batch given as plain text has the one column `text`.
    """

    columns: Mapping[str, Column]
    length: int
    as_text: bool = False
    """Given as text: a canonical text leaves out what is empty, so a column that is missing is NULL."""

    def __len__(self) -> int:
        return self.length

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.columns)

    @classmethod
    def from_arrow(cls, array: pa.Array | pa.ChunkedArray) -> Records:
        """Read rows given as STRUCT, or as text (a JSON object becomes a record, other text one column).

        Raises RecordError when the rows are neither.
        """
        array = one_array(array)
        if pa.types.is_struct(array.type):
            names = [field.name for field in array.type]
            return cls({n: Column.from_arrow(c) for n, c in zip(names, _children(array), strict=True)}, len(array))
        if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
            return cls.from_texts(array.to_pylist())
        if pa.types.is_null(array.type):
            return cls({}, len(array))
        raise RecordError(
            f"a record is a row (STRUCT) or text, not {array.type}; pass the table's alias, as in "
            "er_match(a, b), or a struct, as in er_match({'name': a.name}, {'name': b.name})"
        )

    @classmethod
    def from_texts(cls, texts: Sequence[str | None]) -> Records:
        """Read canonical texts (JSON objects) back into records; other text becomes the column `text`."""
        return replace(cls.from_dicts([parse_text(text) for text in texts]), as_text=True)

    @classmethod
    def from_dicts(cls, rows: Sequence[Mapping[str, object] | None]) -> Records:
        """Read Python rows; the columns are the union of their keys, in order of first sight."""
        names = dict.fromkeys(name for row in rows if row for name in row)
        columns = {name: Column.from_values([_python_text((row or {}).get(name)) for row in rows]) for name in names}
        return cls(columns, len(rows))

    def take(self, rows: np.ndarray) -> Records:
        """The records at the given positions, repeats allowed."""
        return replace(self, columns={n: c.take(rows) for n, c in self.columns.items()}, length=len(rows))

    def with_columns(self, names: Sequence[str]) -> Records:
        """Exactly these columns, in this order; those that are absent are all NULL."""
        absent = Column(np.full(self.length, -1, dtype=np.int32), ())
        return replace(self, columns={n: self.columns.get(n, absent) for n in names})

    def with_values(self) -> Records:
        """Only the columns that hold a value in some row: a union of sources leaves columns that one side lacks."""
        return replace(self, columns={n: c for n, c in self.columns.items() if (c.codes >= 0).any()})

    @property
    def plain(self) -> np.ndarray:
        """Boolean mask of the records that were given as text which is no JSON object."""
        if not self.as_text or TEXT_COLUMN not in self.columns:
            return np.zeros(self.length, dtype=bool)
        return np.asarray(self.columns[TEXT_COLUMN].codes >= 0)

    @cached_property
    def empty(self) -> np.ndarray:
        """Boolean mask of the records that have no value at all."""
        mask = np.ones(self.length, dtype=bool)
        for column in self.columns.values():
            mask &= column.codes < 0
        return mask

    @cached_property
    def distinct(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions of one row for each distinct record, and each row's index into them."""
        if not self.columns:
            return np.zeros(min(self.length, 1), dtype=np.int64), np.zeros(self.length, dtype=np.int64)
        groups = np.zeros(self.length, dtype=np.int64)
        for column in self.columns.values():
            # Renumbering after each column keeps the combined code far from overflow.
            combined = groups * (len(column.values) + 1) + (column.codes.astype(np.int64) + 1)
            _, first, groups = np.unique(combined, return_index=True, return_inverse=True)
        return first, groups

    def to_dicts(self) -> list[dict[str, str | None]]:
        """Row by row as Python dicts of canonical texts."""
        lists = {n: c.to_list() for n, c in self.columns.items()}
        return [{n: values[i] for n, values in lists.items()} for i in range(self.length)]

    def texts(self) -> list[str]:
        """The canonical text of each record; an empty record is `{}`."""
        first, inverse = self.distinct
        distinct = [record_text(row) for row in self.take(first).to_dicts()]
        return [distinct[i] for i in inverse]


def one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column as one array, dictionaries as plain values."""
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # what older versions of pyarrow make of a column without chunks
        column = column.chunk(0) if column.num_chunks else pa.array([], column.type)
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def parse_text(text: str | None) -> dict[str, object] | None:
    """One canonical text as a record; text that is no JSON object is a record with the one column `text`."""
    if text is None:
        return None
    if text.startswith("{"):
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict):
            return record
    return {TEXT_COLUMN: text}


def _python_text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, (dict, list, tuple)):
        value = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return normalise_value(value if isinstance(value, str) else str(value))


def _children(array: pa.StructArray) -> list[pa.Array]:
    """The fields of a struct, NULL where the struct itself is."""
    if not any(pa.types.is_union(field.type) for field in array.type):
        return list(array.flatten())
    # flatten() aborts the process on a union, which has no validity of its own.
    valid = array.is_valid().to_pylist()
    fields = [array.field(i).to_pylist() for i in range(array.type.num_fields)]
    texts = [[_plain_text(v) if ok else None for v, ok in zip(values, valid, strict=True)] for values in fields]
    return [pa.array(values, pa.string()) for values in texts]


def _as_text(array: pa.Array) -> pa.Array:
    """Any Arrow array as strings: nested values as JSON, bytes as UTF-8 where they are, else hex."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return array
    if pa.types.is_null(kind):
        return pa.nulls(len(array), pa.string())
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return pa.array([_plain_text(value) for value in array.to_pylist()], pa.string())
    try:
        return array.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return pa.array([None if v is None else str(v) for v in array.to_pylist()], pa.string())


def _plain_text(value: object) -> str | None:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value.hex()
    return _python_text(value)
