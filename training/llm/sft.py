"""Supervised fine-tuning: the student learns to write the teacher's answer, and its reasons where that is wanted."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from distiller_udf.prompts import Question, reply_of_reason, why
from distiller_udf.students.llm.prompting import Prompter

from ..material import Report
from .base import Base
from .examples import Example, alone, asked
from .settings import SFTSettings
from .trainer import arguments, dataset, run

Told: TypeAlias = tuple[Question, Sequence[int]]
"""A question and the tokens of the reply to it."""

UNLEARNED = -100
"""The label of a token that the loss passes over."""


def fine_tune(base: Base, examples: Sequence[Example], prompter: Prompter, work: Path, report: Report) -> Any:
    """Train on the examples and return the model."""
    from trl import SFTConfig, SFTTrainer

    settings = base.settings
    assert isinstance(settings, SFTSettings)  # noqa: S101
    trainer = SFTTrainer(
        model=base.load(),
        args=SFTConfig(
            **arguments(settings, work, num_train_epochs=1, max_length=None, train_sampling_strategy="sequential")
        ),
        train_dataset=dataset(lessons(examples, prompter, settings)),
        processing_class=prompter.tokenizer,
        peft_config=base.lora(),
    )
    return run(trainer, work, report)


def lessons(examples: Sequence[Example], prompter: Prompter, settings: SFTSettings) -> Iterator[dict[str, list[int]]]:
    """Token rows with their labels in the order of training: every epoch shows the candidates in other orders.

    A step has either answers or reasons. Together the reasons, of many tokens each, would drown the answers.
    """
    rng = random.Random(settings.seed)
    answers: list[Told] = []
    reasons: list[Told] = []
    for _ in range(settings.epochs):
        for example in examples:
            answers += _answers(example, prompter, settings.pairwise, rng)
            reasons += _reasons(example, prompter, rng) if settings.explanations else ()
        steps = [step for told in (answers, reasons) for step in _steps(told, settings.batch, rng)]
        for step in rng.sample(steps, len(steps)):
            yield from (lesson(*told, prompter) for told in step)
    yield from (lesson(*told, prompter) for told in [*answers, *reasons])


def _steps(told: list[Told], size: int, rng: random.Random) -> Iterator[list[Told]]:
    """Take full steps out of `told`, in an order that `rng` draws; what is left waits for the next epoch."""
    rng.shuffle(told)
    while len(told) >= size:
        yield told[:size]
        del told[:size]


def lesson(question: Question, answer: Sequence[int], prompter: Prompter) -> dict[str, list[int]]:
    """One row: the prompt, the answer's tokens and the end; the loss is on the answer and the end alone."""
    prompt = list(prompter.tokens(question))
    learned = [*answer, prompter.end]
    return {"input_ids": prompt + learned, "labels": [UNLEARNED] * len(prompt) + learned}


def _answers(example: Example, prompter: Prompter, pairwise: bool, rng: random.Random) -> Iterator[Told]:
    """The questions of an example with their answers: of all candidates, and of one by itself."""
    heats = prompter.heats(example.query, example.candidates)
    lone = [] if pairwise else [alone(example, rng)]
    for each in [*asked(example, heats, pairwise, rng), *lone]:
        question = prompter.fitting(each.question)
        yield question, [prompter.labels(question)[each.answer]]


def _reasons(example: Example, prompter: Prompter, rng: random.Random) -> Iterator[Told]:
    """The questions for reasons that one epoch asks, with the replies.

    Of a tuple that would have to be cut the reason is passed over: what it speaks of may be what is cut.
    """
    for question, reason in _justified(example, rng):
        reply = _reply(reason, prompter)
        length = len(reply) + 1
        if len(question.candidates) == 1 or prompter.fits(question, length):
            yield prompter.fitting(question, length), reply


def _reply(reason: str, prompter: Prompter) -> list[int]:
    """The tokens of a reply that gives the reason, without its last words where it is too long."""
    words = reason.split(" ")
    while True:
        tokens: list[int] = prompter.tokenizer.encode(reply_of_reason(" ".join(words)), add_special_tokens=False)
        if len(tokens) < prompter.explanation_tokens or len(words) < 2:
            return tokens[: prompter.explanation_tokens - 1]
        words = words[: max(1, len(words) * 4 // 5)]


def _justified(example: Example, rng: random.Random) -> Iterator[tuple[Question, str]]:
    """Questions with the reasons that answer them: of the choice, of the chosen candidate, and of another one."""
    if example.explanation:
        yield why(example.query, example.candidates, example.choice), example.explanation
    chosen = example.choice - 1
    others = sorted(set(example.reasons) - {chosen})
    for i in [*([chosen] if chosen in example.reasons else []), *rng.sample(others, min(1, len(others)))]:
        yield why(example.query, (example.candidates[i],), int(i == chosen)), example.reasons[i]
