"""Probabilities → matches → entities, as the macros er_matches and er_entities decide in SQL."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from distiller_udf.students.base import StudentInfo
from distiller_udf.students.choice import choose_linked

NO_PAIRS = np.zeros((0, 2), dtype=np.int64)


@dataclass(frozen=True)
class RecordNumbers:
    """The records of a warehouse, numbered in the order of their sources and ids.

    `sources[n]` numbers record n's source and `contents[n]` its content; `names[n]` is `source:id`.
    """

    sources: np.ndarray
    contents: np.ndarray
    names: list[str]

    def __len__(self) -> int:
        return len(self.sources)


@dataclass(frozen=True)
class Scored:
    """What a student says of all candidate pairs: `pairs` has the numbers of both records, the left one's first.

    `probability` is of the pair alone, `choice` has seen the left record's other candidates; NaN where unknown. `ties`
    are the places of the pairs in the order in which equals are taken, that of the hash in er_matches.
    """

    pairs: np.ndarray
    probability: np.ndarray
    choice: np.ndarray
    ties: np.ndarray


@dataclass(frozen=True)
class Rules:
    """How scores become matches: a constraint, a threshold (None: the student's own), pairs that are or are not one."""

    constraint: str
    threshold: float | None = None
    must: np.ndarray = field(default_factory=lambda: NO_PAIRS)
    cannot: np.ndarray = field(default_factory=lambda: NO_PAIRS)


def matches(scored: Scored, records: RecordNumbers, info: StudentInfo, rules: Rules) -> np.ndarray:
    """The matches, in the shape of `Scored.pairs`, ordered by their numbers; see the macro `er_matches`."""
    choice = np.where(np.isnan(scored.choice), scored.probability, scored.choice)
    if rules.constraint == "one_to_one":
        choice = choose_linked(info, scored.probability, *_ends(scored.pairs, records.contents, records.sources))
    elif rules.constraint == "none":
        choice = choose_linked(info, scored.probability, *records.contents[scored.pairs].T)
    accepted = np.flatnonzero(choice >= (info.choice_threshold if rules.threshold is None else rules.threshold))
    likeliest = accepted[np.lexsort((scored.ties[accepted], -scored.probability[accepted], -choice[accepted]))]
    pairs = scored.pairs[likeliest]
    pairs = _constrained(pairs[_allowed(pairs, records, rules)], records, rules.constraint)
    return np.unique(np.concatenate([pairs, rules.must]), axis=0)


def entities(pairs: np.ndarray, records: int) -> np.ndarray:
    """The number of the first record of every record's entity: the connected components of the matches."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(records, records))
    _, component = connected_components(links, directed=False)
    _, first = np.unique(component, return_index=True)
    return np.asarray(first[component])


def encoded(pairs: np.ndarray) -> np.ndarray:
    """One number a pair, the same for the same pair."""
    return np.asarray(pairs[:, 0] * np.int64(2**31) + pairs[:, 1])


def _ends(pairs: np.ndarray, ends: np.ndarray, sources: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A number for each pair's left record with the right one's source, and the other way round: who competes."""
    left, right = pairs.T
    several = int(sources.max(initial=0)) + 1
    return ends[left] * several + sources[right], ends[right] * several + sources[left]


def _allowed(pairs: np.ndarray, records: RecordNumbers, rules: Rules) -> np.ndarray:
    """Which pairs the links leave to be decided: a must-link takes its records out of the competition."""
    allowed = ~np.isin(encoded(pairs), np.concatenate([encoded(rules.cannot), encoded(rules.must)]))
    if len(rules.must) and rules.constraint != "none":
        numbers = np.arange(len(records), dtype=np.int64)
        ends = zip(_ends(pairs, numbers, records.sources), _ends(rules.must, numbers, records.sources), strict=True)
        taken = [np.isin(mine, theirs) for mine, theirs in ends]
        allowed &= ~taken[0]
        if rules.constraint == "one_to_one":
            allowed &= ~taken[1]
    return np.asarray(allowed)


def _constrained(pairs: np.ndarray, records: RecordNumbers, constraint: str) -> np.ndarray:
    """The pairs that the constraint leaves, given the likeliest first."""
    if constraint == "none" or len(pairs) == 0:
        return pairs
    left, right = _ends(pairs, np.arange(len(records), dtype=np.int64), records.sources)
    if constraint == "many_to_one":
        return pairs[np.sort(np.unique(left, return_index=True)[1])]
    taken_left: set[int] = set()
    taken_right: set[int] = set()
    kept = []
    for i, ends in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
        if ends[0] not in taken_left and ends[1] not in taken_right:
            taken_left.add(ends[0])
            taken_right.add(ends[1])
            kept.append(i)
    return pairs[kept]
