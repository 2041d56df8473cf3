"""Any OpenAI-compatible server as teacher: OpenAI, vLLM, Ollama and others, told apart by their `base_url`.

Many questions are under way at once. What may pass (rate limits, server errors, broken connections, unreadable
bodies) is tried again with growing waits up to a limit; then that question has failed, with its reason. A reply that
says nothing usable is asked for once more. What will not pass (a rejected key, an unknown model, nobody listening)
ends the run at once with one sentence.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from distiller_udf.budget import Budget, Cost
from distiller_udf.prompts import Answer, Asking, Question, messages
from distiller_udf.teachers.calls import Calls, Slots
from distiller_udf.teachers.chat import ChatEndpoint
from distiller_udf.teachers.prices import Price, call_cost, most_prompt_tokens, prompt_tokens
from distiller_udf.teachers.requests import TYPICAL_TOKENS, Requests
from distiller_udf.teachers.responses import read_body, used_tokens


class OpenAICompatible:
    """A teacher behind an OpenAI-compatible chat endpoint.

    `model` is what the server calls it, `name` what its labels are stored under (the model, unless given). `asking`:
    how tuples become questions. `base_url`, `api_key_env`, `timeout` (seconds), `local_only` and `http_client`: see
    `ChatEndpoint`. `concurrency` is the number of calls under way at once. `parameters` go into every request and into
    the label's key, on top of `DEFAULT_PARAMETERS` (None removes one); replies that need fewer tokens are given fewer,
    unless `max_tokens` is among them. `price` None means unknown. `first_wait` is the seconds before a second attempt;
    it doubles from there. Raises SettingsError for an impossible address.
    """

    free = False
    local = False

    def __init__(
        self,
        model: str,
        *,
        name: str | None = None,
        asking: Asking | None = None,
        base_url: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 8,
        timeout: float = 120.0,
        parameters: Mapping[str, Any] | None = None,
        price: Price | None = None,
        local_only: bool = False,
        first_wait: float = 0.5,
        http_client: Any = None,
    ) -> None:
        self.name = name or model
        self.asking = asking or Asking()
        self.requests = Requests(model, parameters)
        # Under a name of its own, the model still tells its labels from those of another one of that name.
        self.parameters = {**self.requests.parameters, **({} if self.name == model else {"model": model})}
        self.concurrency = concurrency
        self.first_wait = first_wait
        self.endpoint = ChatEndpoint(
            base_url, api_key_env, timeout, http_client, connections=concurrency, local_only=local_only
        )
        self.slots = Slots(concurrency)
        self._price = price

    def __repr__(self) -> str:
        return f"OpenAICompatible({self.name!r}, {self.endpoint!r})"

    def expect(self, question: Question) -> Cost:
        """About what asking this question costs, attempts that fail not counted."""
        return call_cost(self._price, prompt_tokens(messages(question)), TYPICAL_TOKENS[question.reply])

    def answer(self, questions: Sequence[Question], budget: Budget | None = None) -> Iterator[tuple[Question, Answer]]:
        """Answer every question, in order of completion; see `Teacher.answer`.

        When the run has to end early, the calls under way are waited for and yielded first: they are paid for.
        """
        with closing(self.answer_together(questions, budget)) as together:
            for answered in together:
                yield from answered

    def answer_together(
        self, questions: Sequence[Question], budget: Budget | None = None
    ) -> Generator[Sequence[tuple[Question, Answer]], None, None]:
        """As `answer`, with those answers together that arrived since the last: so that they can be stored together."""
        budget = budget or Budget()
        self.requests.check_limited(budget.limits, questions)
        self.endpoint.open()
        yield from Calls(self, budget).answers(questions)

    def most(self, question: Question, body: Mapping[str, Any]) -> Cost:
        """The most that a call with this body may cost."""
        texts = [message["content"] for message in body["messages"]]
        if "response_format" in body:
            texts.append(json.dumps(body["response_format"]))  # some servers write the schema into the prompt
        return call_cost(self._price, most_prompt_tokens(texts), self.requests.output_tokens(question))

    def used(self, body: Mapping[str, Any]) -> Cost | None:
        """What a response body says that its call has used; None where it does not say."""
        tokens = used_tokens(body)
        return None if tokens is None else call_cost(self._price, *tokens)

    def read(self, body: Mapping[str, Any], question: Question) -> Answer:
        """The answer in a response body; raises Passing when it holds none."""
        return read_body(body, question, self.endpoint.without_key)
