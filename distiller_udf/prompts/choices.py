"""Replies that choose one of several candidates: robust reading of what models write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from distiller_udf.prompts.question import Answer
from distiller_udf.prompts.reading import (
    abstained,
    details,
    json_objects,
    json_value,
    unusable,
    usable_text,
    without_contradiction,
    without_fence,
)


def parse_answer(reply: str | None, n: int) -> Answer:
    """Read a reply to a question with `n` candidates; never raises.

    The asked-for JSON is read first, then JSON inside other text, then a number in brackets or after words such as
    "the answer is". A reply that says nothing usable, several things, or a number out of range abstains.
    """
    empty_or_long = unusable(reply)
    if empty_or_long is not None:
        return empty_or_long
    text = usable_text(reply)
    for read in (_from_whole, _from_json_inside, _from_statement, _from_brackets, _from_none_words):
        found = read(text)
        choices = {choice for choice, _ in found}
        if len(choices) > 1:
            return abstained(f"the reply is ambiguous: {_listed(choices)}")
        if choices:
            choice = choices.pop()
            if not 0 <= choice <= n:
                return abstained(f"the reply chose {_number(choice)}, but there are {n} candidates")
            return replace(details(found[-1][1]), choice=choice)
    return abstained("the reply contains no choice", text)


_Found = list[tuple[int, Mapping[str, Any]]]
"""Choices found in a reply, each with the JSON object it came from (empty where it came from plain text)."""

_CHOICE_NAMES = ("choice", "answer")
_AS_DICT = without_contradiction(*_CHOICE_NAMES)
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
    try:
        value = json_value(text, _AS_DICT)
    except ValueError:
        match = _WHOLE_NUMBER.fullmatch(without_fence(text))
        return [(int(match[1]), {})] if match else []
    if isinstance(value, dict):
        return _from_object(value)
    choice = _as_choice(value)
    return [] if choice is None else [(choice, {})]


def _from_json_inside(text: str) -> _Found:
    """JSON objects with a choice, wherever they stand in the text."""
    return [found for value in json_objects(text, _AS_DICT) for found in _from_object(value)]


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
    return [(0, {})] if _NONE_WORDS.fullmatch(without_fence(text)) else []


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


def _listed(choices: set[int]) -> str:
    return " and ".join(_number(choice) for choice in sorted(choices)[:4])


def _number(choice: int) -> str:
    return "none" if choice == 0 else str(choice)
