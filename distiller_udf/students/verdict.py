"""What holds of a pair, in plain words: by itself, where no rival comes near, and, once it was decided, why."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from distiller_udf.students.base import StudentInfo
from distiller_udf.students.choice import choose_linked

DECIDED = "choice_probability"
"""What a row must have to say how a pair was decided, as those of er_choices, er_matches and er_decisions have."""

MAX_DECIMALS = 6

_APART = {
    "cannot_link": "a cannot-link keeps these apart",
    "one_of_each_source": "as one they would have two records of a source",
    "max_size": "as one they would have more records than er_entity_max_size",
}


@dataclass(frozen=True)
class Verdict:
    """Whether a pair is a match, or would be one, and the sentences that say so."""

    is_match: bool
    text: str


def verdict(info: StudentInfo, probability: float, row: Mapping[str, Any] | None = None) -> Verdict:
    """What holds of a pair to which a student gives this probability.

    A student that lets records compete has two answers, for a pair by itself and for one that has no rivals; both are
    told where they differ. `row` makes it definite: what er_choices, er_matches or er_decisions says of the pair.
    """
    if math.isnan(probability):  # a record is empty, as the evidence says
        return Verdict(False, "")
    if row is not None and all(row.get(name) is None for name in (DECIDED, "reason", "decided_by")):
        row = None
    pair = _Pair.of(info, probability, row or {})
    if row is None:
        return _undecided(pair)
    is_match = row.get("is_match")
    if is_match is None:
        is_match = "decided_by" in row or pair.among >= pair.threshold
    text = _matched(pair, row) if is_match else _not_matched(pair, row)
    return Verdict(bool(is_match), text + _entity(bool(is_match), row) + _changed(probability, row))


@dataclass(frozen=True)
class _Pair:
    """A pair's probabilities: by itself, where no rival comes near, among all others; and what each has to reach.

    `competes`: records have one match at most, so that the others are rivals. Otherwise, and where they are not known,
    a pair by itself tells what there is to tell.
    """

    alone: float
    enough: float
    unrivalled: float
    among: float
    threshold: float
    competes: bool

    @classmethod
    def of(cls, info: StudentInfo, probability: float, row: Mapping[str, Any]) -> _Pair:
        known = row.get("probability")
        alone = probability if known is None else float(known)
        one = np.zeros(1, dtype=np.int64)
        unrivalled = float(choose_linked(info, np.asarray([alone]), one, one)[0])
        chosen, threshold = row.get(DECIDED), row.get("threshold")
        if chosen is None:
            threshold = info.tuple_threshold
        elif threshold is None:
            threshold = info.choice_threshold
        among = unrivalled if chosen is None else float(chosen)
        return cls(alone, info.threshold, unrivalled, among, float(threshold), info.constraint.limits_left)

    @property
    def by_itself(self) -> str:
        """`0.28 (0.41 is needed)`."""
        return "{} ({} is {})".format(*_against(self.alone, self.enough))

    @property
    def among_rivals(self) -> str:
        """`0.31 (0.45 is needed)`."""
        return "{} ({} is {})".format(*_against(self.among, self.threshold))

    def unless_rivals(self, probability: float) -> str:
        """`no rival comes near (0.74, 0.45 is enough)`."""
        return "no rival comes near ({}, {} is {})".format(*_against(probability, self.threshold))


def _undecided(pair: _Pair) -> Verdict:
    alone, unrivalled = pair.alone >= pair.enough, pair.unrivalled >= pair.threshold
    if not pair.competes:
        return Verdict(alone, f"{'A match' if alone else 'No match'}: {pair.by_itself}.")
    where = f"where {pair.unless_rivals(pair.unrivalled)}"
    if alone and unrivalled:
        text = f"A match, by itself {pair.by_itself} and {where}."
    elif unrivalled:
        text = f"A match {where}, although by itself only {pair.by_itself}."
    elif alone:
        text = f"No match, not even {where}, although by itself {pair.by_itself}."
    else:
        text = f"No match: by itself {pair.by_itself}, and not even {where}."
    return Verdict(unrivalled, text)


def _matched(pair: _Pair, row: Mapping[str, Any]) -> str:
    if row.get("decided_by") == "must_link":
        return f"Matched by a must-link; by itself it has {pair.by_itself}."
    word = "Matched" if "decided_by" in row else "A match"
    if not pair.competes:
        return _beside(f"{word}: ", pair)
    if pair.alone < pair.enough:
        return f"{word}: {pair.unless_rivals(pair.among)}, although by itself only {pair.by_itself}."
    return f"{word}: among its rivals {pair.among_rivals}, and by itself {pair.by_itself}."


def _not_matched(pair: _Pair, row: Mapping[str, Any]) -> str:
    word, reason = "Not matched" if "decided_by" in row else "No match", row.get("reason")
    taken = _taken(row)
    if reason == "nothing_to_compare":
        return f"{word}: a record is empty, so there is nothing to compare."
    if reason == "cannot_link":
        return f"{word}: a cannot-link forbids it; by itself it has {pair.by_itself}."
    if reason in ("rival", "taken_by_must_link"):
        return f"{word}: {taken}. This pair has {pair.among_rivals} among its rivals, and by itself {pair.by_itself}."
    if not pair.competes:
        return _beside(f"{word}: ", pair)
    if pair.unrivalled < pair.threshold:
        return f"{word}: by itself {pair.by_itself}, and not even where {pair.unless_rivals(pair.unrivalled)}."
    rivals = f"rivals come too near{f', and {taken}' if taken else ''}"
    return f"{word}: {rivals}. Among them it has {pair.among_rivals}, without them {_written(pair.unrivalled)}."


def _beside(begin: str, pair: _Pair) -> str:
    """What holds of a pair by itself, and what the records around both make of it where that is something else."""
    if (pair.alone >= pair.enough) == (pair.among >= pair.threshold):
        return f"{begin}{pair.by_itself}."
    return f"{begin}the records around both make it {pair.among_rivals}, although by itself {pair.by_itself}."


def _taken(row: Mapping[str, Any]) -> str:
    """Who has one of the pair's records, where anybody has."""
    if row.get("rival_source") is None:
        return ""
    side = "left" if row["rival_side"] == "right" else "right"
    probability = row.get("rival_probability")
    by = " by a must-link" if row.get("reason") == "taken_by_must_link" else ""
    likely = "" if by or probability is None else f" ({_written(float(probability))})"
    return f"its {side} record is matched with {row['rival_source']}:{row['rival_id']}{by}{likely}"


def _entity(is_match: bool, row: Mapping[str, Any]) -> str:
    """What became of the pair's records, where that is not what the decision lets expect."""
    same = row.get("same_entity")
    if is_match and same is False:
        why = _APART.get(str(row.get("kept_apart_by")))
        return " Its records are in two entities all the same" + (f": {why}." if why else ".")
    if not is_match and same:
        return " Its records are in one entity all the same, through others."
    return ""


def _changed(probability: float, row: Mapping[str, Any]) -> str:
    known = row.get("probability")
    if known is None or math.isclose(float(known), probability, abs_tol=1e-4):
        return ""
    return f" A record or the student has changed since: by itself it has {_written(probability)} now."


def _against(probability: float, threshold: float) -> tuple[str, str, str]:
    """A probability, what it takes, and whether it is enough; with as many decimals as tell which is larger."""
    values, decimals = (probability, threshold), 2
    while decimals < MAX_DECIMALS and probability != threshold:
        shown = [round(value, max(decimals, _decimals(value))) for value in values]
        if shown[0] != shown[1] and (shown[0] > shown[1]) == (probability > threshold):
            break
        decimals += 1
    what = "enough" if probability >= threshold else "needed"
    return _written(probability, decimals), _written(threshold, decimals), what


def _decimals(probability: float) -> int:
    """How many decimals tell it from 0 and 1."""
    doubt = max(min(probability, 1 - probability), 10**-MAX_DECIMALS)
    return max(2, -math.floor(math.log10(doubt)))


def _written(probability: float, decimals: int = 0) -> str:
    if min(probability, 1 - probability) < 10**-MAX_DECIMALS:
        return "above 0.999999" if probability > 0.5 else "below 0.000001"
    return f"{probability:.{max(decimals, _decimals(probability))}f}"
