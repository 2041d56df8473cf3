"""What is asked and what comes back: questions, answers, and the key under which a label is stored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

from distiller_udf.records import content_hash

Ask = Literal["select", "match", "justify"]
Reply = Literal["explanation", "confidence", "answer", "token"]
"""What a reply holds: explanation (with choice and confidence), confidence (with the choice), answer (the choice
alone), or one token, from whose log-probabilities every candidate and none get a probability."""

ASKS: tuple[Ask, ...] = get_args(Ask)
"""select: a left record and its candidates, one or none. match: one pair, yes or no. justify: given the answer, why."""

PROMPT_VERSIONS: Mapping[tuple[Ask, Reply], str] = {
    ("select", "explanation"): "select-1",
    ("select", "confidence"): "select-confidence-1",
    ("select", "answer"): "select-answer-1",
    ("select", "token"): "select-token-1",
    ("match", "explanation"): "match-explanation-1",
    ("match", "confidence"): "match-confidence-1",
    ("match", "answer"): "match-answer-1",
    ("match", "token"): "match-token-1",
    ("justify", "explanation"): "justify-1",
}
"""Part of every label's key: change an entry whenever the wording, the order or the schema of that prompt changes."""


class Answerer(Protocol):
    """Whoever answers: the part of a teacher that goes into a label's key, and so never holds a secret."""

    @property
    def name(self) -> str: ...

    @property
    def parameters(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Question:
    """One left record and its candidates in the order in which they are shown, all as canonical texts.

    A `match` question has exactly one candidate. A `justify` question has in `chosen` the answer that is to be
    explained (1-based, 0 = none of them) and the reply `explanation`.
    """

    query: str
    candidates: tuple[str, ...]
    ask: Ask = "select"
    reply: Reply = "explanation"
    chosen: int | None = None

    @property
    def prompt_version(self) -> str:
        """Which prompt asks this question."""
        return PROMPT_VERSIONS[self.ask, self.reply]

    def key(self, teacher: Answerer) -> str:
        """The label's key: a hash of the query, the candidates in order, the prompt and who is asked."""
        parameters = parameters_text(teacher)
        return label_key(self.prompt_version, self.chosen, teacher.name, parameters, self.query, self.candidates)


def why(query: str, candidates: Sequence[str], choice: int) -> Question:
    """The question for the reason why one of the candidates (1-based), or none of them (0), is the query."""
    return Question(query, tuple(candidates), "justify", "explanation", chosen=choice)


def parameters_text(teacher: Answerer) -> str:
    """The parameters of a teacher as they go into a label's key."""
    return json.dumps(teacher.parameters, sort_keys=True, ensure_ascii=False, default=str)


def label_key(
    prompt_version: str, chosen: int | None, teacher: str, parameters: str, query: str, candidates: Sequence[str]
) -> str:
    """The key under which the answer to a question is stored."""
    version = prompt_version if chosen is None else f"{prompt_version}:{chosen}"
    return content_hash(version, teacher, parameters, query, *candidates)


@dataclass(frozen=True)
class Answer:
    """A teacher's answer to one question.

    `choice` is 1-based, 0 = none of them, None = abstained or failed with the reason in `error`. `confidence` and
    `probabilities` (one a candidate; None for one of which nothing is known) are between 0 and 1. `explanations` say of
    each candidate why it is the match or is not. `failed` = there was no reply at all: such an answer is not stored, so
    the question is asked again in the next run. `cost_usd` is None where the price is unknown.
    """

    choice: int | None
    confidence: float | None = None
    probabilities: tuple[float | None, ...] | None = None
    explanation: str | None = None
    cost_usd: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float | None = None
    error: str | None = None
    failed: bool = False
    explanations: tuple[str | None, ...] | None = None

    @property
    def abstained(self) -> bool:
        """There was a reply, but it is no usable answer."""
        return self.choice is None and not self.failed
