"""What all ways of reading a reply share: its usable text, the JSON in it, what stands beside the decision."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from distiller_udf.prompts.question import Answer

MAX_REPLY_CHARACTERS = 50_000
"""A longer reply (after any thinking) abstains: no sane answer is that long, and reading it would take long."""

MAX_EXPLANATION_CHARACTERS = 2_000

Pairs = Callable[[list[tuple[str, Any]]], Mapping[str, Any]]

_END_OF_THINKING = "</think>"
_MAX_OBJECTS = 1_000


def usable_text(reply: str | None) -> str:
    """A reply without the thinking before it and the space around it."""
    return (reply or "").rpartition(_END_OF_THINKING)[2].strip()


def unusable(reply: str | None) -> Answer | None:
    """The abstention that an empty or overlong reply is; None for any other."""
    if not reply or not reply.strip():
        return abstained("the reply is empty")
    length = len(usable_text(reply))
    return (
        abstained(f"the reply has {length:,} characters, more than {MAX_REPLY_CHARACTERS:,}")
        if length > MAX_REPLY_CHARACTERS
        else None
    )


def abstained(reason: str, text: str | None = None) -> Answer:
    """No usable answer, with its reason and the beginning of what was said instead."""
    said = "" if text is None else ": " + json.dumps(usable_text(text)[:80], ensure_ascii=False)
    return Answer(choice=None, error=f"abstained: {reason}{said}")


def without_fence(text: str) -> str:
    """The inside of a reply that is one fenced block of code."""
    match = re.fullmatch(r"\s*```[a-zA-Z]*\s*(.*?)\s*```\s*", text, re.DOTALL)
    return match[1] if match else text


def json_value(text: str, pairs: Pairs | None = None) -> Any:
    """The JSON value that a text is, perhaps in a fence; raises ValueError where it is none."""
    try:
        return json.loads(without_fence(text), object_pairs_hook=pairs)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def json_objects(text: str, pairs: Pairs | None = None) -> Iterator[dict[str, Any]]:
    """Every outermost JSON object in a text, in order."""
    decoder = json.JSONDecoder(object_pairs_hook=pairs)
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


def without_contradiction(*names: str) -> Pairs:
    """Makes JSON objects dicts; one of `names` that is given twice and differently becomes None."""

    def as_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        for name in names:
            if len({repr(v) for k, v in pairs if k == name}) > 1:
                value[name] = None
        return value

    return as_dict


def details(value: Mapping[str, Any]) -> Answer:
    """Confidence and explanation of a JSON reply, where they make sense; the choice is left open."""
    return Answer(
        choice=None, confidence=_as_confidence(value.get("confidence")), explanation=as_reason(value.get("explanation"))
    )


def as_reason(value: object) -> str | None:
    """An explanation as it is kept: trimmed, cut, None where there is none."""
    return (value.strip()[:MAX_EXPLANATION_CHARACTERS] or None) if isinstance(value, str) else None


def _as_confidence(value: Any) -> float | None:
    """A confidence as models write it: 0.9, "0.9" or 90 (percent); None where it makes no sense."""
    try:
        number = float(value) if not isinstance(value, bool) else -1.0
    except (TypeError, ValueError, OverflowError):
        return None
    number = number / 100 if 1 < number <= 100 else number
    return number if 0 <= number <= 1 else None
