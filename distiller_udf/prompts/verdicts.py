"""Replies that say whether two records match: robust reading of yes and no."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
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


def parse_match(reply: str | None) -> Answer:
    """Read a reply to a match question, choice 1 = yes, 0 = no; never raises.

    The asked-for JSON is read first, then JSON inside other text or cut off, then plain statements. A reply that says
    nothing usable, or yes and no, abstains.
    """
    empty_or_long = unusable(reply)
    if empty_or_long is not None:
        return empty_or_long
    text = usable_text(reply)
    for read in (_from_whole, _from_json_inside, _from_cut_json, _from_statements):
        found = read(text)
        verdicts = {verdict for verdict, _ in found}
        if len(verdicts) > 1:
            return abstained("the reply says both yes and no", text)
        if verdicts:
            return replace(details(found[-1][1]), choice=int(verdicts.pop()))
    return abstained("the reply says neither yes nor no", text)


_Found = list[tuple[bool, Mapping[str, Any]]]
"""Verdicts found in a reply, each with the JSON object it came from (empty where it came from plain text)."""

_NAMES = ("match", "answer")
_AS_DICT = without_contradiction(*_NAMES)
_YES = {"yes", "y", "true", "match", "a match", "same", "same entity", "the same entity"}
_NO = {"no", "n", "false", "no match", "not a match", "different", "different entities", "not the same entity"}
_AROUND = " \t\r\n\"'`*.!:"

# Quantifiers are bounded: a reply is foreign text and must not be able to make a pattern slow.
_CUT = re.compile(r'"(?:match|answer)"\s{0,9}:\s{0,9}"?(true|false|yes|no)\b', re.IGNORECASE)
_OPENING = re.compile(r"[\"'`*\s]{0,9}(yes|no|true|false)[\"'`*]{0,4}\s{0,4}(?:[.,;:!–—-]|\n|$)", re.IGNORECASE)
_AGAIN = re.compile(r"\b(yes|no)\b(?=\s{0,4}(?:[.,;!]|$))", re.IGNORECASE)
_STATED = re.compile(
    r"\b(?:answer|match|verdict)[\"'`*]{0,4}(?: is|\s{0,3}[:=])[:\"'`*\s]{0,6}"
    r"\b(yes|no|true|false)\b(?! (?:doubt|or|and)\b)",
    re.IGNORECASE,
)
# A statement is a whole sentence: "whether they match" and "they match in name only" state nothing.
_BEGIN = r"(?:^|[.!?:;] |\b(?:so|therefore|thus|hence|yes|no),? )(?:they|(?:both|these|the|the two)(?: records)?) "
_ENTITY = r"(?:the )?same (?:real-world )?entity"
_END = r"(?=[.!;]|$|,? (?:because|since|as)\b)"
_SAME = re.compile(
    _BEGIN + rf"(?:clearly )?(?:match|(?:are|describe|refer to) (?:{_ENTITY}|a match))" + _END, re.IGNORECASE
)
_OTHER = re.compile(
    _BEGIN
    + rf"(?:(?:do not|don't) (?:match|(?:describe|refer to) {_ENTITY})|(?:are not|aren't) (?:{_ENTITY}|a match)"
    + r"|(?:are|describe|refer to) (?:two )?different (?:real-world )?entities)"
    + _END,
    re.IGNORECASE,
)


def _from_whole(text: str) -> _Found:
    """The reply is the JSON object, or nothing but a word for yes or no."""
    try:
        value = json_value(text, _AS_DICT)
    except ValueError:
        value = without_fence(text)
    return _from_objects([value]) if isinstance(value, dict) else _listed(_as_verdict(value))


def _from_json_inside(text: str) -> _Found:
    """JSON objects with a verdict, wherever they stand in the text."""
    return _from_objects(json_objects(text, _AS_DICT))


def _from_cut_json(text: str) -> _Found:
    """JSON that broke off after the verdict."""
    return [found for match in _CUT.finditer(text) for found in _listed(_as_verdict(match[1]))]


def _from_statements(text: str) -> _Found:
    """A reply that begins with yes or no, and sentences such as "the answer is yes" or "they do not match"."""
    line = re.sub(r"\s+", " ", text)
    words = _STATED.findall(line)
    opening = _OPENING.match(text)
    if opening:
        words += [opening[1], *_AGAIN.findall(line)]
    found = [found for word in words for found in _listed(_as_verdict(word))]
    found += [(True, {})] * bool(_SAME.search(line)) + [(False, {})] * bool(_OTHER.search(line))
    return found


def _from_objects(values: Iterable[Mapping[str, Any]]) -> _Found:
    found: _Found = []
    for value in values:
        verdicts = [_as_verdict(value.get(name)) for name in _NAMES]
        inner = value.get("properties")
        if verdicts == [None, None] and isinstance(inner, dict):  # the schema that it was shown, filled in
            found += _from_objects([inner])
        found += [(verdict, value) for verdict in verdicts if verdict is not None]
    return found


def _as_verdict(value: object) -> bool | None:
    """A verdict as models write it: true, "yes", "no match"; None for anything else."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return None
    word = " ".join(value.strip(_AROUND).lower().split())
    return True if word in _YES else False if word in _NO else None


def _listed(verdict: bool | None) -> _Found:
    return [] if verdict is None else [(verdict, {})]
