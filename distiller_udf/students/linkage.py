"""Pairs among their like: what the records around two records have to say of them.

Without a constraint two records have no rivals, but company: whoever is the same entity as one of them is so as the
other one, or neither is. So groups of records are joined as long as the pairs between them speak for it on average, the
best two groups first (average linkage: Sokal and Michener 1958). Groups that are each other's best may be joined all at
once (Murtagh 1983, "A survey of recent advances in hierarchical clustering algorithms"), so a few rounds over all pairs
do.
"""

from __future__ import annotations

import numpy as np

UNPROPOSED = -0.5
"""What a pair says that blocking did not propose: beside those that it did, it is somewhat unlikely."""

_MAXIMUM = 8.0
"""No pair speaks louder: one that is certain must not outvote all others."""


def average_linkage(evidence: np.ndarray, lefts: np.ndarray, rights: np.ndarray) -> np.ndarray:
    """The evidence of each pair in the light of all others: the mean of that between the groups of its two records.

    `evidence` is in log odds, above 0 for a match. Records are numbered from 0, by the same numbers on both sides;
    pairs of the same two are copies, and a record with itself has no company. Of two records that come into one group
    it is the mean at which their groups were joined, above 0; of others that which is left between their groups. So the
    pairs that reach a level, from 0 on, connect the very groups that are joined down to that level.
    """
    result = np.array(evidence, dtype=np.float64)
    apart = np.flatnonzero(lefts != rights)
    if len(apart):
        groups = _Groups(lefts[apart], rights[apart], np.clip(result[apart], -_MAXIMUM, _MAXIMUM))
        while groups.join():
            pass
        result[apart] = groups.levels()
    return result


class _Groups:
    """Groups of records that grow. Row by row: two groups, `a` and `b`, and what the pairs between them say in sum."""

    def __init__(self, lefts: np.ndarray, rights: np.ndarray, evidence: np.ndarray) -> None:
        self.count = int(max(lefts.max(), rights.max())) + 1
        sides = np.zeros((self.count, 2))
        sides[lefts, 0], sides[rights, 1] = 1, 1
        # How many records a group has, and how many of them were never on the right, never on the left.
        self.sizes = np.column_stack([np.ones(self.count), sides * (sides.sum(axis=1) == 1)[:, None]])
        keys, self.given = np.unique(self._keys(lefts, rights), return_inverse=True)
        self.a, self.b = np.divmod(keys, self.count)
        self.pairs: np.ndarray = np.ones(len(keys))
        self.total: np.ndarray = np.bincount(self.given, evidence) / np.bincount(self.given)
        self.row = np.arange(len(keys))
        """Where the groups of each of the first rows' records are now, as long as they are two."""
        self.joined_at = np.full(len(keys), np.nan)

    def join(self) -> bool:
        """Join all groups that are each other's best, and say whether there were any."""
        means = self._means()
        place = np.empty(len(means), dtype=np.int64)
        place[np.lexsort((self.b, self.a, -means))] = np.arange(len(means))
        best = np.full(self.count, len(means))
        np.minimum.at(best, self.a, place)
        np.minimum.at(best, self.b, place)
        joined = (means > 0) & (place == best[self.a]) & (place == best[self.b])
        apart = np.isnan(self.joined_at)
        self.joined_at = np.where(apart & joined[self.row], means[self.row], self.joined_at)
        into = np.arange(self.count)
        into[self.b[joined]] = self.a[joined]
        np.add.at(self.sizes, self.a[joined], self.sizes[self.b[joined]])
        kept = ~joined
        keys, row = np.unique(self._keys(into[self.a[kept]], into[self.b[kept]]), return_inverse=True)
        moved = np.zeros(len(means), dtype=np.int64)
        moved[kept] = row
        self.row = moved[self.row]
        self.a, self.b = np.divmod(keys, self.count)
        self.total, self.pairs = np.bincount(row, self.total[kept]), np.bincount(row, self.pairs[kept])
        return bool(joined.any() and len(keys))

    def levels(self) -> np.ndarray:
        """What is to be said of each pair that was given, in their order."""
        apart = np.isnan(self.joined_at)
        levels = self.joined_at.copy()
        levels[apart] = self._means()[self.row[apart]]
        return np.asarray(levels[self.given])

    def _means(self) -> np.ndarray:
        """The mean of all pairs between two groups; two records that were on one side only were never to be paired."""
        a, b = self.sizes[self.a], self.sizes[self.b]
        possible = np.maximum(a[:, 0] * b[:, 0] - (a[:, 1:] * b[:, 1:]).sum(axis=1), self.pairs)
        return np.asarray((self.total + UNPROPOSED * (possible - self.pairs)) / possible)

    def _keys(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """One number for each two groups, the same in either order."""
        return np.asarray(np.minimum(a, b).astype(np.int64) * self.count + np.maximum(a, b))
