"""The teacher that is vLLM in this process: its own parts against a stand-in; tests/servers runs the real one."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from distiller_udf.budget import Budget, Cost, Limits
from distiller_udf.errors import BudgetSpent, SettingsError, TeacherRefused, TeacherUnreachable
from distiller_udf.prompts import Answer, Asking, Question
from distiller_udf.teachers import weights
from distiller_udf.teachers.prices import Price
from distiller_udf.teachers.vllm import VLLMTeacher

GOOD = json.dumps({"explanation": "same", "choice": 1, "confidence": 0.9})


@dataclass
class Params:
    """Stands for SamplingParams: takes what vLLM takes."""

    temperature: float = 1.0
    max_tokens: int | None = 16
    seed: int | None = None
    logprobs: int | None = None
    structured_outputs: Any = None


@dataclass
class Engine:
    """Stands for vllm.LLM; `behave` gives the reply to a conversation, or raises."""

    behave: Callable[[str, Params], Any] = lambda asked, params: reply(GOOD)
    made_with: list[dict[str, Any]] = field(default_factory=list)
    batches: list[list[str]] = field(default_factory=list)
    sampling: list[Params] = field(default_factory=list)
    extra: list[dict[str, Any]] = field(default_factory=list)

    def chat(self, conversations: list[Any], params: list[Params], use_tqdm: bool, **extra: Any) -> list[Any]:
        assert not use_tqdm
        asked = [conversation[1]["content"] for conversation in conversations]
        self.batches.append(asked)
        self.sampling += params
        self.extra.append(extra)
        return [self.behave(text, p) for text, p in zip(asked, params, strict=True)]


def reply(text: str, finish: str = "stop", logprobs: dict[int, tuple[str, float]] | None = None) -> Any:
    position = {i: SimpleNamespace(decoded_token=t, logprob=p, rank=1) for i, (t, p) in (logprobs or {}).items()}
    output = SimpleNamespace(
        text=text, token_ids=[1] * 5, finish_reason=finish, logprobs=[position] if position else None
    )
    return SimpleNamespace(prompt_token_ids=[1] * 100, outputs=[output])


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine()
    vllm, sampling = ModuleType("vllm"), ModuleType("vllm.sampling_params")
    vllm.__spec__ = ModuleSpec("vllm", None)

    def load(**arguments: Any) -> Engine:
        made.made_with.append(arguments)
        return made

    vllm.LLM = load  # type: ignore[attr-defined]
    sampling.SamplingParams = Params  # type: ignore[attr-defined]
    sampling.StructuredOutputsParams = lambda **kinds: kinds  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", sampling)
    return made


def questions(n: int, **kind: Any) -> list[Question]:
    return [Question(f'{{"name":"q{i}"}}', ('{"name":"c0"}', '{"name":"c1"}'), **kind) for i in range(n)]


def ask(n: int = 1, budget: Budget | None = None, kind: dict[str, Any] | None = None, **settings: Any) -> list[Answer]:
    asked = questions(n, **(kind or {}))
    given = list(VLLMTeacher("some/model", **settings).answer(asked, budget))
    assert [question for question, _ in given] == asked
    return [answer for _, answer in given]


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_it_says_how_to_install_it() -> None:
    teacher = VLLMTeacher("some/model")
    assert teacher.expect(questions(1)[0]).calls == 1
    with pytest.raises(SettingsError, match=r"pip install '\.\[vllm\]'"):
        list(teacher.answer(questions(1)))


def test_answers_come_with_their_tokens_and_price(engine: Engine) -> None:
    (answer,) = ask(price=Price(1, 10))
    assert (answer.choice, answer.confidence, answer.explanation) == (1, 0.9, "same")
    assert (answer.input_tokens, answer.output_tokens) == (100, 5)
    assert answer.cost_usd == pytest.approx(0.00015)
    (params,) = engine.sampling
    assert (params.temperature, params.max_tokens, params.logprobs) == (0, 400, None)
    assert params.structured_outputs["json"]["properties"]["choice"]["enum"] == [0, 1, 2]


def test_it_is_loaded_once_when_it_is_first_asked(engine: Engine) -> None:
    teacher = VLLMTeacher("some/model", max_model_len=512, engine={"dtype": "float32"})
    assert engine.made_with == []
    list(teacher.answer(questions(1)))
    list(teacher.answer(questions(1)))
    (arguments,) = engine.made_with
    assert (arguments["model"], arguments["max_model_len"], arguments["dtype"]) == ("some/model", 512, "float32")
    assert arguments["enable_prefix_caching"] is True
    assert "trust_remote_code" not in arguments


def test_foreign_code_is_not_run() -> None:
    with pytest.raises(SettingsError, match="trust_remote_code"):
        VLLMTeacher("some/model", engine={"trust_remote_code": True})


def test_one_token_replies_give_every_candidate_a_probability(engine: Engine) -> None:
    engine.behave = lambda asked, params: reply(
        "A", "length", {7: ("A", -0.5), 8: ("B", -1.5), 9: ("0", -3.0), 4: ("x", float("-inf"))}
    )
    (answer,) = ask(kind={"reply": "token"}, asking=Asking(reply="token"))
    (params,) = engine.sampling
    assert params.structured_outputs == {"choice": ["0", "A", "B"]}
    assert (params.max_tokens, params.logprobs) == (1, 8)
    assert answer.choice == 1
    assert answer.probabilities is not None
    assert answer.probabilities[0] == pytest.approx(0.690, abs=0.001)


def test_own_parameters(engine: Engine) -> None:
    ask(parameters={"temperature": 0.5, "seed": 7, "max_tokens": 9, "chat_template_kwargs": {"enable_thinking": False}})
    (params,) = engine.sampling
    assert (params.temperature, params.seed, params.max_tokens) == (0.5, 7, 9)
    assert engine.extra == [{"chat_template_kwargs": {"enable_thinking": False}}]
    with pytest.raises(SettingsError, match="teacher_parameters"):
        ask(parameters={"tempo": 1})


def test_each_batch_is_handed_over_before_the_next(engine: Engine) -> None:
    answers = VLLMTeacher("some/model", batch=4).answer(questions(10))
    for _ in range(4):
        next(answers)
    assert [len(batch) for batch in engine.batches] == [4]
    assert len(list(answers)) == 6
    assert [len(batch) for batch in engine.batches] == [4, 4, 2]


def test_a_question_that_is_too_long_fails_alone(engine: Engine) -> None:
    def behave(asked: str, params: Params) -> Any:
        if '"q5"' in asked:
            raise ValueError("the prompt has 900 tokens, more than the model's 512")
        return reply(GOOD)

    engine.behave = behave
    answers = ask(16)
    assert [answer.choice for answer in answers] == [1] * 5 + [None] + [1] * 10
    assert answers[5].failed
    assert "more than the model's 512" in str(answers[5].error)


def test_questions_that_are_never_taken_break_no_run(engine: Engine) -> None:
    def behave(asked: str, params: Params) -> Any:
        if '"q' in asked:
            raise ValueError("the prompt has 900 tokens, more than the model's 512")
        return reply(GOOD)

    engine.behave = behave
    teacher = VLLMTeacher("some/model")
    for count in (1, 30):
        assert all(answer.failed for _, answer in teacher.answer(questions(count)))
    assert sum(len(batch) == 1 and '"q' not in batch[0] for batch in engine.batches) == 1  # whether it works at all


def test_replies_that_are_broken_off_one_after_the_other_end_the_run(engine: Engine) -> None:
    engine.behave = lambda asked, params: reply("", "error")
    assert all(answer.failed for answer in ask(3))
    with pytest.raises(TeacherUnreachable, match="10 questions in a row failed in vLLM"):
        ask(10)


def test_replies_of_any_length_fit_no_budget(engine: Engine) -> None:
    with pytest.raises(SettingsError, match="set max_tokens in teacher_parameters"):
        ask(budget=Budget(Limits(tokens=10_000)), parameters={"max_tokens": None})
    ask(parameters={"max_tokens": None})
    assert engine.sampling[-1].max_tokens is None


def test_replies_that_are_no_answers(engine: Engine) -> None:
    engine.behave = lambda asked, params: reply('{"cho', "length")
    assert "cut off at max_tokens, and at 4 times as many" in str(ask()[0].error)
    engine.behave = lambda asked, params: reply("", "abort") if '"q1"' in asked else reply(GOOD)
    first, second = ask(2)
    assert (first.choice, second.failed) == (1, True)


def test_replies_that_were_cut_off_are_asked_for_again_with_more_room(engine: Engine) -> None:
    def behave(asked: str, params: Params) -> Any:
        small = params.max_tokens == 400 and '"q1"' in asked
        return reply(
            '{"choice": 2, "explanation": "closed, but who knows"}' if small else GOOD, "length" if small else "stop"
        )

    engine.behave = behave
    budget = Budget()
    given = dict(VLLMTeacher("some/model", price=Price(1, 10)).answer(asked := questions(3), budget))
    assert [given[question].choice for question in asked] == [1, 1, 1]
    assert [len(batch) for batch in engine.batches] == [3, 1]
    assert [params.max_tokens for params in engine.sampling] == [400, 400, 400, 1_600]
    assert [given[question].output_tokens for question in asked] == [5, 10, 5]
    assert given[asked[1]].cost_usd == pytest.approx(0.0003)
    assert budget.spent == Cost(4, 400, 20, pytest.approx(0.0006))


def test_where_the_budget_has_no_room_for_more_they_abstain(engine: Engine) -> None:
    engine.behave = lambda asked, params: reply(GOOD, "length")
    budget = Budget(Limits(calls=2))
    (first, second) = ask(2, budget)
    assert first.error == second.error == "abstained: the reply was cut off at max_tokens; allow more tokens"
    assert budget.spent.calls == 2


def test_one_token_is_never_asked_for_again(engine: Engine) -> None:
    engine.behave = lambda asked, params: reply("who", "length")
    assert "none of the labels" in str(ask(kind={"reply": "token"}, asking=Asking(reply="token"))[0].error)
    assert len(engine.batches) == 1


def test_a_model_that_answers_nothing_is_unusable(engine: Engine) -> None:
    def behave(asked: str, params: Params) -> Any:
        raise ValueError("no chat template")

    engine.behave = behave
    with pytest.raises(TeacherUnreachable, match="no chat template"):
        ask(3)


def test_an_engine_that_died_ends_the_run(engine: Engine) -> None:
    class EngineDeadError(Exception): ...

    def behave(asked: str, params: Params) -> Any:
        raise EngineDeadError("see above")

    engine.behave = behave
    with pytest.raises(TeacherUnreachable, match="vLLM has stopped"):
        ask(50)
    assert len(engine.batches) == 1


def test_a_model_that_cannot_be_loaded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(**arguments: Any) -> Engine:
        raise OSError("no such model")

    monkeypatch.setattr(sys.modules["vllm"], "LLM", load)
    with pytest.raises(TeacherRefused, match=r"cannot load some/model \(OSError: no such model\)"):
        ask()


def test_the_budget_ends_a_run_between_batches(engine: Engine) -> None:
    budget = Budget(Limits(calls=11))
    given: list[Answer] = []
    with pytest.raises(BudgetSpent):
        for _, answer in VLLMTeacher("some/model", batch=4).answer(questions(20), budget):
            given.append(answer)
    assert len(given) == 11
    assert budget.spent == Cost(11, 1_100, 55, 0.0)


def folder_of(path: Path, weights: bytes) -> Path:
    path.mkdir(parents=True)
    (path / "model.safetensors").write_bytes(weights)
    (path / "config.json").write_text("{}")
    return path


def test_a_folder_is_named_and_told_apart_by_all_of_its_weights(tmp_path: Path) -> None:
    plain = bytes(300_000)
    merged = plain[:150_000] + b"!" + plain[150_001:]  # as long as the other, and the same at both ends
    first, second = (VLLMTeacher(str(folder_of(tmp_path / n / "final", w))) for n, w in (("a", plain), ("b", merged)))
    assert first.name == second.name == "final"
    assert first.parameters != second.parameters
    copy = VLLMTeacher(str(folder_of(tmp_path / "c" / "final", plain)))
    assert copy.parameters == first.parameters
    assert "weights" not in VLLMTeacher("some/model").parameters
    assert VLLMTeacher("some/model", name="ours").parameters["model"] == "some/model"


def test_weights_are_read_once_while_they_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(weights, "SAID_FROM_BYTES", 3)
    caplog.set_level(logging.INFO)
    folder = folder_of(tmp_path / "model", b"one")
    known = weights.model_identity(str(folder))
    assert weights.model_identity(str(folder)) == known
    ours = [record for record in caplog.records if record.name.startswith("distiller_udf")]
    assert [record.getMessage().split(" (")[0] for record in ours] == [f"hashing {folder / 'model.safetensors'}"]
    (folder / "README.md").write_text("no part of the model")
    assert weights.model_identity(str(folder)) == known
    (folder / "model.safetensors").write_bytes(b"other")
    assert weights.model_identity(str(folder)) != known
    assert weights.model_identity("some/model") == "some/model"


def test_local_only_downloads_nothing(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "VLLM_NO_USAGE_STATS"):
        monkeypatch.setenv(name, "0")
    constants = ModuleType("huggingface_hub.constants")
    constants.HF_HUB_OFFLINE = False  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub.constants", constants)
    with pytest.raises(SettingsError, match="download the model first"):
        VLLMTeacher("some/model", local_only=True)
    ask()
    assert (os.environ["HF_HUB_OFFLINE"], os.environ["VLLM_NO_USAGE_STATS"]) == ("0", "1")
    list(VLLMTeacher(str(folder_of(tmp_path / "m", b"one")), local_only=True).answer(questions(1)))
    assert os.environ["HF_HUB_OFFLINE"] == os.environ["TRANSFORMERS_OFFLINE"] == "1"
    assert constants.HF_HUB_OFFLINE is True  # type: ignore[attr-defined]
