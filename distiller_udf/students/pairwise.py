"""What all students have in common that compare two records column by column: scoring, choosing, explaining."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from distiller_udf.encoding.loading import torch_module
from distiller_udf.errors import SettingsError, StudentDamaged
from distiller_udf.records import Records
from distiller_udf.similarity import Comparison, PairFeatures
from distiller_udf.similarity.words import tokens
from distiller_udf.students import explain
from distiller_udf.students.base import EMPTY, StudentInfo, check_columns
from distiller_udf.students.explain import Explanation
from distiller_udf.students.odds import sigmoid

MODEL_FILE = "model.json"
SIMILARITY_FOLDER = "similarity"


class PairwiseStudent(ABC):
    """Scores pairs one by one; `similarity` knows which columns are compared and how rare words are.

    A subclass adds what turns a pair into log odds, and how that is written and read.
    """

    kind: ClassVar[str]
    needs_torch: ClassVar[bool] = False

    def __init__(self, info: StudentInfo, similarity: PairFeatures) -> None:
        self.info = info
        self.similarity = similarity

    @abstractmethod
    def log_odds(self, left: Records, right: Records) -> np.ndarray:
        """Calibrated log odds of row i of both sides, which have the student's columns."""

    @abstractmethod
    def _write(self, folder: Path) -> dict[str, Any]:
        """Write the weights; what is returned is given to `_read`."""

    @classmethod
    @abstractmethod
    def _read(
        cls, folder: Path, info: StudentInfo, similarity: PairFeatures, state: Mapping[str, Any]
    ) -> PairwiseStudent: ...

    @classmethod
    def load(cls, folder: Path, info: StudentInfo) -> PairwiseStudent:
        """Load the weights beside an already checked manifest.

        Raises StudentDamaged when they cannot be read, SettingsError where torch is missing and needed.
        """
        from lightgbm.basic import LightGBMError

        if cls.needs_torch:
            torch_module()
        try:
            state = json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))
            return cls._read(folder, info, PairFeatures.load(folder / SIMILARITY_FOLDER), state)
        except (OSError, ValueError, KeyError, TypeError, SettingsError, LightGBMError) as error:
            raise StudentDamaged(
                f"the {cls.kind} student at {folder} cannot be read ({type(error).__name__}: {error}); train it again"
            ) from error

    def save(self, folder: Path) -> None:
        """Write the weights; the manifest is the caller's, who writes it last."""
        self.similarity.save(folder / SIMILARITY_FOLDER)
        (folder / MODEL_FILE).write_text(json.dumps(self._write(folder), indent=1), encoding="utf-8")

    def score(self, left: Records, right: Records) -> np.ndarray:
        """The calibrated probability that row i of both sides is the same entity; NaN where a record is empty."""
        left, right = check_columns(self.info, left, right)
        if len(left) == 0:
            return np.zeros(0)
        probabilities = sigmoid(self.log_odds(left, right))
        probabilities[left.empty | right.empty] = np.nan
        return probabilities

    def score_tuples(self, left: Records, right: Records, tuples: np.ndarray) -> np.ndarray:
        """The same as `score`: every pair is judged by itself."""
        return self.score(left, right)

    def contributions(self, left: Records, right: Records) -> tuple[list[str], np.ndarray]:
        """What each column adds to a pair's log odds: (labels, array of shape (pairs, labels)).

        The unit is log odds. The last label is `baseline`, the log odds without any column; a row adds up to the
        log odds of `score`, and is NaN where that is.
        """
        left, right = self._compared(left, right)
        groups = self._groups(left, right)
        parts = explain.contributions(self.log_odds, left, right, groups)
        parts[left.empty | right.empty] = np.nan
        return [*(g.label for g in groups), "baseline"], parts

    def explanations(self, left: Records, right: Records) -> list[Explanation | None]:
        """What each column, and each word within a column, adds to a pair's log odds; None where a record is empty.

        The unit is log odds. The columns and the baseline add up to the log odds of `score`, the words of a column to
        the column's contribution.
        """
        left, right = self._compared(left, right)
        known = np.flatnonzero(~(left.empty | right.empty))
        sides = left.take(known), right.take(known)
        found = explain.explanations(self.log_odds, *sides, self._groups(left, right), self._rarity)
        result: list[Explanation | None] = [None] * len(left)
        for row, explanation in zip(known, found, strict=True):
            result[row] = explanation
        return result

    def explain(self, left: Records, right: Records, matches: Sequence[bool]) -> list[str]:
        """The columns and words that spoke for and against each pair; see `Student.explain`.

        The figures are those of `explanations`: log odds, which add up to those of `score` with the baseline.
        """
        told = zip(self.explanations(left, right), matches, strict=True)
        return [EMPTY if known is None else known.sentence(is_match) for known, is_match in told]

    def _compared(self, left: Records, right: Records) -> tuple[Records, Records]:
        """Both sides with the student's columns, word by word."""
        left, right = check_columns(self.info, left, right)
        return left.leaves(), right.leaves()

    def _groups(self, left: Records, right: Records) -> list[Comparison]:
        sides = left.names or self.info.left_columns, right.names or self.info.right_columns
        if left.is_plain or right.is_plain:
            return [Comparison("plain", *sides)]
        return explain.column_groups(*sides, self.similarity.comparisons)

    def _rarity(self, word: str) -> float:
        """The weight of a folded word: that of the rarest token it stands for."""
        return max(map(self.similarity.rarity.of, tokens(word)), default=self.similarity.rarity.of(word))
