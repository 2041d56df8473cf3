"""Where a run stands, for whoever shows it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from distiller_udf.prompts import Answer


@dataclass(frozen=True)
class Progress:
    """Where a run stands with one teacher, in distinct questions.

    `total` = `cached` + `answered` + `failed` + those still to come. `cached` came from the store, `answered` from the
    teacher in this run; of these `abstained` are unusable. `tokens` and `cost_usd` are what this run has used as far as
    known; `cost_unknown` counts the answers without a price. `stopped` says why the run ended early without an error:
    the budget is spent; what is `to_come` then was not asked.
    """

    teacher: str = ""
    total: int = 0
    cached: int = 0
    answered: int = 0
    abstained: int = 0
    failed: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    cost_unknown: int = 0
    stopped: str | None = None

    @property
    def to_come(self) -> int:
        """How many questions have neither been answered nor failed yet."""
        return self.total - self.cached - self.answered - self.failed

    def plus(self, answer: Answer) -> Progress:
        """The same after one more answer from the teacher."""
        return replace(
            self,
            answered=self.answered + (not answer.failed),
            abstained=self.abstained + answer.abstained,
            failed=self.failed + answer.failed,
            tokens=self.tokens + (answer.input_tokens or 0) + (answer.output_tokens or 0),
            cost_usd=self.cost_usd + (answer.cost_usd or 0.0),
            cost_unknown=self.cost_unknown + (answer.cost_usd is None and not answer.failed),
        )

    def __str__(self) -> str:
        done = self.total - self.to_come
        known = f"${self.cost_usd:.4f}" if self.cost_unknown < self.answered or not self.answered else ""
        unknown = f"{self.cost_unknown:,} answers of unknown price" if self.cost_unknown else ""
        return (
            f"{self.teacher}: {done:,} of {self.total:,} ({self.cached:,} answered before, "
            f"{self.abstained:,} abstained, {self.failed:,} failed), "
            f"{self.tokens:,} tokens, {' and '.join(part for part in (known, unknown) if part)}"
        )


class OnProgress(Protocol):
    """Called once at the start and after every answer, in the thread that labels."""

    def __call__(self, progress: Progress, /) -> None: ...


def unseen(progress: Progress, /) -> None:
    """Nobody watches."""


class Lines:
    """Says where a run stands in a line every so many seconds."""

    def __init__(self, say: Callable[[str], None], seconds: float = 10.0) -> None:
        self._say = say
        self._seconds = seconds
        self._said_at = time.monotonic()

    def __call__(self, progress: Progress, /) -> None:
        now = time.monotonic()
        if now - self._said_at >= self._seconds:
            self._said_at = now
            self._say(str(progress))
