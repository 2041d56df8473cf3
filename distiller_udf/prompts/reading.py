"""The one reader of replies: a decision is closed JSON, or a line that is nothing but an answer; all else abstains.

No sentence is read. What looks like the beginning of an answer, or stands in JSON elsewhere, can only contradict one:
so neither a part of a reply, nor prose around it, reads as another decision than the reply itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from distiller_udf.english import counted
from distiller_udf.prompts.question import Answer

MAX_REPLY_CHARACTERS = 50_000
"""A longer reply (after any thinking) abstains: no sane answer is that long, and reading it would take long."""

MAX_EXPLANATION_CHARACTERS = 2_000

_THINKING = re.compile(r"\A(?:\s*<think>.*?(?:</think>|\Z))+", re.DOTALL)
_FENCE = re.compile(r"```[a-zA-Z]*")
_QUOTES = str.maketrans("", "", "*`\"'“”")
_SAYS_SO = (
    r"(?:(?:so|therefore|thus|hence),? )?(?:(?:the|my) )?(?:(?:final|correct|corresponding) )?"
    r"(?:answer|choice|match|verdict|(?:record|candidate) number)(?: is)? ?[:=]? ?"
)
_BESIDE = {"explanation", "confidence"}
_SCHEMA = {"properties", "required", "type", "title", "additionalProperties"}


@dataclass(frozen=True)
class Form:
    """How one kind of decision is written, as numbers from 0 to `last`.

    `names` are the JSON fields that hold it; `words` is a pattern of its writings in words, none with a group, `read`
    the decision that such a writing is. `literal` is that of a JSON value that is no text. `called` names a decision,
    and `nothing` says that a reply has none. `label` is a pattern of what stands before an answer ("The answer is: ").
    """

    names: tuple[str, ...]
    words: str
    read: Callable[[str], int]
    literal: Callable[[object], int | None]
    last: int
    called: Callable[[int], str]
    nothing: str
    label: str = _SAYS_SO

    @cached_property
    def line(self) -> re.Pattern[str]:
        """The beginning of a line that may be an answer."""
        return re.compile(rf"(?P<label>{self.label})?(?:\{{(?P<object>\d+)\}}|(?P<said>{self.words}))", re.IGNORECASE)

    def whole(self, text: str) -> int | None:
        """The decision that a text is, with nothing else in it."""
        found = self.line.fullmatch(_plain(text))
        return self.read(found["said"]) if found and found["said"] else None

    def of(self, value: Mapping[str, Any]) -> list[int]:
        """The decisions in a JSON object's own fields."""
        return [said for name in self.names if (said := self._value(value.get(name))) is not None]

    def _value(self, value: object) -> int | None:
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        return self.whole(value) if isinstance(value, str) else self.literal(value)


def decided(reply: str | None, form: Form) -> Answer:
    """The one decision in a reply, with what stands beside it in its JSON; never raises.

    Closed JSON decides as the whole reply, or on lines of its own with no other fields than those asked for; a line
    that is nothing but an answer where it says that it is one ("Answer: [3]"), or is the whole reply. A reply with
    several decisions, with one out of range, or with JSON that never closes abstains.
    """
    empty_or_long = unusable(reply)
    if empty_or_long is not None:
        return empty_or_long
    text = usable_text(reply)
    parted = _without_json(text, form.names)
    if parted is None:
        return abstained("the reply has JSON that is broken or cut off", text)
    lines, objects = [plain for line in parted[0].split("\n") if (plain := _plain(line))], parted[1]
    said = {decision for value in objects for inner in _objects_in(value) for decision in form.of(inner)}
    alone, found = len(lines) == 1, None
    for number, line in enumerate(lines):
        answer = form.line.fullmatch(line) or form.line.match(line)
        if answer is None:
            continue
        nothing_else = answer.end() == len(line)
        if answer["object"]:
            value = objects[int(answer["object"])]
            if nothing_else and form.of(value) and (alone or value.keys() <= {*form.names, *_BESIDE}):
                found = _details(value)
            continue
        choice = form.read(answer["said"])
        if nothing_else or answer["label"] or number == 0:
            said.add(choice)
        # Of "1" at the very end, nobody knows whether it was to be 12.
        may_go_on = number == len(lines) - 1 and text[-1].isdigit() and 0 < 10 * choice <= form.last
        if nothing_else and (alone or answer["label"]) and not may_go_on:
            found = found or Answer(None)
    return _only(said, found, form, text)


def _only(said: set[int], found: Answer | None, form: Form, text: str) -> Answer:
    """The answer that was `found`, where nothing else was said and it is in range."""
    if len(said) > 1:
        return abstained(f"the reply says {' and '.join(form.called(choice) for choice in sorted(said)[:4])}", text)
    if found is None:
        return abstained(form.nothing, text)
    (choice,) = said
    if 0 <= choice <= form.last:
        return replace(found, choice=choice)
    return abstained(f"the reply chose {form.called(choice)} of {counted(form.last, 'candidate')}")


def usable_text(reply: str | None) -> str:
    """A reply without the thinking that it begins with, and without the space around it.

    What a record may have put into the rest of it, `</think>` for one, cuts nothing.
    """
    return _THINKING.sub("", reply or "").strip()


def unusable(reply: str | None) -> Answer | None:
    """The abstention that an empty or overlong reply is; None for any other."""
    text = usable_text(reply)
    if not text:
        return abstained("the reply is empty")
    if len(text) > MAX_REPLY_CHARACTERS:
        return abstained(f"the reply has {len(text):,} characters, more than {MAX_REPLY_CHARACTERS:,}")
    return None


def abstained(reason: str, text: str | None = None) -> Answer:
    """No usable answer, with its reason and the beginning of what was said instead."""
    said = "" if text is None else ": " + json.dumps(usable_text(text)[:80], ensure_ascii=False)
    return Answer(choice=None, error=f"abstained: {reason}{said}")


def _details(value: Mapping[str, Any]) -> Answer:
    """Confidence and explanation of a JSON reply, where they make sense; the choice is left open."""
    return Answer(
        choice=None, confidence=_as_confidence(value.get("confidence")), explanation=as_reason(value.get("explanation"))
    )


def as_reason(value: object) -> str | None:
    """An explanation as it is kept: trimmed, cut, None where there is none."""
    return (value.strip()[:MAX_EXPLANATION_CHARACTERS] or None) if isinstance(value, str) else None


def closed_json(text: str) -> list[dict[str, Any]]:
    """The outermost JSON objects of a text; none where one of them never closes."""
    parted = _without_json(text)
    return parted[1] if parted else []


def _without_json(text: str, names: tuple[str, ...] = ()) -> tuple[str, list[dict[str, Any]]] | None:
    """A text with the numbers of its outermost JSON objects in their places, without fences, and these objects.

    None where a brace is left over. One of `names` that an object has twice and differently is None in it.
    """

    def as_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        several = {name for name in names if len({repr(v) for k, v in pairs if k == name}) > 1}
        return {name: None if name in several else value for name, value in pairs}

    decoder = json.JSONDecoder(object_pairs_hook=as_dict)
    parts: list[str] = []
    objects: list[dict[str, Any]] = []
    position = 0
    while (start := text.find("{", position)) >= 0:
        parts += [text[position:start], f"{{{len(objects)}}}"]
        try:
            value, position = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            return None
        objects.append(_filled_in(value))
    parts.append(text[position:])
    left_over = any("}" in prose for prose in parts[::2])
    return None if left_over else (_FENCE.sub("\n", "".join(parts)), objects)


def _filled_in(value: dict[str, Any]) -> dict[str, Any]:
    """A JSON object, or the fields of one that is the schema with values in it."""
    inner = value.get("properties")
    return inner if isinstance(inner, dict) and value.keys() <= _SCHEMA else value


def _objects_in(value: object) -> Iterator[Mapping[str, Any]]:
    """A JSON object and all others in it."""
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, dict):
            yield inner
        if isinstance(inner, (dict, list)):
            waiting += inner.values() if isinstance(inner, dict) else inner


def _plain(line: str) -> str:
    """A line without quotes, emphasis, signs of a heading or a quotation before it, and a full stop behind it."""
    return " ".join(line.translate(_QUOTES).split()).lstrip("#> ").rstrip(".! ")


def _as_confidence(value: Any) -> float | None:
    """A confidence as models write it: 0.9, "0.9" or 90 (percent); None where it makes no sense."""
    try:
        number = float(value) if not isinstance(value, bool) else -1.0
    except (TypeError, ValueError, OverflowError):
        return None
    number = number / 100 if 1 < number <= 100 else number
    return number if 0 <= number <= 1 else None
