"""The encoder student: what a pretrained encoder makes of the records' tokens, a line and trees over it."""

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


class EncoderStudent(PairwiseStudent):
    """Scores pairs by how their tokens meet in a frozen encoder; `similarity` only serves to explain."""

    kind = "encoder"

    def __init__(self, info: StudentInfo, similarity: PairFeatures, encoding: EncoderFeatures, pair: PairModel) -> None:
        super().__init__(info, similarity)
        self.encoding = encoding
        self._pair = pair

    def log_odds(self, left: Records, right: Records) -> np.ndarray:
        """Calibrated log odds of row i of both sides, which have the student's columns."""
        return self._pair.log_odds(self.encoding.transform(left, right))

    def _write(self, folder: Path) -> dict[str, Any]:
        self.encoding.save(folder / ENCODING_FOLDER)
        return {"pair": self._pair.save(folder, "pair")}

    @classmethod
    def _read(
        cls, folder: Path, info: StudentInfo, similarity: PairFeatures, state: Mapping[str, Any]
    ) -> EncoderStudent:
        encoding = read_encoding(folder)
        return cls(info, similarity, encoding, PairModel.load(folder, "pair", state["pair"]))
