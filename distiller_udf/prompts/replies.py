"""Replies as answers: robust reading of what models write; a reply that says nothing usable abstains."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from distiller_udf.prompts.question import Answer

MAX_REPLY_CHARACTERS = 50_000
"""A longer reply (after any thinking) abstains: no sane answer is that long, and reading it would take long."""

MAX_EXPLANATION_CHARACTERS = 2_000


def parse_answer(reply: str | None, n: int) -> Answer:
    """Read a reply to a question with `n` candidates; never raises.

    The asked-for JSON is read first, then JSON inside other text, then a number in brackets or after words such as
    "the answer is". A reply that says nothing usable, several things, or a number out of range abstains.
    """
    if not reply or not reply.strip():
        return _abstain("the reply is empty")
    text = reply.rpartition(_END_OF_THINKING)[2].strip()
    if len(text) > MAX_REPLY_CHARACTERS:
        return _abstain(f"the reply has {len(text):,} characters")
    for read in (_from_whole, _from_json_inside, _from_statement, _from_brackets, _from_none_words):
        found = read(text)
        choices = {choice for choice, _ in found}
        if len(choices) > 1:
            return _abstain(f"the reply is ambiguous: {_listed(choices)}")
        if choices:
            choice = choices.pop()
            if not 0 <= choice <= n:
                return _abstain(f"the reply chose {_number(choice)}, but there are {n} candidates")
            return replace(_details(found[-1][1]), choice=choice)
    return _abstain("the reply contains no choice: " + json.dumps(text[:80], ensure_ascii=False))


_Found = list[tuple[int, Mapping[str, Any]]]
"""Choices found in a reply, each with the JSON object it came from (empty where it came from plain text)."""

_CHOICE_NAMES = ("choice", "answer")
_END_OF_THINKING = "</think>"
_MAX_OBJECTS = 1_000
# Quantifiers are bounded: a reply is foreign text and must not be able to make a pattern slow.
_STATED = re.compile(
    r"\b(?:answer|choice|match|(?:record|candidate)(?: record)? (?:number|index)|number)"
    r"(?: (?:is|are|would be|should be))?[\"'`*:= ]{0,12}(?:(?:candidate|record|number) )?"
    r"\[?[\"'`]?\[(\d{1,9})\]",
    re.IGNORECASE,
)
_STATED_BARE = re.compile(
    r"\b(?:answer|choice)(?: is| would be| should be)?[\"'`*:= ]{1,12}(?:(?:candidate|record|number|option) )?#?"
    r"(\d{1,4})\b(?![.,]?\d)",
    re.IGNORECASE,
)
_BRACKETED = re.compile(r"\[\s*(\d{1,9})\s*\]")
_WHOLE_NUMBER = re.compile(
    r"[\"'`*\s]*(?:(?:candidate|record|answer|choice)\s*[:#]?\s*)?(\d{1,9})[\"'`*.\s]*", re.IGNORECASE
)
_NONE_WORDS = re.compile(
    r"(?:(?:the )?(?:answer|choice)(?: is)?\s*:?\s*)?[\"'`*\[]*"
    r"(?:none|no match|none of (?:them|these|the candidates|the above)|no matching (?:record|candidate))"
    r"(?: (?:found|matches|match))?[\"'`*\].!\s]*",
    re.IGNORECASE,
)


def _from_whole(text: str) -> _Found:
    """The reply is the JSON object, or nothing but a number."""
    bare = _without_fence(text)
    try:
        value = json.loads(bare, object_pairs_hook=_without_contradiction)
    except (ValueError, RecursionError):
        match = _WHOLE_NUMBER.fullmatch(bare)
        return [(int(match[1]), {})] if match else []
    if isinstance(value, dict):
        return _from_object(value)
    choice = _as_choice(value)
    return [] if choice is None else [(choice, {})]


def _from_json_inside(text: str) -> _Found:
    """JSON objects with a choice, wherever they stand in the text."""
    return [found for value in _objects(text) for found in _from_object(value)]


def _from_statement(text: str) -> _Found:
    """Sentences such as "the answer is: [3]" or "Answer: 3"."""
    line = re.sub(r"\s+", " ", text)
    if "{" in line:
        line = line.rstrip("0123456789")  # JSON that was cut off here: the number may not be whole
    return [(int(match[1]), {}) for pattern in (_STATED, _STATED_BARE) for match in pattern.finditer(line)]


def _from_brackets(text: str) -> _Found:
    """Numbers in brackets anywhere."""
    return [(int(match[1]), {}) for match in _BRACKETED.finditer(text)]


def _from_none_words(text: str) -> _Found:
    """Nothing but a word for "none": a longer text that contains the word may mean anything."""
    return [(0, {})] if _NONE_WORDS.fullmatch(_without_fence(text)) else []


def _from_object(value: Mapping[str, Any]) -> _Found:
    """The choice of one JSON object, also where a model wrapped it into `properties` of the schema it was shown."""
    choices = [_as_choice(value.get(name)) for name in _CHOICE_NAMES]
    inner = value.get("properties")
    if choices == [None, None] and isinstance(inner, dict):
        return _from_object(inner)
    return [(choice, value) for choice in choices if choice is not None]


def _as_choice(value: Any) -> int | None:
    """A choice as models write it: 3, 3.0, "3", "[3]", [3], "none"; None for anything else."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return int(value) if value == value and abs(value) < 1e9 and value == int(value) else None
    if isinstance(value, str):
        text = value.strip()
        match = _WHOLE_NUMBER.fullmatch(text) or _BRACKETED.fullmatch(text)
        if match:
            return int(match[1])
        return 0 if _NONE_WORDS.fullmatch(text) else None
    return None


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Every outermost JSON object in a text, in order."""
    decoder = json.JSONDecoder(object_pairs_hook=_without_contradiction)
    position = text.find("{")
    for _ in range(_MAX_OBJECTS):
        if position < 0:
            return
        try:
            value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            value, end = None, position + 1
        if isinstance(value, dict):
            yield value
        position = text.find("{", end)


def _without_contradiction(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object as a dict; a choice given twice and differently is no choice."""
    value = dict(pairs)
    for name in _CHOICE_NAMES:
        if len({repr(v) for k, v in pairs if k == name}) > 1:
            value[name] = None
    return value


def _details(value: Mapping[str, Any]) -> Answer:
    """Confidence and explanation of a JSON reply, where they make sense."""
    explanation = value.get("explanation")
    text = explanation.strip()[:MAX_EXPLANATION_CHARACTERS] if isinstance(explanation, str) else None
    return Answer(choice=None, confidence=_as_confidence(value.get("confidence")), explanation=text or None)


def _as_confidence(value: Any) -> float | None:
    """A confidence as models write it: 0.9, "0.9" or 90 (percent); None where it makes no sense."""
    try:
        number = float(value) if not isinstance(value, bool) else -1.0
    except (TypeError, ValueError, OverflowError):
        return None
    number = number / 100 if 1 < number <= 100 else number
    return number if 0 <= number <= 1 else None


def _without_fence(text: str) -> str:
    match = re.fullmatch(r"\s*```[a-zA-Z]*\s*(.*?)\s*```\s*", text, re.DOTALL)
    return match[1] if match else text


def _listed(choices: set[int]) -> str:
    return " and ".join(_number(choice) for choice in sorted(choices)[:4])


def _number(choice: int) -> str:
    return "none" if choice == 0 else str(choice)


def _abstain(reason: str) -> Answer:
    return Answer(choice=None, error=f"abstained: {reason}")
