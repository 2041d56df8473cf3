"""Response bodies of chat servers: the answer, the tokens used and the log-probabilities in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from distiller_udf.prompts import Answer, Question, read_reply, read_token
from distiller_udf.teachers.chat import Passing

CUT_OFF = "abstained: the reply was cut off at max_tokens; allow more tokens"
WITHHELD = "abstained: the server's content filter withheld the reply"


def read_body(body: Mapping[str, Any], question: Question, clean: Callable[[str], str]) -> Answer:
    """The answer in a response body, its texts cleaned by `clean`; raises Passing when the body holds no reply."""
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Passing("the reply has no choices")
    message = choices[0].get("message")
    text = message.get("content") if isinstance(message, dict) else None
    answer = read_text(text if isinstance(text, str) else None, _logprobs(choices[0]), question, clean)
    finish = choices[0].get("finish_reason")
    if answer.abstained and finish == "length" and question.reply != "token":  # a token always ends at its limit
        answer = replace(answer, error=CUT_OFF)
    if answer.abstained and finish == "content_filter":
        answer = replace(answer, error=WITHHELD)
    return answer


def read_text(
    text: str | None, logprobs: Mapping[str, float] | None, question: Question, clean: Callable[[str], str]
) -> Answer:
    """A reply's text as an answer. A server that echoes the request would carry the key into the label store."""

    def read(text: str | None) -> Answer:
        if question.reply == "token" and question.ask != "justify":
            return read_token(text, logprobs, question)
        return read_reply(text, question)

    answer = read(text)
    if text is None or clean(text) == text:
        return answer
    # What was chosen is read from the reply as it came; only its words come from the cleaned one.
    words = read(clean(text))
    error = None if answer.choice is not None else clean(words.error or "abstained: the reply is unusable")
    return replace(answer, explanation=words.explanation and clean(words.explanation), error=error)


def used_tokens(body: Mapping[str, Any]) -> tuple[int, int] | None:
    """The tokens in and out that a response body says were used; None where it does not say."""
    usage = body.get("usage")
    used = usage if isinstance(usage, dict) else {}
    given, made = used.get("prompt_tokens"), used.get("completion_tokens")
    if not isinstance(given, int) or not isinstance(made, int) or min(given, made) < 0:
        return None
    return given, made


def summed(tokens: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Log-probabilities by text; tokens of the same text are one, and what is no number is left out."""
    found: dict[str, float] = {}
    for text, logprob in tokens:
        if math.isfinite(logprob):
            known = found.get(text)
            high, low = (logprob, -math.inf) if known is None else (max(known, logprob), min(known, logprob))
            found[text] = high + math.log1p(math.exp(low - high))
    return found


def _logprobs(choice: Mapping[str, Any]) -> dict[str, float] | None:
    """The log-probabilities of a choice's first token, by its text; None where there are none."""
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    first = content[0] if isinstance(content, list) and content else None
    listed = first.get("top_logprobs") if isinstance(first, dict) else None
    if not isinstance(listed, list) or not isinstance(first, dict):
        return None
    tokens = [(e.get("token"), e.get("logprob")) for e in listed if isinstance(e, dict)]
    if first.get("token") not in {token for token, _ in tokens}:
        tokens.append((first.get("token"), first.get("logprob")))
    good = [(t, float(p)) for t, p in tokens if isinstance(t, str) and isinstance(p, (int, float)) and abs(p) < 1e6]
    return summed(good) or None
