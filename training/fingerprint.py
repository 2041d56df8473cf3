"""What labels say, as hashes: which ones are new, and whether a student has been trained on these very ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from distiller_udf.errors import LabelError
from distiller_udf.labels.table import has_answer
from distiller_udf.records import content_hash

_SAID = ("query", "options", "choice", "teacher", "probabilities")
_REASONS = ("explanation", "explanations")


def in_order(labels: pa.Table) -> pa.Table:
    """The labels in an order that their content gives: the same ones train the same student, however they came."""
    said = label_hashes(labels)
    return labels.take(pa.array(sorted(range(labels.num_rows), key=said.__getitem__), pa.int64()))


def label_fingerprint(labels: pa.Table, reasons: bool = False) -> str:
    """A hash of all that the labels say, whatever the order of their rows; their `reasons` only if these matter.

    Raises LabelError when the table is not of the shape of `er_labels`.
    """
    return content_hash(*sorted(label_hashes(labels, reasons)))


def label_hashes(labels: pa.Table, reasons: bool = False) -> list[str]:
    """What each label says, as a hash, row by row. Raises LabelError as `label_fingerprint` does."""
    missing = {"query", "options", "choice", "teacher"} - set(labels.column_names)
    if missing:
        raise LabelError(f"the label table lacks {', '.join(sorted(missing))}; pass er_labels as dbt built it")
    columns = [name for name in (*_SAID, *(_REASONS if reasons else ())) if name in labels.column_names]
    return [content_hash(canonical(_said(row))) for row in labels.select(columns).to_pylist()]


def teachers(labels: pa.Table) -> list[str]:
    """Who answered, in alphabetical order; of votes, who voted."""
    if "teachers" in labels.column_names:
        return sorted({str(name) for names in labels["teachers"].to_pylist() for name in names or []})
    return sorted({str(name) for name in labels["teacher"].to_pylist()})


def usable_labels(labels: pa.Table) -> int:
    """How many answers there are besides abstentions."""
    return int(has_answer(labels).true_count)


def _said(row: Mapping[str, Any]) -> dict[str, Any]:
    """A label without the ids of its records, which say nothing about what was answered."""
    return {**row, "options": [option["record"] for option in row["options"] or []]}


def canonical(value: Any) -> str:
    return json.dumps(value or {}, sort_keys=True, ensure_ascii=False, default=str)
