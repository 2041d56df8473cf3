"""A language model that knows nothing, made in the test, and labels of a task that it could learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.typo_task import CONTEXT, small_tokenizer
from distiller_udf.students.llm.prompting import Prompt, Prompter

needs_llm = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("torch", "transformers", "trl", "peft", "datasets")),
    reason="fine-tuning needs the extra train",
)

QUICK: dict[str, Any] = {"max_length": 512, "batch": 4, "micro_batch": 4, "epochs": 1, "learning_rate": 1e-3}
"""Settings with which a training takes seconds."""


class FakeEngine:
    """Answers each prompt with the log-probabilities that `says` gives for its text; keeps what it was asked."""

    def __init__(self, tokenizer: Any, says: Callable[[str, int], Sequence[float]]) -> None:
        self._tokenizer = tokenizer
        self._says = says
        self.asked: list[str] = []
        self.rounds: list[int] = []

    def label_log_probabilities(self, prompts: Sequence[Prompt]) -> list[np.ndarray]:
        texts = [self._tokenizer.decode(prompt.tokens) for prompt in prompts]
        self.asked += texts
        self.rounds.append(len(texts))
        return [np.asarray(self._says(t, len(p.labels)), float) for t, p in zip(texts, prompts, strict=True)]

    def write(self, prompts: Sequence[Prompt], max_tokens: int, end: int) -> list[str]:
        return ['{"explanation": "it is the same name"}'] * len(prompts)


def small_prompter(max_length: int = CONTEXT) -> Prompter:
    return Prompter(small_tokenizer(), max_length)


def weights_of(folder: Path) -> dict[str, Any]:
    """All tensors of a student's adapter, or of all its weights."""
    from safetensors.torch import load_file

    return {name: tensor for file in sorted(folder.rglob("*.safetensors")) for name, tensor in load_file(file).items()}
