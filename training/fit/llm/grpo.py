"""Optimisation by rewards: of several replies that the student makes up, those that earn more become likelier.

Rewards are pure functions of a reply, the right choice and the number of candidates. A choice is 1-based, 0 = none of
them. Replies may name it as a letter, as a number, in brackets ("[10]") or as JSON.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from distiller_udf.english import counted
from distiller_udf.errors import SettingsError, TrainingError
from distiller_udf.prompts import MAX_TOKEN_CANDIDATES, Question, parse_answer, token_labels
from distiller_udf.settings.training import GRPOSettings
from distiller_udf.students.llm.prompting import TEMPLATE_ARGUMENTS, Prompter

from ...material import Report
from .base import Base
from .examples import Example, asked
from .trainer import arguments, dataset, run

GENEROUS_CHARACTERS = 20
"""Replies up to this length are short; one of five times that is not short at all."""

_STATED = re.compile(
    r"(?:(?:the )?(?:correct )?(?:answer|choice|match|candidate)(?: is)?[: ]*)?"
    r"[\[(\"'`* ]{0,4}(?P<label>[A-Z])[\])\"'`*.: ]{0,4}",
    re.IGNORECASE,
)
"""A line that is a letter and at most some words and signs around it, such as "Answer: **B**."."""


def fine_tune(base: Base, examples: Sequence[Example], prompter: Prompter, work: Path, report: Report) -> Any:
    """Train on the examples' questions and return the model."""
    from trl import GRPOConfig, GRPOTrainer

    settings = base.settings
    assert isinstance(settings, GRPOSettings)  # noqa: S101
    if settings.pairwise:
        raise SettingsError("grpo rewards choices, and without a constraint nothing is chosen")
    if settings.batch % settings.generations:
        raise SettingsError(
            f"batch is {settings.batch}; it must be a multiple of generations, which is {settings.generations}"
        )
    questions = rows(examples, prompter, settings)
    step = settings.batch // settings.generations
    if len(questions) < step:
        raise TrainingError(
            f"{counted(len(questions), 'question is', 'questions are')} not enough for one step of {step} "
            "(batch / generations); label more tuples, or make batch smaller"
        )
    model = base.load()
    # What the template ends an answer with, which is not always what the tokenizer calls the end.
    model.generation_config.eos_token_id = sorted({prompter.end, prompter.tokenizer.eos_token_id})
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=[_as_trl_calls_it(name, of) for name, (of, _) in REWARDS.items()],
        args=GRPOConfig(
            **arguments(
                settings,
                work,
                num_train_epochs=settings.epochs,
                reward_weights=[weight for _, weight in REWARDS.values()],
                num_generations=settings.generations,
                temperature=settings.temperature,
                max_completion_length=settings.reply_tokens,
                chat_template_kwargs=dict(TEMPLATE_ARGUMENTS),
                remove_unused_columns=False,
            )
        ),
        train_dataset=dataset(questions),
        processing_class=prompter.tokenizer,
        peft_config=base.lora(),
    )
    return run(trainer, work, report)


def rows(examples: Sequence[Example], prompter: Prompter, settings: GRPOSettings) -> list[dict[str, Any]]:
    """One row a question: its conversation, the right choice, and how many candidates there are."""
    rng = random.Random(settings.seed)
    found = []
    for example in examples:
        for each in asked(example, prompter.heats(example.query, example.candidates), False, rng):
            question = prompter.fitting(each.question)
            conversation = prompter.conversation(question)
            found.append({"prompt": conversation, "choice": each.answer, "candidates": len(question.candidates)})
    return found


def _as_trl_calls_it(name: str, of: Callable[[str, int, int], float]) -> Callable[..., list[float]]:
    """A reward as trl calls it: with the columns of the rows as lists."""

    def rewards(completions: Sequence[Any], choice: Sequence[int], candidates: Sequence[int], **_: Any) -> list[float]:
        return [of(c[0]["content"], right, n) for c, right, n in zip(completions, choice, candidates, strict=True)]

    rewards.__name__ = name
    return rewards


def said(reply: str, candidates: int) -> int | None:
    """The choice that a reply names, None where it names none or one that is not there."""
    labels = _labels(candidates)
    first, *_ = reply.strip().splitlines() or [""]
    stated = _STATED.fullmatch(first)
    if stated and stated["label"] in labels[1:]:
        return labels.index(stated["label"])
    return parse_answer(reply.strip(), candidates).choice


def correct(reply: str, choice: int, candidates: int) -> float:
    """1 for the right choice, otherwise 0."""
    return float(said(reply, candidates) == choice)


def well_formed(reply: str, choice: int, candidates: int) -> float:
    """1 for a label and nothing else, 0.5 for a choice that can be read out of more text, otherwise 0."""
    if said(reply, candidates) is None:
        return 0.0
    bare = reply.strip()
    if candidates > MAX_TOKEN_CANDIDATES:
        return 1.0 if bare.strip("[]").isdigit() else 0.5
    return 1.0 if bare in _labels(candidates) else 0.5


def _labels(candidates: int) -> Sequence[str]:
    """The labels of none and of so many candidates; none where letters do not go as far."""
    if candidates > MAX_TOKEN_CANDIDATES:
        return ()
    return token_labels(Question("{}", ("{}",) * candidates, "select", "token"))


def short(reply: str, choice: int, candidates: int) -> float:
    """1 up to `GENEROUS_CHARACTERS`, falling in a straight line to 0 at five times as many."""
    over = len(reply.strip()) - GENEROUS_CHARACTERS
    return float(min(1.0, max(0.0, 1 - over / (4 * GENEROUS_CHARACTERS)))) if reply.strip() else 0.0


REWARDS: Mapping[str, tuple[Callable[[str, int, int], float], float]] = {
    "correct": (correct, 1.0),
    "well_formed": (well_formed, 0.2),
    "short": (short, 0.1),
}
"""Every reward and its weight: being right outweighs both others together."""


def reward(reply: str, choice: int, candidates: int) -> float:
    """All rewards together, weighted."""
    return sum(weight * of(reply, choice, candidates) for of, weight in REWARDS.values())
