"""Replies as answers; a reply that says nothing usable abstains, with its reason."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from distiller_udf.prompts.choices import parse_answer
from distiller_udf.prompts.question import Answer, Question
from distiller_udf.prompts.reading import abstained, as_reason, json_objects, json_value, unusable, usable_text
from distiller_udf.prompts.token import read_token
from distiller_udf.prompts.verdicts import parse_match


def read_reply(text: str | None, question: Question) -> Answer:
    """Read the text of a reply to `question`; never raises. See `read_token` for a reply with log-probabilities."""
    if question.ask == "justify":
        return _parse_reason(text, question.chosen)
    if question.reply == "token":
        return read_token(text, None, question)
    return parse_match(text) if question.ask == "match" else parse_answer(text, len(question.candidates))


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
