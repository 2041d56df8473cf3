"""Labelling against servers that misbehave: every question is answered, or says why it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.kills import Log
from benchmarks.label_worker import MODEL, number_of, tuples
from benchmarks.llm_server import right_choice
from benchmarks.servers import running
from distiller_udf.errors import TeacherError
from distiller_udf.labels import LabelStore, Tuples, answer_questions
from distiller_udf.teachers.openai_compatible import OpenAICompatible

RATE = 0.2
SLOTS, LATENCY = 16, 0.005
TIMEOUT, FIRST_WAIT = 0.5, 0.02
"""Seconds: shorter than the defaults (120 and 0.5), so that the benchmark ends in minutes."""


def label_under(fault: str, questions: int, seed: int, folder: Path) -> dict[str, Any]:
    """What becomes of so many questions when a fifth of all calls meets the fault."""
    log = folder / "log"
    asked = Tuples.from_table(tuples(questions)).questions
    message, answers = None, []
    with (
        running(slots=SLOTS, latency=LATENCY, fault=fault, rate=RATE, seed=seed, log=log) as url,
        LabelStore(folder / "labels.sqlite") as store,
    ):
        teacher = OpenAICompatible(
            MODEL, base_url=url, api_key_env="NO_KEY", concurrency=SLOTS, timeout=TIMEOUT, first_wait=FIRST_WAIT
        )
        try:
            answers = answer_questions(asked, teacher=teacher, store=store)
        except TeacherError as error:
            message = str(error)
        stored = {number_of(row["query"]) for row in store.export().select(["query"]).to_pylist()}
    seen = Log.read(log)
    calls = sum(map(len, seen.arrived.values()))
    if message is None:
        unexplained = sum(answer.choice is None and not answer.error for answer in answers)
        unexplained += len(asked) - len(answers)
    else:
        # All that was not answered has the run's one reason; what was answered must have been kept.
        unexplained = len(seen.sent.keys() - stored)
    given = [(a, number_of(q.query)) for a, q in zip(answers, asked, strict=False)]
    result: dict[str, Any] = {
        "questions": questions,
        "calls": calls,
        "answered": sum(a.choice is not None for a, _ in given) if message is None else len(stored),
        "abstained": sum(a.abstained for a, _ in given),
        "failed": sum(a.failed for a, _ in given),
        "wrong": sum(a.choice not in (None, right_choice(number)) for a, number in given),
        "unexplained": unexplained,
    }
    if message is not None:
        result |= {"stopped_after_calls": calls, "message": message}
    return result
