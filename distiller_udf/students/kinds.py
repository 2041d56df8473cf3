"""The kinds of students that judge every pair by itself: lexical, encoder, blend, cross_encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from distiller_udf.encoding import EncoderFeatures
from distiller_udf.encoding.pair_classifier import PairClassifier
from distiller_udf.encoding.texts import readable
from distiller_udf.records import Records
from distiller_udf.similarity import PairFeatures
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.pair_model import PairModel
from distiller_udf.students.pairwise import PairwiseStudent

CLEAR = 5.0
"""Log odds of the blend's lexical model (about 1 in 150) beyond which the encoder is not asked."""

ENCODING_FOLDER, ENCODER_FOLDER = "encoding", "encoder"


class FeaturedStudent(PairwiseStudent):
    """Scores pairs by `models` of their features, which are stored under the names `parts`.

    A kind that `needs_torch` has `encoding`, what a pretrained encoder makes of the records' tokens.
    """

    parts: ClassVar[tuple[str, ...]] = ("pair",)

    def __init__(
        self, info: StudentInfo, similarity: PairFeatures, *models: PairModel, encoding: EncoderFeatures | None = None
    ) -> None:
        super().__init__(info, similarity)
        self.models = models
        if encoding is not None:
            self.encoding = encoding

    def _write(self, folder: Path) -> dict[str, Any]:
        if self.needs_torch:
            self.encoding.save(folder / ENCODING_FOLDER)
        return {name: model.save(folder, name) for name, model in zip(self.parts, self.models, strict=True)}

    @classmethod
    def _read(
        cls, folder: Path, info: StudentInfo, similarity: PairFeatures, state: Mapping[str, Any]
    ) -> FeaturedStudent:
        encoding = EncoderFeatures.load(folder / ENCODING_FOLDER) if cls.needs_torch else None
        models = (PairModel.load(folder, name, state[name]) for name in cls.parts)
        return cls(info, similarity, *models, encoding=encoding)


class LexicalStudent(FeaturedStudent):
    """Scores pairs by string and token similarities. It needs nothing but the core."""

    kind = "lexical"

    def log_odds(self, left: Records, right: Records) -> np.ndarray:
        """Calibrated log odds of row i of both sides, which have the student's columns."""
        return self.models[0].log_odds(self.similarity.transform(left, right))


class EncoderStudent(FeaturedStudent):
    """Scores pairs by how their tokens meet in a frozen encoder; `similarity` only serves to explain."""

    kind = "encoder"
    needs_torch = True

    def log_odds(self, left: Records, right: Records) -> np.ndarray:
        """Calibrated log odds of row i of both sides, which have the student's columns."""
        return self.models[0].log_odds(self.encoding.transform(left, right))


class BlendStudent(FeaturedStudent):
    """Scores a pair by its similarities alone where they are clear, else by them and the encoder together.

    The first model is one of the similarities, the second of similarities and encoder features side by side.
    """

    kind = "blend"
    needs_torch = True
    parts = ("first", "second")

    def log_odds(self, left: Records, right: Records) -> np.ndarray:
        """Calibrated log odds of row i of both sides, which have the student's columns."""
        features = self.similarity.transform(left, right)
        result = self.models[0].log_odds(features)
        asked = np.flatnonzero(np.abs(result) < CLEAR)
        if len(asked):
            met = self.encoding.transform(left.take(asked), right.take(asked))
            result[asked] = self.models[1].log_odds(np.column_stack([features[asked], met]))
        return result


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
