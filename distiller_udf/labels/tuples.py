"""Rows of `er_tuples`, as questions are made of them."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distiller_udf.errors import LabelError
from distiller_udf.files.tables import read_json
from distiller_udf.prompts import Question
from distiller_udf.records import Records, common_columns, one_array
from distiller_udf.records.ids import id_text

_COLUMNS = ("left_source", "left_id", "query", "candidates")


@dataclass(frozen=True)
class Tuples:
    """Left records with their candidates: keys as Arrow arrays, records as canonical texts.

    Tuple i has the candidates `offsets[i]` to `offsets[i + 1]` of `sources`, `ids` and `texts`. `columns` are the names
    of the records' columns, None where some record was given as plain text.
    """

    left_source: pa.Array
    left_id: pa.Array
    queries: list[str]
    offsets: np.ndarray
    sources: pa.Array
    ids: pa.Array
    texts: list[str]
    columns: tuple[str, ...] | None = None

    @cached_property
    def questions(self) -> list[Question]:
        """One question a tuple."""
        spans = itertools.pairwise(self.offsets.tolist())
        return [Question(q, tuple(self.texts[a:b])) for q, (a, b) in zip(self.queries, spans, strict=True)]

    @classmethod
    def from_table(cls, table: pa.Table) -> Tuples:
        """Read rows of `er_tuples`; raises LabelError when a column is missing or of another kind."""
        candidates = one_array(with_lists(table)["candidates"])
        lengths = pc.fill_null(pc.list_value_length(candidates), 0).to_numpy(zero_copy_only=False)
        members = candidates.flatten()
        parts = dict(zip([field.name for field in members.type], members.flatten(), strict=True))
        if not {"source", "id", "record"} <= parts.keys():
            raise LabelError(f"candidates must have the fields source, id and record, not {', '.join(parts)}")
        queries, records = Records.from_arrow(table["query"]), Records.from_arrow(parts["record"])
        return cls(
            left_source=one_array(table["left_source"]),
            left_id=one_array(table["left_id"]),
            queries=queries.texts(),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
            sources=parts["source"],
            ids=parts["id"],
            texts=records.texts(),
            columns=common_columns(queries, records),
        )

    def pairs(self) -> pa.Table:
        """Every left record with each of its candidates, as a teacher's `prepare` takes them."""
        left = np.repeat(np.arange(len(self.queries)), np.diff(self.offsets))
        return pa.table(
            {
                "left_source": self.left_source.take(pa.array(left)),
                "left_id": self.left_id.take(pa.array(left)),
                "left_record": pa.array(self.queries, pa.string()).take(pa.array(left)),
                "right_record": pa.array(self.texts, pa.string()),
            }
        )


def with_lists(table: pa.Table) -> pa.Table:
    """Rows of `er_tuples` whose candidates are lists, from a file without lists too; raises LabelError."""
    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing:
        raise LabelError(f"the tuples lack the columns {', '.join(missing)}; they come from er_tuples")
    place = table.column_names.index("candidates")
    return table.set_column(place, "candidates", _candidates(one_array(table["candidates"])))


def _candidates(column: pa.Array) -> pa.Array:
    """The candidates as lists of structs; in a file without lists they are JSON. Raises LabelError for another type."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        member = pa.struct([(name, pa.string()) for name in ("source", "id", "record")])
        try:
            lists = [
                None if text is None else [_member(each) for each in read_json(text)] for text in column.to_pylist()
            ]
            return pa.array(lists, pa.list_(member))
        except (ValueError, AttributeError, TypeError) as error:
            raise LabelError(f"candidates must be JSON lists of objects with source, id and record: {error}") from error
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_struct(kind.value_type):
        raise LabelError(f"candidates must be a list of STRUCT(source, id, record), not {kind}")
    return column


def _member(given: dict[str, Any]) -> dict[str, str | None]:
    record = given.get("record")
    text = json.dumps(record, ensure_ascii=False) if isinstance(record, dict) else id_text(record)
    return {"source": id_text(given.get("source")), "id": id_text(given.get("id")), "record": text}
