"""Labelling that is killed again and again: what had arrived is there, and nobody is asked for it twice."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.label_worker import number_of
from benchmarks.servers import running
from distiller_udf.labels import LabelStore

SLOTS, LATENCY = 16, 0.08
LONGEST_LIFE = 0.45
"""Seconds, at most, from when a process begins to ask to when it is killed."""

_NOT_COMPARED = ("explanation",)  # it names the call, which differs from run to run


@dataclass(frozen=True)
class Log:
    """What the server saw and sent: question → times, in nanoseconds."""

    arrived: dict[int, list[int]]
    sent: dict[int, list[int]]

    @classmethod
    def read(cls, path: Path) -> Log:
        times: dict[str, defaultdict[int, list[int]]] = {"<": defaultdict(list), ">": defaultdict(list)}
        for line in path.read_text(encoding="utf-8").splitlines():
            mark, number, _, moment = line.split()
            times[mark][int(number)].append(int(moment))
        return cls(times["<"], times[">"])


def kill_again_and_again(
    kills: int, questions: int, seed: int, folder: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """Kill a labelling process at `kills` random moments, resume it each time, and compare with an undisturbed run."""
    disturbed, quiet = folder / "killed", folder / "undisturbed"
    disturbed.mkdir()
    quiet.mkdir()
    with running(slots=SLOTS, latency=LATENCY, log=disturbed / "log") as url:
        done = _killed_runs(kills, questions, seed, disturbed, url, say)
        say(f"killed {done} times; labelling the rest")
        _finish(disturbed, url, questions)
    with running(slots=SLOTS, latency=0.0) as url:
        say("labelling undisturbed")
        _finish(quiet, url, questions)
    log = Log.read(disturbed / "log")
    journal = _journal(disturbed / "journal")
    stored = _stored(disturbed / "labels.sqlite")
    again = {n for n, (_, told) in journal.items() if any(moment > told for moment in log.arrived[n])}
    twice = {n for n, moments in log.sent.items() if len(moments) > 1} - again
    return {
        "kills": done,
        "questions": questions,
        "journalled": len(journal),
        "lost": sum(stored.get(n) != explanation for n, (explanation, _) in journal.items()),
        "asked_again": len(again),
        "repeated_in_flight": len(twice),
        "repeated_in_flight_a_kill": round(len(twice) / max(done, 1), 2),
        "repeated_in_flight_bound": done * 2 * SLOTS,
        "same_table": _same(disturbed / "labels.parquet", quiet / "labels.parquet", questions),
    }


def _killed_runs(kills: int, questions: int, seed: int, folder: Path, url: str, say: Callable[[str], None]) -> int:
    """Start and kill; how many times a process died before it was done."""
    moments = random.Random(seed)
    done = 0
    for number in range(kills):
        with _process(folder, url, questions) as process:
            assert process.stdout is not None
            process.stdout.readline()  # it begins to ask now
            time.sleep(moments.uniform(0.0, LONGEST_LIFE))
            done += process.poll() is None
            process.kill()
        if (folder / "labels.parquet").exists():
            break
        if number % 10 == 9:
            say(f"killed {number + 1} of {kills} times, {len(_journal(folder / 'journal'))} of {questions} answered")
    return done


def _finish(folder: Path, url: str, questions: int) -> None:
    with _process(folder, url, questions) as process:
        process.communicate()
        if process.returncode != 0:
            raise RuntimeError("the labelling process failed; see its message above")


@contextmanager
def _process(folder: Path, url: str, questions: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "benchmarks.label_worker", str(folder), url, str(questions), str(SLOTS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        yield process


def _journal(path: Path) -> dict[int, tuple[str, int]]:
    """Question → the first answer that labelling said was there, and when. A line cut short by a kill says nothing."""
    found: dict[int, tuple[str, int]] = {}
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for line in text.split("\n")[:-1]:
        number, explanation, moment = line.split("\t")
        found.setdefault(int(number), (explanation, int(moment)))
    return found


def _stored(path: Path) -> dict[int, str]:
    with LabelStore(path) as store:
        rows = store.export().select(["query", "explanation"]).to_pylist()
    numbers = Counter(number_of(row["query"]) for row in rows)
    assert max(numbers.values()) == 1, "the store holds a question twice"
    return {number_of(row["query"]): row["explanation"] for row in rows}


def _same(one: Path, other: Path, rows: int) -> bool:
    tables: list[pa.Table] = [pq.read_table(path).drop_columns(list(_NOT_COMPARED)) for path in (one, other)]
    return bool(tables[0].num_rows == rows and tables[0].equals(tables[1]))
