"""How a student is trained: every setting with a default that is meant for any data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from distiller_udf.encoding import DEFAULT_MODEL
from distiller_udf.errors import SettingsError

from .boosting import Boosting


@dataclass(frozen=True)
class TrainingSettings(Boosting):
    """How a student is trained.

    `multi`: several candidates of a tuple may match, as in deduplication. `self_training`: how many times the
    student learns from its own decisions on unlabelled tuples (0 = labels only; unused with `multi`).
    `max_candidates` bounds the unlabelled pairs that are read. `target_precision` in (0, 1): thresholds are the lowest
    that keep it on held-out labels, if these are above those for the best F1. `encoder` is a local folder or a hub id
    (`local_only`: the hub is never asked), `max_length` the tokens of a record that it reads.
    """

    multi: bool = False
    self_training: int = 3
    max_candidates: int = 200_000
    target_precision: float | None = None
    encoder: str = DEFAULT_MODEL
    local_only: bool = False
    max_length: int = 64

    @classmethod
    def of(cls, settings: Mapping[str, Any] | None) -> TrainingSettings:
        """Check settings by name and value; raises SettingsError for one that is unknown or impossible."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(settings or {}) - known)
        if unknown:
            raise SettingsError(
                f"unknown setting for training: {', '.join(unknown)}; allowed: {', '.join(sorted(known))}"
            )
        for name, value in (settings or {}).items():
            _check(name, value)
        return cls(**(settings or {}))


WHOLE = {
    "seed": 0,
    "folds": 2,
    "repeats": 1,
    "rounds": 0,
    "leaves": 2,
    "leaf_size": 1,
    "self_training": 0,
    "max_candidates": 1,
    "max_length": 3,
}
"""Settings that are whole numbers, and their least value."""

POSITIVE = ("ridge", "learning_rate")


def _check(name: str, value: Any) -> None:
    """Raise SettingsError for a value that its setting cannot have."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if name in WHOLE:
        fits, wanted = number and int(value) == value and value >= WHOLE[name], f"a whole number from {WHOLE[name]}"
    elif name in POSITIVE:
        fits, wanted = number and value > 0, "a number above 0"
    elif name == "target_precision":
        fits, wanted = value is None or (number and 0 < value < 1), "a number between 0 and 1, such as 0.99"
    elif name == "encoder":
        fits, wanted = isinstance(value, str) and bool(value), "a folder or a hub id"
    else:
        fits, wanted = isinstance(value, bool), "true or false"
    if not fits:
        raise SettingsError(f"{name} is {value!r}; it must be {wanted}")
