"""One labelling process of the benchmark: python -m benchmarks.label_worker FOLDER URL QUESTIONS SLOTS.

It labels into the store in FOLDER, and prints a line when it begins to ask. What it has been told is done it writes
into FOLDER/journal, a line an answer: question, explanation, time; when all is done, the labels into
FOLDER/labels.parquet.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.llm_server import CANDIDATES
from distiller_udf.budget import Budget, Cost
from distiller_udf.labels import LabelStore, Progress, Run
from distiller_udf.prompts import Answer, Asking, Question
from distiller_udf.teachers.openai_compatible import OpenAICompatible

MODEL = "benchmark"
NUMBER = re.compile(r"left record (\d+)")

_WORDS = ("wireless", "stainless", "turntable", "compact", "digital", "portable", "premium", "classic", "outdoor")


def tuples(count: int) -> pa.Table:
    """Rows of `er_tuples`: so many left records with `CANDIDATES` candidates each, about as long as products are."""

    def record(name: str, i: int) -> dict[str, str]:
        words = " ".join(_WORDS[(i * 5 + k * 7) % len(_WORDS)] for k in range(6))
        return {"name": f"{name} {i}", "description": f"{words} {i % 97}", "price": f"{i % 500}.99"}

    rows = [
        {
            "left_source": "left",
            "left_id": i,
            "query": record("left record", i),
            "candidates": [
                {"source": "right", "id": i * CANDIDATES + k, "record": record("right", i * CANDIDATES + k)}
                for k in range(CANDIDATES)
            ],
        }
        for i in range(count)
    ]
    return pa.Table.from_pylist(rows)


def number_of(query: str) -> int:
    """The number of the left record that a question is about."""
    found = NUMBER.search(query)
    return int(found[1]) if found else -1


class Recorded:
    """A teacher that remembers, in order, what it has handed over and nobody has been told of yet."""

    free = False
    local = False

    def __init__(self, teacher: OpenAICompatible) -> None:
        self._teacher = teacher
        self.handed: deque[tuple[Question, Answer]] = deque()

    @property
    def name(self) -> str:
        return self._teacher.name

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self._teacher.parameters

    @property
    def asking(self) -> Asking:
        return self._teacher.asking

    def expect(self, question: Question) -> Cost:
        return self._teacher.expect(question)

    def answer(self, questions: Sequence[Question], budget: Budget) -> Iterator[tuple[Question, Answer]]:
        for answered in self.answer_together(questions, budget):
            yield from answered

    def answer_together(
        self, questions: Sequence[Question], budget: Budget
    ) -> Generator[Sequence[tuple[Question, Answer]], None, None]:
        print("asking", flush=True)
        with closing(self._teacher.answer_together(questions, budget)) as answers:
            for answered in answers:
                self.handed += answered
                yield answered


def main(folder: Path, url: str, count: int, slots: int) -> None:
    """Label, and journal every answer once labelling says that it is there."""
    asked = OpenAICompatible(MODEL, base_url=url, api_key_env="NO_KEY", concurrency=slots, timeout=10.0)
    asked.endpoint.open()  # what is loaded for it takes longer than many a life here
    teacher = Recorded(asked)
    journal = os.open(folder / "journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    told = 0

    def progress(state: Progress, /) -> None:
        nonlocal told
        done = state.answered + state.failed
        while told < done and teacher.handed:
            question, answer = teacher.handed.popleft()
            told += 1
            if not answer.failed:
                line = f"{number_of(question.query)}\t{answer.explanation}\t{time.monotonic_ns()}\n"
                os.write(journal, line.encode())

    table = tuples(count)
    with LabelStore(folder / "labels.sqlite") as store:
        labels = Run([teacher], store).label(table, progress=progress)
    pq.write_table(labels, folder / "labels.parquet")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
