"""What is sent to a server and what it costs: every kind of reply, what servers refuse, budgets, redirects, proxies."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from chat_server import MODEL, Reply, Server, completion, error, said, serving

from distiller_udf.budget import Budget, Cost, Limits
from distiller_udf.errors import BudgetSpent, SettingsError, TeacherRefused
from distiller_udf.prompts import Answer, Asking, Question
from distiller_udf.teachers.openai_compatible import OpenAICompatible
from distiller_udf.teachers.prices import Price, most_prompt_tokens

KEY = "sk-very-secret-0123456789"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as state:
        yield state


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def questions(n: int, **kind: Any) -> list[Question]:
    candidates = ('{"name":"c0"}',) if kind.get("ask") == "match" else ('{"name":"c0"}', '{"name":"c1"}')
    return [Question(f'{{"name":"q{i}"}}', candidates, **kind) for i in range(n)]


def teacher_of(server: Server, **settings: Any) -> OpenAICompatible:
    return OpenAICompatible(
        MODEL, **{"base_url": server.url, "api_key_env": "MY_KEY", "timeout": 5.0, "first_wait": 0.005, **settings}
    )


def ask(server: Server, asked: list[Question], **settings: Any) -> list[Answer]:
    given = dict(teacher_of(server, **settings).answer(asked))
    return [given[question] for question in asked]


def token(text: str, top: dict[str, float]) -> Reply:
    reply = completion(text, "length")
    listed = [{"token": t, "logprob": p, "bytes": None} for t, p in top.items()]
    content = [{"token": text, "logprob": top[text], "bytes": None, "top_logprobs": listed}]
    reply.body["choices"][0]["logprobs"] = {"content": content}
    return reply


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        ({"ask": "select", "reply": "explanation"}, 400),
        ({"ask": "select", "reply": "confidence"}, 64),
        ({"ask": "match", "reply": "answer"}, 64),
        ({"ask": "justify", "reply": "explanation", "chosen": 1}, 400),
    ],
    ids=lambda value: str(value),
)
def test_every_kind_of_question_has_its_schema_and_its_limit(server: Server, kind: dict[str, Any], limit: int) -> None:
    content = {"explanation": "so", "choice": 1, "match": True, "confidence": 0.9}
    server.behave = lambda body, n: completion(json.dumps(content))
    teacher = teacher_of(server)
    ((question, answer),) = teacher.answer(questions(1, **kind))
    assert answer.choice == 1
    (body,) = server.requests
    assert body["max_tokens"] == limit
    schema = body["response_format"]["json_schema"]["schema"]
    assert set(schema["required"]) <= content.keys()
    assert teacher.parameters == {"temperature": 0, "max_tokens": 400}
    assert teacher.expect(question).output_tokens < limit


def test_own_limits_hold_for_every_reply(server: Server) -> None:
    server.behave = lambda body, n: completion('{"choice": 1}')
    ask(server, questions(1, reply="answer"), parameters={"max_tokens": 300})
    ask(server, questions(1, reply="answer"), parameters={"max_tokens": None, "max_completion_tokens": 200})
    first, second = server.requests
    assert first["max_tokens"] == 300
    assert "max_tokens" not in second
    assert second["max_completion_tokens"] == 200


def long_winded(body: dict[str, Any], n: int) -> Reply:
    """Needs 500 tokens for its reply; of fewer it makes closed JSON of the wrong choice, which goes on."""
    cut = body.get("max_tokens", body.get("max_completion_tokens", 10**6)) < 500
    said = {"choice": 1 if cut else 2, "match": not cut, "explanation": "so"}
    return completion(json.dumps(said), "length" if cut else "stop")


KINDS = [{}, {"reply": "answer"}, {"ask": "match"}, {"ask": "justify", "chosen": 2}]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize(
    "parameters", [{"max_tokens": 200}, {"max_tokens": None, "max_completion_tokens": 200}], ids=str
)
def test_a_reply_that_was_cut_off_is_asked_for_again_with_more_room(
    server: Server, kind: dict[str, Any], parameters: dict[str, Any]
) -> None:
    server.behave = long_winded
    budget = Budget()
    ((_, answer),) = teacher_of(server, parameters=parameters).answer(questions(1, **kind), budget)
    assert (answer.choice, answer.explanation) == (1 if kind.get("ask") == "match" else 2, "so")
    name = list(parameters)[-1]
    assert [body[name] for body in server.requests] == [200, 800]
    assert answer.input_tokens == 2_000
    assert budget.spent == Cost(2, 2_000, 100, 0.0), "both are paid for"


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_reply_that_is_cut_off_again_abstains_whatever_it_says(server: Server, kind: dict[str, Any]) -> None:
    server.behave = long_winded
    (answer,) = ask(server, questions(1, **kind), parameters={"max_tokens": 50})
    assert answer.abstained
    assert answer.error == "abstained: the reply was cut off at max_tokens, and at 4 times as many; allow more tokens"
    assert [body["max_tokens"] for body in server.requests] == [50, 200]


def test_more_room_is_reserved_before_it_is_asked_for(server: Server) -> None:
    """The budget has room for the first call and not for the second, larger one: what was paid for is kept."""
    server.behave = long_winded
    teacher = teacher_of(server, parameters={"max_tokens": 200}, concurrency=1)
    (question,) = questions(1)
    most = teacher._requests.most(question, teacher._requests.body(question)).tokens
    given: list[Answer] = []
    with pytest.raises(BudgetSpent):
        for _, answer in teacher.answer([question], Budget(Limits(tokens=most + 1_100))):
            given.append(answer)
    (answer,) = given
    assert answer.error == "abstained: the reply was cut off at max_tokens; allow more tokens"
    assert len(server.requests) == 1


def test_a_server_without_more_room_leaves_the_abstention(server: Server) -> None:
    def behave(body: dict[str, Any], n: int) -> Reply:
        if body["max_tokens"] > 400:
            return error(400, "max_tokens is too large: 1600. This model supports at most 1000 completion tokens.")
        return long_winded(body, n)

    server.behave = behave
    (answer,) = ask(server, questions(1))
    assert answer.error == "abstained: the reply was cut off at max_tokens; allow more tokens"
    assert len(server.requests) == 2


def test_a_reply_without_a_limit_is_not_asked_for_again(server: Server) -> None:
    server.behave = lambda body, n: completion('{"choice": 1}', "length")
    (answer,) = ask(server, questions(1), parameters={"max_tokens": None})
    assert "cut off at max_tokens" in str(answer.error)
    assert len(server.requests) == 1


def test_one_token_ends_at_its_limit_and_is_never_asked_for_again(server: Server) -> None:
    server.behave = lambda body, n: token("B", {"B": -0.1})
    (answer,) = ask(server, questions(1, reply="token"), asking=Asking(reply="token"))
    assert (answer.choice, len(server.requests)) == (2, 1)


def test_one_token_is_one_whatever_the_limit(server: Server) -> None:
    server.behave = lambda body, n: token("B", {"B": -0.1})
    ask(server, questions(1, reply="token"), asking=Asking(reply="token"), parameters={"max_tokens": 300})
    own = {"max_tokens": None, "max_completion_tokens": 200}
    ask(server, questions(1, reply="token"), asking=Asking(reply="token"), parameters=own)
    first, second = server.requests
    assert first["max_tokens"] == second["max_completion_tokens"] == 1
    assert "max_tokens" not in second


def test_a_name_of_its_own_does_not_hide_the_model() -> None:
    (question,) = questions(1)
    plain, renamed, other = (
        OpenAICompatible("m"),
        OpenAICompatible("m", name="ours"),
        OpenAICompatible("n", name="ours"),
    )
    assert (renamed.name, plain.parameters) == ("ours", {"temperature": 0, "max_tokens": 400})
    assert len({question.key(teacher) for teacher in (plain, renamed, other)}) == 3


def test_one_token_replies_give_every_candidate_a_probability(server: Server) -> None:
    server.behave = lambda body, n: token("B", {"B": -0.4, "A": -1.6, "0": -2.5, "the": -5.0})
    (answer,) = ask(server, questions(1, reply="token"), asking=Asking(reply="token"))
    (body,) = server.requests
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (1, True, 8)
    assert body["structured_outputs"] == {"choice": ["0", "A", "B"]}
    assert "response_format" not in body
    total = sum(math.exp(p) for p in (-0.4, -1.6, -2.5))
    assert answer.choice == 2
    assert answer.probabilities == pytest.approx((math.exp(-1.6) / total, math.exp(-0.4) / total))


def test_tokens_of_the_same_text_are_one(server: Server) -> None:
    reply = token("A", {"A": -2.0, "B": -1.0})
    listed = reply.body["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    listed += [{"token": "A", "logprob": -1.0}, {"token": "0", "logprob": "NaN"}, {"token": None, "logprob": 1}, 7]
    server.behave = lambda body, n: reply
    (answer,) = ask(server, questions(1, reply="token"))
    both, other = math.exp(-2.0) + math.exp(-1.0), math.exp(-1.0)
    assert answer.probabilities == pytest.approx((both / (both + other), other / (both + other)))


@pytest.mark.parametrize("logprobs", [None, {}, {"content": []}, {"content": [None]}, {"content": [{"token": "A"}]}])
def test_without_log_probabilities_the_token_alone_is_read(server: Server, logprobs: Any) -> None:
    reply = completion("A", "length")
    reply.body["choices"][0]["logprobs"] = logprobs
    server.behave = lambda body, n: reply
    (answer,) = ask(server, questions(1, reply="token"))
    assert (answer.choice, answer.probabilities, answer.error) == (1, None, None)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("unknown", [("structured_outputs",), ("structured_outputs", "logprobs")])
def test_what_a_server_does_not_know_is_left_out(server: Server, unknown: tuple[str, ...], named: bool) -> None:
    def behave(body: dict[str, Any], n: int) -> Reply:
        wrong = [name for name in unknown if name in body]
        if wrong:
            return error(400, f"Unrecognized request argument supplied: {wrong[0]}" if named else "Bad request")
        return token("A", {"A": -0.1}) if "logprobs" in body else completion("A", "length")

    server.behave = behave
    answers = ask(server, questions(12, reply="token"), concurrency=2)
    assert [answer.choice for answer in answers] == [1] * 12
    assert ("top_logprobs" in server.requests[-1]) == ("logprobs" not in unknown)
    assert len(server.requests) <= 12 + 2 * 2 * len(unknown)  # each by those under way and those that were ready to go


def test_a_refused_question_does_not_cost_the_others_their_schema(server: Server) -> None:
    def behave(body: dict[str, Any], n: int) -> Reply:
        return error(400, "Bad request") if '"q0"' in body["messages"][1]["content"] else said(1)

    server.behave = behave
    answers = ask(server, questions(3), concurrency=1)
    assert answers[0].failed
    assert [answer.choice for answer in answers[1:]] == [1, 1]
    others = [body for body in server.requests if '"q0"' not in body["messages"][1]["content"]]
    assert len(others) == 2
    assert all("response_format" in body for body in others)


def test_a_call_counts_as_what_it_used(server: Server) -> None:
    budget = Budget()
    list(teacher_of(server, price=Price(1, 2)).answer(questions(3), budget))
    assert budget.spent == Cost(3, 3_000, 150, pytest.approx(0.0033))


def silent(body: dict[str, Any], n: int) -> Reply:
    """A reply of the most that is allowed, which does not say what it used."""
    return Reply({"choices": said(1).body["choices"]})


def test_a_reply_that_does_not_say_counts_as_the_most_it_may_have_used(server: Server) -> None:
    server.behave = silent
    budget, teacher = Budget(), teacher_of(server, price=Price(1, 2))
    (question,) = questions(1)
    assert dict(teacher.answer([question], budget))[question].cost_usd is None
    (body,) = server.requests
    assert budget.spent.output_tokens == body["max_tokens"]
    assert budget.spent.input_tokens >= sum(len(message["content"]) for message in body["messages"])
    assert budget.spent.usd == pytest.approx((budget.spent.input_tokens + 2 * 400) / 1e6)


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("fault", [None, Reply(said(1).body, trickle=0.1), Reply(said(1).body, cut=True)])
def test_a_limit_holds_for_calls_of_unknown_usage(server: Server, fault: Reply | None, concurrency: int) -> None:
    server.behave = lambda body, n: fault if fault and n % 2 else silent(body, n)
    budget = Budget(Limits(tokens=20_000))
    with pytest.raises(BudgetSpent):
        list(teacher_of(server, concurrency=concurrency, timeout=0.2).answer(questions(100), budget))
    # As if every prompt had a token a character, and every reply all that it may have.
    used = [sum(len(message["content"]) for message in body["messages"]) + 400 for body in server.requests]
    assert len(used) >= 5
    assert sum(used) <= 20_000


@pytest.mark.parametrize(
    "text", ["1234567890" * 50, "Δημόσια Επιχείρηση Ηλεκτρισμού", "株式会社日立製作所", "0xfe12-77-Ω"]
)
def test_no_prompt_has_more_tokens_than_are_reserved_for_it(text: str) -> None:
    assert most_prompt_tokens([text]) >= len(text.encode())


@pytest.mark.parametrize("limits", [Limits(tokens=10_000), Limits(usd=1.0)])
def test_replies_of_any_length_fit_no_budget(server: Server, limits: Limits) -> None:
    teacher = teacher_of(server, parameters={"max_tokens": None}, price=Price(1, 1))
    with pytest.raises(SettingsError, match="set max_tokens in teacher_parameters"):
        list(teacher.answer(questions(1), Budget(limits)))
    assert server.requests == []
    assert len(list(teacher.answer(questions(1), Budget(Limits(calls=1))))) == 1
    capped = teacher_of(server, parameters={"max_tokens": None, "max_completion_tokens": 90}, price=Price(1, 1))
    assert len(list(capped.answer(questions(1), Budget(limits)))) == 1


def test_several_replies_to_one_question_are_reserved(server: Server) -> None:
    server.behave = silent
    budget = Budget()
    list(teacher_of(server, parameters={"n": 3}).answer(questions(1), budget))
    assert budget.spent.output_tokens == 1_200


def test_a_refused_key_costs_a_call_alone(server: Server) -> None:
    server.behave = lambda body, n: error(401, "who are you?")
    budget = Budget()
    with pytest.raises(TeacherRefused):
        list(teacher_of(server, concurrency=1).answer(questions(1), budget))
    assert budget.spent == Cost(1)


def test_refused_and_failed_calls_count_as_calls_alone(server: Server) -> None:
    replies = {1: error(429, "slow"), 2: error(500, "oops"), 3: error(400, "no response_format here")}
    server.behave = lambda body, n: replies.get(n, said(1))
    budget = Budget()
    list(teacher_of(server).answer(questions(1), budget))
    assert budget.spent == Cost(4, 1_000, 50, 0.0)


@pytest.mark.parametrize("concurrency", [1, 4, 16])
@pytest.mark.parametrize(("limits", "asked"), [(Limits(calls=10), (10, 10)), (Limits(tokens=5_000), (9, 14))])
def test_a_limit_holds_and_what_was_answered_arrives(
    server: Server, limits: Limits, asked: tuple[int, int], concurrency: int
) -> None:
    def behave(body: dict[str, Any], n: int) -> Reply:
        time.sleep(0.02)
        reply = said(1)
        reply.body["usage"] = {"prompt_tokens": 300, "completion_tokens": 50}
        return reply

    server.behave = behave
    budget, given = Budget(limits), []
    with pytest.raises(BudgetSpent):
        for pair in teacher_of(server, concurrency=concurrency).answer(questions(50), budget):
            given.append(pair)
    assert asked[0] <= len(given) <= asked[1]
    assert len(server.requests) == len(given) == budget.spent.calls
    assert limits.exceeded(budget.spent) is None


def test_attempts_are_limited_too(server: Server) -> None:
    server.behave = lambda body, n: error(500, "oops")
    with pytest.raises(BudgetSpent):
        list(teacher_of(server).answer(questions(20), Budget(Limits(calls=7))))
    assert len(server.requests) == 7


def test_dollars_need_a_price(server: Server) -> None:
    with pytest.raises(SettingsError, match="budget_usd"):
        list(teacher_of(server).answer(questions(20), Budget(Limits(usd=1.0))))
    assert server.requests == []


def test_closing_a_run_frees_those_who_wait_for_the_budget(server: Server) -> None:
    release = threading.Event()

    def behave(body: dict[str, Any], n: int) -> Reply:
        if n > 1:
            release.wait(5)
        return said(1)

    server.behave = behave
    budget = Budget(Limits(calls=3))
    answers = teacher_of(server, concurrency=2).answer(questions(20), budget)
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    release.set()
    deadline = time.monotonic() + 5
    while any(t.name.startswith("distiller-teacher") for t in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(t.name.startswith("distiller-teacher") for t in threading.enumerate())
    assert len(server.requests) <= 3


def test_waiting_to_try_again_holds_no_slot(server: Server) -> None:
    def behave(body: dict[str, Any], n: int) -> Reply:
        text = body["messages"][1]["content"]
        first = sum(text == other["messages"][1]["content"] for other in server.requests) == 1
        return error(500, "oops") if '"q0"' in text and first else said(1)

    server.behave = behave
    order = [q.query for q, _ in teacher_of(server, concurrency=1, first_wait=4.0).answer(questions(5))]
    assert order[-1] == '{"name":"q0"}'


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(server: Server, status: int) -> None:
    with serving() as elsewhere:
        target = elsewhere.url.replace("127.0.0.1", "localhost") + "/chat/completions"
        server.behave = lambda body, n: Reply({}, status, {"Location": target})
        with pytest.raises(TeacherRefused, match="on to localhost") as raised:
            list(teacher_of(server).answer(questions(50)))
        assert elsewhere.requests == []
    assert len(str(raised.value).splitlines()) == 1
    assert len(server.requests) <= 8


def test_an_error_that_trickles_or_floods_is_cut_short(server: Server) -> None:
    slow = Reply({"error": {"message": "x" * 200}}, 500, trickle=0.02)
    huge = Reply(b"x" * 3_000_000, 400, kind="text/plain")
    server.behave = lambda body, n: {1: slow, 2: huge}.get(n, said(1))
    started = time.monotonic()
    (answer,) = ask(server, questions(1), timeout=0.3)
    assert answer.choice == 1
    assert time.monotonic() - started < 2


def test_local_only_takes_addresses_of_this_machine(server: Server) -> None:
    with pytest.raises(SettingsError, match="local_only"):
        teacher_of(server, base_url="http://10.0.0.1/v1", local_only=True)
    with pytest.raises(SettingsError, match="local_only"):
        OpenAICompatible(MODEL, local_only=True)


@pytest.mark.parametrize("local_only", [True, False])
def test_local_only_goes_through_no_proxy(server: Server, local_only: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        ask(server, questions(1), local_only=local_only)
        assert (len(server.requests), len(proxy.requests)) == ((1, 0) if local_only else (0, 1))


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@host:99999/v1",
        "http://secret@host/v1",
        "http://host:99999/v1",
        "https://host/v1?key=secret",
        "https://host?secret",
        "https://host/v1#secret",
        "https://user%3Asecret%40host/v1",
        "https:/\\secret@host/v1",
        "https://host\\@secret/v1",
        "secret://host/v1",
        "https://host/v1 secret",
    ],
)
def test_a_wrong_address_is_refused_without_its_secret(url: str) -> None:
    with pytest.raises(SettingsError, match="base URL") as raised:
        OpenAICompatible(MODEL, base_url=url)
    assert "secret" not in str(raised.value)


def test_a_label_has_the_name_that_is_given(server: Server) -> None:
    teacher = teacher_of(server, name="careful")
    list(teacher.answer(questions(1)))
    assert server.requests[0]["model"] == MODEL
    assert teacher.name == "careful"
