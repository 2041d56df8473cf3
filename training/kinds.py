"""Every kind of student: what can be set, and how it is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .cross_encoder import CrossEncoderSettings, cross_encoder
from .llm.fit import fine_tune
from .llm.settings import LLMSettings
from .material import Material, Report, Trained
from .pairwise import views
from .settings import CommonSettings, EncodedPairSettings, PairSettings


@dataclass(frozen=True)
class Kind:
    """The settings of a kind of student, and the function that trains one.

    `reads_all`: it reads records as they are, columns that only one side has as well; the others compare columns.
    """

    settings: type[CommonSettings]
    train: Callable[[Material[Any], Report], Trained]
    reads_all: bool = False


KINDS: Mapping[str, Kind] = {
    "lexical": Kind(PairSettings, views.lexical),
    "encoder": Kind(EncodedPairSettings, views.encoder),
    "blend": Kind(EncodedPairSettings, views.blend),
    "cross_encoder": Kind(CrossEncoderSettings, cross_encoder),
    "llm": Kind(LLMSettings, fine_tune, reads_all=True),
}
