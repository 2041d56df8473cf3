"""What labels say, as hashes: which ones are new, and which ones a student was trained on, in a file of its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from distiller_udf.errors import LabelError
from distiller_udf.labels.table import has_answer
from distiller_udf.records import content_hash, one_array

FILE = "labels.txt"
"""One label a line: its hash, and that of its left record."""

_SAID = ("query", "options", "choice", "teacher", "probabilities")
_REASONS = ("explanation", "explanations")


@dataclass(frozen=True)
class Learned:
    """The labels that a student was trained on, as (hash of the label, hash of its left record)."""

    pairs: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(cls, labels: pa.Table) -> Learned:
        """What a label table teaches. Raises LabelError as `label_hashes` does."""
        return cls(frozenset(zip(label_hashes(labels), _record_hashes(labels), strict=True)))

    @classmethod
    def read(cls, folder: Path) -> Learned:
        """What the student in a folder was trained on; nothing where its folder does not say."""
        file = folder / FILE
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        return cls(frozenset((label, record) for label, _, record in (line.partition(" ") for line in lines)))

    def write(self, folder: Path) -> None:
        """Write it into a student's folder."""
        lines = (f"{label} {record}\n" for label, record in sorted(self.pairs))
        (folder / FILE).write_text("".join(lines), encoding="utf-8")

    def __or__(self, other: Learned) -> Learned:
        return Learned(self.pairs | other.pairs)

    def new(self, labels: pa.Table) -> pa.Table:
        """The usable labels that are not among these: what there is to learn."""
        return _kept(labels, [label not in self._labels for label in label_hashes(labels)])

    def of_others(self, labels: pa.Table) -> pa.Table:
        """The usable labels about other left records than these are about: by what a student can be judged.

        Another teacher's answer about a record is another label, and yet it would tell what the student has heard.
        """
        told = zip(label_hashes(labels), _record_hashes(labels), strict=True)
        return _kept(labels, [label not in self._labels and record not in self._records for label, record in told])

    @cached_property
    def _labels(self) -> frozenset[str]:
        return frozenset(label for label, _ in self.pairs)

    @cached_property
    def _records(self) -> frozenset[str]:
        return frozenset(record for _, record in self.pairs)


def usable(labels: pa.Table) -> pa.Table:
    """The labels besides abstentions and questions without candidates."""
    return labels.filter(has_answer(labels))


def _kept(labels: pa.Table, wanted: Sequence[bool]) -> pa.Table:
    return usable(labels.filter(pa.array(wanted, pa.bool_())))


def _record_hashes(labels: pa.Table) -> list[str]:
    return [content_hash(query or "") for query in labels["query"].to_pylist()]


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
    shown = _records(labels["options"])
    rows = labels.select([name for name in columns if name != "options"]).to_pylist()
    return [content_hash(canonical({**row, "options": own})) for row, own in zip(rows, shown, strict=True)]


def teachers(labels: pa.Table) -> list[str]:
    """Who answered, in alphabetical order; of votes, who voted."""
    if "teachers" in labels.column_names:
        return sorted({str(name) for names in labels["teachers"].to_pylist() for name in names or []})
    return sorted({str(name) for name in labels["teacher"].to_pylist()})


def usable_labels(labels: pa.Table) -> int:
    """How many answers there are besides abstentions."""
    return int(has_answer(labels).true_count)


def _records(options: pa.ChunkedArray) -> list[list[str]]:
    """The records of options without their ids, which say nothing about what was answered; Python may not know them."""
    lists = one_array(options)
    texts = iter(pc.struct_field(lists.flatten(), "record").to_pylist())
    return [[next(texts) for _ in range(count or 0)] for count in pc.list_value_length(lists).to_pylist()]


def canonical(value: Any) -> str:
    return json.dumps(value or {}, sort_keys=True, ensure_ascii=False, default=str)
