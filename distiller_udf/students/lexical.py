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
from distiller_udf.students.base import StudentInfo, check_columns
from distiller_udf.students.context import context_features, sigmoid

KIND = "lexical"
MODEL_FILE = "lexical.json"
FEATURES_FOLDER = "similarity"
THREADS = os.cpu_count() or 1
MINIMUM_CONTRIBUTION = 0.05
"""Log odds below which a comparison is not worth a word in an explanation."""


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

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """Each feature's share of the calibrated log odds, the constant last: shape (rows, features + 1)."""
        parts = [b.predict(features, pred_contrib=True, num_threads=THREADS) for b in self.boosters]
        result = self.slope * np.mean(parts, axis=0)
        result[:, -1] += self.intercept
        return np.asarray(result)

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
        probabilities = sigmoid(self._pair.log_odds(self.features.transform(left, right)))
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
        """What each comparison adds to the log odds of `score`: (labels, array of shape (pairs, labels)).

        The last two labels are `other` (which columns could be compared at all) and `constant`; rows add up to
        the calibrated log odds.
        """
        left, right = check_columns(self.info, left, right)
        labels = [c.label for c in self.features.comparisons]
        if len(left) == 0:
            return [*labels, "other", "constant"], np.zeros((0, len(labels) + 2))
        parts = self._pair.contributions(self.features.transform(left, right))
        groups = np.asarray(self.features.groups)
        columns = [parts[:, :-1][:, groups == i].sum(axis=1) for i in (*range(len(labels)), -1)]
        return [*labels, "other", "constant"], np.column_stack([*columns, parts[:, -1]])

    def explain(self, left: Records, right: Records) -> list[str]:
        """One sentence a pair: its probability, then the columns that spoke for and against, strongest first."""
        labels, parts = self.contributions(left, right)
        empty = left.empty | right.empty
        return [
            "A record is empty, so there is nothing to compare." if nothing else _sentence(labels[:-2], row)
            for nothing, row in zip(empty, parts, strict=True)
        ]


def _sentence(labels: Sequence[str], parts: np.ndarray) -> str:
    probability = float(sigmoid(np.asarray(parts.sum())))
    spoken = parts[: len(labels)]
    order = np.argsort(-np.abs(spoken), kind="stable")
    said = [i for i in order if abs(spoken[i]) >= MINIMUM_CONTRIBUTION]
    pros = [f"{_called(labels[i])} ({spoken[i]:+.2f})" for i in said if spoken[i] > 0]
    cons = [f"{_called(labels[i])} ({spoken[i]:+.2f})" for i in said if spoken[i] < 0]
    reasons = [f"{word}: {', '.join(items)}" for word, items in (("for", pros), ("against", cons)) if items]
    verdict = "Likely the same" if probability >= 0.5 else "Likely different"
    return f"{verdict} (probability {probability:.3f}); {'; '.join(reasons) or 'nothing speaks for or against'}."


def _called(label: str) -> str:
    return "the whole record" if label == "record" else label
