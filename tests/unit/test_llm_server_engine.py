"""What is sent to the server of a student, and what is made of its replies, however it behaves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distiller_udf.errors import SettingsError, StudentError
from distiller_udf.students.llm import server_engine
from distiller_udf.students.llm.engine import Model, Serving
from distiller_udf.students.llm.prompting import Prompt
from distiller_udf.students.llm.server_engine import AT_ONCE, ATTEMPTS, ServerEngine
from tests.unit.chat_server import Reply, Server, error, serving

KEY = "sk-very-secret-indeed"
LABELS = (5, 7, 9)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as state:
        state.behave = lambda body, n: completions(body)
        yield state


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_engine, "FIRST_WAIT", 0.01)


def engine(server: Server, **settings: Any) -> ServerEngine:
    model = Model("base", Path("tokenizer"), Path("adapter"), 8, 512, "llm-0123456789ab")
    return ServerEngine(model, Serving(engine="server", base_url=server.url, **settings))


def prompts(count: int) -> list[Prompt]:
    return [Prompt((1, 2, 100 + i), LABELS) for i in range(count)]


def share(prompt: list[int], label: int) -> float:
    """The log-probability that the server gives a label: another one for every prompt."""
    return -math.log(prompt[-1] + label)


def completions(body: dict[str, Any]) -> Reply:
    """What vLLM replies, the last prompt first."""
    known = body.get("logprob_token_ids", ())
    choices = [
        {
            "index": i,
            "text": f"reply to {prompt[-1]}",
            "finish_reason": "length",
            "logprobs": {"top_logprobs": [{f"token_id:{label}": share(prompt, label) for label in known}]},
        }
        for i, prompt in enumerate(body["prompt"])
    ]
    return Reply({"id": "x", "object": "text_completion", "created": 0, "model": "m", "choices": choices[::-1]})


def test_every_prompt_gets_its_own_answer(server: Server) -> None:
    asked = prompts(2 * AT_ONCE + 3)
    answers = engine(server).label_log_probabilities(asked)
    expected = [[share(list(prompt.tokens), label) for label in LABELS] for prompt in asked]
    assert np.allclose(answers, expected)
    assert sorted(len(body["prompt"]) for body in server.requests) == [3, AT_ONCE, AT_ONCE]
    body = server.requests[0]
    assert body["model"] == "llm-0123456789ab"
    assert (body["max_tokens"], body["temperature"]) == (1, 0)
    assert body["logprob_token_ids"] == list(LABELS)
    assert server.keys <= {None, "Bearer none"}


def test_replies_are_written_up_to_the_end(server: Server) -> None:
    written = engine(server, served_as="mine").write(prompts(2), 40, 3)
    assert written == ["reply to 100", "reply to 101"]
    (body,) = server.requests
    assert (body["model"], body["max_tokens"], body["stop_token_ids"]) == ("mine", 40, [3])
    assert "logprob_token_ids" not in body


def test_a_fault_that_passes_is_waited_for(server: Server) -> None:
    server.behave = lambda body, n: error(503, "loading") if n < ATTEMPTS else completions(body)
    assert len(engine(server).label_log_probabilities(prompts(1))) == 1
    assert len(server.requests) == ATTEMPTS


def test_a_fault_that_stays_is_one_sentence(server: Server) -> None:
    server.behave = lambda body, n: error(503, "loading")
    with pytest.raises(StudentError, match=r"server of the student at http://127\.0\.0\.1:\d+/v1 does not answer"):
        engine(server).label_log_probabilities(prompts(1))
    assert len(server.requests) == ATTEMPTS


def test_a_model_that_the_server_does_not_know_is_named(server: Server) -> None:
    server.behave = lambda body, n: error(404, "The model does not exist")
    with pytest.raises(StudentError, match=r"does not exist.*knows the model 'llm-0123456789ab' \(er_llm_served_as\)"):
        engine(server).label_log_probabilities(prompts(1))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ({"choices": []}, "did not answer 1 prompt one by one"),
        ({"choices": "none"}, "did not answer 1 prompt one by one"),
        ({}, "did not answer 1 prompt one by one"),
        ({"choices": [{"index": 0, "text": "A"}]}, "does not give the probabilities"),
        ({"choices": [{"index": 0, "logprobs": None}]}, "does not give the probabilities"),
        ({"choices": [{"index": 0, "logprobs": {"top_logprobs": [{"A": -1.0}]}}]}, "does not give the probabilities"),
        ({"choices": [{"index": 0, "logprobs": {"top_logprobs": []}}]}, "does not give the probabilities"),
    ],
)
def test_a_server_that_is_no_vllm_is_told_apart(server: Server, reply: dict[str, Any], message: str) -> None:
    server.behave = lambda body, n: Reply(reply)
    with pytest.raises(StudentError, match=message):
        engine(server).label_log_probabilities(prompts(1))


def test_the_key_is_sent_and_never_shown(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDENT_KEY", KEY)
    server.behave = lambda body, n: error(401, f"Incorrect key {KEY}")
    with pytest.raises(StudentError) as raised:
        engine(server, api_key_env="STUDENT_KEY").label_log_probabilities(prompts(1))
    assert server.keys == {f"Bearer {KEY}"}
    assert KEY not in str(raised.value)


def test_without_a_key_that_is_named_no_other_one_is_sent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    engine(server).label_log_probabilities(prompts(1))
    assert not any(KEY in (sent or "") for sent in server.keys)


def test_local_only_goes_nowhere_else() -> None:
    model = Model("base", Path("tokenizer"), None, 0, 512, "llm-0123456789ab")
    elsewhere = Serving(engine="server", base_url="http://198.51.100.7:8000/v1", local_only=True)
    with pytest.raises(SettingsError, match="local_only is set, but the server is at"):
        ServerEngine(model, elsewhere).label_log_probabilities(prompts(1))
