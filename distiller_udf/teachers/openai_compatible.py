"""Any OpenAI-compatible server as teacher: OpenAI, vLLM, Ollama and others, told apart by their `base_url`.

Many questions are under way at once. What may pass (rate limits, server errors, broken connections, unreadable
bodies) is tried again with growing waits up to a limit; then that question has failed, with its reason. What will
not pass (a rejected key, an unknown model, nobody listening) ends the run at once with one sentence.
"""

from __future__ import annotations

import itertools
import logging
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

from distiller_udf.errors import TeacherError, TeacherRefused, TeacherUnreachable
from distiller_udf.prompts import Answer, Question, answer_schema, messages, parse_answer
from distiller_udf.teachers.chat import ChatEndpoint, Passing, Rejected
from distiller_udf.teachers.prices import Price

logger = logging.getLogger(__name__)

DEFAULT_PARAMETERS: Mapping[str, Any] = {"temperature": 0, "max_tokens": 400}
MAX_ATTEMPTS = 6
"""How often one question is asked before it has failed."""

MAX_WAIT_SECONDS = 120.0
"""A server that asks for a longer pause than this is not waited for."""

FAILURES_IN_A_ROW = 10
"""So many questions that fail one after the other (or twice the concurrency, if that is more) end the run."""

_FIRST_WAIT, _LONGEST_BACKOFF = 0.5, 20.0
_ABOUT_FORMAT = ("response_format", "json_schema", "schema", "structured", "grammar", "guided")


class OpenAICompatible:
    """A teacher behind an OpenAI-compatible chat endpoint; `model` is its name.

    `base_url`, `api_key_env`, `timeout` (seconds for one call) and `http_client`: see `ChatEndpoint`. `concurrency` is
    the number of questions under way at once. `parameters` go into every request and into the label's key, on
    top of `DEFAULT_PARAMETERS` (None removes one). `price` None means unknown. `structured` asks for a JSON schema;
    a server that refuses it is asked without. Raises SettingsError for an impossible address.
    """

    free = False

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 8,
        timeout: float = 120.0,
        parameters: Mapping[str, Any] | None = None,
        price: Price | None = None,
        structured: bool = True,
        http_client: Any = None,
    ) -> None:
        self.name = model
        merged = {**DEFAULT_PARAMETERS, **(parameters or {})}
        self.parameters: dict[str, Any] = {name: value for name, value in merged.items() if value is not None}
        self.concurrency = concurrency
        self.endpoint = ChatEndpoint(base_url, api_key_env, timeout, http_client)
        self._price = price
        self._structured = structured
        self._sent_as: dict[str, str | None] = {}
        self._schema_accepted = False
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"OpenAICompatible({self.name!r}, {self.endpoint!r})"

    def answer(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Answer]]:
        """Answer every question, in order of completion; see `Teacher.answer`.

        When the run has to end early, the calls under way are waited for and yielded first: they are paid for.
        """
        self.endpoint.open()
        run = _Run(self)
        waiting = iter(questions)
        pending: dict[Future[Answer], Question] = {}
        done: SimpleQueue[Future[Answer]] = SimpleQueue()
        pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix="distiller-teacher")
        try:
            while True:
                # Twice as many as there are slots, so that no slot waits for whoever stores the answers.
                for question in itertools.islice(waiting, 0 if run.ended else 2 * self.concurrency - len(pending)):
                    future = pool.submit(run.ask, question)
                    pending[future] = question
                    future.add_done_callback(done.put)
                if not pending:
                    break
                future = done.get()
                question, answer = pending.pop(future), run.settle(future)
                if answer is not None:
                    yield question, answer
            ended = run.ended or run.verdict()
            if ended is not None:
                raise ended
        finally:
            run.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def request(self, question: Question) -> dict[str, Any]:
        """The body of one request, without what this server has refused so far."""
        body: dict[str, Any] = {"model": self.name, "messages": messages(question)}
        with self._lock:
            for name, value in self.parameters.items():
                sent = self._sent_as.get(name, name)
                if sent is not None:
                    body[sent] = value
            if self._structured:
                schema = {"name": "answer", "strict": True, "schema": answer_schema(len(question.candidates))}
                body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    def accepted(self, body: Mapping[str, Any]) -> None:
        """Remember that the server takes a request of this shape."""
        self._schema_accepted = self._schema_accepted or "response_format" in body

    def adapt(self, body: Mapping[str, Any], said: str) -> bool:
        """After the server refused `body`: leave out what it does not know; False when it must be the question."""
        said = said.lower()
        with self._lock:
            if "max_completion_tokens" in said and "max_tokens" in body:
                self._sent_as["max_tokens"] = "max_completion_tokens"
            elif "temperature" in said and "temperature" in body:
                self._sent_as["temperature"] = None
            elif "response_format" in body and (
                any(word in said for word in _ABOUT_FORMAT) or not self._schema_accepted
            ):
                self._structured = False
            else:
                return False
        logger.info("%s refuses a part of the request; asking without it: %s", self.name, said)
        return True

    def read(self, payload: Mapping[str, Any], n: int) -> Answer:
        """The answer in a response body to a question with `n` candidates; raises Passing when it holds no reply."""
        choices = payload.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise Passing("the reply has no choices")
        message = choices[0].get("message")
        text = message.get("content") if isinstance(message, dict) else None
        answer = self._parsed(text, n) if isinstance(text, str) else parse_answer(None, n)
        if answer.choice is None and choices[0].get("finish_reason") == "length":
            answer = replace(answer, error="abstained: the reply was cut off at max_tokens; allow more tokens")
        if answer.choice is None and choices[0].get("finish_reason") == "content_filter":
            answer = replace(answer, error="abstained: the server's content filter withheld the reply")
        return replace(answer, **self._usage(payload.get("usage")))

    def _parsed(self, text: str, n: int) -> Answer:
        """A reply as an answer. A server that echoes the request would carry the key into the label store."""
        answer, clean = parse_answer(text, n), self.endpoint.without_key
        # What was chosen is read from the reply as it came; only its words come from the cleaned one.
        words = parse_answer(clean(text), n)
        error = None if answer.choice is not None else clean(words.error or "abstained: the reply is unusable")
        return replace(answer, explanation=words.explanation and clean(words.explanation), error=error)

    def _usage(self, usage: object) -> dict[str, Any]:
        used = usage if isinstance(usage, dict) else {}
        given, made = used.get("prompt_tokens"), used.get("completion_tokens")
        if not isinstance(given, int) or not isinstance(made, int):
            return {}
        cost = None if self._price is None else self._price.cost(given, made)
        return {"input_tokens": given, "output_tokens": made, "cost_usd": cost}


class _Run:
    """What the threads of one call of `answer` share; `ended` is why no more questions are asked."""

    def __init__(self, teacher: OpenAICompatible) -> None:
        self.stop = threading.Event()
        self.ended: TeacherError | None = None
        self._teacher = teacher
        self._heard = False
        self._resume_at = 0.0
        self._failures = 0
        self._answered = 0
        self._last = ""

    def settle(self, future: Future[Answer]) -> Answer | None:
        """The answer of a finished call; None for a question that is left for another run. Called by one thread."""
        try:
            answer = future.result()
        except TeacherError as error:
            self._end(error)
            return None
        self._failures = self._failures + 1 if answer.failed else 0
        self._answered += not answer.failed
        self._last = answer.error or self._last
        if self._failures >= max(FAILURES_IN_A_ROW, 2 * self._teacher.concurrency):
            self._end(self._gone())
        return None if self.ended and answer.failed else answer

    def verdict(self) -> TeacherError | None:
        """What to raise after the last question: a server that answered none of them is not usable."""
        return self._gone() if self._failures and not self._answered else None

    def ask(self, question: Question) -> Answer:
        """One question with all its attempts; an answer that failed when none succeeds."""
        started = time.monotonic()
        try:
            answer = self._attempts(question)
        except TeacherError:
            self.stop.set()  # here, not when the result is looked at: the next question must not go out
            raise
        return replace(answer, seconds=round(time.monotonic() - started, 3))

    def _attempts(self, question: Question) -> Answer:
        attempt = 0
        while True:
            self.stop.wait(self._resume_at - time.monotonic())
            if self.stop.is_set():
                return _failed("the run ended first")
            body = self._teacher.request(question)
            try:
                payload = self._teacher.endpoint.post(body)
                self._heard = True
                self._teacher.accepted(body)
                return self._teacher.read(payload, len(question.candidates))
            except Rejected as rejected:
                changed = self._teacher.request(question).keys() != body.keys()  # by another thread meanwhile
                if not changed and not self._teacher.adapt(body, rejected.said):
                    return _failed(str(rejected))
            except Passing as fault:
                attempt += 1
                if fault.nobody_there and not self._heard and attempt >= 2:
                    raise self._nobody_there(fault) from None
                if attempt >= MAX_ATTEMPTS or (fault.wait or 0.0) > MAX_WAIT_SECONDS:
                    return _failed(f"{fault} ({attempt} attempt{'s' * (attempt > 1)})")
                self._back_off(attempt, fault)

    def _back_off(self, attempt: int, fault: Passing) -> None:
        """Wait before the next attempt; a pause that the server asks for holds for all threads."""
        if fault.wait is not None:
            self._resume_at = max(self._resume_at, time.monotonic() + fault.wait)
        wait_seconds = min(_FIRST_WAIT * 2 ** (attempt - 1), _LONGEST_BACKOFF)
        logger.info("attempt %d failed, trying again: %s", attempt, fault)
        # Jitter: threads that failed together must not come back together.
        self.stop.wait(0.0 if fault.wait is not None else wait_seconds * random.uniform(0.5, 1.0))

    def _nobody_there(self, fault: Passing) -> TeacherUnreachable:
        url = self._teacher.endpoint.base_url
        return TeacherUnreachable(
            f"nobody answers at {url} ({fault}); check the address and that the server is running"
        )

    def _gone(self) -> TeacherUnreachable:
        url = self._teacher.endpoint.base_url
        return TeacherUnreachable(f"{self._failures} questions in a row failed at {url}; the last: {self._last}")

    def _end(self, error: TeacherError) -> None:
        # A rejected key says more than the failures around it.
        if self.ended is None or (isinstance(error, TeacherRefused) and not isinstance(self.ended, TeacherRefused)):
            self.ended = error
        self.stop.set()


def _failed(reason: str) -> Answer:
    return Answer(None, error=f"no answer: {reason}", failed=True)
