"""The registry among processes: promotions, rollbacks and readers interleaved, and writers that are killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from schedules import Schedule

from distiller_udf import registry
from distiller_udf.errors import StudentNotFound
from distiller_udf.registry import Registry
from distiller_udf.students.base import StudentInfo

VERSIONS = ("first", "second", "third")


@pytest.fixture
def students(tmp_path: Path) -> Registry:
    return made(tmp_path)


def made(folder: Path) -> Registry:
    """Three versions, the first of which was promoted."""
    students = Registry(folder / "students")
    for version in VERSIONS:
        publish(students, version)
    students.promote("first")
    return students


def publish(students: Registry, version: str) -> None:
    with students.staging() as folder:
        (folder / "weights").write_text(version)
        StudentInfo("lexical", version, ("name",), ("name",), 0.5, 0.5).write(folder)
        students.publish(folder, version)


@dataclass(frozen=True)
class State:
    """What a registry is that nobody shares: `stack` is what rollbacks go back through, `log` the history."""

    stack: tuple[str, ...]
    log: tuple[tuple[str, bool], ...]
    pinned: bool

    def after(self, name: str, *arguments: Any) -> tuple[State, Any]:
        """The state after a call, and what it returns."""
        if name == "serve":
            return self, self.stack[-1]
        if name == "look":
            return self, (self.stack[-1], self.pinned, self.log)
        if name == "promote":
            version, pin = arguments
            if version == self.stack[-1]:
                return State(self.stack, self.log, pin), None
            return State((*self.stack, version), (*self.log, (version, False)), pin), None
        if name == "succeed":
            if self.pinned:
                return self, arguments[0] == self.stack[-1]
            return self.after("promote", arguments[0], False)[0], True
        if len(self.stack) == 1:
            return self, "none"
        version = self.stack[-2]
        return State(self.stack[:-1], (*self.log, (version, True)), arguments[0]), version


@dataclass(frozen=True)
class Call:
    """A call that was made, from which turn to which, and what it returned."""

    began: int
    ended: int
    name: str
    arguments: tuple[Any, ...]
    returned: Any


def really(students: Registry, name: str, *arguments: Any) -> Any:
    """The same calls as those of `State`, on the disk."""
    if name == "serve":
        return StudentInfo.read(students.current()).version
    if name == "look":
        seen = students.pointer()
        return seen.version, seen.pinned, tuple((p.version, p.rollback) for p in reversed(seen.history))
    if name == "promote":
        return students.promote(arguments[0], pin=arguments[1])
    if name == "succeed":
        return students.succeed(arguments[0])
    try:
        return students.rollback(pin=arguments[0])
    except StudentNotFound:
        return "none"


def script(rng: random.Random, writes: bool) -> list[tuple[Any, ...]]:
    """What one thread does."""
    if not writes:
        return [(rng.choice(("serve", "look")),) for _ in range(5)]
    calls: list[tuple[Any, ...]] = [
        ("promote", rng.choice(VERSIONS), rng.random() < 0.3),
        ("succeed", rng.choice(VERSIONS)),
        ("rollback", rng.random() < 0.7),
    ]
    return rng.sample(calls, k=rng.choice((2, 3)))


def interleaved(students: Registry, seed: int, patch: pytest.MonkeyPatch) -> list[list[Call]]:
    """The calls of two writers and a reader, thread by thread, as a random schedule has mingled them."""
    rng, schedule = random.Random(seed), Schedule(seed)
    calls_made: list[list[Call]] = [[], [], []]

    def task(thread: int) -> Callable[[], None]:
        calls = script(rng, writes=thread < 2)

        def run() -> None:
            for name, *arguments in calls:
                began = schedule.now
                returned = really(students, name, *arguments)
                calls_made[thread].append(Call(began, schedule.now, name, tuple(arguments), returned))

        return run

    schedule.run([task(thread) for thread in range(3)], patch)
    return calls_made


def in_some_order(state: State, threads: Sequence[Sequence[Call]], end: State) -> bool:
    """Whether the calls could have been made one after the other: with these answers, and to this end.

    A call that had ended before another one began comes before it.
    """
    if not any(threads):
        return state == end
    for i, calls in enumerate(threads):
        if not calls or any(other and other[0].ended < calls[0].began for other in threads):
            continue
        after, returned = state.after(calls[0].name, *calls[0].arguments)
        rest = [c[1:] if j == i else c for j, c in enumerate(threads)]
        if returned == calls[0].returned and in_some_order(after, rest, end):
            return True
    return False


def is_linear(students: Registry, seed: int, patch: pytest.MonkeyPatch) -> bool:
    """Whether one interleaving is as if its calls had been made one after the other."""
    threads = interleaved(students, seed, patch)
    version, pinned, log = really(students, "look")
    beginning = State(("first",), (("first", False),), pinned=False)
    stack: list[str] = []
    for changed, rollback in log:
        stack = stack[: len(stack) - 1 - stack[-2::-1].index(changed)] if rollback else [*stack, changed]
    assert stack[-1] == version
    return in_some_order(beginning, threads, State(tuple(stack), log, pinned))


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The same without waiting for a disk: threads see what was written whether it is on one or not."""
    memory = Path("/dev/shm")
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield made(Path(folder))


@pytest.mark.slow
def test_a_thousand_interleavings_are_each_like_one_call_after_the_other(
    in_memory: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writers promote, pin and roll back while a reader loads the current student and looks at the history.

    Any order of the calls that explains all answers and the final pointer will do: no promotion is lost, the history is
    that order, and each student that was read was whole and the current one at some moment of the reading.
    """
    beginning = (in_memory.folder / "CURRENT").read_bytes()
    for seed in range(1_000):
        (in_memory.folder / "CURRENT").write_bytes(beginning)
        assert is_linear(in_memory, seed, monkeypatch), f"schedule {seed}"
    assert {p.name for p in in_memory.folder.iterdir()} == {"CURRENT", *VERSIONS}


def test_without_the_lock_the_same_interleavings_go_wrong(in_memory: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The schedules are worth something: they find what the lock is there for."""
    beginning = (in_memory.folder / "CURRENT").read_bytes()
    monkeypatch.setattr(registry, "locked", lambda *_, **__: nullcontext())
    wrong = 0
    for seed in range(60):
        (in_memory.folder / "CURRENT").write_bytes(beginning)
        try:
            wrong += not is_linear(in_memory, seed, monkeypatch)
        except Exception:
            wrong += 1
    assert wrong >= 5


def test_a_version_that_two_publish_at_once_is_never_seen_by_halves(
    in_memory: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two trainings replace the damaged remains of the same version; once it is there it does not go away."""
    for seed in range(150):
        in_memory.path("third").joinpath("weights").unlink()
        there: list[bool] = []

        def look(there: list[bool] = there) -> None:
            there += [in_memory.exists("third") for _ in range(12)]

        publishing = [lambda: publish(in_memory, "third")] * 2
        Schedule(seed).run([*publishing, look], monkeypatch)
        assert there == sorted(there), f"schedule {seed}"
        assert in_memory.exists("third")
    assert {p.name for p in in_memory.folder.iterdir()} == {"CURRENT", *VERSIONS}


@pytest.mark.slow
def test_processes_that_promote_at_once_lose_nothing(students: Registry) -> None:
    """Three processes promote two versions each in turn; all of it is in the history, in each one's own order."""
    pairs = [(f"{name}-1", f"{name}-2") for name in ("ann", "bob", "cas")]
    for version in (version for pair in pairs for version in pair):
        publish(students, version)
    code = """
import sys
from pathlib import Path
from distiller_udf.registry import Registry
students = Registry(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for turn in range(30):
    students.promote(sys.argv[2 + turn % 2])
"""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(students.root), *pair],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for pair in pairs
    ]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    seen = set()
    while any(process.poll() is None for process in started):
        seen.add(StudentInfo.read(students.current()).version)
    assert [process.wait() for process in started] == [0, 0, 0]
    for process in started:
        process.communicate()
    promoted = [change.version for change in reversed(students.history())]
    assert promoted[0] == "first"
    assert len(promoted) == 1 + 3 * 30
    for pair in pairs:
        assert [version for version in promoted if version in pair] == list(pair) * 15
    assert seen <= set(promoted)


@contextmanager
def writers(students: Registry) -> Iterator[Callable[[float], None]]:
    """A function that starts a process which promotes without end, and kills it after so many seconds."""
    code = """
import os, sys
from pathlib import Path
from distiller_udf.registry import Registry
students = Registry(Path(sys.argv[1]))
for _ in sys.stdin:
    child = os.fork()
    while not child:
        for version in sys.argv[2:]:
            students.promote(version)
        students.rollback()
    print(child, flush=True)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""
    command = [sys.executable, "-c", code, str(students.root), *VERSIONS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def kill_after(seconds: float) -> None:
            process.stdin.write("next\n")
            process.stdin.flush()
            child = int(process.stdout.readline())
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
            assert process.stdout.readline() == "ended\n"

        yield kill_after


def test_a_writer_that_is_killed_leaves_a_pointer_that_reads(students: Registry) -> None:
    """Killed at eighty random moments; then nothing is locked or lost, and the next promotion tidies up."""
    rng = random.Random(1)
    with writers(students) as kill_after:
        for _ in range(80):
            kill_after(rng.uniform(0.0, 0.02))
            before = students.history()
            assert StudentInfo.read(students.current()).version == before[0].version
            began = time.monotonic()
            students.promote(next(version for version in VERSIONS if version != before[0].version))
            assert time.monotonic() - began < 5
            assert students.history()[1:] == before[:99]
            assert {p.name for p in students.folder.iterdir()} == {"CURRENT", *VERSIONS}
