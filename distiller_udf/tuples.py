"""Tuples and labels as tables: rows of `er_tuples` are read, rows of `er_labels` are written."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distiller_udf.errors import LabelError
from distiller_udf.prompts import Answer, Asking, Question
from distiller_udf.records import Records, common_columns, one_array

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
        missing = [name for name in _COLUMNS if name not in table.column_names]
        if missing:
            raise LabelError(f"the tuples lack the columns {', '.join(missing)}; they come from er_tuples")
        candidates = one_array(table["candidates"])
        kind = candidates.type
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_struct(kind.value_type):
            raise LabelError(f"candidates must be a list of STRUCT(source, id, record), not {kind}")
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


def label_table(
    tuples: Tuples,
    keys: Sequence[str],
    answers: Sequence[Answer],
    teachers: Sequence[str],
    askings: Sequence[Asking | None] | None = None,
) -> pa.Table:
    """Tuples and their answers in the shape of `er_labels`, row for row; `askings` is None where nobody was asked."""
    asked = list(askings) if askings is not None else [None] * len(keys)
    chosen = pa.array(
        [a + answer.choice - 1 if answer.choice else None for a, answer in zip(tuples.offsets, answers, strict=False)],
        pa.int32(),
    )
    texts = pa.array(tuples.texts, pa.string())
    members = pa.StructArray.from_arrays([tuples.sources, tuples.ids, texts], names=["source", "id", "record"])
    return pa.table(
        {
            "label_key": pa.array(keys, pa.string()),
            "left_source": tuples.left_source,
            "left_id": tuples.left_id,
            "teacher": pa.array(teachers, pa.string()),
            "ask": pa.array([a.ask if a else "select" for a in asked], pa.string()),
            "orders": pa.array([a.orders if a else 1 for a in asked], pa.int32()),
            "seed": pa.array([a.seed if a else None for a in asked], pa.int64()),
            "choice": pa.array([answer.choice for answer in answers], pa.int32()),
            "right_source": tuples.sources.take(chosen),
            "right_id": tuples.ids.take(chosen),
            "confidence": pa.array([answer.confidence for answer in answers], pa.float64()),
            "probabilities": pa.array([answer.probabilities for answer in answers], pa.list_(pa.float64())),
            "explanation": pa.array([answer.explanation for answer in answers], pa.string()),
            "explanations": pa.array([answer.explanations for answer in answers], pa.list_(pa.string())),
            "input_tokens": pa.array([answer.input_tokens for answer in answers], pa.int64()),
            "output_tokens": pa.array([answer.output_tokens for answer in answers], pa.int64()),
            "cost_usd": pa.array([answer.cost_usd for answer in answers], pa.float64()),
            "error": pa.array([answer.error for answer in answers], pa.string()),
            "query": pa.array(tuples.queries, pa.string()),
            "options": pa.ListArray.from_arrays(pa.array(tuples.offsets, pa.int32()), members),
        }
    )
