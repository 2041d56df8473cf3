"""Optimisation by rewards: of several replies that the student makes up, those that earn more become likelier."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from distiller_udf.errors import SettingsError, TrainingError
from distiller_udf.students.llm.prompting import TEMPLATE_ARGUMENTS, Prompter

from ..material import Report
from .base import Base
from .examples import Example, asked
from .rewards import REWARDS
from .settings import GRPOSettings
from .trainer import arguments, dataset, run


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
            f"{len(questions)} questions are not enough for one step of {step} (batch / generations); label more "
            "tuples, or make batch smaller"
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
