"""Arrow arrays of any type as values: what DuckDB hands over, each distinct value read once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distiller_udf.errors import RecordError
from distiller_udf.records.values import (
    MAX_VALUE_CHARACTERS,
    NANOSECONDS,
    SPECIAL_STARTS,
    Bare,
    Tree,
    blob_text,
    clock_text,
    interval_text,
    list_tree,
    name_text,
    number_text,
    object_tree,
    text_tree,
)

Trees: TypeAlias = list[Tree]

UNREADABLE = {"arrow.parquet.variant": "VARIANT", "geoarrow.wkb": "GEOMETRY"}
"""What DuckDB hands over in a form that only it can read, by the name that Arrow has for it."""

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": NANOSECONDS}
_DAY = 86_400
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
"""0001-01-01 and 9999-12-31, in days since 1970: the years that Arrow can write."""

_WHOLE = float(2**53)


def encode(array: pa.Array, name: str = "a value") -> tuple[np.ndarray, Trees]:
    """An array as the trees of its values and, row by row, the position of its own: int32, -1 for NULL.

    Raises RecordError, which tells the `name`, for values of a type that cannot be read.
    """
    array, read = _stored(array, name)
    if pa.types.is_null(array.type):
        return np.full(len(array), -1, dtype=np.int32), []
    if read is None:
        trees = _intervals(array) if pa.types.is_interval(array.type) else _nested(array, name)
        return np.arange(len(array), dtype=np.int32), trees
    encoded = array.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return codes, read(encoded.dictionary)


def check_readable(field: pa.Field, name: str) -> None:
    """Raise RecordError for a field of a type that only DuckDB can read."""
    unreadable = UNREADABLE.get((field.metadata or {}).get(b"ARROW:extension:name", b"").decode())
    if unreadable:
        raise _unreadable(name, unreadable)


def _unreadable(name: str, kind: str) -> RecordError:
    return RecordError(f"{name} is of the type {kind}, which has no text here; cast it to VARCHAR, or leave it out")


Reader: TypeAlias = Callable[[pa.Array], Trees]


def _stored(array: pa.Array, name: str) -> tuple[pa.Array, Reader | None]:
    """An array as plain storage, and how its distinct values are read; None for what is read row by row."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        known = kind.type_name if kind.extension_name == "arrow.opaque" else kind.extension_name
        if known not in _EXTENSIONS:
            raise _unreadable(name, known)
        return array.storage, _EXTENSIONS[known]
    if pa.types.is_dictionary(kind):
        return _stored(array.dictionary_decode(), name)
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        array = array.cast(pa.large_string())
    elif pa.types.is_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        array = array.cast(pa.large_binary())
    elif pa.types.is_decimal(kind) and kind.bit_width < 128:
        array = array.cast(pa.decimal128(kind.precision, kind.scale))
    return array, next((read for holds, read in _READERS if holds(array.type)), None)


def _by_value(read: Callable[[Any], Tree]) -> Reader:
    return lambda array: [read(value) for value in array.to_pylist()]


def _texts(array: pa.Array) -> Trees:
    """Texts; those that are as they should be, which are nearly all, are not looked at one by one."""
    array = array.cast(pa.large_string())  # JSON is stored as any kind of string
    trees: Trees = array.to_pylist()
    for row in np.flatnonzero(_unsettled(array)).tolist():
        trees[row] = text_tree(trees[row])
    return trees


def _unsettled(array: pa.Array) -> np.ndarray:
    """Boolean mask of the texts that reading may change, seen in their bytes; see `text_tree`."""
    if not len(array):
        return np.zeros(0, dtype=bool)
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    text = np.zeros(int(ends[-1]) + 1, dtype=np.uint8)  # one sign more, for texts that begin behind the last one
    if data is not None:
        text[:-1] = np.frombuffer(data, np.uint8)[: ends[-1]]
    starts, lengths, last = ends[:-1], np.diff(ends), len(text) - 1
    odd = (text < 32) | (text > 126)
    odd[1:] |= (text[1:] == 32) & (text[:-1] == 32)
    odd[1:] |= (text[1:] == ord("x")) & (text[:-1] == ord("\\"))
    odd[last] = False
    first, special = text[starts], np.frombuffer(SPECIAL_STARTS.encode(), np.uint8)
    moments = (text[np.minimum(starts + 4, last)] == ord("-")) & (text[np.minimum(starts + 10, last)] == 32)
    mask = (lengths == 0) | (lengths > MAX_VALUE_CHARACTERS) | np.logical_or.reduceat(odd, starts)
    mask |= np.isin(first, special) | (text[ends[1:] - 1] == 32)
    mask |= ((lengths == 4) & (first == ord("n"))) | ((lengths >= 22) & moments)
    return np.asarray(mask)


def _integers(array: pa.Array) -> Trees:
    return list(array.cast(pa.string()).to_pylist())


def _decimals(array: pa.Array) -> Trees:
    return [number_text(written) for written in array.cast(pa.string()).to_pylist()]


def _floats(array: pa.Array) -> Trees:
    """Numbers by their shortest digits; only those that need an exponent, or were a FLOAT, are looked at one by one."""
    values = array.cast(pa.float64()).to_numpy(zero_copy_only=False)
    texts = np.full(len(values), None, dtype=object)
    whole = (values == np.trunc(values)) & (np.abs(values) < _WHOLE)
    texts[whole] = pa.array(values[whole].astype(np.int64)).cast(pa.string()).to_pylist()
    others = np.isfinite(values) & ~whole
    written = pa.array(values[others]).cast(pa.string()).to_pylist()
    with np.errstate(over="ignore"):
        was_float = (values[others].astype(np.float32) == values[others]).tolist()
    texts[others] = [
        number_text(text) if narrow or "e" in text else text for text, narrow in zip(written, was_float, strict=True)
    ]
    return list(texts)


def _moments(array: pa.Array) -> Trees:
    """Dates and timestamps as DuckDB casts them to VARCHAR, those with a time zone in UTC."""
    kind = array.type
    unit = "s" if pa.types.is_date32(kind) else "ms" if pa.types.is_date64(kind) else kind.unit
    per_day = 1 if pa.types.is_date32(kind) else _DAY * _PER_SECOND[unit]
    zone = "+00" if pa.types.is_timestamp(kind) and kind.tz else ""
    ticks = array.view(pa.int32() if pa.types.is_date32(kind) else pa.int64()).to_numpy(zero_copy_only=False)
    limit = np.iinfo(ticks.dtype).max
    low, high = max(_FIRST_DAY * per_day, 1 - limit), min((_LAST_DAY + 1) * per_day, limit)
    if ((ticks >= low) & (ticks < high)).all():
        naive = array.view(pa.timestamp(unit)) if zone else array
        return [text + zone for text in _trimmed(naive.cast(pa.string()), unit)]
    is_date = not pa.types.is_timestamp(kind)
    ends = {limit: "infinity", -limit: "-infinity"}
    return [
        ends.get(tick)
        or f"{_day_text(tick // per_day)}{'' if is_date else ' ' + clock_text(tick % per_day, per_day // _DAY)}{zone}"
        for tick in ticks.tolist()
    ]


def _times(array: pa.Array) -> Trees:
    unit = array.type.unit
    ticks = array.view(pa.int64() if unit in ("us", "ns") else pa.int32()).to_numpy(zero_copy_only=False)
    if len(ticks) and ticks.max() >= _DAY * _PER_SECOND[unit]:  # DuckDB knows 24:00:00
        return [clock_text(tick, _PER_SECOND[unit]) for tick in ticks.tolist()]
    return list(_trimmed(array.cast(pa.string()), unit))


def _trimmed(texts: pa.Array, unit: str) -> list[str]:
    """Texts of moments without the zeros that end a fraction of a second."""
    trimmed = texts if unit == "s" else pc.utf8_rtrim(pc.utf8_rtrim(texts, "0"), ".")
    return list(trimmed.to_pylist())


def _day_text(days: int) -> str:
    """A day of any year as DuckDB writes it: `10000-03-15`, `0044-03-15 (BC)`."""
    day = np.datetime64(days, "D")
    year = int(day.astype("datetime64[Y]").astype(np.int64)) + 1970
    return f"{year if year > 0 else 1 - year:04}{str(day)[-6:]}{'' if year > 0 else ' (BC)'}"


def _intervals(array: pa.Array) -> Trees:
    return [None if value is None else interval_text(*value) for value in array.to_pylist()]


def _durations(array: pa.Array) -> Trees:
    scale = NANOSECONDS // _PER_SECOND[array.type.unit]
    return [interval_text(0, 0, ticks * scale) for ticks in array.view(pa.int64()).to_pylist()]


def _nested(array: pa.Array, name: str) -> Trees:
    """Structs, unions, maps and lists, row by row."""
    kind = array.type
    if pa.types.is_struct(kind):
        trees = _structs(array, name)
    elif pa.types.is_union(kind):
        trees = _unions(array, name)
    elif pa.types.is_map(kind):
        names, members = _names(array.keys), _trees(array.items, name)
        trees = [object_tree(zip(names[a:b], members[a:b], strict=True)) for a, b in _spans(array.offsets)]
    else:
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
            array = array.cast(pa.list_(kind.value_type))
        check_readable(kind.value_field, name)
        members = _trees(array.values, name)
        trees = [list_tree(members[a:b]) for a, b in _spans(array.offsets)]
    if array.null_count:
        trees = [tree if known else None for tree, known in zip(trees, array.is_valid().to_pylist(), strict=True)]
    return trees


def _structs(array: pa.StructArray, name: str) -> Trees:
    members = []
    for i, field in enumerate(array.type):
        check_readable(field, name)
        members.append(_trees(array.field(i), name))
    rows = zip(*members, strict=True) if members else [()] * len(array)
    names = [name_text(field.name) for field in array.type]
    return [object_tree(zip(names, row, strict=True)) for row in rows]


def _unions(array: pa.UnionArray, name: str) -> Trees:
    fields = [array.type.field(i) for i in range(array.type.num_fields)]
    by_code = dict(zip(array.type.type_codes, range(len(fields)), strict=True))
    members = [_trees(array.field(i), name) for i in range(len(fields))]
    # `type_codes` forgets where a slice begins.
    codes = np.frombuffer(array.buffers()[1], np.int8)[array.offset : array.offset + len(array)]
    places = [by_code[code] for code in codes.tolist()]
    return [object_tree([(fields[place].name, members[place][row])]) for row, place in enumerate(places)]


def _trees(array: pa.Array, name: str) -> Trees:
    codes, trees = encode(array, name)
    if pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
        trees = [None if tree is None else Bare(tree) for tree in trees]
    return [trees[code] if code >= 0 else None for code in codes.tolist()]


def _names(array: pa.Array) -> list[str]:
    """The keys of a MAP as DuckDB writes them in JSON, which is as it casts them to VARCHAR."""
    array = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
    kind = array.type
    if pa.types.is_floating(kind):
        return [repr(float(str(key))) for key in array.to_numpy(zero_copy_only=False)]  # a FLOAT by its own digits
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return [name_text(blob_text(key)) for key in array.to_pylist()]
    if pa.types.is_decimal(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return [name_text(key) for key in array.to_pylist()]
    return [name_text(tree) for tree in _trees(array, "the key of a MAP")]


def _spans(offsets: pa.Array) -> Sequence[tuple[int, int]]:
    ends = offsets.to_pylist()
    return list(pairwise(ends))


def _bignum(data: bytes) -> str | None:
    """DuckDB's BIGNUM: sign and number of bytes in three bytes, then these; those of a negative number inverted."""
    negative = data[0] < 0x80
    number = int.from_bytes(bytes(byte ^ 0xFF for byte in data[3:]) if negative else data[3:], "big")
    return number_text(str(-number if negative else number))


def _bits(data: bytes) -> str:
    """DuckDB's BIT: how many bits of the first byte are not used, then the bits."""
    return "".join(f"{byte:08b}" for byte in data[1:])[data[0] :]


_EXTENSIONS: Mapping[str, Reader] = {
    "arrow.json": _texts,
    "arrow.uuid": _by_value(lambda data: str(UUID(bytes=data))),
    "arrow.bool8": _by_value(lambda value: Bare("true" if value else "false")),
    "bit": _by_value(_bits),
    "bignum": _by_value(_bignum),
    "hugeint": _by_value(lambda data: number_text(str(int.from_bytes(data, "little", signed=True)))),
    "uhugeint": _by_value(lambda data: number_text(str(int.from_bytes(data, "little")))),
    "time_tz": _by_value(lambda data: clock_text(int.from_bytes(data, "little") >> 24, 1_000_000)),
}
"""How the types are read that have no Arrow type of their own, by the name that DuckDB gives them there."""

_READERS: Sequence[tuple[Callable[[pa.DataType], bool], Reader]] = (
    (pa.types.is_large_string, _texts),
    (pa.types.is_integer, _integers),
    (pa.types.is_decimal, _decimals),
    (pa.types.is_floating, _floats),
    (pa.types.is_boolean, _by_value(lambda value: Bare("true" if value else "false"))),
    (pa.types.is_date, _moments),
    (pa.types.is_timestamp, _moments),
    (pa.types.is_time, _times),
    (pa.types.is_duration, _durations),
    (pa.types.is_large_binary, _by_value(lambda data: text_tree(blob_text(data)))),
)
"""How the distinct values of an array are read, by its type."""
