"""Replies as answers: the number of a candidate, yes or no, or a reason; in JSON, or in what models write instead.

A reply that says nothing usable abstains, with its reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from distiller_udf.english import counted
from distiller_udf.prompts.question import Answer, Question
from distiller_udf.prompts.reading import (
    abstained,
    as_reason,
    details,
    json_objects,
    json_value,
    unusable,
    usable_text,
    without_contradiction,
    without_fence,
)
from distiller_udf.prompts.token import read_token


def read_reply(text: str | None, question: Question) -> Answer:
    """Read the text of a reply to `question`; never raises. See `read_token` for a reply with log-probabilities."""
    if question.ask == "justify":
        return _parse_reason(text, question.chosen)
    if question.reply == "token":
        return read_token(text, None, question)
    return parse_match(text) if question.ask == "match" else parse_answer(text, len(question.candidates))


def parse_answer(reply: str | None, n: int) -> Answer:
    """Read a reply to a question with `n` candidates, choice 0 = none of them; never raises.

    The asked-for JSON is read first, then JSON inside other text, then a number in brackets or after words such as
    "the answer is". A reply that says nothing usable, several things, or a number out of range abstains.
    """
    answer = _decided(reply, _CHOICE)
    if answer.choice is None or 0 <= answer.choice <= n:
        return answer
    return abstained(f"the reply chose {_number(answer.choice)} of {counted(n, 'candidate')}")


def parse_match(reply: str | None) -> Answer:
    """Read a reply to a match question, choice 1 = yes, 0 = no; never raises.

    The asked-for JSON is read first, then JSON inside other text or cut off, then plain statements. A reply that says
    nothing usable, or yes and no, abstains.
    """
    return _decided(reply, _VERDICT)


_Found = list[tuple[int, Mapping[str, Any]]]
"""Decisions found in a reply, each with the JSON object it came from (empty where it came from plain text)."""


@dataclass(frozen=True)
class _Form:
    """How one kind of decision is written: the `names` of its JSON field, a value as a decision (`read`), sentences
    (`in_text`, the surest first); and what is said of a reply that holds several decisions, or `nothing`.
    """

    names: tuple[str, ...]
    read: Callable[[object], int | None]
    in_text: tuple[Callable[[str], Iterable[int | None]], ...]
    several: Callable[[set[int], str], Answer]
    nothing: str

    def found(self, text: str) -> Iterator[_Found]:
        """The decisions in a reply: as the whole of it, in JSON inside it, in sentences."""
        as_dict = without_contradiction(*self.names)
        try:
            whole = json_value(text, as_dict)
        except ValueError:
            whole = without_fence(text)
        yield self._in_object(whole) if isinstance(whole, dict) else _listed([self.read(whole)])
        yield [found for value in json_objects(text, as_dict) for found in self._in_object(value)]
        for sentences in self.in_text:
            yield _listed(sentences(text))

    def _in_object(self, value: Mapping[str, Any]) -> _Found:
        """The decision of one JSON object, also where a model has filled in `properties` of the schema it was shown."""
        decisions = [self.read(value.get(name)) for name in self.names]
        inner = value.get("properties")
        if decisions == [None, None] and isinstance(inner, dict):
            return self._in_object(inner)
        return _listed(decisions, value)


def _decided(reply: str | None, form: _Form) -> Answer:
    """The one decision in a reply, from the surest way in which it says any, with what stands beside it in JSON."""
    empty_or_long = unusable(reply)
    if empty_or_long is not None:
        return empty_or_long
    text = usable_text(reply)
    for found in form.found(text):
        decisions = {decision for decision, _ in found}
        if len(decisions) > 1:
            return form.several(decisions, text)
        if decisions:
            return replace(details(found[-1][1]), choice=decisions.pop())
    return abstained(form.nothing, text)


def _listed(decisions: Iterable[int | None], value: Mapping[str, Any] | None = None) -> _Found:
    return [(decision, value or {}) for decision in decisions if decision is not None]


# The number of a candidate

# Quantifiers are bounded: a reply is foreign text and must not be able to make a pattern slow.
_STATED_NUMBER = re.compile(
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


def _stated_number(text: str) -> list[int]:
    """Sentences such as "the answer is: [3]" or "Answer: 3"."""
    line = re.sub(r"\s+", " ", text)
    if "{" in line:
        line = line.rstrip("0123456789")  # JSON that was cut off here: the number may not be whole
    return [int(match[1]) for pattern in (_STATED_NUMBER, _STATED_BARE) for match in pattern.finditer(line)]


def _bracketed_number(text: str) -> list[int]:
    """Numbers in brackets anywhere."""
    return [int(match[1]) for match in _BRACKETED.finditer(text)]


def _as_choice(value: object) -> int | None:
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


def _number(choice: int) -> str:
    return "none" if choice == 0 else str(choice)


def _ambiguous(choices: set[int], text: str) -> Answer:
    return abstained(f"the reply is ambiguous: {' and '.join(_number(choice) for choice in sorted(choices)[:4])}")


_CHOICE = _Form(
    names=("choice", "answer"),
    read=_as_choice,
    in_text=(_stated_number, _bracketed_number),
    several=_ambiguous,
    nothing="the reply contains no choice",
)

# Yes and no

_YES = {"yes", "y", "true", "match", "a match", "same", "same entity", "the same entity"}
_NO = {"no", "n", "false", "no match", "not a match", "different", "different entities", "not the same entity"}
_AROUND = " \t\r\n\"'`*.!:"
_CUT = re.compile(r'"(?:match|answer)"\s{0,9}:\s{0,9}"?(true|false|yes|no)\b', re.IGNORECASE)
_OPENING = re.compile(r"[\"'`*\s]{0,9}(yes|no|true|false)[\"'`*]{0,4}\s{0,4}(?:[.,;:!–—-]|\n|$)", re.IGNORECASE)
_AGAIN = re.compile(r"\b(yes|no)\b(?=\s{0,4}(?:[.,;!]|$))", re.IGNORECASE)
_STATED_VERDICT = re.compile(
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


def _cut_off(text: str) -> list[int | None]:
    """JSON that broke off after the verdict."""
    return [_as_verdict(match[1]) for match in _CUT.finditer(text)]


def _stated_verdict(text: str) -> list[int | None]:
    """A reply that begins with yes or no, and sentences such as "the answer is yes" or "they do not match"."""
    line = re.sub(r"\s+", " ", text)
    words = _STATED_VERDICT.findall(line)
    opening = _OPENING.match(text)
    if opening:
        words += [opening[1], *_AGAIN.findall(line)]
    found = [_as_verdict(word) for word in words]
    return found + [1] * bool(_SAME.search(line)) + [0] * bool(_OTHER.search(line))


def _as_verdict(value: object) -> int | None:
    """A verdict as models write it: true, "yes", "no match"; None for anything else."""
    if isinstance(value, bool):
        return int(value)
    if not isinstance(value, str):
        return None
    word = " ".join(value.strip(_AROUND).lower().split())
    return 1 if word in _YES else 0 if word in _NO else None


_VERDICT = _Form(
    names=("match", "answer"),
    read=_as_verdict,
    in_text=(_cut_off, _stated_verdict),
    several=lambda _, text: abstained("the reply says both yes and no", text),
    nothing="the reply says neither yes nor no",
)

# A reason


def reply_of_reason(explanation: str) -> str:
    """The reply to a justify question that gives this explanation."""
    return json.dumps({"explanation": explanation}, ensure_ascii=False)


_CUT_REASON = re.compile(r'"explanation"\s{0,9}:\s{0,9}"((?:[^"\\]|\\.){0,2000})', re.DOTALL)


def _parse_reason(reply: str | None, chosen: int | None) -> Answer:
    """The reason for an answer that is known: the explanation of the JSON, also where it was cut off, or plain text."""
    empty_or_long = unusable(reply)
    if empty_or_long is not None:
        return empty_or_long
    text = usable_text(reply)
    reason = _reason_in_json(text)
    if reason is None and "{" not in text:
        reason = as_reason(text)
    return abstained("the reply gives no reason", text) if reason is None else Answer(chosen, explanation=reason)


def _reason_in_json(text: str) -> str | None:
    try:
        whole = json_value(text)
    except ValueError:
        whole = None
    values = [whole] if isinstance(whole, Mapping) else list(json_objects(text))
    reasons = [reason for value in values if (reason := as_reason(value.get("explanation"))) is not None]
    if reasons:
        return reasons[0]
    cut = None if values else _CUT_REASON.search(text)
    return as_reason(cut[1]) if cut else None
