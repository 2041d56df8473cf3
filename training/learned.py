"""What a student was trained on, in a file of its folder: hashes of the labels and of the records they are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from distiller_udf.labels.table import has_answer
from distiller_udf.records import content_hash

from .fingerprint import label_hashes

FILE = "labels.txt"
"""One label a line: its hash, and that of its left record."""


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
