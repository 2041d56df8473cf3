"""Many questions under way at once: slots, attempts, pauses, and when to stop.

A slot is held for the time of one call alone: from when its request is ready to go out to when its response has come
back. Who is being prepared, waits to be tried again, or is being read, keeps no other from being asked. There are twice
as many threads as slots, so that one is always ready to go.
"""

from __future__ import annotations

import itertools
import logging
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import Any

from distiller_udf.budget import Budget, Cost, Reservation
from distiller_udf.errors import TeacherError, TeacherRefused, TeacherUnreachable
from distiller_udf.prompts import Answer, Question
from distiller_udf.teachers.base import FAILURES_IN_A_ROW
from distiller_udf.teachers.bodies import CUT_OFF, MORE_ROOM, WITHHELD, Requests, Shape, read_body, with_more_room
from distiller_udf.teachers.chat import ChatEndpoint, Passing, Rejected

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 6
"""How often one question is asked before it has failed."""

UNUSABLE_ATTEMPTS = 2
"""How often one question is asked before its reply, which says nothing usable, is taken for an abstention."""

MAX_WAIT_SECONDS = 120.0
"""A server that asks for a longer pause than this is not waited for."""

LONGEST_BACKOFF = 20.0


class Paused(Exception):
    """While a request waited for its slot, the server asked for a pause, or the run ended."""


class Outdated(Exception):
    """While a request waited for its slot, the server refused another one of its shape."""


class Slots:
    """At most `count` calls at once, over all runs of a teacher."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free: SimpleQueue[None] = SimpleQueue()  # in C: a semaphore's lock would be fought over by all threads
        for _ in range(count):
            self._free.put(None)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold one slot, once there is one."""
        self._free.get()
        try:
            yield
        finally:
            self._free.put(None)


@dataclass(frozen=True)
class _Outcome:
    """What became of a question: `answer` None means that it is left for another run.

    `fault`: it failed where another question might have, too. `error` ends the run.
    """

    answer: Answer | None
    fault: bool = False
    error: Exception | None = None


@dataclass
class _Attempts:
    """What one question's attempts have brought: `costs` (None: unknown) of those that had a reply, and the last
    answer that was `unusable`.
    """

    costs: list[Cost | None] = field(default_factory=list)
    unusable: Answer | None = None

    @property
    def kept(self) -> Answer | None:
        """The unusable answer, with its costs: however the attempts end, it is paid for."""
        return None if self.unusable is None else self.priced(self.unusable)

    def failed(self, reason: str, *, fault: bool = False) -> _Outcome:
        """How the attempts end without a usable answer."""
        if self.kept is not None:
            return _Outcome(self.kept)
        return _Outcome(self.priced(Answer(None, error=f"no answer: {reason}", failed=True)), fault)

    def priced(self, answer: Answer) -> Answer:
        """The answer with what all attempts cost together; unknown where one of them is."""
        if not self.costs or None in self.costs:
            return answer
        cost = sum((cost for cost in self.costs if cost is not None), Cost())
        return replace(answer, input_tokens=cost.input_tokens, output_tokens=cost.output_tokens, cost_usd=cost.usd)


class Calls:
    """The calls that answer some questions, within a budget; `ended` is why no more questions are asked.

    `first_wait`: seconds before a second attempt; it doubles from there.
    """

    def __init__(
        self, requests: Requests, endpoint: ChatEndpoint, slots: Slots, budget: Budget, first_wait: float
    ) -> None:
        self.ended: Exception | None = None
        self._requests = requests
        self._endpoint = endpoint
        self._slots = slots
        self._budget = budget
        self._first_wait = first_wait
        self._stop = threading.Event()
        self._heard = False
        self._resume_at = 0.0
        self._failures = 0
        self._last = ""

    def answers(self, questions: Sequence[Question]) -> Iterator[list[tuple[Question, Answer]]]:
        """The answers in order of completion, together with all that have arrived since the last ones were taken.

        When the run has to end early, the calls under way are waited for and yielded first: they are paid for.
        """
        threads = 2 * self._slots.count
        waiting = iter(questions)
        pending: dict[Future[_Outcome], Question] = {}
        done: SimpleQueue[Future[_Outcome]] = SimpleQueue()
        pool = ThreadPoolExecutor(threads, thread_name_prefix="distiller-teacher")
        try:
            while True:
                for question in itertools.islice(waiting, 0 if self.ended else threads - len(pending)):
                    future = pool.submit(self._ask, question)
                    pending[future] = question
                    future.add_done_callback(done.put)
                if not pending:
                    break
                settled = [(pending.pop(future), self._settle(future)) for future in _taken(done)]
                answered = [(question, answer) for question, answer in settled if answer is not None]
                if answered:
                    yield answered
            if self.ended is not None:
                raise self.ended
            if self._failures and not self._heard:  # no fault was one of that question alone: no server is there
                raise self._gone("no question was answered")
        finally:
            self._stop.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _settle(self, future: Future[_Outcome]) -> Answer | None:
        """The answer of a finished question; None for one that is left for another run. Called by one thread."""
        outcome = future.result()
        if outcome.error is not None:
            self._end(outcome.error)
        answer = outcome.answer
        if answer is None:
            return None
        # A question that the server will not have says nothing of the next one.
        self._failures = self._failures + 1 if outcome.fault else 0
        self._last = answer.error or self._last
        # As many as are under way at once may fail together.
        if self._failures >= max(FAILURES_IN_A_ROW, 2 * self._slots.count):
            self._end(self._gone(f"{self._failures} questions in a row failed"))
        return None if self.ended and answer.failed else answer

    def _ask(self, question: Question) -> _Outcome:
        """One question with all its attempts."""
        started = time.monotonic()
        attempts = _Attempts()
        try:
            outcome = self._attempted(question, attempts)
        except Exception as error:
            self._stop.set()  # here, not when the result is looked at: the next question must not go out
            outcome = _Outcome(attempts.kept, error=error)
        if outcome.answer is None:
            return outcome
        return replace(outcome, answer=replace(outcome.answer, seconds=round(time.monotonic() - started, 3)))

    def _attempted(self, question: Question, attempts: _Attempts) -> _Outcome:
        """The first usable answer; else the last unusable one, which is paid for; else one that failed."""
        shape, faults, unusable, room = self._requests.shape, 0, 0, 1
        while True:
            body = self._requests.body(question, shape, room)
            try:
                sent = self._send(body, shape, self._requests.most(question, body, room))
                if sent is None:
                    return attempts.failed("the run ended first")
                response, cost = sent
                self._requests.accepted(body, shape)
                attempts.costs.append(cost)
                answer = read_body(response, question, self._endpoint.without_key)
            except Outdated:
                shape |= self._requests.shape
            except Rejected as rejected:
                other = self._requests.refused(body, shape, rejected.said)
                if other is None:
                    return attempts.failed(str(rejected))
                logger.info("the server refuses a part of the request; asking without it: %s", rejected.said)
                shape = other
            except Passing as fault:
                faults += 1
                self._check_reached(faults, fault)
                if faults >= MAX_ATTEMPTS or (fault.wait or 0.0) > MAX_WAIT_SECONDS:
                    return attempts.failed(f"{fault} ({faults} attempt{'s' * (faults > 1)})", fault=True)
                self._back_off(faults, fault)
            else:
                unusable += 1
                if room == 1 and self._requests.wants_room(question, answer):
                    room = MORE_ROOM
                # What a filter withholds once, it withholds again, and a reply as long as this one is cut off again.
                elif not answer.abstained or answer.error in (WITHHELD, CUT_OFF) or unusable >= UNUSABLE_ATTEMPTS:
                    return _Outcome(attempts.priced(answer if room == 1 else with_more_room(answer)))
                attempts.unusable = answer

    def _send(self, body: dict[str, Any], shape: Shape, most: Cost) -> tuple[dict[str, Any], Cost | None] | None:
        """One call, once the budget and a slot allow it: the response and its known cost; None when the run has ended.

        A call counts as `most`, the most that it may cost, unless it is known to have cost less: what is not said, and
        what never arrived, may have been paid for all the same. Raises Outdated, Passing, Rejected and TeacherError.
        """
        if not self._wait():
            return None
        with self._budget.reserve(most) as reservation:
            reservation.settle(Cost())  # until the call is made
            while self._wait():
                try:
                    response = self._endpoint.post(body, self._slot(shape, reservation, most))
                except Paused:
                    continue
                except (Rejected, TeacherRefused):
                    self._heard = True
                    reservation.settle(Cost(1))
                    raise
                except Passing as fault:
                    self._heard = self._heard or not fault.of_any
                    if fault.free:
                        reservation.settle(Cost(0 if fault.nobody_there else 1))
                    raise
                self._heard = True
                used = self._requests.used(response)
                if used is not None:
                    reservation.settle(used)
                return response, used
        return None

    @contextmanager
    def _slot(self, shape: Shape, reservation: Reservation, most: Cost) -> Iterator[None]:
        """Hold a slot for one call, which counts as `most` from now on; raises Paused or Outdated."""
        with self._slots.taken():
            if self._stop.is_set() or self._paused() > 0:
                raise Paused
            if not self._requests.shape <= shape:
                raise Outdated
            reservation.settle(most)
            try:
                yield
            except TeacherRefused:
                self._stop.set()  # as long as the slot is held: no other question must go out
                raise

    def _back_off(self, attempt: int, fault: Passing) -> None:
        """Wait before the next attempt; a pause that the server asks for holds for all threads."""
        logger.info("attempt %d failed, trying again: %s", attempt, fault)
        if fault.wait is not None:
            self._resume_at = max(self._resume_at, time.monotonic() + fault.wait)
        else:
            wait_seconds = min(self._first_wait * 2 ** (attempt - 1), LONGEST_BACKOFF)
            # Jitter: threads that failed together must not come back together.
            self._stop.wait(wait_seconds * random.uniform(0.5, 1.0))

    def _check_reached(self, attempt: int, fault: Passing) -> None:
        """Raise TeacherUnreachable when nobody has answered yet, and nobody will."""
        if fault.nobody_there and not self._heard and attempt >= 2:
            url = self._endpoint.base_url
            raise TeacherUnreachable(
                f"nobody answers at {url} ({fault}); check the address and that the server is running"
            ) from None

    def _wait(self) -> bool:
        """Wait while the server wants a pause; whether the run goes on."""
        while (seconds := self._paused()) > 0 and not self._stop.is_set():
            self._stop.wait(seconds)
        return not self._stop.is_set()

    def _paused(self) -> float:
        return self._resume_at - time.monotonic()

    def _gone(self, what: str) -> TeacherUnreachable:
        return TeacherUnreachable(f"{what} at {self._endpoint.base_url}; the last: {self._last}")

    def _end(self, error: Exception) -> None:
        # What nobody expected must be seen, and a rejected key says more than the failures around it.
        if self.ended is None or _weight(error) > _weight(self.ended):
            self.ended = error
        self._stop.set()


def _weight(error: Exception) -> int:
    return 2 if not isinstance(error, TeacherError) else int(isinstance(error, TeacherRefused))


def _taken(done: SimpleQueue[Future[_Outcome]]) -> list[Future[_Outcome]]:
    """All that is in the queue, at least one: waits for it."""
    taken = [done.get()]
    with suppress(Empty):
        while True:
            taken.append(done.get_nowait())
    return taken
