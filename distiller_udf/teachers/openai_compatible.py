"""Any OpenAI-compatible server as teacher: OpenAI, vLLM, Ollama and others, told apart by their `base_url`.

Many questions are under way at once. What may pass (rate limits, server errors, broken connections, unreadable
bodies) is tried again with growing waits up to a limit; then that question has failed, with its reason. A reply that
says nothing usable is asked for once more. What will not pass (a rejected key, an unknown model, nobody listening)
ends the run at once with one sentence.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from distiller_udf.budget import Budget, Cost
from distiller_udf.prompts import Answer, Asking, Question
from distiller_udf.teachers.bodies import Requests
from distiller_udf.teachers.calls import Calls, Slots
from distiller_udf.teachers.chat import ChatEndpoint
from distiller_udf.teachers.prices import Price


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
        self._requests = Requests(model, parameters, price)
        # Under a name of its own, the model still tells its labels from those of another one of that name.
        self.parameters = {**self._requests.parameters, **({} if self.name == model else {"model": model})}
        self._first_wait = first_wait
        self.endpoint = ChatEndpoint(
            base_url, api_key_env, timeout, http_client, connections=concurrency, local_only=local_only
        )
        self._slots = Slots(concurrency)

    def __repr__(self) -> str:
        return f"OpenAICompatible({self.name!r}, {self.endpoint!r})"

    def expect(self, question: Question) -> Cost:
        """About what asking this question costs, attempts that fail not counted."""
        return self._requests.expect(question)

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
        self._requests.check_limited(budget.limits, questions)
        self.endpoint.open()
        calls = Calls(self._requests, self.endpoint, self._slots, budget, self._first_wait)
        yield from calls.answers(questions)
