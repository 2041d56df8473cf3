"""Rows of the label store: from questions, answers and imported labels, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from distiller_udf.imported import ImportedLabel
from distiller_udf.prompts import Answer, Asked, Question

ANSWER_COLUMNS = "choice, confidence, probabilities, explanation, cost_usd, input_tokens, output_tokens, seconds, error"


def answer_row(question: Question, teacher: Asked, answer: Answer) -> tuple[Any, ...]:
    """One row of `labels`, its key first; the answer's columns in the order of `ANSWER_COLUMNS`."""
    parameters = json.dumps(teacher.parameters, sort_keys=True, ensure_ascii=False, default=str)
    candidates = json.dumps(question.candidates, ensure_ascii=False)
    probabilities = None if answer.probabilities is None else json.dumps(answer.probabilities)
    return (
        *(question.key(teacher), question.ask, question.chosen, question.prompt_version),
        *(teacher.name, parameters, question.query, candidates),
        *(answer.choice, answer.confidence, probabilities, answer.explanation, answer.cost_usd),
        *(answer.input_tokens, answer.output_tokens, answer.seconds, answer.error),
    )


def stored_answer(values: Sequence[Any]) -> Answer:
    """The values of `ANSWER_COLUMNS` as the answer that they are."""
    choice, confidence, probabilities, *rest = values
    return Answer(choice, confidence, tuple(json.loads(probabilities)) if probabilities else None, *rest)


def contradictory(labels: Sequence[ImportedLabel]) -> int:
    """How many left records one teacher answers in two ways."""
    answers: dict[tuple[str, str, str], set[tuple[str, str | None]]] = {}
    for label in labels:
        chosen = label.options[label.choice - 1] if label.choice else None if label.choice is None else ""
        where = label.right_source if chosen else ""
        answers.setdefault((label.teacher, label.left_source, label.left_id), set()).add((where, chosen))
    return sum(len(different) > 1 for different in answers.values())


def imported_row(label: ImportedLabel) -> tuple[Any, ...]:
    """What `imported` holds of a label beside its primary key."""
    options = json.dumps(label.options, ensure_ascii=False)
    return (label.right_source, options, label.choice, label.confidence, label.explanation)


def stored_table(rows: Iterable[Sequence[Any]], schema: pa.Schema, lists: Sequence[str]) -> pa.Table:
    """Rows as Arrow; the columns in `lists` are JSON lists in the store."""
    columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in schema]
    for name in lists:
        position = schema.get_field_index(name)
        columns[position] = [None if text is None else json.loads(text) for text in columns[position]]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
