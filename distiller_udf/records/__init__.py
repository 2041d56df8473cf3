"""Records: from any rows to canonical text, the only place that serialises a record.

A record's canonical text is a compact JSON object of its non-empty columns, in their order, each value as `values.py`
writes it: `{"name":"Sony Turntable","price":"399"}`. It is what prompts show, what hashes cover and what the label
store keeps; it reads back into the same record. Students see the same values, column by column. A row has one canonical
text, whether it comes as a STRUCT, as JSON text, out of a file or from Python.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import cast

import numpy as np
import pyarrow as pa

from distiller_udf.errors import RecordError
from distiller_udf.records.arrays import check_readable, encode
from distiller_udf.records.values import Tree, json_object, leaf_text, python_tree, tree_text

TEXT_COLUMN = "text"
"""The column of a record that was given as plain text instead of a row."""


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


def parse_text(text: str) -> dict[str, object]:
    """One canonical text as a record; text that is no JSON object is a record with the one column `text`."""
    members = json_object(text)
    return {TEXT_COLUMN: text} if members is None else members


def common_columns(*batches: Records) -> tuple[str, ...] | None:
    """The names of all columns of these batches; None where some record was given as plain text, which has none."""
    if any(batch.plain.any() for batch in batches):
        return None
    return tuple(dict.fromkeys(name for batch in batches for name in batch.names))


@dataclass(frozen=True)
class Column:
    """One column of a batch, dictionary-encoded: `values[codes[i]]` is row i's text, code -1 is NULL.

    `values` holds distinct normalised texts, so work that depends on one value alone is done once a batch. `nested`
    says whether some of them are the JSON of a list or an object.
    """

    codes: np.ndarray
    values: tuple[str, ...]
    nested: bool = False

    @classmethod
    def from_values(cls, values: Iterable[str | None]) -> Column:
        """Encode already normalised texts."""
        index: dict[str, int] = {}
        codes = [-1 if v is None else index.setdefault(v, len(index)) for v in values]
        return cls(np.asarray(codes, dtype=np.int32), tuple(index))

    @classmethod
    def from_trees(cls, codes: np.ndarray, trees: Sequence[Tree]) -> Column:
        """Encode what values say; row i's is `trees[codes[i]]`, and nothing where its code is -1."""
        nested = not {list, dict}.isdisjoint(map(type, trees))
        texts = map(tree_text, trees) if nested else cast("Sequence[str | None]", trees)
        return cls.from_values(texts)._recoded(codes, nested)

    @classmethod
    def from_python(cls, values: Sequence[object]) -> Column:
        """Encode Python values of any types."""
        if set(map(type, values)) <= {str, type(None)}:
            with suppress(UnicodeEncodeError):  # of half a character Arrow makes no text
                return cls.from_arrow(pa.array(values, pa.large_string()))
        return cls.from_trees(np.arange(len(values), dtype=np.int32), [python_tree(value) for value in values])

    @classmethod
    def from_arrow(cls, array: pa.Array, name: str = "a column") -> Column:
        """Encode an Arrow array of any type. Raises RecordError, with the column's name, for one that has no text."""
        return cls.from_trees(*encode(array, name))

    @property
    def is_empty(self) -> bool:
        """Whether no row has a value."""
        return not (self.codes >= 0).any()

    def leaves(self) -> Column:
        """What the values say in words: of a nested one its leaves, without the names of its members."""
        if not self.nested:
            return self
        return Column.from_values([leaf_text(value) for value in self.values])._recoded(self.codes, False)

    def _recoded(self, codes: np.ndarray, nested: bool) -> Column:
        """The values of this column, whose rows are the former distinct values, where `codes` had those."""
        return Column(np.append(self.codes, np.int32(-1))[codes], self.values, nested)

    def take(self, rows: np.ndarray) -> Column:
        """The same column for the rows given by position."""
        return replace(self, codes=self.codes[rows])

    def to_list(self) -> list[str | None]:
        """Row by row as Python texts."""
        padded = (*self.values, None)
        return [padded[c] for c in self.codes]


@dataclass(frozen=True)
class Records:
    """A batch of records by column; all columns have the same number of rows.

    `names` are the columns in their order. A record that was given as plain text has the one column `text`, and `plain`
    says so: a row whose only column has that name is a record like any other.
    """

    columns: Mapping[str, Column]
    length: int
    as_text: bool = False
    """Given as text: a canonical text leaves out what is empty, so a column that is missing is NULL."""

    plain_rows: np.ndarray | None = field(default=None, repr=False)
    """Boolean mask of the records that were given as text which is no JSON object; None where there are none."""

    def __len__(self) -> int:
        return self.length

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.columns)

    @classmethod
    def from_arrow(cls, array: pa.Array | pa.ChunkedArray) -> Records:
        """Read rows given as STRUCT, or as text (a JSON object becomes a record, other text one column).

        Raises RecordError when the rows are neither, or a column is of a type that has no text.
        """
        array = one_array(array)
        kind = array.type
        if pa.types.is_struct(kind):
            return cls({member.name: _member(array, i) for i, member in enumerate(kind)}, len(array))
        if pa.types.is_null(kind):
            return cls({}, len(array))
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            return cls.from_texts(array.to_pylist())
        raise RecordError(
            f"a record is a row (STRUCT) or text, not {kind}; pass the table's alias, as in "
            "er_match(a, b), or a struct, as in er_match({'name': a.name}, {'name': b.name})"
        )

    @classmethod
    def from_texts(cls, texts: Sequence[str | None]) -> Records:
        """Read canonical texts (JSON objects) back into records; other text becomes the column `text`."""
        index: dict[str | None, int] = {}
        inverse = np.asarray([index.setdefault(text, len(index)) for text in texts], dtype=np.int64)
        members = [{} if text is None else json_object(text) for text in index]
        rows = [{TEXT_COLUMN: text} if row is None else row for text, row in zip(index, members, strict=True)]
        distinct = cls.from_dicts(rows)
        plain = np.asarray([row is None for row in members], dtype=bool) & ~distinct.empty
        return replace(distinct, as_text=True, plain_rows=plain if plain.any() else None).take(inverse)

    @classmethod
    def from_dicts(cls, rows: Sequence[Mapping[str, object] | None]) -> Records:
        """Read Python rows; the columns are the union of their keys, in an order that is that of every row."""
        known = [row or {} for row in rows]
        return cls({n: Column.from_python([row.get(n) for row in known]) for n in _in_order(known)}, len(known))

    def take(self, rows: np.ndarray) -> Records:
        """The records at the given positions, repeats allowed."""
        plain = None if self.plain_rows is None else self.plain_rows[rows]
        return replace(
            self, columns={n: c.take(rows) for n, c in self.columns.items()}, length=len(rows), plain_rows=plain
        )

    def with_columns(self, names: Sequence[str]) -> Records:
        """Exactly these columns, in this order; those that are absent are all NULL."""
        absent = Column(np.full(self.length, -1, dtype=np.int32), ())
        plain = self.plain_rows if TEXT_COLUMN in names else None
        return replace(self, columns={n: self.columns.get(n, absent) for n in names}, plain_rows=plain)

    def with_values(self) -> Records:
        """Only the columns that hold a value in some row: a union of sources leaves columns that one side lacks."""
        return replace(self, columns={n: c for n, c in self.columns.items() if not c.is_empty})

    def leaves(self) -> Records:
        """The records as they are compared, word by word: of a nested value its leaves alone."""
        if not any(column.nested for column in self.columns.values()):
            return self
        return replace(self, columns={n: c.leaves() for n, c in self.columns.items()})

    @property
    def plain(self) -> np.ndarray:
        """Boolean mask of the records that were given as text which is no JSON object."""
        return np.zeros(self.length, dtype=bool) if self.plain_rows is None else self.plain_rows

    @property
    def is_plain(self) -> bool:
        """Whether all of the batch was given as text which is no JSON object."""
        return self.plain_rows is not None and bool(self.plain_rows.all())

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
        groups = self.plain.astype(np.int64)
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
    """A column as one array, dictionaries as plain values, JSON as text."""
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # what older versions of pyarrow make of a column without chunks
        column = column.chunk(0) if column.num_chunks else pa.array([], column.type)
    if isinstance(column.type, pa.BaseExtensionType) and column.type.extension_name == "arrow.json":
        return column.storage
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _member(array: pa.StructArray, position: int) -> Column:
    """One field of a struct, NULL where the struct itself is."""
    member = array.type[position]
    check_readable(member, member.name)
    column = Column.from_arrow(array.field(position), member.name)
    if not array.null_count:
        return column
    return replace(column, codes=np.where(array.is_valid().to_numpy(zero_copy_only=False), column.codes, np.int32(-1)))


def _in_order(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """The names of all rows, in an order that is that of every row, so that no row's text depends on its neighbours.

    Where rows contradict each other the names are in order of first sight.
    """
    orders = list(dict.fromkeys(map(tuple, rows)))
    if len(orders) == 1:
        return list(orders[0])
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for names in orders:
        for name in names[:1]:
            sorter.add(name)
        for before, after in pairwise(names):
            sorter.add(after, before)
    try:
        return list(sorter.static_order())
    except CycleError:
        return list(dict.fromkeys(name for names in orders for name in names))
