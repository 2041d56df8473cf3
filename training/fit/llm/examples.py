"""Labels as examples for a language model: a question, the right answer and, where there is one, the reason for it."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from distiller_udf.errors import TrainingError
from distiller_udf.labels.table import believed, has_answer
from distiller_udf.prompts import Question
from distiller_udf.records import Records
from distiller_udf.students.llm.prompting import match, select

from ...learned import label_hashes

ALIKE = 0.5
"""A pair question is answered with yes where teachers hold it for likelier than this."""


@dataclass(frozen=True)
class Example:
    """A labelled tuple with distinct candidates: `choice` is 1-based, 0 = none of them.

    `yes` are the candidates (0-based) that are a match each by itself; `teacher` is who answered. `explanation` is the
    reason of the choice, `reasons` say by position (0-based) why a candidate is the match or is not. `heard` are the
    candidates (0-based) of which the teacher said by themselves whether they match.
    """

    query: str
    candidates: tuple[str, ...]
    choice: int
    teacher: str = ""
    explanation: str | None = None
    yes: frozenset[int] = frozenset()
    reasons: Mapping[int, str] = field(default_factory=dict, hash=False)
    heard: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Asked:
    """A question as a student is asked it, and the position of the right answer among its labels."""

    question: Question
    answer: int


def examples(labels: pa.Table, left: Sequence[str], right: Sequence[str], pairwise: bool = False) -> list[Example]:
    """The usable labels, their records with the columns `left` and `right`, in an order that their content gives.

    Unless each pair is judged by itself (`pairwise`), the candidates of one example are of one source, as a student is
    asked: a record may have a match in each source, so a choice says nothing about the candidates of another one.
    Raises TrainingError where a choice is out of range.
    """
    told = labels.filter(has_answer(labels))
    rows = sorted(zip(label_hashes(told), told.to_pylist(), strict=True), key=lambda pair: pair[0])
    found = [each for _, row in rows if row["query"] for each in _by_source(_example(row), row, pairwise)]
    queries = Records.from_texts([e.query for e in found]).with_columns(left).texts()
    texts = Records.from_texts([text for e in found for text in e.candidates]).with_columns(right).texts()
    shown = iter(texts)
    return [_distinct(e, query, [next(shown) for _ in e.candidates]) for e, query in zip(found, queries, strict=True)]


def _example(row: Mapping[str, Any]) -> Example:
    options = tuple(str(option["record"]) for option in row["options"])
    choice = row["choice"] or 0
    if not 0 <= choice <= len(options):
        raise TrainingError(f"a label chooses candidate {choice} of {len(options)}; a choice is 1-based, 0 means none")
    given = believed(row.get("probabilities"), np.arange(1, len(options) + 1) == choice, row["choice"])
    known = {} if given is None else {i: p for i, p in enumerate(given.tolist()) if not math.isnan(p)}
    chosen = {choice - 1} if choice else set()
    yes = frozenset({i for i, p in known.items() if p > ALIKE} | chosen)
    told = choice or (known and _by_pair(row))
    heard = frozenset(known.keys() | chosen if told else range(len(options)))
    reasons = {i: reason for i, reason in enumerate(row.get("explanations") or ()) if reason}
    return Example(str(row["query"]), options, choice, str(row["teacher"]), row.get("explanation"), yes, reasons, heard)


def _by_pair(row: Mapping[str, Any]) -> bool:
    """Whether every pair of a label was judged by itself."""
    return bool(row.get("ask") == "match")


def _by_source(example: Example, row: Mapping[str, Any], pairwise: bool) -> Iterator[Example]:
    """The example for each source that its answer is about: that of the choice, and all where it is none of them.

    Where every pair was judged by itself, it is about the judged ones, and each source has a choice of its own.
    """
    by_pair = _by_pair(row)
    sources = {
        i: "" if pairwise else str(option.get("source"))
        for i, option in enumerate(row["options"])
        if i in example.heard or not by_pair
    }
    one = sources[example.choice - 1] if example.choice and not by_pair else None
    for source in dict.fromkeys(sources.values()) if one is None else (one,):
        kept = [i for i, own in sources.items() if own == source]
        own = _choosing(example, kept, row.get("probabilities")) if by_pair else example
        yield _moved(own, [example.candidates[i] for i in kept], {i: place for place, i in enumerate(kept)})


def _choosing(example: Example, kept: Sequence[int], probabilities: Sequence[float | None] | None) -> Example:
    """The example with the likeliest of these candidates as its choice, none where none of them is a match."""
    matches = [i for i in kept if i in example.yes]
    if example.choice - 1 in matches:
        return example
    given = probabilities or [None] * len(example.candidates)
    best = max(matches, key=lambda i: (given[i] or 0.0, -i), default=-1)
    return replace(example, choice=best + 1, explanation=None)


def _distinct(example: Example, query: str, candidates: Sequence[str]) -> Example:
    """The example with each candidate once: which of two equal ones was meant, nobody can tell."""
    kept = list(dict.fromkeys(candidates))
    places = {i: kept.index(candidate) for i, candidate in enumerate(candidates)}
    return replace(_moved(example, kept, places), query=query)


def in_one_order(example: Example) -> Example:
    """The example with its distinct candidates in an order that their content gives: who showed them in another?"""
    ordered = sorted(example.candidates)
    return _moved(example, ordered, {i: ordered.index(candidate) for i, candidate in enumerate(example.candidates)})


def _moved(example: Example, candidates: Sequence[str], places: Mapping[int, int]) -> Example:
    """The example with these candidates; `places` says for each old position that is still there its new one."""
    return replace(
        example,
        candidates=tuple(candidates),
        choice=places[example.choice - 1] + 1 if example.choice else 0,
        yes=frozenset(places[i] for i in example.yes if i in places),
        reasons={places[i]: reason for i, reason in example.reasons.items() if i in places},
        heard=frozenset(places[i] for i in example.heard if i in places),
    )


def asked(example: Example, heats: Sequence[range], pairwise: bool, rng: random.Random) -> list[Asked]:
    """The questions of a tuple, its candidates in an order that `rng` draws; `heats` say how many fit into one.

    In an order that means something a student would learn the positions. Where pairs are judged by themselves
    (`pairwise`), every one is a question, asked from either side: those that the teacher judged, and one of those that
    it only did not choose.
    """
    if pairwise:
        others = sorted(set(range(len(example.candidates))) - example.heard)
        return [_pair(example, i, rng) for i in [*sorted(example.heard), *rng.sample(others, min(1, len(others)))]]
    order = rng.sample(range(len(example.candidates)), len(example.candidates))
    parts = [[order[i] for i in heat] for heat in heats]
    return [_asked(example, part) for part in parts]


def alone(example: Example, rng: random.Random) -> Asked:
    """The question about one candidate by itself, as `er_match` asks it: the chosen one, or one that is not."""
    others = [i for i in range(len(example.candidates)) if i != example.choice - 1]
    chosen = example.choice and (not others or rng.random() < 0.5)
    return _asked(example, [example.choice - 1 if chosen else rng.choice(others)])


def _asked(example: Example, part: Sequence[int]) -> Asked:
    chosen = example.choice - 1
    question = select(example.query, [example.candidates[i] for i in part])
    return Asked(question, part.index(chosen) + 1 if chosen in part else 0)


def _pair(example: Example, position: int, rng: random.Random) -> Asked:
    sides = [example.query, example.candidates[position]]
    rng.shuffle(sides)
    return Asked(match(*sides), int(position in example.yes))
