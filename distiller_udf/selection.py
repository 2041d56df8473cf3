"""Which left records the teachers are asked about: pure functions of one row a left record that has candidates."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distiller_udf.errors import one_of
from distiller_udf.records import one_array

STRATEGIES = ("random", "max", "top2", "kmeans", "hierarchical", "uncertain")
CLUSTERED = 5_000
"""So many left records are clustered at most, drawn by the seed; the others go to the nearest centroid."""

SMALLEST_ROUND = 20
"""`uncertain` asks about so many records a round at least: a student learns nothing from fewer."""

STRATA = 4
"""`uncertain` spreads a round evenly over so many groups of left records, by their best similarity."""


def select(
    profiles: pa.Table,
    *,
    strategy: str = "random",
    share: float = 0.1,
    minimum: int = 0,
    positive_ratio: float = 0.5,
    bins: int = 10,
    rounds: int = 4,
    seed: int = 42,
) -> pa.Table:
    """The selected left records: `left_source`, `left_id`, `strategy`, `rank` (from 1) and `score`.

    `profiles` has one row a left record: `left_source`, `left_id` (of any type), `id_text` (the id as text) and
    `similarities` (LIST of its candidates' similarities, from 0 to 1). `uncertain` also reads, where they are,
    `probabilities` (LIST of what the current student gives its candidates, NULL where it has not scored them),
    `labelled` (the teacher has answered) and `selected` (by an earlier run).

    - random: drawn by a hash of the record's key and the seed.
    - max, top2: the highest and the lowest scores: the best similarity, or its lead over the second best.
    - kmeans, hierarchical: histograms of the similarities (the share of the candidates in each of `bins` from 0 to 1)
      are clustered into two; the cluster whose best similarities are higher on average holds the likely matches, and
      both are drawn from at random (DistillER, arXiv 2602.05452).
    - uncertain: a random first round, then, run by run, another one of `rounds` of those the student is least sure of,
      beside all that was asked before, until the share is reached. See `uncertainty`.

    `share` and `minimum` say how many, as far as there are so many; `positive_ratio` of them come from the likely
    matches (not in random and uncertain); likely matches and the others take turns in `rank`. The result does not
    depend on the order of the rows. Raises SettingsError for an unknown strategy.
    """
    one_of("the selection strategy", strategy, STRATEGIES)
    pool = _Pool.of(profiles, seed)
    wanted = _wanted(len(pool.draw), share, minimum)
    if strategy == "uncertain":
        rows, scores = _uncertain(pool, wanted, rounds)
    else:
        from_top = math.ceil(wanted * Decimal(repr(float(positive_ratio if strategy != "random" else 1))))
        if strategy in ("kmeans", "hierarchical"):
            rows, scores = _clustered(pool, strategy, wanted, from_top, bins, seed)
        else:
            rows, scores = _extremes(pool, _SCORES[strategy](pool), wanted, from_top)
    at = pool.row[rows]
    return pa.table(
        {
            "left_source": one_array(profiles["left_source"]).take(pa.array(at)),
            "left_id": one_array(profiles["left_id"]).take(pa.array(at)),
            "strategy": pa.array([strategy] * len(at), pa.string()),
            "rank": pa.array(np.arange(1, len(at) + 1), pa.int64()),
            "score": pa.array(scores, pa.float64(), mask=np.isnan(scores)),
        }
    )


def uncertainty(probabilities: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """How unsure the student is of each left record: 1 less the lead of its best answer over the next best; 1 = a tie.

    `probabilities` of all candidates one after the other, the first of each left record at `starts`. A student gives
    each candidate a probability of its own; given that at most one is right, a candidate weighs its odds p / (1 - p)
    against 1 for none (Bernoullis conditioned on at most one success). NaN where a record has no probability.

    The entropy of the same distribution prefers records with many unlikely candidates to those between two answers.
    """
    counts = np.diff(np.append(starts, len(probabilities)))
    odds = np.clip(probabilities, 1e-9, 1 - 1e-9)
    odds = np.where(np.isfinite(odds), odds / (1 - odds), 0.0)
    member = np.repeat(np.arange(len(starts)), counts)
    largest = np.zeros((len(starts), 3))
    largest[:, 0] = 1.0  # none
    order = np.lexsort((-odds, member))
    for place in (0, 1):
        has = counts > place
        largest[has, 1 + place] = odds[order[starts[has] + place]]
    largest = np.sort(largest, axis=1)
    total = 1 + np.bincount(member, odds, len(starts))
    known = np.bincount(member, np.isfinite(probabilities), len(starts)) > 0
    return np.where(known, 1 - (largest[:, 2] - largest[:, 1]) / total, np.nan)


@dataclass(frozen=True)
class _Pool:
    """The profiles in the order of their draw: `row` of the table, `draw` (a hash), `best` and `second` similarity.

    `similarities` lie one after the other, those of profile i from `starts[i]` on; `member` is the profile of each.
    """

    row: np.ndarray
    draw: np.ndarray
    similarities: np.ndarray
    starts: np.ndarray
    member: np.ndarray
    best: np.ndarray
    second: np.ndarray
    uncertainty: np.ndarray
    labelled: np.ndarray
    selected: np.ndarray

    @classmethod
    def of(cls, profiles: pa.Table, seed: int) -> _Pool:
        keys = zip(profiles["left_source"].to_pylist(), profiles["id_text"].to_pylist(), strict=True)
        draw = np.asarray([_draw(seed, source, text) for source, text in keys], dtype="S32")
        row = np.argsort(draw, kind="stable")
        ordered = profiles.take(pa.array(row))
        similarities, starts, member = _lists(ordered["similarities"])
        best = np.full(len(row), -np.inf)
        np.maximum.at(best, member, similarities)
        order = np.lexsort((-similarities, member))
        counts = np.bincount(member, minlength=len(row))
        second = np.zeros(len(row))
        second[counts > 1] = similarities[order[starts[counts > 1] + 1]]
        sure = np.full(len(row), np.nan)
        if "probabilities" in profiles.column_names:
            probabilities, at, _ = _lists(ordered["probabilities"])
            sure = uncertainty(probabilities, at)
        selected = _flags(ordered, "selected")
        labelled = _flags(ordered, "labelled") if "labelled" in profiles.column_names else selected
        return cls(row, draw[row], similarities, starts, member, best, second, sure, labelled, selected)


def _draw(seed: int, source: str, id_text: str) -> str:
    """What decides where nothing else does: the same on every run and machine."""
    return hashlib.md5(f"{seed}:{source}:{id_text}".encode(), usedforsecurity=False).hexdigest()


def _lists(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A column of lists as its values (NaN for NULL), where each list starts, and the list of each value."""
    lists = one_array(column)
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    values = lists.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False)
    starts = np.concatenate([[0], np.cumsum(counts)])[:-1].astype(np.int64)
    return values, starts, np.repeat(np.arange(len(counts)), counts)


def _flags(profiles: pa.Table, name: str) -> np.ndarray:
    """A column of truth values; false where it or a value is missing."""
    if name not in profiles.column_names:
        return np.zeros(len(profiles), dtype=bool)
    return np.asarray(pc.fill_null(one_array(profiles[name]), False).to_numpy(zero_copy_only=False), dtype=bool)


def _wanted(count: int, share: float, minimum: int) -> int:
    """How many to select; in decimals, so that a tenth of 70 is 7."""
    return min(count, max(math.ceil(count * Decimal(repr(float(share)))), minimum))


_SCORES: dict[str, Callable[[_Pool], np.ndarray]] = {
    "random": lambda pool: np.full(len(pool.draw), np.nan),
    "max": lambda pool: pool.best,
    "top2": lambda pool: pool.best - pool.second,
}


def _extremes(pool: _Pool, scores: np.ndarray, wanted: int, from_top: int) -> tuple[np.ndarray, np.ndarray]:
    """The highest and the lowest scores in turns; the draw breaks ties."""
    ranked = np.lexsort((pool.draw, -scores))
    rows = _turns(ranked[:from_top], ranked[::-1][: wanted - from_top])
    return rows, scores[rows]


def _turns(likely: np.ndarray, unlikely: np.ndarray) -> np.ndarray:
    """One of each in turn, the likely one first; what is left of the longer at the end."""
    position = np.concatenate([np.arange(len(likely)), np.arange(len(unlikely)) + 0.5])
    return np.concatenate([likely, unlikely])[np.argsort(position, kind="stable")].astype(np.int64)


def _clustered(
    pool: _Pool, strategy: str, wanted: int, from_top: int, bins: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws from the two clusters of similarity histograms; the score is 1 in the likely matches' one, else 0."""
    is_likely = _likely(pool, strategy, bins, seed)
    likely, unlikely = np.flatnonzero(is_likely), np.flatnonzero(~is_likely)
    # A cluster that is too small is taken whole, and the other one gives more.
    others = min(wanted - min(from_top, len(likely)), len(unlikely))
    rows = _turns(likely[: wanted - others], unlikely[:others])
    return rows, is_likely[rows].astype(np.float64)


def _likely(pool: _Pool, strategy: str, bins: int, seed: int) -> np.ndarray:
    """Which profiles are in the cluster whose best similarities are higher on average."""
    histograms = _histograms(pool, bins)
    sample = histograms[:CLUSTERED]  # the pool is in the order of the draw
    if len(np.unique(sample, axis=0)) < 2:
        return np.ones(len(histograms), dtype=bool)
    from sklearn.cluster import AgglomerativeClustering, KMeans

    if strategy == "kmeans":
        found = KMeans(n_clusters=2, random_state=seed, n_init=10).fit_predict(sample)
    else:
        found = AgglomerativeClustering(n_clusters=2, linkage="ward").fit_predict(sample)
    centres = np.stack([sample[found == cluster].mean(axis=0) for cluster in (0, 1)])
    rest = histograms[CLUSTERED:]
    distances = ((rest[:, None, :] - centres[None]) ** 2).sum(axis=2)
    cluster = np.concatenate([found, distances.argmin(axis=1)])
    means = [pool.best[cluster == number].mean() for number in (0, 1)]
    return np.asarray(cluster == int(means[1] > means[0]))


def _histograms(pool: _Pool, bins: int) -> np.ndarray:
    """The share of each profile's candidates in each bin: how many there are must not decide between the clusters."""
    at = np.clip((pool.similarities * bins).astype(np.int64), 0, bins - 1)
    counts = np.bincount(pool.member * bins + at, minlength=len(pool.draw) * bins)
    histograms = counts.reshape(len(pool.draw), bins).astype(np.float64)
    return np.asarray(histograms / np.maximum(histograms.sum(axis=1, keepdims=True), 1))


def _uncertain(pool: _Pool, wanted: int, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """What was asked before, and another round of the least sure; the score is the uncertainty.

    Questions of earlier rounds that are not answered yet count as part of this one, so that a run without answers
    does not use up a round.
    """
    before = np.flatnonzero(pool.labelled | pool.selected)
    before = before[np.argsort(~pool.labelled[before], kind="stable")][:wanted]
    size = max(math.ceil(wanted / rounds), SMALLEST_ROUND)
    size = min(wanted - len(before), max(size - int((~pool.labelled[before]).sum()), 0))
    new = np.setdiff1d(np.arange(len(pool.draw)), before)
    if len(before):
        new = _spread(pool, new)
    rows = np.concatenate([before, new[:size]])
    return rows, pool.uncertainty[rows]


def _spread(pool: _Pool, rows: np.ndarray) -> np.ndarray:
    """Profiles by their uncertainty, each group of similarity in turn; those without a score rank by chance.

    The least sure records resemble each other; a round of nothing else would teach one thing many times.
    """
    ordered = rows[np.lexsort((pool.draw[rows], pool.best[rows]))]
    stratum = np.empty(len(pool.draw), dtype=np.int64)
    stratum[ordered] = np.arange(len(ordered)) * STRATA // max(len(ordered), 1)
    # An unscored profile gets the uncertainty of a scored one that is drawn for it: neither first nor last.
    score = pool.uncertainty.copy()
    unknown = rows[np.isnan(score[rows])]
    known = np.sort(score[rows][~np.isnan(score[rows])])
    chance = np.asarray([int(draw[:8], 16) / 16**8 for draw in pool.draw[unknown]])
    score[unknown] = known[(chance * len(known)).astype(np.int64)] if len(known) else chance
    ranked = rows[np.lexsort((pool.draw[rows], -score[rows], stratum[rows]))]
    first = np.searchsorted(stratum[ranked], np.arange(STRATA))
    turn = np.arange(len(ranked)) - first[stratum[ranked]]
    return ranked[np.lexsort((-score[ranked], turn))]
