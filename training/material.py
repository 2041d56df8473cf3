"""What training starts from, and what every kind of student makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
import pyarrow as pa

from distiller_udf.records import Records
from distiller_udf.similarity import Matching, PairFeatures
from distiller_udf.students.base import StudentInfo

from .data import LabelledPairs
from .learned import Learned
from .pool import Pool
from .settings import CommonSettings

Report = Callable[[str, float], None]
"""Called with the name of a step and the share of all the work that is done."""

NOTHING = Learned()

Settings = TypeVar("Settings", bound=CommonSettings, covariant=True)


@dataclass(frozen=True)
class Material(Generic[Settings]):
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
    settings: Settings
    work: Path
    matching: Matching | None = None

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
