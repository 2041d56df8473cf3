"""An unsupervised mixture of matches and non-matches over similarity features.

After Fellegi and Sunter (1969), with weights found by EM as in Winkler (1988): each feature is cut into levels, and a
level weighs the logarithm of how much more often matches show it than non-matches. Three things are added. A
weight never falls as the similarity rises. Features of one comparison say nearly the same, so together they count
like few. And a left record has at most one match among its candidates (unless there is no constraint), which ties
the pairs of a tuple together and says which pairs to learn from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distiller_udf.constraint import Constraint

LEVELS = np.unique(np.concatenate([np.linspace(0, 1, 13), [0.92, 0.95, 0.98, 0.99]]))
"""The quantiles at which a feature is cut: finer at the top, where matches are."""

MAX_ROUNDS = 50
_SMOOTHING = 1.0
_BACKGROUND_SHARE = 0.05
_PRIOR_RANGE = 0.02, 0.98
_MAX_LOG_RATIO = 30.0


@dataclass(frozen=True)
class Evidence:
    """What is known of pairs before matching: rows are pairs.

    `features` (pairs × features, NaN = not comparable), `groups` and `directions` as `PairFeatures` gives them,
    `similarity` of the whole records in [0, 1].
    """

    features: np.ndarray
    groups: Sequence[int]
    directions: Sequence[int]
    similarity: np.ndarray


@dataclass(frozen=True)
class Feature:
    """How one feature is cut into levels: level k begins at `edges[k]`, and a higher level is more alike."""

    column: int
    group: int
    sign: int
    edges: np.ndarray

    def levels(self, features: np.ndarray) -> np.ndarray:
        """The level of each pair, int64 (pairs,); -1 where the feature is NaN."""
        values = self.sign * features[:, self.column].astype(np.float64)
        level = np.clip(np.searchsorted(self.edges, values, side="right") - 1, 0, len(self.edges) - 1)
        return np.where(np.isnan(values), -1, level)


@dataclass(frozen=True)
class Mixture:
    """A fitted mixture: `weights[i]` has one log-ratio for each level of `features[i]`.

    `prior` is the share of left records with a match, `constraint` how many they may have.
    """

    features: tuple[Feature, ...]
    weights: tuple[np.ndarray, ...]
    prior: float
    constraint: Constraint

    def contributions(self, evidence: Evidence) -> dict[int, np.ndarray]:
        """What each comparison (by its group) adds to the log-ratio of each pair."""
        return _contributions(self.features, [f.levels(evidence.features) for f in self.features], self.weights)

    def log_ratio(self, evidence: Evidence) -> np.ndarray:
        """How much likelier each pair is under a match than under a non-match, as a natural logarithm: (pairs,)."""
        if not self.features:
            # A rule of thumb: nothing can be learnt where there is nothing to compare or all pairs look the same.
            return np.asarray(12.0 * (np.nan_to_num(evidence.similarity) - 0.6))
        return _total(self.contributions(evidence))

    def probabilities(self, evidence: Evidence, tuples: np.ndarray) -> np.ndarray:
        """The probability of a match for each pair, (pairs,), given the other pairs of its tuple."""
        alone, together = _posteriors(self.log_ratio(evidence), tuples, self.prior)
        return together if self.constraint.limits_left else alone


def fit_mixture(
    evidence: Evidence, tuples: np.ndarray, rights: np.ndarray, background: np.ndarray, constraint: Constraint
) -> Mixture:
    """Fit by EM on candidate pairs; `tuples` and `rights` number the left and right record of each pair.

    `background` are features of pairs put together at random: non-matches for certain, which keeps the mixture
    from calling every pair a match or none where the candidates are all of one kind.
    """
    features = _cut(np.vstack([evidence.features, background]), evidence)
    if not features or len(tuples) == 0:
        return Mixture((), (), 0.5, constraint)
    levels = [feature.levels(evidence.features) for feature in features]
    noise = [feature.levels(background) for feature in features]
    match = _start(evidence.similarity, tuples, rights, constraint)
    non_match = 1 - match
    weights: tuple[np.ndarray, ...] = ()
    count = int(tuples.max()) + 1
    noise_weight = _BACKGROUND_SHARE * len(tuples) / max(len(background), 1)
    prior = 0.5
    for _ in range(MAX_ROUNDS):
        weights = tuple(
            _level_weights(len(feature.edges), level, match, non_match, random, noise_weight)
            for feature, level, random in zip(features, levels, noise, strict=True)
        )
        prior = float(np.clip(match.sum() / count, *_PRIOR_RANGE))
        alone, together = _posteriors(_total(_contributions(features, levels, weights)), tuples, prior)
        before, match = match, together if constraint.limits_left else alone
        # A pair that is beaten by a better one is no example of a non-match: it may look just like a match.
        non_match = 1 - alone
        if np.abs(match - before).mean() < 1e-5:
            break
    return Mixture(tuple(features), weights, prior, constraint)


def _cut(features: np.ndarray, evidence: Evidence) -> list[Feature]:
    """The features that can tell pairs apart, cut into levels so that a higher level is always more alike."""
    found = []
    for column, (group, direction) in enumerate(zip(evidence.groups, evidence.directions, strict=True)):
        if group < 0 or direction == 0:
            continue
        values = direction * features[:, column].astype(np.float64)
        values = values[~np.isnan(values)]
        if len(values) and values.min() < values.max():
            found.append(Feature(column, group, direction, np.unique(np.quantile(values, LEVELS))))
    return found


def _start(similarity: np.ndarray, tuples: np.ndarray, rights: np.ndarray, constraint: Constraint) -> np.ndarray:
    """First guess: two records that are each other's most similar are a match, the more so above all the others.

    Where a right record has many matches it is the most similar one of few of them: there the left record alone says.
    """
    mutual = similarity >= _best(similarity, tuples)[tuples]
    if constraint.limits_right or not constraint.limits_left:
        mutual &= similarity >= _best(similarity, rights)[rights]
    beaten = similarity[similarity < _best(similarity, tuples)[tuples]]
    high = np.quantile(beaten, 0.95) if len(beaten) else 0.0
    return np.where(mutual, np.where(similarity > high, 0.9, 0.3), 0.01)


def _level_weights(
    count: int, level: np.ndarray, match: np.ndarray, non_match: np.ndarray, random: np.ndarray, random_weight: float
) -> np.ndarray:
    """The smoothed log-ratio of each level, never falling."""
    from sklearn.isotonic import isotonic_regression

    known = level >= 0
    matches = np.bincount(level[known], weights=match[known], minlength=count)
    others = np.bincount(level[known], weights=non_match[known], minlength=count)
    others = others + random_weight * np.bincount(random[random >= 0], minlength=count)
    both = matches + others + 1e-3
    # Towards the common distribution, so that a level that hardly occurs weighs nothing.
    pseudo = _SMOOTHING * count * both / both.sum()
    ratio = (matches + pseudo) / (matches + pseudo).sum() / ((others + pseudo) / (others + pseudo).sum())
    return np.asarray(isotonic_regression(np.log(ratio), sample_weight=both, increasing=True))


def _contributions(
    features: Sequence[Feature], levels: Sequence[np.ndarray], weights: Sequence[np.ndarray]
) -> dict[int, np.ndarray]:
    """What each comparison adds; its k features count like √k independent ones."""
    added = {}
    for group in sorted({feature.group for feature in features}):
        members = [i for i, feature in enumerate(features) if feature.group == group]
        known = np.sum([levels[i] >= 0 for i in members], axis=0)
        # Level -1 (not comparable) reads the zero appended at the end.
        total = np.sum([np.append(weights[i], 0.0)[levels[i]] for i in members], axis=0)
        added[group] = total / np.sqrt(np.maximum(known, 1))
    return added


def _total(contributions: dict[int, np.ndarray]) -> np.ndarray:
    total: np.ndarray = np.sum(list(contributions.values()), axis=0)
    return total.clip(-_MAX_LOG_RATIO, _MAX_LOG_RATIO)


def _posteriors(log_ratio: np.ndarray, tuples: np.ndarray, prior: float) -> tuple[np.ndarray, np.ndarray]:
    """The probability of a match of each pair taken alone, and with at most one match in its tuple."""
    if len(tuples) == 0:
        return np.zeros(0), np.zeros(0)
    size = np.bincount(tuples)[tuples]
    odds = prior / size * np.exp(log_ratio)
    others = np.bincount(tuples, weights=odds)[tuples]
    return odds / (odds + 1 - prior), odds / (others + 1 - prior)


def _best(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    best = np.full(int(groups.max()) + 1, -np.inf)
    np.maximum.at(best, groups, values)
    return best
