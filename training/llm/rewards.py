"""Rewards of replies: pure functions of a reply, the right choice and the number of candidates.

A choice is 1-based, 0 = none of them. Replies may name it as a letter, as a number, in brackets ("[10]") or as JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from distiller_udf.prompts import MAX_TOKEN_CANDIDATES, Question, parse_answer, token_labels

GENEROUS_CHARACTERS = 20
"""Replies up to this length are short; one of five times that is not short at all."""


_STATED = re.compile(
    r"(?:(?:the )?(?:correct )?(?:answer|choice|match|candidate)(?: is)?[: ]*)?"
    r"[\[(\"'`* ]{0,4}(?P<label>[A-Z])[\])\"'`*.: ]{0,4}",
    re.IGNORECASE,
)
"""A line that is a letter and at most some words and signs around it, such as "Answer: **B**."."""


def said(reply: str, candidates: int) -> int | None:
    """The choice that a reply names, None where it names none or one that is not there."""
    labels = _labels(candidates)
    first, *_ = reply.strip().splitlines() or [""]
    stated = _STATED.fullmatch(first)
    if stated and stated["label"] in labels[1:]:
        return labels.index(stated["label"])
    return parse_answer(reply.strip(), candidates).choice


def correct(reply: str, choice: int, candidates: int) -> float:
    """1 for the right choice, otherwise 0."""
    return float(said(reply, candidates) == choice)


def well_formed(reply: str, choice: int, candidates: int) -> float:
    """1 for a label and nothing else, 0.5 for a choice that can be read out of more text, otherwise 0."""
    if said(reply, candidates) is None:
        return 0.0
    bare = reply.strip()
    if candidates > MAX_TOKEN_CANDIDATES:
        return 1.0 if bare.strip("[]").isdigit() else 0.5
    return 1.0 if bare in _labels(candidates) else 0.5


def _labels(candidates: int) -> Sequence[str]:
    """The labels of none and of so many candidates; none where letters do not go as far."""
    if candidates > MAX_TOKEN_CANDIDATES:
        return ()
    return token_labels(Question("{}", ("{}",) * candidates, "select", "token"))


def short(reply: str, choice: int, candidates: int) -> float:
    """1 up to `GENEROUS_CHARACTERS`, falling in a straight line to 0 at five times as many."""
    over = len(reply.strip()) - GENEROUS_CHARACTERS
    return float(min(1.0, max(0.0, 1 - over / (4 * GENEROUS_CHARACTERS)))) if reply.strip() else 0.0


REWARDS: Mapping[str, tuple[Callable[[str, int, int], float], float]] = {
    "correct": (correct, 1.0),
    "well_formed": (well_formed, 0.2),
    "short": (short, 0.1),
}
"""Every reward and its weight: being right outweighs both others together."""


def reward(reply: str, choice: int, candidates: int) -> float:
    """All rewards together, weighted."""
    return sum(weight * of(reply, choice, candidates) for of, weight in REWARDS.values())
