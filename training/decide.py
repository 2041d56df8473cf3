"""From log odds to decisions: calibrated choices, thresholds, and how good both are expected to be."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from distiller_udf.english import counted
from distiller_udf.metrics.figures import Judged, calibration_error, intervals, measures
from distiller_udf.settings.training import CommonSettings
from distiller_udf.students.choice import Choice
from distiller_udf.students.odds import sigmoid

from .labelled import LabelledPairs
from .material import Material, Trained
from .pool import Pool, among_rivals, fit_choice

logger = logging.getLogger(__name__)

LARGEST = float(np.nextafter(1.0, 0.0))
"""No threshold is 1: a student may be that sure, but not more."""

LITTLE = 0.1
"""Below this recall a target precision is worth a warning."""

FOLDS = 10
"""Into so many parts labelled tuples are divided where each part is judged by a threshold that the others choose."""


@dataclass(frozen=True)
class Decisions:
    """What the manifest says of decisions: thresholds, `choice` (see `StudentInfo`) and expected `metrics`."""

    threshold: float
    choice_threshold: float
    choice: dict[str, dict[str, float]]
    metrics: dict[str, Any]

    @classmethod
    def of(
        cls,
        log_odds: np.ndarray,
        pairs: LabelledPairs,
        pool: Pool,
        target: float | None = None,
        alone: np.ndarray | None = None,
    ) -> Decisions:
        """Calibrate, choose thresholds and measure. `log_odds` are the pool's, labelled pairs' from unseeing models.

        `alone` are those that a pair by itself is decided by, where they are others. `target` is the precision to keep.
        """
        by_itself = sigmoid(log_odds if alone is None else alone)
        # All pairs speak here, labelled or not: the selection's share of matches is not the data's.
        pair = Decision(by_itself, np.ones(len(by_itself), dtype=bool), pairs, f1_threshold(by_itself), target)
        choice, choices = among_rivals(log_odds, pairs.labels, pairs.tuples, pool, pair.threshold)
        may_match = best_of(choices, pool.lefts) if pool.constraint.limits_left else np.ones(len(choices), dtype=bool)
        # What groups were joined down to is what connects them: below that, single pairs would.
        least = f1_threshold(choices) if choice else max(f1_threshold(choices), pair.threshold)
        among = Decision(choices, may_match, pairs, least, target)
        metrics = {
            **counts(pairs),
            "unlabelled_pairs": len(log_odds) - len(pairs),
            **pair.metrics("pair"),
            **among.metrics("choice"),
        }
        if target is not None and metrics["choice_recall"] < LITTLE:
            logger.warning(
                "to keep a precision of %s, the student finds only %.0f %% of the matches that the labels name in %s; "
                "lower er_target_precision, or label more",
                target,
                100 * metrics["choice_recall"],
                counted(pairs.questions, "labelled tuple"),
            )
        return cls(pair.threshold, among.threshold, _named(choice, log_odds, pairs, pool), metrics)


def decide(trained: Trained, material: Material[CommonSettings]) -> Decisions:
    """The decisions by what `trained` says of pairs that it has not seen."""
    pairs, pool, judged = material.pairs, material.pool, trained.judged
    target = material.settings.target_precision
    if trained.labels is not None:
        pairs = replace(pairs, labels=trained.labels)
    if judged is None:
        return Decisions.of(trained.log_odds, pairs, pool, target)
    alone = None if trained.alone is None else trained.alone[judged]
    decisions = Decisions.of(trained.log_odds[judged], pairs.take(judged), pool.of_labelled(judged), target, alone)
    metrics = {**decisions.metrics, "judged_tuples": decisions.metrics["labelled_tuples"], **counts(pairs)}
    return replace(decisions, metrics=metrics)


def counts(pairs: LabelledPairs) -> dict[str, int]:
    """How much was labelled."""
    return {
        "labelled_tuples": pairs.questions,
        "labelled_pairs": len(pairs),
        "labelled_matches": int((pairs.labels >= 0.5).sum()),
    }


@dataclass(frozen=True)
class Decision:
    """How pairs are decided: those that `may_match` do so from a threshold on, which is `least` or what `target` wants.

    `probabilities` and `may_match` are of all pairs, the labelled ones first, which are `pairs`.
    """

    probabilities: np.ndarray
    may_match: np.ndarray
    pairs: LabelledPairs
    least: float
    target: float | None

    @cached_property
    def threshold(self) -> float:
        """The threshold that all labels choose."""
        return self._chosen_by(np.ones(len(self.pairs), dtype=bool))

    def metrics(self, kind: str) -> dict[str, float]:
        """What to expect of all pairs, with intervals of 95 %, by names that begin with the `kind` of decision.

        Labelled tuples may not be like all others. By how much these are harder, the student says itself.
        """
        judged = self._judged()
        found = {f"{kind}_calibration_error": calibration_error(judged)}
        labelled = np.arange(len(self.probabilities)) < len(self.pairs)
        expected, of_labelled = self._said(np.ones(len(labelled), dtype=bool)), self._said(labelled)
        for name, estimate in intervals(judged).items():
            if name in expected:
                further = float(expected[name] - of_labelled[name])
                found[f"{kind}_{name}"] = estimate.value + further
                found[f"{kind}_{name}_low"] = estimate.low + min(further, 0.0)
                found[f"{kind}_{name}_high"] = estimate.high + max(further, 0.0)
        return {name: round(min(max(value, 0.0), 1.0), 4) for name, value in found.items()}

    def _judged(self) -> Judged:
        """The labelled pairs, decided; where labels choose a threshold, each tuple by the one that others choose.

        A threshold is better at those that it was chosen for.
        """
        pairs, size = self.pairs, len(self.pairs)
        own = np.full(size, self.threshold)
        for fold in range(FOLDS if self.target is not None else 0):
            inside = pairs.tuples % FOLDS == fold
            own[inside] = self._chosen_by(~inside)
        matched = self.may_match[:size] & (self.probabilities[:size] >= own)
        return Judged(self.probabilities[:size], matched, pairs.labels, pairs.weights, pairs.tuples)

    def _chosen_by(self, rows: np.ndarray) -> float:
        """The threshold by these labelled pairs."""
        if self.target is None:
            return self.least
        rows = rows & self.may_match[: len(rows)]
        told = self.probabilities[: len(rows)][rows], self.pairs.labels[rows], self.target, self.pairs.weights[rows]
        return max(self.least, precision_threshold(*told))

    def _said(self, rows: np.ndarray) -> dict[str, Any]:
        """Precision, recall and F1 of the decisions on some pairs, by the student's own probabilities."""
        own = self.probabilities[rows]
        matched = self.may_match[rows] & (own >= self.threshold)
        return measures(own[matched].sum(), matched.sum(), own.sum())


def _named(
    choice: Choice | None, log_odds: np.ndarray, pairs: LabelledPairs, pool: Pool
) -> dict[str, dict[str, float]]:
    """The choice as a manifest has it, and the one of tuples that are seen one by one, where that is another."""
    if choice is None:
        return {}
    if not pool.constraint.limits_right:
        return {"alone": asdict(choice)}
    labelled = slice(len(pairs))
    alone = fit_choice(log_odds[labelled], pool.lefts[labelled], None, pairs.labels, pairs.tuples)
    return {"alone": asdict(alone), "linked": asdict(choice)}


def f1_threshold(probabilities: np.ndarray) -> float:
    """The threshold that maximises the expected F1 of calibrated probabilities.

    With calibrated probabilities the best threshold is half the best F1 (Lipton, Elkan and Naryanaswamy, 2014),
    which smooths what the few labels themselves would say.
    """
    ranked = np.sort(probabilities)[::-1]
    if len(ranked) == 0 or ranked.sum() <= 0:
        return 0.5
    f1 = 2 * np.cumsum(ranked) / (np.arange(1, len(ranked) + 1) + ranked.sum())
    return float(np.clip(f1.max() / 2, 0.05, 0.5))


def precision_threshold(
    probabilities: np.ndarray, truth: np.ndarray, target: float, weights: np.ndarray | None = None
) -> float:
    """The lowest threshold from which on decisions keep the precision `target`, judged by held-out labels in [0, 1].

    `weights` say how much each label counts, 1 without them. Where no threshold keeps it, the highest one that is left:
    only what is surer than all that was labelled matches.
    """
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    weights = np.ones(len(truth)) if weights is None else weights
    precision = np.cumsum((weights * truth)[order]) / np.cumsum(weights[order])
    # Pairs of equal probability are decided alike, so that only the last of them can be a threshold.
    last = np.append(ranked[1:] != ranked[:-1], True)
    kept = np.flatnonzero(last & (precision >= target))
    found = ranked[kept[-1]] if len(kept) else np.nextafter(ranked.max(initial=0.5), 1.0)
    return float(np.clip(found, 1e-6, LARGEST))


def best_of(scores: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Boolean mask: the first best row of each group."""
    order = np.lexsort((-scores, groups))
    first = np.ones(len(order), dtype=bool)
    first[1:] = groups[order[1:]] != groups[order[:-1]]
    mask = np.zeros(len(order), dtype=bool)
    mask[order[first]] = True
    return mask
