"""One question's attempts: what is tried again and how often, what is left out, and what they cost together."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from distiller_udf.budget import Cost
from distiller_udf.prompts import Answer, Question
from distiller_udf.teachers.chat import NotSent, Passing, Rejected
from distiller_udf.teachers.responses import WITHHELD

if TYPE_CHECKING:
    from distiller_udf.teachers.calls import Calls

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 6
"""How often one question is asked before it has failed."""

UNUSABLE_ATTEMPTS = 2
"""How often one question is asked before its reply, which says nothing usable, is taken for an abstention."""

MAX_WAIT_SECONDS = 120.0
"""A server that asks for a longer pause than this is not waited for."""


class Outdated(NotSent):
    """While a request waited for its slot, the server refused another one of its shape."""


@dataclass(frozen=True)
class Outcome:
    """What became of a question: `answer` None means that it is left for another run.

    `fault`: it failed where another question might have, too. `error` ends the run.
    """

    answer: Answer | None
    fault: bool = False
    error: Exception | None = None


class Attempts:
    """One question's attempts, and what they cost together."""

    def __init__(self, question: Question, calls: Calls) -> None:
        self._question = question
        self._calls = calls
        self._requests = calls.teacher.requests
        self._shape = self._requests.shape
        self._costs: list[Cost | None] = []
        self._unusable: Answer | None = None

    def outcome(self) -> Outcome:
        """The first usable answer; else the last unusable one, however the attempts end: it is paid for.

        Else an answer that failed, with its reason.
        """
        try:
            return self._outcome()
        except Exception as error:
            kept = self._unusable
            return Outcome(None if kept is None else self._with_costs(kept), error=error)

    def _outcome(self) -> Outcome:
        faults = unusable = 0
        while True:
            body = self._requests.body(self._question, self._shape)
            try:
                sent = self._calls.send(self._question, body, self._shape)
                if sent is None:
                    return self._failed("the run ended first")
                self._requests.accepted(body, self._shape)
                self._costs.append(sent[1])
                answer = self._calls.teacher.read(sent[0], self._question)
            except Outdated:
                self._shape |= self._requests.shape
            except Rejected as rejected:
                shape = self._requests.refused(body, self._shape, rejected.said)
                if shape is None:
                    return self._failed(str(rejected))
                logger.info("the server refuses a part of the request; asking without it: %s", rejected.said)
                self._shape = shape
            except Passing as fault:
                faults += 1
                self._calls.check_reached(faults, fault)
                if faults >= MAX_ATTEMPTS or (fault.wait or 0.0) > MAX_WAIT_SECONDS:
                    return self._failed(f"{fault} ({faults} attempt{'s' * (faults > 1)})", fault=True)
                self._calls.back_off(faults, fault)
            else:
                unusable += 1
                if not _worth_another(answer) or unusable >= UNUSABLE_ATTEMPTS:
                    return Outcome(self._with_costs(answer))
                self._unusable = answer

    def _failed(self, reason: str, *, fault: bool = False) -> Outcome:
        if self._unusable is not None:
            return Outcome(self._with_costs(self._unusable))
        return Outcome(self._with_costs(Answer(None, error=f"no answer: {reason}", failed=True)), fault)

    def _with_costs(self, answer: Answer) -> Answer:
        """The answer with what all attempts cost together; unknown where one of them is that had a reply."""
        if not self._costs or None in self._costs:
            return answer
        cost = sum((cost for cost in self._costs if cost is not None), Cost())
        return replace(answer, input_tokens=cost.input_tokens, output_tokens=cost.output_tokens, cost_usd=cost.usd)


def _worth_another(answer: Answer) -> bool:
    """Whether an answer is unusable and might be another if the question is asked again."""
    return answer.abstained and answer.error != WITHHELD
