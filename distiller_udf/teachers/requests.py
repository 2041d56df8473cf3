"""Request bodies: what a question asks of a chat server, and what is left out for a server that refuses it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from distiller_udf.budget import Limits
from distiller_udf.errors import SettingsError
from distiller_udf.prompts import Question, Reply, messages, reply_schema, token_labels

DEFAULT_PARAMETERS: Mapping[str, Any] = {"temperature": 0, "max_tokens": 400}

MAX_TOKENS: Mapping[Reply, int] = {"explanation": 400, "confidence": 64, "answer": 64, "token": 1}
"""How many tokens a reply may have unless the teacher's parameters say otherwise."""

TYPICAL_TOKENS: Mapping[Reply, int] = {"explanation": 60, "confidence": 15, "answer": 8, "token": 1}
"""About how many tokens a reply has."""

TOP_LOGPROBS = 20
"""More log-probabilities a token are given by neither OpenAI nor vLLM."""

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

    What the server refuses is left out once a request without it has been accepted: before that, the question itself
    may be what it does not like.
    """

    def __init__(self, model: str, parameters: Mapping[str, Any] | None) -> None:
        given = dict(parameters or {})
        merged = {**DEFAULT_PARAMETERS, **given}
        self.parameters: dict[str, Any] = {name: value for name, value in merged.items() if value is not None}
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

    def body(self, question: Question, shape: Shape = frozenset()) -> dict[str, Any]:
        """The body of one request."""
        body: dict[str, Any] = {"model": self._model, "messages": messages(question)}
        for name, value in {**self._replied(question), **self.parameters, **self._limit(question)}.items():
            if name == "max_tokens" and name in shape:
                body["max_completion_tokens"] = value
            elif name.removeprefix("top_") not in shape and name not in shape:
                body[name] = value
        return body

    def reply_limit(self, question: Question) -> int | None:
        """How many tokens a reply may have; None where the user has lifted the limit."""
        limits = {**self.parameters, **self._limit(question)}
        given = limits.get("max_completion_tokens", limits.get("max_tokens"))
        return given if isinstance(given, int) else None

    def output_tokens(self, question: Question) -> int:
        """How many tokens a call may make at most, several replies together; without a limit, a long one's."""
        limit = self.reply_limit(question)
        copies = self.parameters.get("n")
        return (MAX_TOKENS["explanation"] if limit is None else limit) * (copies if isinstance(copies, int) else 1)

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

    def _limit(self, question: Question) -> dict[str, Any]:
        """`max_tokens` as this kind of reply needs it, unless the user has set it; one token is one in any case."""
        if question.reply != "token" and self._own_limit:
            return {}
        name = "max_completion_tokens" if "max_completion_tokens" in self.parameters else "max_tokens"
        return {name: MAX_TOKENS[question.reply]}

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
