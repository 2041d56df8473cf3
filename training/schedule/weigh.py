"""Weigh a challenger against the current student: held-out labels, known matches, and what would change downstream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa

from distiller_udf.constraint import Constraint
from distiller_udf.errors import ColumnsMismatch, ConstraintMismatch, StudentDamaged, StudentNotFound
from distiller_udf.metrics.figures import Judged, difference, figures
from distiller_udf.records import content_hash
from distiller_udf.students import Student, load_student

from ..fingerprint import label_fingerprint
from ..learned import usable
from .changes import against_gold, changes, fingerprint
from .comparison import Comparison
from .evaluation_set import EvaluationSet, judge
from .rule import Margins, verdict
from .snapshot import KNOWN, Decided, Snapshot

Advance = Callable[[int], None]
Steps = Callable[[str, int], AbstractContextManager[Advance]]
"""Called with a step's name and how much there is to do; gives what is called with how much was done."""


UNUSABLE = (StudentDamaged, StudentNotFound, ColumnsMismatch, ConstraintMismatch)
"""Why a student has to give way: nothing that will pass."""


@contextmanager
def unseen(step: str, total: int) -> Iterator[Advance]:
    """Nobody watches."""
    yield lambda done: None


@dataclass(frozen=True)
class Scales:
    """By what students are weighed: held-out labels, today's pairs (None: unknown), and the margins of the rule.

    `threshold` is instead of the students' own; `load` loads a student from its folder.
    """

    held_out: pa.Table
    snapshot: Snapshot | None
    margins: Margins
    constraint: Constraint
    threshold: float | None = None
    seed: int = 0
    load: Callable[[Path], Student] = load_student

    @property
    def key(self) -> str:
        """A hash of all but the pairs, which change every night and are no reason to compare again."""
        known = [fingerprint(self.snapshot)] if self.snapshot and KNOWN in self.snapshot else []
        rules = f"{self.margins} {self.constraint} {self.threshold}"
        return content_hash(label_fingerprint(usable(self.held_out)), rules, *known)[:12]


@dataclass(frozen=True)
class Said:
    """What a student decides on the held-out pairs, and on all pairs; None where there are none, or no student."""

    judged: Judged | None = None
    decided: Decided | None = None


def weigh(
    challenger: Path, current: Path | None, scales: Scales, labels_new: int = 0, steps: Steps = unseen
) -> Comparison:
    """Compare two students' folders and apply the rule; nothing is promoted.

    One student is done with before the other is asked: two language models may not fit beside each other. Where the
    current student is damaged, or lacks columns, the comparison says so. Raises StudentError when the challenger cannot
    be used, or when either cannot be asked just now: a server that does not answer says nothing about a student.
    """
    error = _fault(lambda: scales.load(current)) if current else None
    evaluation = EvaluationSet.of(scales.held_out, challenger, None if error else current, scales.constraint)
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
    new = _said(challenger, "challenger", evaluation, scales, steps)
    old = Said()
    if current is not None and error is None:
        try:
            old = _said(current, "current", evaluation, scales, steps)
        except UNUSABLE as fault:
            found = replace(found, current_error=str(fault))
    found = _by_pairs(_by_labels(found, new, old, scales), new, old, scales)
    rule = verdict(found, scales.margins)
    return replace(found, worthy=rule.worthy, reasons=rule.reasons)


def _fault(load: Callable[[], object]) -> str | None:
    """Why something cannot be loaded, if it cannot."""
    try:
        load()
    except UNUSABLE as error:
        return str(error)
    return None


def _said(folder: Path, role: str, evaluation: EvaluationSet, scales: Scales, steps: Steps) -> Said:
    """What the student in a folder says of the held-out pairs and of all pairs."""
    student = scales.load(folder)
    pairs, snapshot = evaluation.pairs, scales.snapshot
    judged = None if pairs is None else judge(student, pairs, scales.threshold)
    if snapshot is None:
        return Said(judged)
    with steps(
        f"scoring all pairs with {student.info.version}", snapshot.count(snapshot.relation("er_pairs"))
    ) as advance:
        return Said(judged, snapshot.decided(student, folder, role, advance))


def _by_labels(found: Comparison, new: Said, old: Said, scales: Scales) -> Comparison:
    """What the two are worth on held-out labels."""
    if new.judged is None:
        return found
    found = replace(found, judged=figures(new.judged, scales.seed))
    if old.judged is None:
        return found
    apart = difference(new.judged, old.judged, scales.margins.f1, scales.seed)
    return replace(found, judged_current=figures(old.judged, scales.seed), difference=apart)


def _by_pairs(found: Comparison, new: Said, old: Said, scales: Scales) -> Comparison:
    """What the two decide on all pairs: what changes, and what it is worth against known matches."""
    snapshot, after, before = scales.snapshot, new.decided, old.decided
    if snapshot is None or after is None:
        return found
    if before is not None:
        found = replace(found, changes=changes(snapshot, before, after))
    if KNOWN in snapshot:
        found = replace(found, gold=against_gold(snapshot, after, before, scales.margins.f1, scales.seed))
    return replace(found, matches=snapshot.count(after.matches))
