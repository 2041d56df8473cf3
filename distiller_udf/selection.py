"""Which left records the teachers are asked about: pure functions of one row a left record that has candidates."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distiller_udf.constraint import Constraint
from distiller_udf.errors import one_of
from distiller_udf.records import one_array

STRATEGIES = ("random", "max", "top2", "kmeans", "hierarchical", "uncertain")

CLUSTERED = 5_000
"""So many left records are clustered at most, drawn by the seed; the others go to the nearest centroid."""

SMALLEST_ROUND = 20
"""A round asks about so many records at least: a student learns nothing from fewer."""

STRATA = 4
"""A round is spread evenly over so many groups of left records, by their best similarity."""


@dataclass(frozen=True)
class LeftRecords:
    """What is known of the left records, in the order of their draw.

    `table` has their rows, `row` (records,) where each was in the table they come from, `draw` its hash, `best` and
    `second` the similarities of its likeliest candidates, in [0, 1]. All `similarities` lie one after the other, those
    of the record `member[i]` at i.
    """

    table: pa.Table
    row: np.ndarray
    draw: np.ndarray
    similarities: np.ndarray
    member: np.ndarray
    best: np.ndarray
    second: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def of(cls, table: pa.Table, seed: int) -> LeftRecords:
        """The left records of a table as `select` takes it, drawn by `seed`."""
        keys = zip(table["left_source"].to_pylist(), table["id_text"].to_pylist(), strict=True)
        draw = np.asarray([_draw(seed, source, text) for source, text in keys], dtype="S32")
        row = np.argsort(draw, kind="stable")
        ordered = table.take(pa.array(row))
        similarities, starts = _lists(ordered["similarities"])
        member = _members(starts, len(similarities))
        best = np.full(len(row), -np.inf)
        np.maximum.at(best, member, similarities)
        return cls(ordered, row, draw[row], similarities, member, best, _two_largest(similarities, starts)[:, 1])


@dataclass(frozen=True)
class Selection:
    """The chosen left records, by rank: their positions (`rows`), the `scores` that they were chosen by, and the
    `rounds` that they are of (None: there is one round).
    """

    rows: np.ndarray
    scores: np.ndarray
    rounds: np.ndarray | None = None


def select(
    table: pa.Table,
    *,
    strategy: str = "random",
    share: float = 0.1,
    minimum: int = 0,
    positive_ratio: float = 0.5,
    bins: int = 10,
    rounds: int = 4,
    seed: int = 42,
    constraint: Constraint = Constraint.ONE_TO_ONE,
) -> pa.Table:
    """The selected left records: `left_source`, `left_id`, `strategy`, `rank` (from 1), `score` and `round` (from 1).

    `table` has one row a left record: `left_source`, `left_id` (of any type), `id_text` (the id as text) and
    `similarities` (LIST of its candidates' similarities, from 0 to 1). `uncertain` also reads, where they are,
    `probabilities` (LIST of what the current student gives its candidates, NULL where it has not scored them),
    `selected` (by an earlier run), the `round` of that, and `labelled` (asked and answered, be it by an abstention;
    where it is missing, all that is selected counts as labelled).

    - random: drawn by a hash of the record's key and the seed.
    - max, top2: the highest and the lowest scores: the best similarity, or its lead over the second best.
    - kmeans, hierarchical: histograms of the similarities (the share of the candidates in each of `bins` from 0 to 1)
      are clustered into two; the cluster whose best similarities are higher on average holds the likely matches, and
      both are drawn from at random (DistillER, arXiv 2602.05452).
    - uncertain: a random first round, then, run by run, another one of `rounds` of those the student is least sure of,
      beside all that was asked before, until the share is reached. See `uncertainty`.

    `share` and `minimum` say how many, as far as there are so many; `positive_ratio` of them come from the likely
    matches (not in random and uncertain); likely matches and the others take turns in `rank`. The `constraint` says
    what `uncertain` is unsure of. The result does not
    depend on the order of the rows. Raises SettingsError for an unknown strategy.
    """
    one_of("the selection strategy", strategy, STRATEGIES)
    records = LeftRecords.of(table, seed)
    wanted = min(len(records), max(_share(len(records), share), minimum))
    from_top = _share(wanted, positive_ratio)
    if strategy == "random":
        chosen = Selection(np.arange(wanted), np.full(wanted, np.nan))  # the first of the draw
    elif strategy == "uncertain":
        chosen = _least_sure(records, wanted, rounds, constraint)
    elif strategy in ("kmeans", "hierarchical"):
        chosen = _clustered(records, strategy, wanted, from_top, bins, seed)
    else:
        chosen = _extremes(records, strategy, wanted, from_top)
    return _as_table(table, records, strategy, chosen)


def _share(count: int, share: float) -> int:
    """A share of so many, rounded up; in decimals, so that a tenth of 70 is 7."""
    return math.ceil(count * Decimal(repr(float(share))))


def _as_table(table: pa.Table, records: LeftRecords, strategy: str, chosen: Selection) -> pa.Table:
    at = pa.array(records.row[chosen.rows])
    rounds = np.ones(len(at), dtype=np.int64) if chosen.rounds is None else chosen.rounds
    return pa.table(
        {
            "left_source": one_array(table["left_source"]).take(at),
            "left_id": one_array(table["left_id"]).take(at),
            "strategy": pa.array([strategy] * len(at), pa.string()),
            "rank": pa.array(np.arange(1, len(at) + 1), pa.int64()),
            "score": pa.array(chosen.scores, pa.float64(), mask=np.isnan(chosen.scores)),
            "round": pa.array(rounds, pa.int64()),
        }
    )


def _in_turns(likely: np.ndarray, unlikely: np.ndarray) -> np.ndarray:
    """One of each in turn, the likely one first; what is left of the longer at the end."""
    position = np.concatenate([np.arange(len(likely)), np.arange(len(unlikely)) + 0.5])
    return np.concatenate([likely, unlikely])[np.argsort(position, kind="stable")].astype(np.int64)


def _lists(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """A column of lists as its values (NaN for NULL) and where each list starts among them."""
    array = one_array(column)
    counts = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    values = array.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values, np.cumsum(counts) - counts


def _members(starts: np.ndarray, count: int) -> np.ndarray:
    """The list of each of `count` values."""
    return np.repeat(np.arange(len(starts)), np.diff(np.append(starts, count)))


def _two_largest(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The two largest values of each list, (lists, 2); 0 where it has fewer."""
    order = np.lexsort((-values, _members(starts, len(values))))
    counts = np.diff(np.append(starts, len(values)))
    found = np.zeros((len(starts), 2))
    for place in (0, 1):
        has = counts > place
        found[has, place] = values[order[starts[has] + place]]
    return found


def _draw(seed: int, source: str, id_text: str) -> str:
    """What decides where nothing else does: the same on every run and machine."""
    return hashlib.md5(f"{seed}:{source}:{id_text}".encode(), usedforsecurity=False).hexdigest()


def _extremes(records: LeftRecords, strategy: str, wanted: int, from_top: int) -> Selection:
    """The highest and the lowest best similarities (max), or leads of the best over the second (top2), in turns."""
    scores = records.best if strategy == "max" else records.best - records.second
    ranked = np.lexsort((records.draw, -scores))  # the draw breaks ties
    rows = _in_turns(ranked[:from_top], ranked[::-1][: wanted - from_top])
    return Selection(rows, scores[rows])


def _clustered(records: LeftRecords, strategy: str, wanted: int, from_top: int, bins: int, seed: int) -> Selection:
    """Draws from the two clusters; the score is 1 in the likely matches' one, else 0."""
    is_likely = _likely(records, strategy, bins, seed)
    likely, unlikely = np.flatnonzero(is_likely), np.flatnonzero(~is_likely)
    # A cluster that is too small is taken whole, and the other one gives more.
    others = min(wanted - min(from_top, len(likely)), len(unlikely))
    rows = _in_turns(likely[: wanted - others], unlikely[:others])
    return Selection(rows, is_likely[rows].astype(np.float64))


def _likely(records: LeftRecords, strategy: str, bins: int, seed: int) -> np.ndarray:
    """Which left records are in the cluster whose best similarities are higher on average."""
    histograms = _histograms(records, bins)
    sample = histograms[:CLUSTERED]  # the records are in the order of the draw
    if len(np.unique(sample, axis=0)) < 2:
        return np.ones(len(histograms), dtype=bool)
    found = _two_clusters(sample, strategy, seed)
    centres = np.stack([sample[found == cluster].mean(axis=0) for cluster in (0, 1)])
    rest = histograms[CLUSTERED:]
    distances = ((rest[:, None, :] - centres[None]) ** 2).sum(axis=2)
    cluster = np.concatenate([found, distances.argmin(axis=1)])
    means = [records.best[cluster == number].mean() for number in (0, 1)]
    return np.asarray(cluster == int(means[1] > means[0]))


def _two_clusters(sample: np.ndarray, strategy: str, seed: int) -> np.ndarray:
    """The cluster of each histogram, 0 or 1."""
    from sklearn.cluster import AgglomerativeClustering, KMeans

    if strategy == "kmeans":
        return np.asarray(KMeans(n_clusters=2, random_state=seed, n_init=10).fit_predict(sample))
    return np.asarray(AgglomerativeClustering(n_clusters=2, linkage="ward").fit_predict(sample))


def _histograms(records: LeftRecords, bins: int) -> np.ndarray:
    """The share of each record's candidates in each bin: how many there are must not decide between the clusters."""
    at = np.clip((records.similarities * bins).astype(np.int64), 0, bins - 1)
    counts = np.bincount(records.member * bins + at, minlength=len(records) * bins)
    histograms = counts.reshape(len(records), bins).astype(np.float64)
    return np.asarray(histograms / np.maximum(histograms.sum(axis=1, keepdims=True), 1))


def _least_sure(records: LeftRecords, wanted: int, rounds: int, constraint: Constraint) -> Selection:
    """What was asked before, and another round of the least sure; the score is the uncertainty."""
    unsure = _unsure(records, constraint)
    asked_in, labelled = _asked_in(records), _flags(records, "labelled")
    before = np.flatnonzero(asked_in > 0)
    before = before[np.argsort(~labelled[before], kind="stable")][:wanted]
    new = np.setdiff1d(np.arange(len(records)), before)
    if len(before):
        new = _spread(records, unsure, new)
    size = max(math.ceil(wanted / rounds), SMALLEST_ROUND)
    new = new[: min(wanted - len(before), _growth(asked_in[before], labelled[before], size))]
    rows = np.concatenate([before, new])
    this_round = int(asked_in[before].max(initial=0)) + 1
    return Selection(rows, unsure[rows], np.where(asked_in[rows] > 0, asked_in[rows], this_round))


def uncertainty(
    probabilities: np.ndarray, starts: np.ndarray, constraint: Constraint = Constraint.ONE_TO_ONE
) -> np.ndarray:
    """How unsure the student is of each left record: 1 less the lead of its best answer over the next best; 1 = a tie.

    `probabilities` of all candidates one after the other, the first of each left record at `starts`. A student gives
    each candidate a probability of its own; given that at most one is right, a candidate weighs its odds p / (1 - p)
    against 1 for none (Bernoullis conditioned on at most one success). Without a constraint every candidate is a
    question of its own, and the least sure one counts. NaN where a record has no probability.

    The entropy of the same distribution prefers records with many unlikely candidates to those between two answers.
    """
    member = _members(starts, len(probabilities))
    known = np.bincount(member, np.isfinite(probabilities), len(starts)) > 0
    if not constraint.limits_left:
        most = np.zeros(len(starts))
        np.maximum.at(most, member, np.nan_to_num(1 - np.abs(2 * probabilities - 1)))
        return np.where(known, most, np.nan)
    odds = np.clip(probabilities, 1e-9, 1 - 1e-9)
    odds = np.where(np.isfinite(odds), odds / (1 - odds), 0.0)
    ranked = np.sort(np.column_stack([np.ones(len(starts)), _two_largest(odds, starts)]), axis=1)  # 1 is none's
    total = 1 + np.bincount(member, odds, len(starts))
    return np.where(known, 1 - (ranked[:, 2] - ranked[:, 1]) / total, np.nan)


def _growth(asked_in: np.ndarray, labelled: np.ndarray, size: int) -> int:
    """How many a run adds to what was asked before: a round, less what the last round still waits for.

    As long as nothing of the last round is answered, nothing is added: a run without answers uses up no round. What
    never gets an answer counts once, in the round after its own, and never for more than half of that: it cannot keep
    the share from being reached.
    """
    if not len(asked_in):
        return size
    of_last = labelled[asked_in == asked_in.max()]
    if not of_last.any():
        return 0
    return max(size - int((~of_last).sum()), math.ceil(size / 2))


def _asked_in(records: LeftRecords) -> np.ndarray:
    """The round in which each left record was asked about, 0 = in none; what was only labelled belongs to the first.

    Where it is not known what is labelled, all that was selected is taken to be.
    """
    selected = _flags(records, "selected")
    rounds = np.ones(len(records), dtype=np.int64)
    if "round" in records.table.column_names:
        given = pc.fill_null(one_array(records.table["round"]).cast("int64"), 1)
        rounds = np.maximum(given.to_numpy(zero_copy_only=False), 1)
    return np.where(selected, rounds, _flags(records, "labelled").astype(np.int64))


def _flags(records: LeftRecords, name: str) -> np.ndarray:
    """A column of truth values; false where a value is missing, and `selected` where `labelled` is."""
    if name == "labelled" and name not in records.table.column_names:
        name = "selected"
    if name not in records.table.column_names:
        return np.zeros(len(records), dtype=bool)
    flags = pc.fill_null(one_array(records.table[name]), False)
    return np.asarray(flags.to_numpy(zero_copy_only=False), dtype=bool)


def _unsure(records: LeftRecords, constraint: Constraint) -> np.ndarray:
    """The uncertainty of each left record, NaN where the student has not scored it."""
    if "probabilities" not in records.table.column_names:
        return np.full(len(records), np.nan)
    return uncertainty(*_lists(records.table["probabilities"]), constraint)


def _spread(records: LeftRecords, unsure: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Left records by their uncertainty, each group of similarity in turn; those without a score rank by chance.

    The least sure records resemble each other; a round of nothing else would teach one thing many times.
    """
    ordered = rows[np.lexsort((records.draw[rows], records.best[rows]))]
    stratum = np.empty(len(records), dtype=np.int64)
    stratum[ordered] = np.arange(len(ordered)) * STRATA // max(len(ordered), 1)
    score = _with_chance(records, unsure, rows)
    ranked = rows[np.lexsort((records.draw[rows], -score[rows], stratum[rows]))]
    first = np.searchsorted(stratum[ranked], np.arange(STRATA))
    turn = np.arange(len(ranked)) - first[stratum[ranked]]
    return np.asarray(ranked[np.lexsort((-score[ranked], turn))])


def _with_chance(records: LeftRecords, unsure: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """An unscored record gets the uncertainty of a scored one that is drawn for it: neither first nor last."""
    score: np.ndarray = unsure.copy()
    unknown = rows[np.isnan(score[rows])]
    known = np.sort(score[rows][~np.isnan(score[rows])])
    chance = np.asarray([int(draw[:8], 16) / 16**8 for draw in records.draw[unknown]])
    score[unknown] = known[(chance * len(known)).astype(np.int64)] if len(known) else chance
    return score
