"""The lexical student: string and token similarities, a line and trees over them. It needs nothing but the core."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distiller_udf.records import Records
from distiller_udf.similarity import PairFeatures
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.pair_model import PairModel
from distiller_udf.students.pairwise import PairwiseStudent


class LexicalStudent(PairwiseStudent):
    """Scores pairs by their similarities."""

    kind = "lexical"

    def __init__(self, info: StudentInfo, similarity: PairFeatures, pair: PairModel) -> None:
        super().__init__(info, similarity)
        self._pair = pair

    def log_odds(self, left: Records, right: Records) -> np.ndarray:
        """Calibrated log odds of row i of both sides, which have the student's columns."""
        return self._pair.log_odds(self.similarity.transform(left, right))

    def _write(self, folder: Path) -> dict[str, Any]:
        return {"pair": self._pair.save(folder, "pair")}

    @classmethod
    def _read(
        cls, folder: Path, info: StudentInfo, similarity: PairFeatures, state: Mapping[str, Any]
    ) -> LexicalStudent:
        return cls(info, similarity, PairModel.load(folder, "pair", state["pair"]))
