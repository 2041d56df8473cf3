"""Weigh a challenger against the current student: held-out labels, known matches, and what would change downstream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa

from distiller_udf.comparison import (
    Comparison,
    Judged,
    Margins,
    changes,
    difference,
    figures,
    verdict,
)
from distiller_udf.comparison.gold import against_gold
from distiller_udf.errors import StudentError
from distiller_udf.pipeline.downstream import Downstream
from distiller_udf.records import content_hash
from distiller_udf.students import Student, load_student

from ..fingerprint import label_fingerprint
from .evaluation_set import EvaluationSet, judge, usable

Advance = Callable[[int], None]
Steps = Callable[[str, int], AbstractContextManager[Advance]]
"""Called with a step's name and how much there is to do; gives what is called with how much was done."""


@contextmanager
def unseen(step: str, total: int) -> Iterator[Advance]:
    """Nobody watches."""
    yield lambda done: None


@dataclass(frozen=True)
class Scales:
    """By what students are weighed: held-out labels, all pairs (None: unknown), and the margins of the rule.

    `multi`: any number of a record's candidates may match. `threshold` is instead of the students' own; `load` loads a
    student from its folder.
    """

    held_out: pa.Table
    downstream: Downstream | None
    margins: Margins
    multi: bool
    threshold: float | None = None
    seed: int = 0
    load: Callable[[Path], Student] = load_student

    @property
    def key(self) -> str:
        """A hash of all but the pairs, which change every night and are no reason to compare again."""
        known = self.downstream.gold_names() if self.downstream else []
        rules = f"{self.margins} {self.multi} {self.threshold}"
        return content_hash(label_fingerprint(usable(self.held_out)), rules, *known)[:12]


def weigh(
    challenger: Path, current: Path | None, scales: Scales, labels_new: int = 0, steps: Steps = unseen
) -> Comparison:
    """Compare two students' folders and apply the rule; nothing is promoted.

    Raises StudentError when the challenger cannot be used; where the current student cannot, the comparison says so.
    """
    new = scales.load(challenger)
    old, error = _loaded(current, scales)
    evaluation = EvaluationSet.of(scales.held_out, challenger, current if old else None, scales.multi)
    found = Comparison(
        key=scales.key,
        compared_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        challenger=challenger.name,
        current=current.name if current else None,
        labels_new=labels_new,
        held_out=evaluation.held_out,
        current_error=error,
        notes=(evaluation.note,) if evaluation.note else (),
    )
    found = _by_labels(found, evaluation, new, old, scales)
    found = _by_pairs(found, new, None if found.current_error else old, scales, steps)
    rule = verdict(found, scales.margins)
    return replace(found, worthy=rule.worthy, reasons=rule.reasons)


def _loaded(folder: Path | None, scales: Scales) -> tuple[Student | None, str | None]:
    """The student of a folder, or why it cannot be had."""
    try:
        return (scales.load(folder) if folder else None), None
    except StudentError as error:
        return None, str(error)


def _by_labels(
    found: Comparison, evaluation: EvaluationSet, new: Student, old: Student | None, scales: Scales
) -> Comparison:
    """What the two are worth on held-out labels."""
    pairs = evaluation.pairs
    if pairs is None:
        return found

    def by(student: Student) -> Judged:
        return judge(student, pairs, scales.multi, scales.threshold)

    challenger = by(new)
    found = replace(found, judged=figures(challenger, scales.seed))
    if old is None:
        return found
    try:
        current = by(old)
    except StudentError as error:
        return replace(found, current_error=str(error))
    apart = difference(challenger, current, scales.margins.f1, scales.seed)
    return replace(found, judged_current=figures(current, scales.seed), difference=apart)


def _by_pairs(found: Comparison, new: Student, old: Student | None, scales: Scales, steps: Steps) -> Comparison:
    """What the two decide on all pairs: what changes, and what it is worth against known matches."""
    everything = scales.downstream
    if everything is None:
        return found
    after, before = _decided(everything, new, steps), None
    if old is not None:
        try:
            before = _decided(everything, old, steps)
        except StudentError as error:
            found = replace(found, current_error=str(error))
    if before is not None:
        parts = everything.entities(before), everything.entities(after)
        found = replace(found, changes=changes(before, after, *parts, everything.records.names))
    known = everything.gold
    gold = None
    if known is not None and len(known):
        gold = against_gold(known, after, before, scales.margins.f1, scales.seed)
    return replace(found, matches=len(after), gold=gold)


def _decided(everything: Downstream, student: Student, steps: Steps) -> np.ndarray:
    with steps(f"scoring all pairs with {student.info.version}", everything.pairs) as advance:
        return everything.decided(student, advance)
