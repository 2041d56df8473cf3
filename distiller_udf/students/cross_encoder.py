"""The cross-encoder student: a pretrained encoder that was fine-tuned to read both records at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distiller_udf.encoding.pair_classifier import PairClassifier
from distiller_udf.encoding.texts import readable
from distiller_udf.records import Records
from distiller_udf.similarity import PairFeatures
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.pairwise import PairwiseStudent

ENCODER_FOLDER = "encoder"


class CrossEncoderStudent(PairwiseStudent):
    """Scores pairs by what a fine-tuned encoder makes of both texts; `similarity` only serves to explain.

    `slope` and `intercept` turn the encoder's log odds into calibrated ones.
    """

    kind = "cross_encoder"
    needs_torch = True

    def __init__(
        self, info: StudentInfo, similarity: PairFeatures, classifier: PairClassifier, slope: float, intercept: float
    ) -> None:
        super().__init__(info, similarity)
        self.classifier = classifier
        self._slope = slope
        self._intercept = intercept

    def log_odds(self, left: Records, right: Records) -> np.ndarray:
        """Calibrated log odds of row i of both sides, which have the student's columns."""
        return self._slope * self.classifier.score(readable(left), readable(right)) + self._intercept

    def _write(self, folder: Path) -> dict[str, Any]:
        self.classifier.save(folder / ENCODER_FOLDER)
        return {"slope": self._slope, "intercept": self._intercept}

    @classmethod
    def _read(
        cls, folder: Path, info: StudentInfo, similarity: PairFeatures, state: Mapping[str, Any]
    ) -> CrossEncoderStudent:
        classifier = PairClassifier.load(folder / ENCODER_FOLDER)
        return cls(info, similarity, classifier, float(state["slope"]), float(state["intercept"]))
