"""The bodies of chat requests and of their responses: what a question asks, what it may cost, and what comes back."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from distiller_udf.budget import Cost, Limits
from distiller_udf.errors import SettingsError
from distiller_udf.prompts import (
    Answer,
    Question,
    Reply,
    messages,
    read_reply,
    read_token,
    reply_schema,
    token_labels,
)
from distiller_udf.teachers.chat import Passing
from distiller_udf.teachers.prices import Price, call_cost, most_prompt_tokens, prompt_tokens

DEFAULT_PARAMETERS: Mapping[str, Any] = {"temperature": 0, "max_tokens": 400}

MAX_TOKENS: Mapping[Reply, int] = {"explanation": 400, "confidence": 64, "answer": 64, "token": 1}
"""How many tokens a reply may have unless the teacher's parameters say otherwise."""

TYPICAL_TOKENS: Mapping[Reply, int] = {"explanation": 60, "confidence": 15, "answer": 8, "token": 1}
"""About how many tokens a reply has."""

TOP_LOGPROBS = 20
"""More log-probabilities a token are given by neither OpenAI nor vLLM."""

MORE_ROOM = 4
"""A reply in words that was cut off is asked for once more with so many times its limit of tokens."""

CUT_OFF = "abstained: the reply was cut off at max_tokens; allow more tokens"
CUT_OFF_AGAIN = f"abstained: the reply was cut off at max_tokens, and at {MORE_ROOM} times as many; allow more tokens"
WITHHELD = "abstained: the server's content filter withheld the reply"

Shape = frozenset[str]
"""The parts of a request that are left out, or sent under their newer name (`max_tokens`)."""

_SPARE_LOGPROBS = 5
_OPTIONAL: Mapping[str, tuple[str, ...]] = {
    "structured_outputs": ("structured_outputs", "guided", "extra field", "extra_forbidden", "unrecognized"),
    "response_format": ("response_format", "json_schema", "schema", "structured", "grammar", "guided"),
    "logprobs": ("logprobs",),
}
"""What a server may do without, with words by which its refusal names it; in the order in which it is left out."""

_ABOUT_THE_QUESTION = ("context length", "context window", "maximum context", "too long", "too many tokens")


class Requests:
    """The bodies of all requests to one server, for the model `model` and the user's `parameters`. Thread-safe.

    The parameters lie over `DEFAULT_PARAMETERS` (None removes one); `price` None means unknown. What the server refuses
    is left out once a request without it has been accepted: before that, the question itself may be what it does not
    like.
    """

    def __init__(self, model: str, parameters: Mapping[str, Any] | None, price: Price | None) -> None:
        given = dict(parameters or {})
        merged = {**DEFAULT_PARAMETERS, **given}
        self.parameters: dict[str, Any] = {name: value for name, value in merged.items() if value is not None}
        self.price = price
        self._model = model
        self._own_limit = bool({"max_tokens", "max_completion_tokens"} & given.keys())
        self._lock = threading.Lock()
        self._shape: Shape = frozenset()
        self._accepted: set[str] = set()

    @property
    def shape(self) -> Shape:
        """The shape that this server takes, as far as known."""
        with self._lock:
            return self._shape

    def body(self, question: Question, shape: Shape = frozenset(), room: int = 1) -> dict[str, Any]:
        """The body of one request, its reply with `room` times as many tokens as it usually has."""
        body: dict[str, Any] = {"model": self._model, "messages": messages(question)}
        for name, value in {**self._replied(question), **self._with_limit(question, room)}.items():
            if name == "max_tokens" and name in shape:
                body["max_completion_tokens"] = value
            elif name.removeprefix("top_") not in shape and name not in shape:
                body[name] = value
        return body

    def reply_limit(self, question: Question, room: int = 1) -> int | None:
        """How many tokens a reply may have; None where the user has lifted the limit."""
        limits = self._with_limit(question, room)
        given = limits.get("max_completion_tokens", limits.get("max_tokens"))
        return given if isinstance(given, int) else None

    def expect(self, question: Question) -> Cost:
        """About what asking this question costs, attempts that fail not counted."""
        return call_cost(self.price, prompt_tokens(messages(question)), TYPICAL_TOKENS[question.reply])

    def wants_room(self, question: Question, answer: Answer) -> bool:
        """Whether a question is to be asked again with `MORE_ROOM`, once."""
        return answer.error == CUT_OFF and self.reply_limit(question) is not None

    def most(self, question: Question, body: Mapping[str, Any], room: int = 1) -> Cost:
        """The most that a call with this body may cost; without a limit to its reply, that of a long one."""
        texts = [message["content"] for message in body["messages"]]
        if "response_format" in body:
            texts.append(json.dumps(body["response_format"]))  # some servers write the schema into the prompt
        limit, copies = self.reply_limit(question, room), self.parameters.get("n")
        replies = (MAX_TOKENS["explanation"] if limit is None else limit) * (copies if isinstance(copies, int) else 1)
        return call_cost(self.price, most_prompt_tokens(texts), replies)

    def used(self, body: Mapping[str, Any]) -> Cost | None:
        """What a response body says that its call has used; None where it does not say."""
        usage = body.get("usage")
        used = usage if isinstance(usage, dict) else {}
        given, made = used.get("prompt_tokens"), used.get("completion_tokens")
        if not isinstance(given, int) or not isinstance(made, int) or min(given, made) < 0:
            return None
        return call_cost(self.price, given, made)

    def check_limited(self, limits: Limits, questions: Iterable[Question]) -> None:
        """Raise SettingsError where tokens or dollars are limited and a reply is not: nobody knows its cost at most."""
        named = next((name for name in ("tokens", "usd") if getattr(limits, name) is not None), None)
        if named and any(self.reply_limit(question) is None for question in questions):
            raise SettingsError(
                f"budget_{named} cannot be kept when replies may be of any length; set max_tokens in "
                "teacher_parameters to a number, or limit budget_calls instead"
            )

    def accepted(self, body: Mapping[str, Any], shape: Shape) -> None:
        """Remember that the server takes a request of this shape."""
        parts = _OPTIONAL.keys() & body.keys()
        if shape <= self._shape and parts <= self._accepted:  # read without the lock: both only ever grow
            return
        with self._lock:
            self._shape |= shape
            self._accepted |= parts

    def refused(self, body: Mapping[str, Any], shape: Shape, said: str) -> Shape | None:
        """The shape to try next after the server refused `body`; None when it must be the question itself."""
        said = said.lower()
        with self._lock:
            known, accepted = self._shape, frozenset(self._accepted)
        if not known <= shape:
            return shape | known  # another thread has found out meanwhile
        if any(words in said for words in _ABOUT_THE_QUESTION):
            return None
        if "max_completion_tokens" in said and "max_tokens" in body:
            return shape | {"max_tokens"}
        if "temperature" in said and "temperature" in body:
            return shape | {"temperature"}
        sent = [part for part in _OPTIONAL if part in body]
        named = [part for part in sent if any(word in said for word in _OPTIONAL[part])]
        part = next(iter([*named, *(part for part in sent if part not in accepted)]), None)
        return None if part is None else shape | {part}

    def _with_limit(self, question: Question, room: int) -> dict[str, Any]:
        """The parameters with `max_tokens` as this kind of reply needs it, unless the user has set it.

        One token is one in any case.
        """
        name = "max_completion_tokens" if "max_completion_tokens" in self.parameters else "max_tokens"
        own = question.reply != "token" and self._own_limit
        limit = self.parameters.get(name) if own else MAX_TOKENS[question.reply]
        return {**self.parameters, **({name: limit * room} if isinstance(limit, int) else {})}

    def _replied(self, question: Question) -> dict[str, Any]:
        """How the reply is held to its form: a JSON schema, or one token of a few with its log-probabilities."""
        schema = reply_schema(question)
        if schema is not None:
            named = {"name": "answer", "strict": True, "schema": schema}
            return {"response_format": {"type": "json_schema", "json_schema": named}}
        labels = token_labels(question)
        return {
            "structured_outputs": {"choice": list(labels)},
            "logprobs": True,
            "top_logprobs": top_logprobs(question),
        }


def top_logprobs(question: Question) -> int:
    """How many log-probabilities are asked for: one a label, and some for other writings of them."""
    return min(TOP_LOGPROBS, len(token_labels(question)) + _SPARE_LOGPROBS)


def read_body(body: Mapping[str, Any], question: Question, clean: Callable[[str], str]) -> Answer:
    """The answer in a response body, its texts cleaned by `clean`; raises Passing when the body holds no reply."""
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Passing("the reply has no choices")
    message = choices[0].get("message")
    text = message.get("content") if isinstance(message, dict) else None
    finish = choices[0].get("finish_reason")
    return read_text(text if isinstance(text, str) else None, _logprobs(choices[0]), question, finish, clean)


def read_text(
    text: str | None,
    logprobs: Mapping[str, float] | None,
    question: Question,
    finish: object,
    clean: Callable[[str], str] = str,
) -> Answer:
    """A reply's text as an answer; `finish` is why the reply ended, `clean` takes out what nobody may read.

    A reply in words that ended at its limit of tokens abstains, whatever can be read in it; one token always ends
    there. `logprobs`: the log-probabilities of the first token, by its text. A server that echoes the request would
    carry the key into the label store.
    """

    def read(text: str | None) -> Answer:
        if question.reply == "token" and question.ask != "justify":
            return read_token(text, logprobs, question)
        return read_reply(text, question)

    if finish == "length" and question.reply != "token":
        return Answer(None, error=CUT_OFF)
    answer = read(text)
    if text is not None and clean(text) != text:
        # What was chosen is read from the reply as it came; only its words come from the cleaned one.
        words = read(clean(text))
        error = None if answer.choice is not None else clean(words.error or "abstained: the reply is unusable")
        answer = replace(answer, explanation=words.explanation and clean(words.explanation), error=error)
    if answer.abstained and finish == "content_filter":
        answer = replace(answer, error=WITHHELD)
    return answer


def with_more_room(answer: Answer) -> Answer:
    """The answer to a question that was asked again with `MORE_ROOM`, which it says where that was not enough."""
    return replace(answer, error=CUT_OFF_AGAIN) if answer.error == CUT_OFF else answer


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
