"""A teacher and tuples that tests share: it knows equal records, counts what it was asked, and may fail."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from distiller_udf.budget import Budget, Cost
from distiller_udf.errors import TeacherUnreachable
from distiller_udf.prompts import Answer, Asking, Question


@dataclass
class Exact:
    """A teacher that knows equal records; counts what it was asked, may fail, and may log to a file."""

    name: str = "exact"
    parameters: dict[str, object] = field(default_factory=dict)
    free: bool = False
    local: bool = False
    asking: Asking = field(default_factory=Asking)
    price: float | None = 0.01
    seconds: float = 0.0
    fails_at: int | None = None
    log: Path | None = None
    asked: list[Question] = field(default_factory=list)

    def expect(self, question: Question) -> Cost:
        return Cost(1, 10, 5, self.price)

    def answer(self, questions: Sequence[Question], budget: Budget) -> Iterator[tuple[Question, Answer]]:
        for question in questions:
            with budget.reserve(self.expect(question)):
                pass
            if len(self.asked) == self.fails_at:
                raise TeacherUnreachable("nobody answers at http://127.0.0.1:1/v1; start the server")
            self.asked.append(question)
            time.sleep(self.seconds)
            if self.log:
                with self.log.open("a") as file:
                    file.write(f"{question.query}\n")
            yield question, self.reply(question)

    def reply(self, question: Question) -> Answer:
        if question.ask == "justify":
            return Answer(question.chosen, explanation=f"because of {question.chosen}", cost_usd=0.5)
        if "break" in question.query:
            return Answer(None, error="no answer: the server said 500", failed=True)
        if "odd" in question.query:
            return Answer(None, cost_usd=0.5, error="abstained: the reply is empty")
        if question.query in question.candidates:
            return Answer(question.candidates.index(question.query) + 1, 0.9, input_tokens=10, output_tokens=5)
        return Answer(0, cost_usd=0.25)


@dataclass
class Looking(Exact):
    """The same, but it looks at all pairs first."""

    prepared: list[pa.Table] = field(default_factory=list)

    def prepare(self, pairs: pa.Table) -> None:
        self.prepared.append(pairs)


def tuples_of(rows: list[tuple[object, str, list[tuple[object, str]]]]) -> pa.Table:
    """Rows of er_tuples as DuckDB would hand them over; ids take the type of the first."""
    kind = pa.array([rows[0][0]]).type
    record = pa.struct([("name", pa.string()), ("price", pa.float64())])
    candidate = pa.struct([("source", pa.string()), ("id", kind), ("record", record)])
    return pa.table(
        {
            "left_source": pa.array(["left"] * len(rows)),
            "left_id": pa.array([row[0] for row in rows], kind),
            "query": pa.array([{"name": row[1], "price": None} for row in rows], record),
            "candidates": pa.array(
                [[{"source": "right", "id": i, "record": {"name": n}} for i, n in row[2]] for row in rows],
                pa.list_(candidate),
            ),
            "rank": pa.array(range(len(rows))),
        }
    )
