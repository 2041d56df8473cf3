"""Preference optimisation: the right answer is to become likelier than the others, compared with the model before."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distiller_udf.errors import SettingsError, TrainingError
from distiller_udf.prompts import Question
from distiller_udf.settings.training import DPOSettings
from distiller_udf.students.llm.prompting import Prompter, select

from ...material import Report
from .base import Base
from .examples import Example, asked, in_one_order
from .trainer import arguments, dataset, run


def fine_tune(base: Base, examples: Sequence[Example], prompter: Prompter, work: Path, report: Report) -> Any:
    """Train on the examples' preferences and return the model."""
    from trl import DPOConfig, DPOTrainer

    class OnTokens(DPOTrainer):  # type: ignore[misc]
        """Takes rows of tokens as they are: prompts are made where those of serving are made."""

        def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
            return dataset

    settings = base.settings
    assert isinstance(settings, DPOSettings)  # noqa: S101
    trainer = OnTokens(
        model=base.load(),
        # Without an adapter, trl would compare with the base model as it is on disk.
        ref_model=base.load() if settings.rank == 0 else None,
        args=DPOConfig(
            **arguments(settings, work, num_train_epochs=settings.epochs, max_length=None, beta=settings.beta)
        ),
        train_dataset=dataset([row(p, prompter) for p in preferences(examples, prompter, settings)]),
        processing_class=prompter.tokenizer,
        peft_config=base.lora(),
    )
    return run(trainer, work, report)


def preferences(examples: Sequence[Example], prompter: Prompter, settings: DPOSettings) -> list[Preference]:
    """The preferences that the settings name. Raises TrainingError where there are none."""
    rng = random.Random(settings.seed)
    if (settings.preferences == "corrections") != (settings.corrected_by is not None):
        raise SettingsError("the preferences corrections and corrected_by, who corrected, belong together; give both")
    if settings.pairwise and settings.preferences != "answers":
        raise SettingsError(
            f"{settings.preferences} are about which candidate is chosen; there is none without a constraint"
        )
    if settings.preferences == "answers":
        heats = [prompter.heats(e.query, e.candidates) for e in examples]
        return from_answers(examples, heats, settings.pairwise, rng)
    return from_contested(examples, settings.corrected_by, prompter.fits, rng)


def row(preference: Preference, prompter: Prompter) -> dict[str, list[int]]:
    """One row of tokens: the prompt and both answers, each with the end behind it."""
    question = prompter.fitting(preference.question)
    labels, end = prompter.labels(question), prompter.end
    return {
        "prompt_ids": list(prompter.tokens(question)),
        "chosen_ids": [labels[preference.chosen], end],
        "rejected_ids": [labels[preference.rejected], end],
    }


@dataclass(frozen=True)
class Preference:
    """A question and two positions among its labels (0 = none, 1 = the first candidate, …): `chosen` is the better."""

    question: Question
    chosen: int
    rejected: int


def against_every_other(question: Question, answer: int, choices: int) -> list[Preference]:
    """The right answer against every other one of `choices` labels, none among them."""
    return [Preference(question, answer, other) for other in range(choices) if other != answer]


def from_answers(
    examples: Sequence[Example], heats: Sequence[Sequence[range]], pairwise: bool, rng: random.Random
) -> list[Preference]:
    """Every label against what it is not; `heats` say for each example how many candidates fit into a question."""
    found = []
    for example, groups in zip(examples, heats, strict=True):
        for each in asked(example, groups, pairwise, rng):
            choices = 2 if pairwise else len(each.question.candidates) + 1
            found += against_every_other(each.question, each.answer, choices)
    return found


def majority(answers: Sequence[Example]) -> Example | None:
    """The answer that more than half of the teachers give, one answer of each; None where there is none."""
    votes = Counter(example.choice for example in answers)
    choice, count = votes.most_common(1)[0]
    return next(e for e in answers if e.choice == choice) if 2 * count > len(answers) else None


def contested(examples: Sequence[Example], corrected_by: str | None) -> list[tuple[Example, int]]:
    """Tuples that teachers answered differently: the answer that counts, and one that it is better than.

    The answer of `corrected_by` counts where there is one, and no other; without it that of the majority. The other is
    1-based, 0 = none of them. Raises TrainingError where nobody was contradicted.
    """
    tuples: dict[tuple[str, tuple[str, ...]], dict[str, Example]] = {}
    for example in map(in_one_order, examples):
        tuples.setdefault((example.query, example.candidates), {}).setdefault(example.teacher, example)
    found = []
    for by_teacher in tuples.values():
        answers = list(by_teacher.values())
        right = majority(answers) if corrected_by is None else by_teacher.get(corrected_by)
        if right is not None:
            others = sorted({e.choice for e in answers} - {right.choice})
            found += [(right, other) for other in others]
    if not found:
        whom = "teachers answered differently" if corrected_by is None else f"{corrected_by} answered otherwise"
        raise TrainingError(
            f"there is no tuple that {whom}, so there are no preferences; give er_labels of several teachers, not votes"
        )
    return found


def from_contested(
    examples: Sequence[Example], corrected_by: str | None, fits: Callable[[Question], bool], rng: random.Random
) -> list[Preference]:
    """What counts against what was contradicted, each in one question.

    Both answers are in it, and as many of the other candidates as fit.
    """
    found = []
    for example, other in contested(examples, corrected_by):
        shown = [choice - 1 for choice in (example.choice, other) if choice]
        rest = [i for i in range(len(example.candidates)) if i not in shown]
        for i in rng.sample(rest, len(rest)):
            if not fits(_of(example, [*shown, i])):
                break
            shown.append(i)
        rng.shuffle(shown)
        positions = [shown.index(choice - 1) + 1 if choice else 0 for choice in (example.choice, other)]
        found.append(Preference(_of(example, shown), *positions))
    return found


def _of(example: Example, shown: Sequence[int]) -> Question:
    return select(example.query, [example.candidates[i] for i in shown])
