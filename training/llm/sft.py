"""Supervised fine-tuning: the student learns to write the teacher's answer, and its reasons where that is wanted."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from distiller_udf.prompts import Question, reply_of_reason
from distiller_udf.students.llm.prompting import Prompter
from distiller_udf.students.llm.student import EXPLANATION_TOKENS

from ..material import Report
from .base import Base
from .examples import Example, asked
from .settings import SFTSettings
from .trainer import arguments, dataset, run

UNLEARNED = -100
"""The label of a token that the loss passes over."""


def fine_tune(base: Base, examples: Sequence[Example], prompter: Prompter, work: Path, report: Report) -> Any:
    """Train on the examples and return the model."""
    from trl import SFTConfig, SFTTrainer

    settings = base.settings
    assert isinstance(settings, SFTSettings)  # noqa: S101
    trainer = SFTTrainer(
        model=base.load(),
        args=SFTConfig(**arguments(settings, work, num_train_epochs=1, max_length=None)),
        train_dataset=dataset(lessons(examples, prompter, settings)),
        processing_class=prompter.tokenizer,
        peft_config=base.lora(),
    )
    return run(trainer, work, report)


def lessons(examples: Sequence[Example], prompter: Prompter, settings: SFTSettings) -> list[dict[str, list[int]]]:
    """Token rows with their labels, epoch after epoch: every epoch shows the candidates in other orders."""
    rng = random.Random(settings.seed)
    rows = []
    for _ in range(settings.epochs):
        for example in rng.sample(list(examples), len(examples)):
            rows += [lesson(*told, prompter) for told in _told(example, prompter, settings, rng)]
    return rows


def lesson(question: Question, answer: Sequence[int], prompter: Prompter) -> dict[str, list[int]]:
    """One row: the prompt, the answer's tokens and the end; the loss is on the answer and the end alone."""
    prompt = list(prompter.tokens(question))
    learned = [*answer, int(prompter.tokenizer.eos_token_id)]
    return {"input_ids": prompt + learned, "labels": [UNLEARNED] * len(prompt) + learned}


def _told(
    example: Example, prompter: Prompter, settings: SFTSettings, rng: random.Random
) -> Iterator[tuple[Question, Sequence[int]]]:
    """The questions of an example with the tokens of their answers."""
    heats = prompter.heats(example.query, example.candidates)
    for each in asked(example, heats, settings.multi, rng):
        question = prompter.fitting(each.question)
        yield question, [prompter.labels(question)[each.answer]]
    if settings.explanations and example.explanation:
        asking = Question(example.query, example.candidates, "justify", "explanation", chosen=example.choice)
        reply = prompter.tokenizer.encode(reply_of_reason(example.explanation), add_special_tokens=False)
        reply = reply[: EXPLANATION_TOKENS - 1]
        yield prompter.fitting(asking, len(reply) + 1), reply
