"""Drift: does the teacher still agree with today's decisions, and are today's pairs like those trained on?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from distiller_udf.comparison.figures import wilson
from distiller_udf.comparison.profile import Profile

FEW = 10
"""Fewer answers say nothing of an agreement."""


@dataclass(frozen=True)
class Share:
    """A share of `of` cases, with its interval of 95 % (Wilson 1927)."""

    value: float
    low: float
    high: float
    of: int


@dataclass(frozen=True)
class Agreement:
    """How far a teacher agrees with decisions about left records; None where there is no such record.

    `on_matches` is of the records that were matched, an estimate of precision; `recall` of those for which the teacher
    chose a candidate; `on_none` of those that were not matched.
    """

    all: Share
    on_matches: Share | None
    on_none: Share | None
    recall: Share | None


@dataclass(frozen=True)
class Shift:
    """One thing about pairs and its population stability index; `chance` is what no drift at all may well show."""

    what: str
    psi: float
    chance: float


def share(right: int, of: int) -> Share | None:
    """A share with its interval; None of no cases."""
    return Share(right / of, *wilson(right / of, of), of) if of else None


def agreement(ours: Sequence[frozenset[object]], theirs: Sequence[object | None]) -> Agreement | None:
    """Compare decisions about left records, row by row; None without any.

    `ours` are the records matched with it, `theirs` is the one that the teacher chose, None for none of them. They
    agree where both say none, or where the chosen one is matched.
    """
    rows = [
        (bool(matched), chosen is not None, _agree(matched, chosen))
        for matched, chosen in zip(ours, theirs, strict=True)
    ]
    everything = share(sum(agreed for *_, agreed in rows), len(rows))
    if everything is None:
        return None

    def among(kept: Iterator[bool]) -> Share | None:
        agreed = list(kept)
        return share(sum(agreed), len(agreed))

    return Agreement(
        all=everything,
        on_matches=among(agreed for matched, _, agreed in rows if matched),
        on_none=among(agreed for matched, _, agreed in rows if not matched),
        recall=among(agreed for _, chosen, agreed in rows if chosen),
    )


def psi(before: Sequence[float], now: Sequence[float]) -> float:
    """The population stability index of two rows of counts over the same bins: the sum of (q - p) ln(q / p).

    Every bin that either fills counts half a case more than it has, so that an empty one is no infinite change.
    """
    counts = np.asarray([before, now], dtype=float)
    counts = counts[:, counts.sum(axis=0) > 0] + 0.5
    p, q = counts / counts.sum(axis=1, keepdims=True)
    return float(((q - p) * np.log(q / p)).sum())


def shifts(before: Profile, now: Profile, unseen: float) -> list[Shift]:
    """How far today's pairs are from those trained on, the farthest first.

    `unseen` is the share of today's words that those did not have. Columns that only one of them has are left out.
    """
    found = [_shift("probabilities", before.probabilities, now.probabilities)]
    for name in before.columns:
        if name in now.columns:
            old, new = before.columns[name], now.columns[name]
            found.append(_shift(f"{name}: filled", *((c.filled, c.rows - c.filled) for c in (old, new))))
            found.append(_shift(f"{name}: length", old.lengths, new.lengths))
    old_words, new_words = before.occurrences, now.occurrences
    more = max(unseen, before.unseen)  # fewer new words than usual are no drift
    counts = ((share * n, (1 - share) * n) for share, n in ((before.unseen, old_words), (more, new_words)))
    found.append(_shift("new words", *counts))
    return sorted((shift for shift in found if shift is not None), key=lambda shift: -shift.psi)


def _agree(matched: frozenset[object], chosen: object | None) -> bool:
    return not matched if chosen is None else chosen in matched


def _shift(what: str, before: Sequence[float], now: Sequence[float]) -> Shift | None:
    """A shift, or None where one of them has nothing to count.

    Without drift the index is about (1 / n + 1 / m) times a chi-square of one degree less than there are bins (Yurdakul
    2018); what is not above its mean by three standard deviations may be chance.
    """
    n, m = sum(before), sum(now)
    if not n or not m:
        return None
    free = max(int(((np.asarray(before) + np.asarray(now)) > 0).sum()) - 1, 1)
    return Shift(what, psi(before, now), (1 / n + 1 / m) * (free + 3 * math.sqrt(2 * free)))
