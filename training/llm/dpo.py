"""Preference optimisation: the right answer is to become likelier than the others, compared with the model before."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distiller_udf.errors import SettingsError
from distiller_udf.students.llm.prompting import Prompter

from ..material import Report
from .base import Base
from .examples import Example
from .preferences import Preference, from_answers, from_contested
from .settings import DPOSettings
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
