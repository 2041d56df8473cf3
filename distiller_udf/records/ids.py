"""Ids of records: as text, whatever their type, and which column of a record is its id."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from typing import Any

import pyarrow as pa

from distiller_udf.records import Records, one_array


def id_text(value: Any) -> str | None:
    """An id of any type as text, None for NULL; a whole number is the same id whether stored as 12 or as 12.0."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def id_texts(values: pa.Array | pa.ChunkedArray) -> list[str | None]:
    """Ids of any type as text: as DuckDB writes them, but whole numbers without decimals."""
    import duckdb

    ids = one_array(values)
    kind = ids.type
    if pa.types.is_floating(kind):
        return [id_text(value) for value in ids.to_pylist()]
    plain = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_null)
    if any(of(kind) for of in plain):
        return [None if value is None else str(value) for value in ids.to_pylist()]
    with duckdb.connect() as connection:
        connection.register("ids", pa.table({"id": ids}))
        return [text for (text,) in connection.execute("select cast(id as varchar) from ids").fetchall()]


def id_sql(column: str, kind: Any) -> str:
    """An SQL expression for a column of ids, of a DuckDB type, as the text that `id_texts` makes of them."""
    text = f"cast({column} as varchar)"
    if str(kind) not in ("DOUBLE", "FLOAT"):
        return text
    whole = f"{column} = trunc({column}) and abs({column}) < 1e15"
    return f"case when {whole} then cast(cast({column} as bigint) as varchar) else {text} end"


def whole(text: str) -> str:
    """A number without decimals that say nothing: 12.0 is 12."""
    return re.sub(r"^(-?\d+)\.0+$", r"\1", text)


def id_columns(records: Records, ids: Sequence[str | None], named: str | None = None) -> set[str]:
    """The columns of records that hold their ids: an id says nothing of what a record is.

    It is the column that is `named` so, and any that has each record's own id; where no ids are known, the one that is
    called id.
    """
    found = {named} & set(records.names) if named else set()
    if len({key for key in ids if key is not None}) < 2:
        return found or ({"id"} & set(records.names))
    for name, column in records.columns.items():
        values = zip(column.to_list(), ids, strict=True)
        told = ((value, key) for value, key in values if value is not None and key is not None)
        first = next(told, None)
        if first and whole(first[0]) == first[1] and all(whole(value) == key for value, key in told):
            found.add(name)
    return found


def without_columns(records: pa.Array | pa.ChunkedArray, columns: Collection[str]) -> pa.Array:
    """Records (STRUCT or text) without some of their columns, as canonical text; NULL stays NULL."""
    array = one_array(records)
    read = Records.from_arrow(array)
    texts = read.with_columns([name for name in read.names if name not in columns]).texts()
    return pa.array(
        [text if there else None for text, there in zip(texts, array.is_valid().to_pylist(), strict=True)], pa.string()
    )
