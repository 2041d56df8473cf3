"""The strategies kmeans and hierarchical: histograms of similarities fall into likely matches and the others."""

from __future__ import annotations

import numpy as np

from distiller_udf.selection.profiles import Chosen, Pool, in_turns

CLUSTERED = 5_000
"""So many left records are clustered at most, drawn by the seed; the others go to the nearest centroid."""


def clustered(pool: Pool, strategy: str, wanted: int, from_top: int, bins: int, seed: int) -> Chosen:
    """Draws from the two clusters; the score is 1 in the likely matches' one, else 0."""
    is_likely = _likely(pool, strategy, bins, seed)
    likely, unlikely = np.flatnonzero(is_likely), np.flatnonzero(~is_likely)
    # A cluster that is too small is taken whole, and the other one gives more.
    others = min(wanted - min(from_top, len(likely)), len(unlikely))
    rows = in_turns(likely[: wanted - others], unlikely[:others])
    return Chosen(rows, is_likely[rows].astype(np.float64))


def _likely(pool: Pool, strategy: str, bins: int, seed: int) -> np.ndarray:
    """Which profiles are in the cluster whose best similarities are higher on average."""
    histograms = _histograms(pool, bins)
    sample = histograms[:CLUSTERED]  # the pool is in the order of the draw
    if len(np.unique(sample, axis=0)) < 2:
        return np.ones(len(histograms), dtype=bool)
    found = _two_clusters(sample, strategy, seed)
    centres = np.stack([sample[found == cluster].mean(axis=0) for cluster in (0, 1)])
    rest = histograms[CLUSTERED:]
    distances = ((rest[:, None, :] - centres[None]) ** 2).sum(axis=2)
    cluster = np.concatenate([found, distances.argmin(axis=1)])
    means = [pool.best[cluster == number].mean() for number in (0, 1)]
    return np.asarray(cluster == int(means[1] > means[0]))


def _two_clusters(sample: np.ndarray, strategy: str, seed: int) -> np.ndarray:
    """The cluster of each histogram, 0 or 1."""
    from sklearn.cluster import AgglomerativeClustering, KMeans

    if strategy == "kmeans":
        return np.asarray(KMeans(n_clusters=2, random_state=seed, n_init=10).fit_predict(sample))
    return np.asarray(AgglomerativeClustering(n_clusters=2, linkage="ward").fit_predict(sample))


def _histograms(pool: Pool, bins: int) -> np.ndarray:
    """The share of each profile's candidates in each bin: how many there are must not decide between the clusters."""
    at = np.clip((pool.similarities * bins).astype(np.int64), 0, bins - 1)
    counts = np.bincount(pool.member * bins + at, minlength=len(pool) * bins)
    histograms = counts.reshape(len(pool), bins).astype(np.float64)
    return np.asarray(histograms / np.maximum(histograms.sum(axis=1, keepdims=True), 1))
