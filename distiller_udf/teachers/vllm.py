"""vLLM in this process as teacher: nothing leaves it, and batches of questions keep the device busy.

The model is loaded when the first question is asked. The answers to a batch are handed over before the next one
begins, so that a run that is stopped has lost one batch at most.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from distiller_udf.budget import Budget, Cost
from distiller_udf.english import counted
from distiller_udf.errors import BudgetSpent, DistillerError, SettingsError, TeacherRefused, TeacherUnreachable
from distiller_udf.prompts import Answer, Asking, Question, messages, reply_schema, token_labels, with_costs
from distiller_udf.teachers.base import FAILURES_IN_A_ROW, ChatTeacher
from distiller_udf.teachers.bodies import MORE_ROOM, TOP_LOGPROBS, read_text, summed, top_logprobs, with_more_room
from distiller_udf.teachers.prices import Price, call_cost
from distiller_udf.teachers.weights import model_identity

logger = logging.getLogger(__name__)

_FOR_THE_PROMPT = "chat_template_kwargs"
_NOT_TAKEN = "no answer: vLLM does not take the question"


class _Refused(Exception):
    """vLLM does not take these questions, for this reason."""


class VLLMTeacher(ChatTeacher):
    """A model that vLLM runs in this process.

    `model` is a folder, or the id of a model on the hub; `name` what its labels are stored under (the folder's name or
    the id, unless given). `asking`, `price`: see `ChatTeacher`. `parameters` are vLLM's sampling parameters, and
    `chat_template_kwargs`; they go into the label's key with a hash of a local model's weights. `local_only`: nothing
    is downloaded, so the model must be a folder here. `max_model_len` limits prompt and reply together, in tokens;
    `engine` holds further arguments of `vllm.LLM`, such as `dtype`. `batch` is how many questions are asked at once.
    Raises SettingsError when an argument is not allowed, and later where vLLM is missing or knows no such parameter.
    """

    local = True

    def __init__(
        self,
        model: str,
        *,
        name: str | None = None,
        asking: Asking | None = None,
        parameters: Mapping[str, Any] | None = None,
        price: Price | None = None,
        max_model_len: int | None = None,
        engine: Mapping[str, Any] | None = None,
        batch: int = 128,
        local_only: bool = False,
    ) -> None:
        if (engine or {}).get("trust_remote_code"):
            raise SettingsError("trust_remote_code would run code that comes with the model; it is not allowed")
        path = Path(model)
        if local_only and not path.exists():
            raise SettingsError(
                f"local_only is set and {model!r} is no folder on this machine; download the model first, and set "
                "teacher_model to its folder"
            )
        own_name = name or (path.resolve().name if path.is_dir() else model)
        super().__init__(model, own_name, asking, parameters, price)
        self._batch = batch
        self._local_only = local_only
        self._engine = {
            "seed": 0,
            "enable_prefix_caching": True,
            "max_logprobs": TOP_LOGPROBS,
            **({} if max_model_len is None else {"max_model_len": max_model_len}),
            **(engine or {}),
        }
        self._llm: Any = None
        self._works = False

    @cached_property
    def parameters(self) -> Mapping[str, Any]:
        """What goes into a label's key; made when it is asked for, as large weights take minutes to hash."""
        if Path(self._model).exists():
            return {**self._requests.parameters, "weights": model_identity(self._model)}
        return super().parameters

    def __repr__(self) -> str:
        return f"VLLMTeacher({self.name!r})"

    def _answered(self, questions: Sequence[Question], budget: Budget) -> Iterator[list[tuple[Question, Answer]]]:
        """A batch at a time; behind it, those of its replies that wanted more room."""
        done = faults = 0
        last = ""
        while done < len(questions):
            batch = questions[done : done + self._batch]
            answers = self._within(budget, batch)
            done += len(answers)
            for answer in answers:
                # A question that is not taken says nothing of the next one.
                broken = answer.failed and not str(answer.error).startswith(_NOT_TAKEN)
                faults = faults + 1 if broken else 0
                last = answer.error or last
            answered = list(zip(batch, answers, strict=False))
            cut = {q: a for q, a in answered if self._requests.wants_room(q, a)}
            if len(cut) < len(answered):
                yield [(question, answer) for question, answer in answered if question not in cut]
            if cut:
                yield self._with_room(budget, cut)
            if faults >= FAILURES_IN_A_ROW:
                raise TeacherUnreachable(f"{faults} questions in a row failed in vLLM; the last: {last}")

    def _with_room(self, budget: Budget, cut: Mapping[Question, Answer]) -> list[tuple[Question, Answer]]:
        """The answers to questions whose replies were cut off, asked again as far as the budget allows."""
        asked = list(cut)
        try:
            again = dict(zip(asked, self._within(budget, asked, MORE_ROOM), strict=False))
        except BudgetSpent:
            again = {}
        better = {q: with_costs(with_more_room(a), [cut[q], a]) for q, a in again.items() if not a.failed}
        return [(question, better.get(question, answer)) for question, answer in cut.items()]

    def _within(self, budget: Budget, batch: Sequence[Question], room: int = 1) -> list[Answer]:
        """The answers to as many of these questions as the budget allows; raises BudgetSpent where that is none."""
        while True:
            most = sum((self._requests.most(q, {"messages": messages(q)}, room) for q in batch), Cost())
            try:
                # One reservation for all: one after the other, the second would wait for the first to be settled.
                with budget.reserve(most) as reservation:
                    reservation.settle(Cost())
                    answers = self._answers(self._loaded(), batch, room)
                    replied = [(a.input_tokens or 0, a.output_tokens or 0) for a in answers if not a.failed]
                    reservation.settle(sum((call_cost(self._requests.price, *tokens) for tokens in replied), Cost()))
                    return answers
            except BudgetSpent:
                if len(batch) == 1:
                    raise
                batch = batch[: len(batch) // 2]

    def _answers(self, llm: Any, batch: Sequence[Question], room: int) -> list[Answer]:
        """The answers to one batch; halved as long as there is something in it that vLLM does not take."""
        started = time.monotonic()
        try:
            outputs = self._chat(llm, batch, room)
        except _Refused as refused:
            if len(batch) == 1:
                self._check_works(llm, batch[0])
                return [Answer(None, error=f"{_NOT_TAKEN}: {refused}", failed=True)]
            logger.debug("a batch of %d is asked in halves: %s", len(batch), refused)
            half = len(batch) // 2
            return self._answers(llm, batch[:half], room) + self._answers(llm, batch[half:], room)
        if len(outputs) != len(batch):
            raise TeacherUnreachable(
                f"vLLM gave {counted(len(outputs), 'reply')} to {counted(len(batch), 'question')}; run again"
            )
        self._works = True
        seconds = round((time.monotonic() - started) / len(batch), 3)
        return [replace(self._read(o, q), seconds=seconds) for o, q in zip(outputs, batch, strict=True)]

    def _check_works(self, llm: Any, refused: Question) -> None:
        """Raise TeacherUnreachable where the model takes no question at all: here another one costs nothing."""
        if self._works:
            return
        try:
            self._chat(llm, [replace(refused, query="{}", candidates=("{}",) * len(refused.candidates))], 1)
        except _Refused as said:
            raise TeacherUnreachable(
                f"{self._model} takes no question in vLLM, not even an empty one: {said}"
            ) from said.__cause__
        self._works = True

    def _chat(self, llm: Any, batch: Sequence[Question], room: int) -> Sequence[Any]:
        """vLLM's outputs for these questions; raises _Refused, and TeacherUnreachable where its engine is dead."""
        sampling = [self._sampling(question, room) for question in batch]
        conversations = [messages(question) for question in batch]
        given = self._requests.parameters.get(_FOR_THE_PROMPT)
        more = {} if given is None else {_FOR_THE_PROMPT: given}
        try:
            outputs: Sequence[Any] = llm.chat(conversations, sampling, use_tqdm=False, **more)
        except Exception as error:
            said = one_line(str(error)) or type(error).__name__
            if "Dead" in type(error).__name__:
                raise TeacherUnreachable(f"vLLM has stopped ({said}); see its log, and run again") from error
            raise _Refused(said) from error
        return outputs

    def _sampling(self, question: Question, room: int) -> Any:
        """How the reply to a question is sampled, and what it is held to."""
        sampling = importlib.import_module("vllm.sampling_params")
        settings = {name: v for name, v in self._requests.parameters.items() if name != _FOR_THE_PROMPT}
        settings["max_tokens"] = self._requests.reply_limit(question, room)
        schema = reply_schema(question)
        if schema is not None:
            settings["structured_outputs"] = sampling.StructuredOutputsParams(json=schema)
        else:
            settings["structured_outputs"] = sampling.StructuredOutputsParams(choice=list(token_labels(question)))
            settings["logprobs"] = top_logprobs(question)
        try:
            return sampling.SamplingParams(**settings)
        except Exception as error:
            raise SettingsError(f"vLLM does not take the teacher_parameters: {error}") from None

    def _read(self, output: Any, question: Question) -> Answer:
        """The answer in one of vLLM's outputs."""
        reply = output.outputs[0]
        if reply.finish_reason in ("abort", "error"):
            return Answer(None, error=f"no answer: vLLM ended the reply ({reply.finish_reason})", failed=True)
        cost = call_cost(self._requests.price, len(output.prompt_token_ids or ()), len(reply.token_ids))
        answer = read_text(reply.text, _logprobs(reply), question, reply.finish_reason)
        return replace(answer, input_tokens=cost.input_tokens, output_tokens=cost.output_tokens, cost_usd=cost.usd)

    def _loaded(self) -> Any:
        """The model, loaded once. Raises TeacherRefused where vLLM cannot load it."""
        if self._llm is None:
            vllm = vllm_module("teacher", self._local_only)
            self._llm = loaded(vllm, TeacherRefused, model=self._model, **self._engine)
        return self._llm


def loaded(vllm: Any, refusal: type[DistillerError], **settings: Any) -> Any:
    """A `vllm.LLM` with these settings, `model` among them; raises `refusal` where vLLM cannot load it."""
    logger.info("loading %s into vLLM", settings["model"])
    try:
        return vllm.LLM(**settings)
    except Exception as error:
        said = one_line(f"{type(error).__name__}: {error}")
        raise refusal(f"vLLM cannot load {settings['model']} ({said})") from error


def one_line(text: str) -> str:
    """What an exception says, in one short line."""
    return " ".join(text.split())[:300]


def _logprobs(reply: Any) -> dict[str, float] | None:
    """The log-probabilities of a reply's first token, by its text; None where they were not asked for."""
    if not reply.logprobs:
        return None
    first = reply.logprobs[0]
    return summed((p.decoded_token, p.logprob) for p in first.values() if p.decoded_token is not None) or None


def vllm_module(user: str, local_only: bool) -> Any:
    """vLLM, which reports its use to nobody, and with `local_only` asks no hub for files either.

    Its processes read that from the environment. Raises SettingsError where it is not installed; `user` needs it.
    """
    if find_spec("vllm") is None:
        raise SettingsError(
            f"the {user} vllm needs vLLM; install the extra vllm, in a checkout `pip install '.[vllm]'`"
        )
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    if local_only:
        os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
        hub = sys.modules.get("huggingface_hub.constants")  # it has read the environment when it was imported
        if hub is not None:
            vars(hub)["HF_HUB_OFFLINE"] = True
    return importlib.import_module("vllm")
