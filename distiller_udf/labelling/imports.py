"""Imported labels as rows of `er_labels`: the records that they name by their ids, as they are now."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from distiller_udf.errors import LabelError
from distiller_udf.imported import id_text
from distiller_udf.labels import LabelStore
from distiller_udf.prompts import Answer
from distiller_udf.records import Records, content_hash, one_array
from distiller_udf.tuples import Tuples, label_table

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImportedReport:
    """What became of the imported labels: `used` of `total`; the others name records that are not there.

    `options_dropped` counts options without a record that were not chosen: such a label is still used.
    `examples` are sentences about a few of the unused ones.
    """

    total: int
    used: int
    options_dropped: int
    examples: tuple[str, ...] = ()


def imported_labels(
    store: LabelStore, records: pa.Table, *, teacher: str | None = None, sources: Sequence[str] | None = None
) -> tuple[pa.Table, ImportedReport]:
    """The imported labels of `teacher` (or all) in the shape of `er_labels`, with the records as they are now.

    `records` has the columns `source`, `id` and `record` (STRUCT or text), and may have `id_text`, the id as DuckDB
    writes it (`cast(id as varchar)`), by which ids of any type are found. `sources` are the sources in the order in
    which they are declared: a label that names no source means the first on its left, the last on its right (where
    there are more than two, the source in which the id is found). Ids are compared as text and returned in the
    type of `records`. Raises LabelError when a column is missing.
    """
    labels = store.imported(teacher).to_pylist()
    find = _Finder(records, sources)
    found, examples, dropped = [], [], 0
    for label in labels:
        left = find.position(label["left_id"], label["left_source"], left=True)
        options = [find.position(option, label["right_source"], left=False) for option in label["options"]]
        choice = label["choice"]
        if left is None or (choice and options[choice - 1] is None):
            side = "left record" if left is None else "chosen option"
            examples.append(f"{label['teacher']}: the {side} of left_id {label['left_id']} is no record of the input")
            continue
        kept = [position for position in options if position is not None]
        dropped += len(options) - len(kept)
        moved = choice - options[: choice - 1].count(None) if choice else choice
        found.append((left, kept, label, moved))
    report = ImportedReport(len(labels), len(found), dropped, tuple(examples[:5]))
    if report.used < report.total:
        logger.warning("%d of %d imported labels name unknown records", report.total - report.used, report.total)
    return _imported_table(find, found), report


_FoundLabel = tuple[int, list[int], dict[str, Any], int | None]
"""Positions of the left record and of the options, the imported row, its choice among these options."""


def _imported_table(find: _Finder, found: list[_FoundLabel]) -> pa.Table:
    """Imported labels whose records were found, as rows of `er_labels`."""
    left = pa.array([position for position, *_ in found], pa.int64())
    members = pa.array([position for _, kept, *_ in found for position in kept], pa.int64())
    tuples = Tuples(
        left_source=find.sources.take(left),
        left_id=find.ids.take(left),
        queries=find.texts(left),
        offsets=np.concatenate([[0], np.cumsum([len(kept) for _, kept, *_ in found])]).astype(np.int32),
        sources=find.sources.take(members),
        ids=find.ids.take(members),
        texts=find.texts(members),
    )
    answers = [
        Answer(
            choice,
            label["confidence"],
            explanation=label["explanation"],
            error="abstained: the imported label has no answer" if choice is None else None,
        )
        for _, _, label, choice in found
    ]
    teachers = [label["teacher"] for *_, label, _ in found]
    keys = [
        # The keys of the left record too: two imported labels may show the same texts.
        content_hash("imported", label["teacher"], label["left_source"], label["left_id"], q.query, *q.candidates)
        for (*_, label, _), q in zip(found, tuples.questions, strict=True)
    ]
    return label_table(tuples, keys, answers, teachers)


class _Finder:
    """Finds records by source and id."""

    def __init__(self, records: pa.Table, sources: Sequence[str] | None) -> None:
        missing = [name for name in ("source", "id", "record") if name not in records.column_names]
        if missing:
            raise LabelError(f"the records lack the columns {', '.join(missing)}")
        self.sources, self.ids = one_array(records["source"]), one_array(records["id"])
        self._records = one_array(records["record"])
        self._by_key: dict[tuple[str, str], int] = {}
        self._by_id: dict[str, dict[int, None]] = {}
        names = [str(source) for source in self.sources.to_pylist()]
        self._numbers = _is_number(self.ids.type)
        for spelling in self._spellings(records):
            # An id in DuckDB's own text comes first: other ways to write one may not take its place.
            for position, (source, text) in enumerate(zip(names, spelling, strict=True)):
                if text is not None and self._by_key.setdefault((source, text), position) == position:
                    self._by_id.setdefault(text, {})[position] = None
        declared = list(sources) if sources is not None else list(dict.fromkeys(names))
        self._default = {True: declared[0], False: declared[-1]} if 1 <= len(declared) <= 2 else {}

    def position(self, value: str, source: str, *, left: bool) -> int | None:
        """The row of the record with this id; None when it is unknown or, without a source, not unique."""
        source = source or self._default.get(left, "")
        for text in dict.fromkeys((value, _whole(value)) if self._numbers else (value,)):
            if source and (source, text) in self._by_key:
                return self._by_key[source, text]
            same_id = self._by_id.get(text, {})
            if not source and same_id:
                return next(iter(same_id)) if len(same_id) == 1 else None
        return None

    def _spellings(self, records: pa.Table) -> Iterator[list[str | None]]:
        """All ids as text, in one way after the other, the most faithful first."""
        known = "id_text" in records.column_names
        if known:
            texts = one_array(records["id_text"]).to_pylist()
            yield texts
            if self._numbers:
                yield [None if text is None else _whole(text) for text in texts]
        try:
            yield [id_text(value) for value in self.ids.to_pylist()]
        except (ValueError, ImportError, pa.ArrowException):
            # Python has no such value: nanoseconds, far dates, a time zone that is not installed.
            if not known:
                yield self.ids.cast(pa.string()).to_pylist()

    def texts(self, positions: pa.Array) -> list[str]:
        """Canonical texts of the records at these rows."""
        return Records.from_arrow(self._records.take(positions)).texts()


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _whole(text: str) -> str:
    """A number without decimals that say nothing: 12.0 is 12."""
    return re.sub(r"^(-?\d+)\.0+$", r"\1", text)
