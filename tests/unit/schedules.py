"""Threads that take turns as a random number generator says: races that happen, and that happen again."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType, ModuleType
from typing import Any

import pytest

really_sleep = time.sleep

CALLS = {
    "open",
    "read",
    "write",
    "fstat",
    "stat",
    "lstat",
    "scandir",
    "mkdir",
    "chmod",
    "rename",
    "replace",
    "unlink",
    "rmdir",
}
"""What threads do to files, by the name of the function or method."""

CALLERS = {"distiller_udf", "json", "os", "pathlib", "shutil", "tempfile"}
"""Whose calls count; a lock's own are one."""

BURSTS = (1, 1, 1, 2, 3, 5, 10)
"""How many calls a thread may make when it is its turn."""


class Schedule:
    """Runs threads one at a time; before any call that reads or changes files it may become another one's turn.

    So they meet as processes do, which share files and nothing else. Whoever sleeps, as one does who waits for a lock,
    gives its turn to another. `now` counts the turns.
    """

    def __init__(self, seed: int) -> None:
        self.now = 0
        self._random = random.Random(seed)
        self._left = 0
        self._asleep: set[int] = set()
        self._over = threading.Semaphore(0)

    def run(self, tasks: Sequence[Callable[[], None]], patch: pytest.MonkeyPatch) -> None:
        """Run all tasks to their end; raises what one of them raised."""
        self._turns = [threading.Semaphore(0) for _ in tasks]
        self._errors: list[BaseException] = []
        threads = [threading.Thread(target=self._work, args=(i, task)) for i, task in enumerate(tasks)]
        self._numbers: dict[int | None, int] = {}
        self._alive = set(range(len(tasks)))
        for i, thread in enumerate(threads):
            thread.start()
            self._numbers[thread.ident] = i
        with patch.context() as patched:
            patched.setattr(time, "sleep", self._sleep)
            while self._alive:
                awake, self._asleep = self._alive - self._asleep, set()
                self._let_go_on(self._random.choice(sorted(awake or self._alive)))
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _let_go_on(self, number: int) -> None:
        self.now += 1
        self._left = self._random.choice(BURSTS)
        self._turns[number].release()
        self._over.acquire()

    def _work(self, number: int, task: Callable[[], None]) -> None:
        self._turns[number].acquire()
        sys.setprofile(self._profile)
        try:
            task()
        except BaseException as error:
            self._errors.append(error)
        finally:
            sys.setprofile(None)
            self._alive.discard(number)
            self._over.release()

    def _profile(self, frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and called.__name__ in CALLS and _counts(frame, called):
            self._left -= 1
            if self._left <= 0:
                self._give_way()

    def _sleep(self, seconds: float) -> None:
        number = self._numbers.get(threading.get_ident())
        if number is None:
            really_sleep(seconds)
        else:
            self._asleep.add(number)
            self._give_way()

    def _give_way(self) -> None:
        number = self._numbers[threading.get_ident()]
        self._over.release()
        self._turns[number].acquire()


def _counts(frame: FrameType, called: Any) -> bool:
    """Whether it is a call on files, and not the method of another type that has the same name."""
    owner = called.__self__
    module = owner.__name__ if isinstance(owner, ModuleType) else type(owner).__module__
    return module in ("posix", "nt", "io", "_io") and frame.f_globals["__name__"].partition(".")[0] in CALLERS
