"""Replies as answers: the number of a candidate, yes or no, or a reason.

What counts as a decision, `reading` says; here are its writings. A reply that says nothing usable abstains, with its
reason.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache

from distiller_udf.prompts.question import Answer, Question
from distiller_udf.prompts.reading import Form, abstained, as_reason, closed_json, decided, unusable, usable_text
from distiller_udf.prompts.token import read_token


def read_reply(text: str | None, question: Question) -> Answer:
    """Read the text of a reply to `question`; never raises. See `read_token` for a reply with log-probabilities."""
    if question.ask == "justify":
        return _parse_reason(text, question.chosen)
    if question.reply == "token":
        return read_token(text, None, question)
    return decided(text, _VERDICT) if question.ask == "match" else parse_answer(text, len(question.candidates))


def parse_answer(reply: str | None, n: int) -> Answer:
    """Read a reply to a question with `n` candidates, choice 0 = none of them; never raises. See `decided`."""
    return decided(reply, _choice(n))


# The number of a candidate

_NUMBER = r"(?:(?:candidate|record|option)(?: number)? ?[:#]? ?)?#?(?:\[ ?\d{1,9} ?\]|\[\[\d{1,9}\]\]|\d{1,9})"
_NONE = (
    r"\[?(?:none(?: of (?:them|these|the candidates|the above))?|no match(?:es)?|no matching (?:record|candidate)s?)\]?"
    r"(?: (?:found|matches|match))?"
)


def _number_said(words: str) -> int:
    number = re.search(r"\d+", words)
    return int(number[0]) if number else 0


def _number(value: object) -> int | None:
    """A JSON number that is whole."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if abs(value) < 1e9 and value == int(value) else None


@lru_cache(maxsize=64)
def _choice(n: int) -> Form:
    return Form(
        names=("choice", "answer"),
        words=f"{_NUMBER}|{_NONE}",
        read=_number_said,
        literal=_number,
        last=n,
        called=lambda choice: "none" if choice == 0 else str(choice),
        nothing="the reply contains no choice",
    )


# Yes and no

_YES = ("yes", "true", "y", "a match", "same", "same entity", "the same entity")
_NO = ("no", "false", "n", "no match", "not a match", "different", "different entities", "not the same entity")

_VERDICT = Form(
    names=("match", "answer"),
    words="|".join(sorted((*_YES, *_NO), key=len, reverse=True)),
    read=lambda word: int(word.lower() in _YES),
    literal=lambda value: int(value) if isinstance(value, bool) else None,
    last=1,
    called=lambda verdict: "yes" if verdict else "no",
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
    values = closed_json(text)
    given = [reason for value in values if (reason := as_reason(value.get("explanation"))) is not None]
    cut = None if values else _CUT_REASON.search(text)
    reason = given[0] if given else as_reason(cut[1] if cut else None if "{" in text else text)
    return abstained("the reply gives no reason", text) if reason is None else Answer(chosen, explanation=reason)
