"""How a student is made, besides the labels: what names its version, and what tells whether another one is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from distiller_udf import __version__
from distiller_udf.records import content_hash
from distiller_udf.students.base import StudentInfo
from distiller_udf.teachers.weights import model_identity

from .fingerprint import canonical, label_fingerprint
from .kinds import KINDS
from .material import model_name

Candidates = Iterable[pa.RecordBatch]

REVISION = 7
"""Raised when the same labels and settings give another student than before."""

MODELS = ("encoder", "model", "start")
"""The settings that name a model."""


@dataclass(frozen=True)
class Recipe:
    """The `kind` of a student and the `settings` of its training (see `KINDS`).

    `candidates` fetches the unlabelled pairs, only when training happens. `columns` describes the candidates' columns:
    where they change, another student is wanted.
    """

    kind: str = "lexical"
    settings: Mapping[str, Any] | None = None
    candidates: Callable[[], Candidates] | None = None
    columns: str = ""

    def version(self, labels: pa.Table) -> str:
        """The name of the student that these labels give: one of the very same labels, settings and code.

        Settings count as they apply: a default that is named makes no other student.

        Models count by their weights: others in the same folder make another student. Whether the hub may be asked for
        them does not change what is learned.
        """
        settings = self._effective
        models = {name: model_identity(settings[name]) for name in MODELS if settings.get(name)}
        taught = label_fingerprint(labels, reasons=bool(settings.get("explanations")))
        known = canonical({**settings, **models})
        return f"{self.kind}-{content_hash(self.kind, taught, known, self.columns, __version__, str(REVISION))[:12]}"

    def made(self, info: StudentInfo) -> bool:
        """Whether a student was made by this recipe and this code; of a folder with a model the name alone is known."""
        shown = {n: model_name(v) if n in MODELS and v else v for n, v in self._effective.items()}
        same = all(name in info.settings and info.settings[name] == value for name, value in shown.items())
        return info.kind == self.kind and same and info.trained_from.get("code_version") == __version__

    @property
    def _effective(self) -> dict[str, Any]:
        """All settings that say what is learned, defaults included."""
        settings = asdict(KINDS[self.kind].settings.of(self.settings))
        return {name: value for name, value in settings.items() if name != "local_only"}
