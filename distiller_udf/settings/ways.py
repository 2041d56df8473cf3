"""The ways of blocking that a user can name, each with its options; `macros/blocking/steps/_er_ways.sql` reads them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

FILLED = r"\S"
Text = Annotated[str, StringConstraints(pattern=FILLED)]
Mode = Literal["mutual", "union", "left", "right"]
TopK = Annotated[int, Field(ge=1, le=1_000)]
_MaxBlock = Annotated[int, Field(ge=2, le=100_000)]


class _Way(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    name: Text = ""
    """How blocked_by calls it; of its own accord its kind, or its expression."""


class Rule(BaseModel):
    """A rule of er_blocking_rules with a name."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    name: Text
    expression: Text


RuleOrText = Text | Rule


class Nearest(_Way):
    """The `top_k` nearest records; `mode` says who has to have whom. Variables have their defaults."""

    top_k: TopK | None = None
    mode: Mode | None = None


class MinHash(_Way):
    """Sets of `terms` with a band of minimal hashes in common; `bands` × `rows` is MAX_HASHES at most."""

    terms: Literal["tokens", "qgrams"] = "qgrams"
    bands: Annotated[int, Field(ge=1, le=1_000)] = 20
    rows: Annotated[int, Field(ge=1, le=100)] = 5
    max_block: _MaxBlock | None = None


class Equal(_Way):
    """Equal values of an SQL expression that at most `max_block` records share."""

    expression: Text
    max_block: _MaxBlock | None = None


class Sorted(_Way):
    """Less than a `window` apart in the order of an SQL expression."""

    expression: Text
    window: Annotated[int, Field(ge=2, le=1_000)] = 5


class All(BaseModel):
    """The pairs that every one of several ways proposes."""

    model_config = _Way.model_config

    name: Text | None = None
    all: Annotated[list[Any], Field(min_length=2)]


WAYS: dict[str, type[BaseModel]] = {
    "tokens": Nearest,
    "qgrams": Nearest,
    "embeddings": Nearest,
    "minhash": MinHash,
    "equal": Equal,
    "sorted": Sorted,
    "all": All,
}

WORDS = ("auto", "rules")
"""What er_blocking may have beside ways: tokens and q-grams with the rules if any, and the rules alone."""

NEIGHBOURS = ("tokens", "qgrams", "embeddings")
"""The ways that look for the nearest records. With them come pairs of one text, as a way of their own:"""

IDENTICAL = "identical"

MAX_HASHES = 1_000
"""How many bands × rows minhash has at most."""

EXAMPLE = (
    " Such as tokens, {qgrams: {top_k: 10}}, {equal: lower(email)}, {equal: {expression: lower(email), name: email}} "
    "or {all: [qgrams, {equal: town}]}."
)
"""How the sentence ends that refuses what is no way."""
