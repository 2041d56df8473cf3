"""The OpenAI-compatible teacher against a real HTTP server on loopback: faults, limits, secrets, money."""

from __future__ import annotations

import json
import logging
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from chat_server import MODEL, Reply, Server, completion, error, said, serving

from distiller_udf.budget import Budget, Limits
from distiller_udf.errors import SettingsError, TeacherError, TeacherRefused, TeacherUnreachable
from distiller_udf.labels import LabelStore, Run, answer_questions
from distiller_udf.prompts import Answer, Question
from distiller_udf.teachers import make_teacher
from distiller_udf.teachers.bodies import read_body
from distiller_udf.teachers.calls import UNUSABLE_ATTEMPTS
from distiller_udf.teachers.chat import OPENAI_URL
from distiller_udf.teachers.openai_compatible import OpenAICompatible
from distiller_udf.teachers.prices import Price

KEY = "sk-very-secret-0123456789"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as state:
        yield state


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def questions(n: int, options: int = 2) -> list[Question]:
    return [Question(f'{{"name":"q{i}"}}', tuple(f'{{"name":"c{j}"}}' for j in range(options))) for i in range(n)]


def teacher_of(server: Server, **settings: Any) -> OpenAICompatible:
    return OpenAICompatible(
        MODEL, **{"base_url": server.url, "api_key_env": "MY_KEY", "timeout": 5.0, "first_wait": 0.005, **settings}
    )


def ask(server: Server, n: int = 1, **settings: Any) -> list[Answer]:
    asked = questions(n)
    given = dict(teacher_of(server, **settings).answer(asked))
    assert len(given) == n
    return [given[question] for question in asked]


def test_a_question_goes_out_whole_and_its_answer_comes_back(server: Server) -> None:
    server.behave = lambda body, n: said(2)
    (answer,) = ask(server, price=Price(0.4, 1.6))
    assert (answer.choice, answer.confidence, answer.explanation) == (2, 0.9, "same")
    assert (answer.input_tokens, answer.output_tokens) == (1_000, 50)
    assert answer.cost_usd == pytest.approx(0.00048)
    assert answer.seconds is not None
    (body,) = server.requests
    assert body["model"] == MODEL
    assert (body["temperature"], body["max_tokens"]) == (0, 400)
    assert body["response_format"]["json_schema"]["schema"]["properties"]["choice"]["enum"] == [0, 1, 2]
    assert "[2] {" in body["messages"][1]["content"]
    assert server.keys == {f"Bearer {KEY}"}


def test_an_unknown_price_is_no_price(server: Server) -> None:
    assert ask(server)[0].cost_usd is None


UNUSABLE = {
    "2 candidates": said(9),
    "no choice": completion("I cannot help"),
    "empty": completion(None),
    "cut off at max_tokens": completion('{"cho', "length"),
    "characters": completion("[1] " * 20_000),
}


@pytest.mark.parametrize("reason", UNUSABLE)
def test_an_unusable_reply_is_asked_for_once_more(server: Server, reason: str) -> None:
    server.behave = lambda body, n: UNUSABLE[reason]
    (answer,) = ask(server, price=Price(0.4, 1.6))
    assert answer.abstained
    assert reason in str(answer.error)
    assert len(server.requests) == UNUSABLE_ATTEMPTS == 2
    assert (answer.input_tokens, answer.output_tokens) == (2_000, 100)
    assert answer.cost_usd == pytest.approx(0.00096)


def test_the_second_reply_counts_and_both_are_paid_for(server: Server) -> None:
    server.behave = lambda body, n: completion("hm") if n == 1 else said(2)
    (answer,) = ask(server)
    assert (answer.choice, answer.error, answer.input_tokens, answer.output_tokens) == (2, None, 2_000, 100)


def test_what_a_reply_without_choices_has_used_is_counted(server: Server) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    server.behave = lambda body, n: Reply({"choices": [], "usage": usage}) if n == 1 else said(2)
    (answer,) = ask(server)
    assert (answer.choice, answer.input_tokens, answer.output_tokens) == (2, 1_007, 53)


def test_a_reply_that_does_not_say_what_it_used_makes_the_sum_unknown(server: Server) -> None:
    silent = {"choices": [{"message": {"content": "hm"}}]}
    server.behave = lambda body, n: Reply(silent) if n == 1 else said(2)
    (answer,) = ask(server, price=Price(1, 1))
    assert (answer.choice, answer.input_tokens, answer.cost_usd) == (2, None, None)


def test_what_a_content_filter_withholds_is_not_asked_for_again(server: Server) -> None:
    server.behave = lambda body, n: completion(None, "content_filter")
    assert "content filter" in str(ask(server)[0].error)
    assert len(server.requests) == 1


def test_a_server_without_json_schema_is_asked_without(server: Server) -> None:
    def behave(body: dict[str, Any], n: int) -> Reply:
        if "response_format" in body:
            return error(400, "response_format of type json_schema is not supported")
        return said(1)

    server.behave = behave
    assert [answer.choice for answer in ask(server, 20, concurrency=4)] == [1] * 20
    assert sum("response_format" in body for body in server.requests) <= 8  # those under way and those ready to go


def test_newer_names_of_parameters(server: Server) -> None:
    def behave(body: dict[str, Any], n: int) -> Reply:
        if "max_tokens" in body:
            return error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        if "temperature" in body:
            return error(400, "Unsupported value: 'temperature' does not support 0 with this model.")
        return said(1)

    server.behave = behave
    assert ask(server, 2, concurrency=1)[1].choice == 1
    assert server.requests[-1]["max_completion_tokens"] == 400
    assert "response_format" in server.requests[-1]


def test_a_question_that_the_server_refuses_fails_alone(server: Server) -> None:
    def behave(body: dict[str, Any], n: int) -> Reply:
        if '"q1"' in body["messages"][1]["content"]:
            return error(400, "This model's maximum context length is 10 tokens")
        return said(1)

    server.behave = behave
    answers = ask(server, 3, concurrency=1)
    assert [answer.choice for answer in answers] == [1, None, 1]
    assert answers[1].failed
    assert "maximum context length" in str(answers[1].error)
    assert "response_format" in server.requests[-1]


@pytest.mark.parametrize(
    "fault",
    [
        error(429, "slow down"),
        error(429, "slow down", retry_after="0.01"),
        error(500, "oops"),
        error(503, "overloaded"),
        Reply(b"<html>Bad gateway</html>", 502, kind="text/html"),
        Reply(b"<html>Welcome</html>", kind="text/html"),
        Reply(b'{"choices": [{"mess'),
        Reply(b"[]"),
        Reply({"choices": []}),
        Reply({}),
        Reply(said(1).body, reset=True),
        Reply(said(1).body, cut=True),
        Reply(b"x" * 3_000_000),
    ],
    ids=lambda reply: f"{reply.status}-{str(reply.body)[:12]}-{reply.reset}-{reply.cut}-{len(reply.headers)}",
)
def test_faults_at_a_fifth_of_calls_are_survived(server: Server, fault: Reply) -> None:
    server.behave = lambda body, n: fault if n % 5 == 0 else said(1)
    answers = ask(server, 40)
    assert [answer.choice for answer in answers] == [1] * 40
    assert 48 <= len(server.requests) <= 52


def test_a_trickle_slower_than_the_timeout(server: Server) -> None:
    trickled = Reply(said(1).body, trickle=0.02)
    server.behave = lambda body, n: trickled if n <= 2 else said(1)
    started = time.monotonic()
    assert [answer.choice for answer in ask(server, 4, timeout=0.3)] == [1] * 4
    assert time.monotonic() - started < 3
    assert len(server.requests) == 6


def test_an_answer_of_one_megabyte_abstains(server: Server) -> None:
    server.behave = lambda body, n: completion("[1] " * 250_000)
    assert "characters" in str(ask(server)[0].error)


def test_a_question_fails_after_its_attempts_and_says_why(server: Server) -> None:
    server.behave = lambda body, n: error(500, "oops") if '"q0"' in body["messages"][1]["content"] else said(1)
    answers = ask(server, 3)
    assert answers[0].failed
    assert answers[0].error == "no answer: the server said 500: oops (6 attempts)"
    assert answers[1].choice == answers[2].choice == 1


def test_retry_after_is_honoured_by_all_threads(server: Server) -> None:
    times: list[float] = []

    def behave(body: dict[str, Any], n: int) -> Reply:
        times.append(time.monotonic())
        return error(429, "slow down", retry_after="0.5") if n == 1 else said(1)

    server.behave = behave
    ask(server, 6, concurrency=2)
    assert sum(moment - times[0] < 0.45 for moment in times) <= 3


def test_a_pause_that_is_too_long_is_not_waited_for(server: Server) -> None:
    refused = error(429, "tomorrow", retry_after="86400")
    server.behave = lambda body, n: refused if '"q0"' in body["messages"][1]["content"] else said(1)
    answers = ask(server, 2, concurrency=1)
    assert answers[0].error == "no answer: the server said 429: tomorrow (1 attempt)"
    assert answers[1].choice == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_rejected_key_ends_the_run_at_once(server: Server, status: int) -> None:
    server.behave = lambda body, n: error(status, f"Incorrect API key provided: {KEY}")
    with pytest.raises(TeacherRefused, match="environment variable MY_KEY") as raised:
        ask(server, 100)
    assert KEY not in everything_about(raised.value)
    assert len(server.requests) <= 8
    assert len(str(raised.value).splitlines()) == 1


def test_an_unknown_model_ends_the_run_at_once(server: Server) -> None:
    server.behave = lambda body, n: error(404, "The model does not exist", "model_not_found")
    with pytest.raises(TeacherRefused, match="no model 'some-model'"):
        ask(server, 100)
    assert len(server.requests) <= 8


def test_no_credit_ends_the_run_at_once(server: Server) -> None:
    server.behave = lambda body, n: error(429, "You exceeded your quota", "insufficient_quota")
    with pytest.raises(TeacherRefused, match="no credit left"):
        ask(server, 100)


def test_nobody_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        teacher = OpenAICompatible(MODEL, base_url=url, api_key_env="MY_KEY")
        started = time.monotonic()
        with pytest.raises(TeacherUnreachable, match=re.escape(url)) as raised:
            list(teacher.answer(questions(100)))
    assert "server is running" in str(raised.value)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("fault", [error(503, "loading"), Reply(b"<html>Welcome</html>", kind="text/html")])
def test_a_server_that_answers_nothing_is_unreachable(server: Server, fault: Reply) -> None:
    server.behave = lambda body, n: fault
    with pytest.raises(
        TeacherUnreachable, match=r"the last: no answer: the (server said 503: loading|reply is no JSON)"
    ):
        ask(server, 2)


def tuples(n: int) -> pa.Table:
    candidates = [{"source": "b", "id": j, "record": {"name": f"c{j}"}} for j in range(2)]
    return pa.Table.from_pylist(
        [{"left_source": "a", "left_id": i, "query": {"name": f"q{i}"}, "candidates": candidates} for i in range(n)]
    )


NEVER = {
    "too long": (error(400, "This model's maximum context length is 10 tokens"), {}),
    "crash": (error(500, "oops"), {}),
    "broken off": (Reply(said(1).body, reset=True), {}),
    "empty": (Reply({"choices": []}), {}),
    "endless": (Reply(said(1).body, trickle=0.1), {"timeout": 0.2}),
}


@pytest.mark.parametrize("why", NEVER)
def test_a_question_that_can_never_be_answered_breaks_no_run(server: Server, why: str, tmp_path: Path) -> None:
    fault, settings = NEVER[why]
    server.behave = lambda body, n: fault if '"q1"' in body["messages"][1]["content"] else said(1)
    with LabelStore(tmp_path / "labels.sqlite") as store:
        teacher = teacher_of(server, **settings)
        assert Run([teacher], store).label(tuples(3)).num_rows == 2
        asked = len(server.requests)
        for _ in range(2):  # these ask that one alone
            assert Run([teacher], store).label(tuples(3)).num_rows == 2
        assert all('"q1"' in body["messages"][1]["content"] for body in server.requests[asked:])


def test_any_number_of_questions_may_be_refused(server: Server) -> None:
    server.behave = lambda body, n: error(422, "this is too long")
    assert all(answer.failed for answer in ask(server, 60, concurrency=2))


def test_a_server_that_refuses_a_question_is_there(server: Server) -> None:
    def behave(body: dict[str, Any], n: int) -> Reply:
        refused = '"q0"' in body["messages"][1]["content"]
        return error(400, "this is too long") if refused else error(503, "busy")

    server.behave = behave
    assert all(answer.failed for answer in ask(server, 2))


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_paid_abstention_is_kept_when_the_budget_ends(server: Server, concurrency: int, tmp_path: Path) -> None:
    server.behave = lambda body, n: completion("hm")
    teacher = teacher_of(server, concurrency=concurrency)
    with LabelStore(tmp_path / "labels.sqlite") as store:
        (answer,) = answer_questions(questions(1), teacher=teacher, store=store, budget=Budget(Limits(calls=1)))
        assert (answer.abstained, answer.input_tokens, answer.output_tokens) == (True, 1_000, 50)
        (again,) = answer_questions(questions(1), teacher=teacher, store=store)
        assert again.error == answer.error
    assert len(server.requests) == 1


@pytest.mark.parametrize("fault", [error(500, "oops"), error(400, "this is too long"), error(401, "key withdrawn")])
def test_a_paid_abstention_is_kept_whatever_comes_after(server: Server, fault: Reply, tmp_path: Path) -> None:
    server.behave = lambda body, n: completion("hm") if n == 1 else fault
    with LabelStore(tmp_path / "labels.sqlite") as store:
        with suppress(TeacherRefused):
            answer_questions(questions(1), teacher=teacher_of(server), store=store)
        asked = len(server.requests)
        (answer,) = answer_questions(questions(1), teacher=teacher_of(server), store=store)
    assert (answer.abstained, answer.input_tokens) == (True, 1_000)
    assert len(server.requests) == asked


def test_what_nobody_expected_loses_no_answer(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(body: Mapping[str, Any], question: Question, clean: Callable[[str], str]) -> Answer:
        if '"q3"' in question.query:
            raise ValueError("never seen before")
        time.sleep(0.2)
        return read_body(body, question, clean)

    monkeypatch.setattr("distiller_udf.teachers.calls.read_body", careless)
    with LabelStore(tmp_path / "labels.sqlite") as store:
        teacher = teacher_of(server, concurrency=4)
        with pytest.raises(ValueError, match="never seen before"):
            answer_questions(questions(100), teacher=teacher, store=store)
        assert store.export().num_rows == len(server.requests) - 1
    assert 4 <= len(server.requests) <= 20


def test_a_server_that_goes_away_ends_the_run(server: Server, tmp_path: Path) -> None:
    server.behave = lambda body, n: said(1) if n <= 20 else error(503, "gone")
    with LabelStore(tmp_path / "labels.sqlite") as store:
        with pytest.raises(TeacherUnreachable, match="in a row failed"):
            answer_questions(questions(500), teacher=teacher_of(server, concurrency=4), store=store)
        assert store.export().num_rows == 20
    assert len(server.requests) < 200


def test_what_is_under_way_when_the_run_ends_is_kept(server: Server, tmp_path: Path) -> None:
    def behave(body: dict[str, Any], n: int) -> Reply:
        if n == 4:
            return error(401, "key withdrawn")
        time.sleep(0.2)
        return said(1)

    server.behave = behave
    with LabelStore(tmp_path / "labels.sqlite") as store:
        with pytest.raises(TeacherRefused, match=r"\(3 of 50 answers arrived and are kept"):
            answer_questions(questions(50), teacher=teacher_of(server, concurrency=4), store=store)
        assert store.export().num_rows == 3
        server.behave = lambda body, n: said(1)
        answer_questions(questions(50), teacher=teacher_of(server), store=store)
    asked = Counter(body["messages"][1]["content"] for body in server.requests)
    assert sorted(asked.values()) == [1] * 49 + [2]


def test_questions_are_asked_side_by_side(server: Server) -> None:
    def behave(body: dict[str, Any], n: int) -> Reply:
        time.sleep(0.1)
        return said(1)

    server.behave = behave
    started = time.monotonic()
    ask(server, 64, concurrency=16)
    assert time.monotonic() - started < 3  # one after the other: more than 6


def test_stopping_early_leaves_no_calls_behind(server: Server) -> None:
    answers = teacher_of(server, concurrency=2).answer(questions(200))
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    time.sleep(0.1)
    assert len(server.requests) < 20


def everything_about(error: BaseException) -> str:
    """All that a traceback, a debugger or a log of this error could show as text."""
    texts = []
    link: BaseException | None = error
    while link is not None:
        texts += [str(link), repr(link), repr(link.__dict__)]
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "\n".join(texts)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
def test_the_key_is_nowhere(server: Server, status: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = f"Bearer {KEY} is wrong"
    server.behave = lambda body, n: error(status, echo) if n > 3 else completion(f"odd: {KEY}" if n == 1 else "[1]")
    teacher = teacher_of(server, concurrency=1)
    shown = [repr(teacher), str(teacher.parameters)]
    with LabelStore(tmp_path / "labels.sqlite") as store:
        try:
            answers = answer_questions(questions(5), teacher=teacher, store=store)
            shown += [str(answer.error) for answer in answers[3:]]
        except TeacherError as raised:
            shown.append(everything_about(raised))
        shown.append(str(store.export().to_pydict()))
    shown += [record.getMessage() for record in caplog.records]
    assert KEY not in "\n".join(shown)
    assert f"Bearer {KEY}" in server.keys


def test_openai_without_a_key_says_which_variable() -> None:
    with pytest.raises(TeacherRefused, match="environment variable OPENAI_API_KEY"):
        list(OpenAICompatible(MODEL).answer(questions(1)))


@pytest.mark.parametrize("key", ["none", "x", "1", "e", '"choice":1,'])
def test_a_key_of_any_kind_changes_no_answer(server: Server, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("MY_KEY", key)
    server.behave = lambda body, n: completion('{"explanation": "one of the same", "choice":1, "confidence": 0.91}')
    (answer,) = ask(server)
    assert (answer.choice, answer.confidence, answer.error) == (1, 0.91, None)
    server.behave = lambda body, n: completion("none")
    assert ask(server)[0].choice == 0
    if len(key) < 4:
        assert answer.explanation == "one of the same"


@pytest.mark.parametrize(
    ("key", "clean"),
    [("sk-1234", "with *** in it"), ("k3y!", "with *** in it"), ("EMPTY", None), ("Ollama", None), ("abc", None)],
)
def test_a_short_key_is_cut_out_and_a_placeholder_is_not(
    server: Server, monkeypatch: pytest.MonkeyPatch, key: str, clean: str | None
) -> None:
    monkeypatch.setenv("MY_KEY", key)
    said_so = f"with {key} in it"
    server.behave = lambda body, n: completion(json.dumps({"explanation": said_so, "choice": 1}))
    assert ask(server)[0].explanation == (clean or said_so)


def test_a_short_key_does_not_hide_what_the_server_refuses(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "e")
    server.behave = lambda body, n: error(400, "temperature is not supported") if "temperature" in body else said(1)
    assert [answer.choice for answer in ask(server)] == [1]


def test_the_key_is_cut_out_of_explanations(server: Server) -> None:
    server.behave = lambda body, n: completion(json.dumps({"explanation": f"with {KEY}", "choice": 1}))
    assert ask(server)[0].explanation == "with ***"


def test_a_local_server_needs_no_key(server: Server) -> None:
    assert ask(server, api_key_env="NOT_SET")[0].choice == 1
    server.behave = lambda body, n: error(401, "key please")
    with pytest.raises(TeacherRefused, match="put a key into the environment variable NOT_SET"):
        ask(server, api_key_env="NOT_SET")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x/v1", "http:///v1", "http://user:pass@host/v1"])
def test_impossible_addresses(url: str) -> None:
    with pytest.raises(SettingsError, match="base URL"):
        OpenAICompatible(MODEL, base_url=url)


def test_the_key_of_a_label_does_not_depend_on_where_the_model_runs() -> None:
    question = questions(1)[0]
    here, there = (OpenAICompatible(MODEL, base_url=f"http://{host}/v1") for host in ("127.0.0.1", "10.0.0.1"))
    assert question.key(here) == question.key(there)
    assert question.key(here) != question.key(OpenAICompatible(MODEL, parameters={"temperature": 1}))


def test_own_parameters_reach_the_server(server: Server) -> None:
    ask(server, parameters={"top_k": 3, "seed": 7, "max_tokens": None})
    (body,) = server.requests
    assert (body["top_k"], body["seed"]) == (3, 7)
    assert "max_tokens" not in body


def test_make_teacher(server: Server, tmp_path: Path) -> None:
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({MODEL: {"input": 1, "output": 2}}))
    settings = {
        "teacher": "openai",
        "teacher_model": MODEL,
        "teacher_base_url": server.url,
        "teacher_api_key_env": "MY_KEY",
        "teacher_prices": str(prices),
        "students_path": "somewhere",
    }
    teacher = make_teacher(settings)
    ((_, answer),) = teacher.answer(questions(1))
    assert answer.cost_usd == pytest.approx(0.0011)
    assert make_teacher({"teacher": "openai", "teacher_model": MODEL}).endpoint.base_url == OPENAI_URL  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher": "gpt"}, 'teacher is "gpt". Allowed: embedded, openai'),
        ({"teacher": "imported"}, "whom nobody can ask; take one of embedded, openai"),
        ({"teacher": "openai"}, "needs er_teacher_model"),
        ({"teacher": "openai", "teacher_model": "m", "teacher_concurrency": 0}, "teacher_concurrency is 0"),
        ({"teacher": "openai", "teacher_model": "m", "teacher_timeout": "soon"}, 'teacher_timeout is "soon"'),
        ({"teacher": "openai", "teacher_model": "m", "teacher_parameters": "x"}, "Allowed: a mapping"),
        ({"teacher": "openai", "teacher_model": "m", "teacher_prices": "absent.json"}, "no price file absent.json"),
        ({"teacher": "openai", "teacher_model": "m", "teacher_base_url": "x"}, "Allowed: an address such as"),
    ],
)
def test_make_teacher_with_wrong_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        make_teacher(settings)


@pytest.mark.parametrize("content", ["", "[]", '{"m": 1}', '{"m": {"input": 1}}', '{"m": {"input": -1, "output": 1}}'])
def test_a_price_file_that_cannot_be_read(tmp_path: Path, content: str) -> None:
    file = tmp_path / "prices.json"
    file.write_text(content)
    with pytest.raises(SettingsError, match="price"):
        make_teacher({"teacher": "openai", "teacher_model": "m", "teacher_prices": str(file)})
