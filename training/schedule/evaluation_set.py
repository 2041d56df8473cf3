"""The frozen evaluation set: labels that no retraining learns from, so that students can be judged by them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distiller_udf.constraint import Constraint
from distiller_udf.metrics.figures import Judged
from distiller_udf.records import content_hash
from distiller_udf.scoring import score_records
from distiller_udf.students import Student

from ..data import LabelledPairs, labelled_pairs
from ..evaluate import best_of
from ..fingerprint import label_fingerprint
from ..learned import Learned, usable
from .comparison import HeldOut

SALT = "held out for evaluation"
ENOUGH = 30
"""So many tuples that no student was trained on are judged by alone; of fewer, the rest helps out."""

KNOWS_TOO_MUCH = (
    "the challenger was trained on labels that are held out, so that few are left to judge it by; train it with "
    "--evaluation-share, as `distiller retrain` does"
)

_DIGITS = 13


def is_held_out(query: str | None, share: float) -> bool:
    """Whether the labels of a left record, given as canonical text, are for evaluation alone.

    It depends on the record and on nothing else: new labels move no other to the other side, all teachers' answers
    about a record are on one side, and a larger `share` keeps what a smaller one holds out.
    """
    return query is not None and int(content_hash(SALT, query)[:_DIGITS], 16) < share * 16**_DIGITS


def split(labels: pa.Table, share: float) -> tuple[pa.Table, pa.Table]:
    """The labels to train on, and those that are held out."""
    held_out = [is_held_out(query, share) for query in labels["query"].to_pylist()]
    mask = pa.array(held_out, pa.bool_())
    return labels.filter(pc.invert(mask)), labels.filter(mask)


@dataclass(frozen=True)
class EvaluationSet:
    """Labelled pairs to judge students by; `pairs` is None where nothing is held out, `note` what is special."""

    pairs: LabelledPairs | None
    held_out: HeldOut
    note: str | None = None

    @classmethod
    def of(
        cls, held_out: pa.Table, challenger: Path | None, current: Path | None, constraint: Constraint
    ) -> EvaluationSet:
        """The held-out labels about records of which neither student was trained on any, where these are enough.

        Where they are less than `ENOUGH` tuples, or none with a match, those that the current one knows are taken too:
        it looks better by them than it is, so that the challenger has the harder task. What the challenger knows is
        never taken; where that is nearly all, `note` says so.
        """
        labels = usable(held_out)
        fingerprint = label_fingerprint(labels)
        if challenger is not None:
            labels = Learned.read(challenger).of_others(labels)
        if labels.num_rows < usable(held_out).num_rows and not _is_enough(labels):
            return cls._judging(labels, HeldOut(fingerprint, 0, 0), constraint, KNOWS_TOO_MUCH)
        unseen = Learned.read(current).of_others(labels) if current is not None else labels
        seen = labels.num_rows - unseen.num_rows
        if seen == 0 or _is_enough(unseen):
            return cls._judging(unseen, HeldOut(fingerprint, 0, 0), constraint)
        note = (
            f"the current student was trained on {seen:,} of the {labels.num_rows:,} held-out labels, too many to do "
            "without; that favours it"
        )
        return cls._judging(labels, HeldOut(fingerprint, 0, 0, seen), constraint, note)

    @classmethod
    def _judging(
        cls, labels: pa.Table, held_out: HeldOut, constraint: Constraint, note: str | None = None
    ) -> EvaluationSet:
        if labels.num_rows == 0:
            return cls(None, held_out, note)
        pairs = labelled_pairs(labels, constraint)
        matches = int((pairs.labels >= 0.5).sum())
        return cls(pairs, replace(held_out, tuples=pairs.questions, matches=matches), note)


def judge(student: Student, pairs: LabelledPairs, threshold: float | None = None) -> Judged:
    """What a student decides on labelled tuples: its likeliest candidate, or none; without a constraint each by itself.

    `threshold` is instead of the student's own. Raises ColumnsMismatch when the records lack columns that it was
    trained on.
    """
    alone, among = score_records(student, pairs.left, pairs.right, pairs.tuples)
    chooses = student.info.constraint.limits_left
    decisive = np.nan_to_num(among if chooses else alone, nan=0.0)
    matched = decisive >= (student.info.tuple_threshold if threshold is None else threshold)
    if chooses:
        matched &= best_of(decisive, pairs.tuples)
    return Judged(decisive, matched, pairs.labels, pairs.weights, pairs.tuples)


def _is_enough(labels: pa.Table) -> bool:
    return bool(labels.num_rows >= ENOUGH and pc.any(pc.greater(labels["choice"], 0)).as_py())
