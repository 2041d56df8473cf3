"""Every kind of student: what can be set, and how it is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from distiller_udf.settings.training import (
    CommonSettings,
    CrossEncoderSettings,
    EncodedPairSettings,
    LLMSettings,
    PairSettings,
)

from ..material import Material, Report, Trained
from .cross_encoder import cross_encoder
from .llm import fine_tune
from .pairwise import blend, encoder, lexical


@dataclass(frozen=True)
class Kind:
    """The settings of a kind of student, and the function that trains one.

    `reads_all`: it reads records as they are, columns that only one side has as well; the others compare columns.
    """

    settings: type[CommonSettings]
    train: Callable[[Material[Any], Report], Trained]
    reads_all: bool = False


KINDS: Mapping[str, Kind] = {
    "lexical": Kind(PairSettings, lexical),
    "encoder": Kind(EncodedPairSettings, encoder),
    "blend": Kind(EncodedPairSettings, blend),
    "cross_encoder": Kind(CrossEncoderSettings, cross_encoder),
    "llm": Kind(LLMSettings, fine_tune, reads_all=True),
}
