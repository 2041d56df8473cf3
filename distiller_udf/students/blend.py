"""The blend: the lexical student decides what is clear, and asks the encoder about the rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distiller_udf.encoding import EncoderFeatures
from distiller_udf.records import Records
from distiller_udf.similarity import PairFeatures
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.pair_model import PairModel
from distiller_udf.students.pairwise import ENCODING_FOLDER, PairwiseStudent, read_encoding

CLEAR = 5.0
"""Log odds of the lexical model (about 1 in 150) beyond which the encoder is not asked."""


class BlendStudent(PairwiseStudent):
    """Scores a pair by its similarities alone where they are clear, else by them and the encoder together.

    `first` is a model of the similarities, `second` of similarities and encoder features side by side.
    """

    kind = "blend"

    def __init__(
        self,
        info: StudentInfo,
        similarity: PairFeatures,
        encoding: EncoderFeatures,
        first: PairModel,
        second: PairModel,
    ) -> None:
        super().__init__(info, similarity)
        self.encoding = encoding
        self._first = first
        self._second = second

    def log_odds(self, left: Records, right: Records) -> np.ndarray:
        """Calibrated log odds of row i of both sides, which have the student's columns."""
        features = self.similarity.transform(left, right)
        result = self._first.log_odds(features)
        asked = np.flatnonzero(np.abs(result) < CLEAR)
        if len(asked):
            met = self.encoding.transform(left.take(asked), right.take(asked))
            result[asked] = self._second.log_odds(np.column_stack([features[asked], met]))
        return result

    def _write(self, folder: Path) -> dict[str, Any]:
        self.encoding.save(folder / ENCODING_FOLDER)
        return {"first": self._first.save(folder, "first"), "second": self._second.save(folder, "second")}

    @classmethod
    def _read(cls, folder: Path, info: StudentInfo, similarity: PairFeatures, state: Mapping[str, Any]) -> BlendStudent:
        models = (PairModel.load(folder, name, state[name]) for name in ("first", "second"))
        return cls(info, similarity, read_encoding(folder), *models)
