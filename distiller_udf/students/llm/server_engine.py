"""A language model behind a vLLM server, which has the student's adapter loaded (`--lora-modules NAME=FOLDER`)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np

from distiller_udf.english import counted
from distiller_udf.errors import StudentError, TeacherRefused
from distiller_udf.students.llm.engine import Engine
from distiller_udf.students.llm.prompting import Prompt
from distiller_udf.teachers.chat import ChatEndpoint, Passing, Rejected

AT_ONCE = 32
"""Prompts in one request."""

CONNECTIONS = 4
ATTEMPTS = 5
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0


class ServerEngine(Engine):
    """Sends prompts as tokens, so that the server's own chat template has no say in them."""

    @cached_property
    def _endpoint(self) -> ChatEndpoint:
        serving = self._serving
        endpoint = ChatEndpoint(
            serving.base_url,
            serving.api_key_env or "",
            serving.timeout,
            connections=CONNECTIONS,
            local_only=serving.local_only,
        )
        try:
            endpoint.open()
        except TeacherRefused as error:
            raise StudentError(str(error)) from error
        return endpoint

    def label_log_probabilities(self, prompts: Sequence[Prompt]) -> list[np.ndarray]:
        def asked(part: Sequence[Prompt]) -> dict[str, Any]:
            labels = sorted({label for prompt in part for label in prompt.labels})
            return {
                "max_tokens": 1,
                "logprobs": 1,
                "logprob_token_ids": labels,
                "return_tokens_as_token_ids": True,
            }

        choices = self._choices(prompts, asked)
        return [_labels(choice, prompt.labels) for choice, prompt in zip(choices, prompts, strict=True)]

    def write(self, prompts: Sequence[Prompt], max_tokens: int, end: int) -> list[str]:
        choices = self._choices(prompts, lambda _: {"max_tokens": max_tokens, "stop_token_ids": [end]})
        return [str(choice.get("text", "")) for choice in choices]

    def _choices(self, prompts: Sequence[Prompt], settings: Any) -> list[Mapping[str, Any]]:
        """The completion of each prompt, many prompts a request and several requests at once."""
        parts = [prompts[start : start + AT_ONCE] for start in range(0, len(prompts), AT_ONCE)]
        with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="distiller-student") as pool:
            answers = list(pool.map(lambda part: self._completed(part, settings(part)), parts))
        return [choice for part in answers for choice in part]

    def _completed(self, prompts: Sequence[Prompt], settings: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        name = self._serving.served_as or self._model.name
        body = {
            "model": name,
            "prompt": [list(prompt.tokens) for prompt in prompts],
            "temperature": 0,
            **settings,
        }
        answers = self._posted(body).get("choices")
        known = answers if isinstance(answers, list) else []
        by_index = {str(choice.get("index")): choice for choice in known if isinstance(choice, Mapping)}
        wanted = [str(i) for i in range(len(prompts))]
        if by_index.keys() != set(wanted):
            raise StudentError(
                f"the server at {self._endpoint.base_url} did not answer {counted(len(prompts), 'prompt')} one by one; "
                "a vLLM server is needed"
            )
        return [by_index[i] for i in wanted]

    def _posted(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The response body; faults that may pass are tried again. Raises StudentError."""
        where = f"the server of the student at {self._endpoint.base_url}"
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._endpoint.post(body, path="/completions")
            except Passing as fault:
                if attempt == ATTEMPTS:
                    raise StudentError(f"{where} does not answer: {fault}; check the address, and run again") from None
                wait = FIRST_WAIT * 2 ** (attempt - 1) if fault.wait is None else fault.wait
                time.sleep(min(wait, LONGEST_WAIT))
            except (Rejected, TeacherRefused) as error:
                raise StudentError(
                    f"{where} refused: {error}. It must be a vLLM server that knows the model {body['model']!r} "
                    "(er_llm_served_as)"
                ) from None
        raise AssertionError("the last attempt returns or raises")


def _labels(choice: Mapping[str, Any], labels: Sequence[int]) -> np.ndarray:
    """The log-probabilities of the labels in one completion; raises StudentError where they are not there."""
    try:
        known = choice["logprobs"]["top_logprobs"][0]
        return np.asarray([float(known[f"token_id:{label}"]) for label in labels], dtype=np.float64)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise StudentError(
            "the server does not give the probabilities of the answers' tokens; a newer vLLM is needed"
        ) from error
