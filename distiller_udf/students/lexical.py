"""The lexical student: gradient-boosted trees over string and token similarities."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distiller_udf.errors import StudentDamaged
from distiller_udf.records import Records
from distiller_udf.similarity import PairFeatures
from distiller_udf.similarity.text import tokens
from distiller_udf.students import explain
from distiller_udf.students.base import StudentInfo, check_columns
from distiller_udf.students.context import context_features, sigmoid
from distiller_udf.students.explain import Explanation, Group

KIND = "lexical"
MODEL_FILE = "lexical.json"
FEATURES_FOLDER = "similarity"
THREADS = os.cpu_count() or 1


@dataclass(frozen=True)
class Ensemble:
    """Boosters whose raw scores are averaged, then calibrated: probability = sigmoid(slope * score + intercept)."""

    boosters: Sequence[Any]
    slope: float = 1.0
    intercept: float = 0.0

    def raw(self, features: np.ndarray) -> np.ndarray:
        """Mean raw score of each row (log odds before calibration)."""
        scores = [b.predict(features, raw_score=True, num_threads=THREADS) for b in self.boosters]
        return np.asarray(np.mean(scores, axis=0), dtype=np.float64)

    def log_odds(self, features: np.ndarray) -> np.ndarray:
        """Calibrated log odds of each row."""
        return self.slope * self.raw(features) + self.intercept

    def save(self, folder: Path, name: str) -> dict[str, Any]:
        """Write the boosters as LightGBM text and return what else is needed to load them."""
        for i, booster in enumerate(self.boosters):
            # Written here rather than by LightGBM, which says nothing when the disk is full.
            (folder / f"{name}_{i}.txt").write_text(booster.model_to_string(), encoding="utf-8")
        return {"boosters": len(self.boosters), "slope": self.slope, "intercept": self.intercept}

    @classmethod
    def load(cls, folder: Path, name: str, state: Mapping[str, Any]) -> Ensemble:
        """Read what `save` wrote."""
        import lightgbm

        boosters = [lightgbm.Booster(model_file=folder / f"{name}_{i}.txt") for i in range(state["boosters"])]
        return cls(boosters, state["slope"], state["intercept"])


class LexicalStudent:
    """Scores pairs by their similarities; a second small model weighs each pair against its rivals."""

    def __init__(self, info: StudentInfo, features: PairFeatures, pair: Ensemble, choice: Ensemble | None) -> None:
        self.info = info
        self.features = features
        self._pair = pair
        self._choice = choice

    @classmethod
    def load(cls, folder: Path, info: StudentInfo) -> LexicalStudent:
        """Load the weights beside an already checked manifest; raises StudentDamaged when they cannot be read."""
        from lightgbm.basic import LightGBMError

        try:
            state = json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))
            features = PairFeatures.load(folder / FEATURES_FOLDER)
            pair = Ensemble.load(folder, "pair", state["pair"])
            choice = Ensemble.load(folder, "choice", state["choice"]) if state["choice"] else None
        except (OSError, ValueError, KeyError, TypeError, LightGBMError) as error:
            raise StudentDamaged(
                f"the lexical student at {folder} cannot be read ({type(error).__name__}: {error}); train it again"
            ) from error
        return cls(info, features, pair, choice)

    def save(self, folder: Path) -> None:
        """Write the weights; the manifest is the caller's, who writes it last."""
        self.features.save(folder / FEATURES_FOLDER)
        state = {
            "pair": self._pair.save(folder, "pair"),
            "choice": self._choice.save(folder, "choice") if self._choice else None,
        }
        (folder / MODEL_FILE).write_text(json.dumps(state, indent=1), encoding="utf-8")

    def score(self, left: Records, right: Records) -> np.ndarray:
        """The calibrated probability that row i of both sides is the same entity; NaN where a record is empty."""
        left, right = check_columns(self.info, left, right)
        if len(left) == 0:
            return np.zeros(0)
        probabilities = sigmoid(self._log_odds(left, right))
        probabilities[left.empty | right.empty] = np.nan
        return probabilities

    def choose(self, left: Records, right: Records, tuples: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """The probability of each row given the other rows of its tuple; rows without a probability stay without.

        `tuples` holds one integer a row; `probabilities` are those of `score`.
        """
        result: np.ndarray = np.array(probabilities, dtype=np.float64)
        known = ~np.isnan(result)
        if self._choice is not None and known.any():
            context = context_features(result[known], np.asarray(tuples)[known])
            result[known] = sigmoid(self._choice.log_odds(context))
        return result

    def contributions(self, left: Records, right: Records) -> tuple[list[str], np.ndarray]:
        """What each column adds to a pair's log odds: (labels, array of shape (pairs, labels)).

        The unit is log odds. The last label is `baseline`, the log odds without any column; a row adds up to the
        log odds of `score`, and is NaN where that is.
        """
        left, right = check_columns(self.info, left, right)
        groups = self._groups(left, right)
        parts = explain.contributions(self._log_odds, left, right, groups)
        parts[left.empty | right.empty] = np.nan
        return [*(g.label for g in groups), "baseline"], parts

    def explanations(self, left: Records, right: Records) -> list[Explanation | None]:
        """What each column, and each word within a column, adds to a pair's log odds; None where a record is empty.

        The unit is log odds. The columns and the baseline add up to the log odds of `score`, the words of a column to
        the column's contribution.
        """
        left, right = check_columns(self.info, left, right)
        known = np.flatnonzero(~(left.empty | right.empty))
        sides = left.take(known), right.take(known)
        found = explain.explanations(self._log_odds, *sides, self._groups(left, right), self._rarity)
        result: list[Explanation | None] = [None] * len(left)
        for row, explanation in zip(known, found, strict=True):
            result[row] = explanation
        return result

    def explain(self, left: Records, right: Records) -> list[str]:
        """One sentence a pair: its probability, then the columns and words that spoke for and against it.

        The figures are those of `explanations`: log odds, which add up to those of `score` with the baseline.
        """
        return [
            "A record is empty, so there is nothing to compare." if explanation is None else explanation.sentence()
            for explanation in self.explanations(left, right)
        ]

    def _groups(self, left: Records, right: Records) -> list[Group]:
        sides = left.names or self.info.left_columns, right.names or self.info.right_columns
        return explain.column_groups(*sides, self.features.comparisons)

    def _log_odds(self, left: Records, right: Records) -> np.ndarray:
        return self._pair.log_odds(self.features.transform(left, right))

    def _rarity(self, word: str) -> float:
        """The weight of a folded word: that of the rarest token it stands for."""
        unseen = self.features.unseen
        return max((self.features.idf.get(token, unseen) for token in tokens(word)), default=unseen)
