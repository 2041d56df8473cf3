"""How students are trained: every setting with a default that is meant for any data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

from distiller_udf.constraint import Constraint
from distiller_udf.errors import SettingsError
from distiller_udf.settings import DEFAULT_ENCODER

from .pairwise.boosting import Boosting

Rule = tuple[Callable[[Any], bool], str]
"""What a setting's value must be: a test, and the same in words."""

Chosen = TypeVar("Chosen", bound="CommonSettings")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def whole(least: int) -> Rule:
    """A whole number that is not below `least`."""
    return lambda v: _is_number(v) and int(v) == v and v >= least, f"a whole number from {least}"


def optional(rule: Rule) -> Rule:
    """What `rule` allows, or nothing at all."""
    return lambda v: v is None or rule[0](v), rule[1]


def choice(*allowed: str) -> Rule:
    """One of a few words."""
    return lambda v: v in allowed, f"one of {', '.join(allowed)}"


POSITIVE: Rule = (lambda v: _is_number(v) and v > 0, "a number above 0")
NOT_NEGATIVE: Rule = (lambda v: _is_number(v) and v >= 0, "a number from 0")
SHARE: Rule = (lambda v: _is_number(v) and 0 < v < 1, "a number between 0 and 1, such as 0.99")
TEXT: Rule = (lambda v: isinstance(v, str) and bool(v), "a folder or a hub id")
FLAG: Rule = (lambda v: isinstance(v, bool), "true or false")


@dataclass(frozen=True)
class CommonSettings:
    """What holds for every kind of student.

    `constraint`: what a match excludes (see `Constraint`). `max_candidates` bounds the unlabelled pairs that are read.
    `target_precision` in (0, 1): thresholds are the lowest that keep it on held-out labels, if these are above those
    for the best F1.
    """

    seed: int = 0
    constraint: Constraint = Constraint.ONE_TO_ONE
    max_candidates: int = 200_000
    target_precision: float | None = None

    RULES: ClassVar[Mapping[str, Rule]] = {
        "seed": whole(0),
        "constraint": choice(*(str(each) for each in Constraint)),
        "max_candidates": whole(1),
        "target_precision": optional(SHARE),
    }
    """What the value of each setting must be."""

    @classmethod
    def of(cls: type[Chosen], settings: Mapping[str, Any] | None) -> Chosen:
        """Check settings by name and value; raises SettingsError for one that is unknown or impossible."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(settings or {}) - known)
        if unknown:
            raise SettingsError(
                f"unknown setting for training: {', '.join(unknown)}; allowed: {', '.join(sorted(known))}"
            )
        for name, value in (settings or {}).items():
            fits, wanted = cls.RULES[name]
            if not fits(value):
                raise SettingsError(f"{name} is {value!r}; it must be {wanted}")
        given = dict(settings or {})
        if "constraint" in given:
            given["constraint"] = Constraint(given["constraint"])
        return cls(**given)


@dataclass(frozen=True)
class PairSettings(CommonSettings, Boosting):
    """How a student is trained that is a pair model over features, such as the lexical one.

    `self_training`: how many times the student learns from its own decisions on unlabelled tuples (0 = labels only;
    unused without a constraint).
    """

    self_training: int = 3

    RULES: ClassVar[Mapping[str, Rule]] = {
        **CommonSettings.RULES,
        "folds": whole(2),
        "repeats": whole(1),
        "rounds": whole(0),
        "leaves": whole(2),
        "leaf_size": whole(1),
        "ridge": POSITIVE,
        "learning_rate": POSITIVE,
        "self_training": whole(0),
    }


@dataclass(frozen=True)
class EncodedPairSettings(PairSettings):
    """How a pair model is trained that sees what a frozen encoder makes of the records: encoder, blend.

    `encoder` is a local folder or a hub id (`local_only`: the hub is never asked), `max_length` the tokens of a record
    that it reads.
    """

    encoder: str = DEFAULT_ENCODER
    local_only: bool = False
    max_length: int = 64

    RULES: ClassVar[Mapping[str, Rule]] = {
        **PairSettings.RULES,
        "encoder": TEXT,
        "local_only": FLAG,
        "max_length": whole(3),
    }
