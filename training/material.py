"""What training starts from, labels and unlabelled pairs; and what every kind of student makes of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
import pyarrow as pa

from distiller_udf.english import counted
from distiller_udf.errors import TrainingError
from distiller_udf.records import Records
from distiller_udf.settings.training import CommonSettings
from distiller_udf.similarity import Matching, PairFeatures, filled_columns, match_columns
from distiller_udf.students.base import StudentInfo

from .labelled import LabelledPairs, labelled_pairs
from .learned import Learned
from .pool import Pool

logger = logging.getLogger(__name__)

MINIMUM_TUPLES = 4

MODELS = ("encoder", "model", "start")
"""The settings that name a model."""

Report = Callable[[str, float], None]
"""Called with the name of a step and the share of all the work that is done."""

NOTHING = Learned()

Own = TypeVar("Own", bound=CommonSettings, covariant=True)


@dataclass(frozen=True)
class Material(Generic[Own]):
    """What students are trained from: `labels` in the shape of `er_labels`, the same as `pairs`, and unlabelled pairs.

    `left` and `right` are all candidates (row i of both is a pair), `pool` those among them that training looks at.
    `matching` says which columns are compared with which, where the student compares columns: it sees no other ones.
    `work` is a folder that outlives a killed training; whoever trains the same student next finds it again.
    """

    labels: pa.Table
    pairs: LabelledPairs
    pool: Pool
    left: Records
    right: Records
    settings: Own
    work: Path
    matching: Matching | None = None

    @classmethod
    def of(
        cls,
        labels: pa.Table,
        candidates: Iterable[pa.RecordBatch] | None,
        settings: Own,  # type: ignore[misc]
        work: Path,
        reads_all: bool = False,
    ) -> Material[Own]:
        """Read labels and candidates; with `reads_all`, columns that only one side has as well.

        Raises TrainingError where nothing could be learnt.
        """
        pairs = labelled_pairs(labels, settings.constraint)
        _check(pairs)
        read = read_candidates(candidates, settings.max_candidates) if candidates is not None else None
        left, right, tuples = read if read is not None else (pairs.left, pairs.right, None)
        left, right = filled_columns(left, right, one_table=not settings.constraint.limits_left)
        matching = None if reads_all else match_columns(left, right)
        if matching is not None:
            left, right = matching.compared(left, right)
            if unseen := matching.warning():
                logger.warning("%s", unseen)
        pairs = pairs.with_columns(left.names, right.names)
        _check_columns(pairs)
        pool = Pool.of(pairs, left, right, tuples, settings.seed, settings.constraint)
        return cls(labels, pairs, pool, left, right, settings, work, matching)

    @cached_property
    def similarity(self) -> PairFeatures:
        """Which columns are compared with which, and how rare words are: fitted on all candidates."""
        return PairFeatures.fit(self.left, self.right, self.matching)


class Saved(Protocol):
    """A student that can be written."""

    def save(self, folder: Path) -> None:
        """Write the weights; the manifest is written by whoever calls."""
        ...


@dataclass(frozen=True)
class Trained:
    """A trained student and what it says of pairs by which it can be judged.

    `log_odds` are those of the pool's pairs, labelled ones first, these from models that have not seen them; where the
    whole pool is not known that well, of the labelled pairs `judged` alone (positions). `alone` are the log odds of the
    same pairs where a pair by itself is asked about otherwise. `labels` are the labels as they were understood, where
    that is not what they say. `student` makes the student of a manifest. `base_model`
    is the name of the pretrained model that was fine-tuned, `learned_before` what was known to the student that it went
    on from.
    """

    log_odds: np.ndarray
    student: Callable[[StudentInfo], Saved]
    judged: np.ndarray | None = None
    alone: np.ndarray | None = None
    labels: np.ndarray | None = None
    base_model: str = ""
    learned_before: Learned = NOTHING


def model_name(model: str) -> str:
    """A model's name for people: of a folder its own name, of a hub id all of it."""
    return Path(model).name if Path(model).is_dir() else model


def read_candidates(batches: Iterable[pa.RecordBatch], limit: int) -> tuple[Records, Records, np.ndarray | None] | None:
    """The first `limit` unlabelled candidate pairs: left records, right records and tuple numbers where given.

    A batch has the columns `left` and `right` (or `left_record`, `right_record`) and optionally `tuple`.
    """
    lefts, rights, tuples, rows = [], [], [], 0
    for batch in batches:
        if rows >= limit:
            break
        part = batch.slice(0, limit - rows)
        names = part.schema.names
        lefts.append(part.column("left" if "left" in names else "left_record"))
        rights.append(part.column("right" if "right" in names else "right_record"))
        if "tuple" in names:
            tuples.append(part.column("tuple").cast(pa.int64()).to_numpy(zero_copy_only=False))
        rows += len(part)
    if rows == 0:
        return None
    left, right = Records.from_arrow(pa.chunked_array(lefts)), Records.from_arrow(pa.chunked_array(rights))
    return left, right, np.concatenate(tuples) if tuples else None


def _check_columns(pairs: LabelledPairs) -> None:
    """Raise TrainingError where the labelled records have none of the candidates' columns."""
    for side, records in (("left", pairs.left), ("right", pairs.right)):
        if records.empty.all():
            raise TrainingError(
                f"the labels' {side} records have none of the columns of the candidates' {side} records "
                f"({', '.join(records.names) or 'none that is filled'}); give the pairs that the labels are about"
            )


def _check(pairs: LabelledPairs) -> None:
    """Raise TrainingError where nothing could be learnt."""
    positive = int((pairs.labels >= 0.5).sum())
    if pairs.questions < MINIMUM_TUPLES:
        raise TrainingError(
            f"{counted(pairs.questions, 'labelled tuple is', 'labelled tuples are')} too few to train on; "
            f"label at least {MINIMUM_TUPLES}, better 50. Imported labels count where er_records has the records that "
            "they name; where a budget ended the asking, raise it or run again"
        )
    if positive == 0:
        raise TrainingError(
            f"the teacher found no match in {counted(pairs.questions, 'tuple')}, so there is nothing to learn; "
            "check that blocking proposes true matches, or label more records with another selection"
        )
    if positive == len(pairs):
        raise TrainingError(
            f"every labelled pair is a match ({len(pairs):,} of {len(pairs):,}), so there is nothing to tell them "
            "from; let blocking propose more candidates a record, or label records that have no match"
        )
