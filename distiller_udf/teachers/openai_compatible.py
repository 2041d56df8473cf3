"""Any OpenAI-compatible server as teacher: OpenAI, vLLM, Ollama and others, told apart by their `base_url`.

Many questions are under way at once. What may pass (rate limits, server errors, broken connections, unreadable
bodies) is tried again with growing waits up to a limit; then that question has failed, with its reason. A reply that
says nothing usable is asked for once more. What will not pass (a rejected key, an unknown model, nobody listening)
ends the run at once with one sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from distiller_udf.budget import Budget
from distiller_udf.prompts import Answer, Asking, Question
from distiller_udf.teachers.base import ChatTeacher
from distiller_udf.teachers.calls import Calls, Slots
from distiller_udf.teachers.chat import ChatEndpoint
from distiller_udf.teachers.prices import Price


class OpenAICompatible(ChatTeacher):
    """A teacher behind an OpenAI-compatible chat endpoint.

    `model` is what the server calls it, `name` what its labels are stored under (the model, unless given). `asking`,
    `parameters`, `price`: see `ChatTeacher`. `base_url`, `api_key_env`, `timeout` (seconds) and
    `local_only`: see `ChatEndpoint`. `concurrency` is the number of calls under way at once, `first_wait` the seconds
    before a second attempt; it doubles from there. Raises SettingsError for an impossible address.
    """

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
    ) -> None:
        super().__init__(model, name or model, asking, parameters, price)
        self._first_wait = first_wait
        self.endpoint = ChatEndpoint(base_url, api_key_env, timeout, connections=concurrency, local_only=local_only)
        self._slots = Slots(concurrency)

    def __repr__(self) -> str:
        return f"OpenAICompatible({self.name!r}, {self.endpoint!r})"

    def _answered(self, questions: Sequence[Question], budget: Budget) -> Iterator[list[tuple[Question, Answer]]]:
        """When the run has to end early, the calls under way are waited for and yielded first: they are paid for."""
        self.endpoint.open()
        return Calls(self._requests, self.endpoint, self._slots, budget, self._first_wait).answers(questions)
