"""Teachers by name: whom to ask and how, made from settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from distiller_udf.errors import SettingsError
from distiller_udf.prompts import Asking
from distiller_udf.settings import TEACHER, Settings
from distiller_udf.teachers.base import Learner, Teacher

__all__ = ["IMPORTED", "TEACHERS", "Entry", "entries", "make_teacher", "make_teachers", "voices"]

IMPORTED = "imported"
"""The name that stands for labels which someone has brought: there is nobody to ask."""


@dataclass(frozen=True)
class Entry:
    """One teacher: the settings with its own in them, and the name that its labels are to have, if that is given."""

    settings: Settings
    name: str | None = None


def make_teacher(settings: Settings | Mapping[str, Any], name: str | None = None) -> Teacher:
    """The teacher that `settings` describe, given whole or as far as they are no defaults; its labels have the `name`.

    Raises SettingsError for a setting that is missing or has an impossible value.
    """
    known = settings if isinstance(settings, Settings) else Settings.of(settings)
    if known.teacher not in TEACHERS:
        raise SettingsError(f"teacher is {known.teacher}, whom nobody can ask; take one of {', '.join(TEACHERS)}")
    known.check_needs()
    return TEACHERS[known.teacher](Entry(known, name))


def make_teachers(settings: Settings) -> list[Teacher]:
    """All teachers that are asked, in the order in which they are set; imported labels have no teacher to ask.

    Raises SettingsError, also where two teachers would answer under the same name.
    """
    listed = entries(settings)
    teachers = [make_teacher(entry.settings, entry.name) for entry in listed if entry.settings.teacher != IMPORTED]
    imported = [entry.settings.teacher_model for entry in listed if entry.settings.teacher == IMPORTED]
    names = [*(name for teacher in teachers for name in voices(teacher)), *imported]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(
                f"two teachers answer under the name {name!r}; give one of them another `name`, or leave it out"
            )
    return teachers


def voices(teacher: Teacher) -> list[str]:
    """The names under which a teacher's answers are kept: its own, and its base's where it learns from one."""
    return [teacher.name, *voices(teacher.base)] if isinstance(teacher, Learner) else [teacher.name]


def entries(settings: Settings) -> list[Entry]:
    """The settings of each teacher: those of `settings` under the ones of its entry in the list `teachers`.

    In an entry without `teacher` a model means a server. Raises SettingsError for a value that is not allowed.
    """
    return [_entry(settings, entry) for entry in settings.teachers or [{}]]


def _entry(settings: Settings, entry: Mapping[str, Any]) -> Entry:
    given = {key: value for key, value in entry.items() if value is not None}
    name = given.pop("name", None)
    own = {key if key == "teacher" else TEACHER + key: value for key, value in given.items()}
    if own.get("teacher") == IMPORTED:
        own.setdefault("teacher_model", None)  # all who were imported, whatever model is set for the others
    if "teacher" not in own and "teacher_model" in own and settings.teacher == "embedded":
        own["teacher"] = "openai"
    return Entry(settings.but({"teachers": None, **own}), name)


def _embedded(entry: Entry) -> Teacher:
    from distiller_udf.teachers.embedded import EmbeddedMixture

    return EmbeddedMixture(Asking(seed=entry.settings.seed), entry.settings.resolved_constraint)


def _openai(entry: Entry) -> Teacher:
    from distiller_udf.teachers.openai_compatible import OpenAICompatible

    return OpenAICompatible(
        **_llm(entry),
        base_url=entry.settings.teacher_base_url,
        api_key_env=entry.settings.teacher_api_key_env,
        concurrency=entry.settings.teacher_concurrency,
        timeout=entry.settings.teacher_timeout,
    )


def _vllm(entry: Entry) -> Teacher:
    from distiller_udf.teachers.vllm import VLLMTeacher

    return VLLMTeacher(**_llm(entry))


def _llm(entry: Entry) -> dict[str, Any]:
    """What every LLM is made from."""
    from distiller_udf.teachers.prices import read_prices

    settings = entry.settings
    prices = read_prices(settings.teacher_prices) if settings.teacher_prices else {}
    return {
        "model": settings.teacher_model,
        "name": entry.name,
        "asking": Asking(
            ask=settings.teacher_ask,
            reply=settings.teacher_reply,
            orders=settings.teacher_orders,
            seed=settings.seed,
            justify=settings.teacher_justify,
            justify_each=settings.teacher_justify_each,
        ),
        "parameters": settings.teacher_parameters,
        "price": prices.get(str(settings.teacher_model)),
        "local_only": settings.local_only,
    }


def _encoder(entry: Entry) -> Teacher:
    from distiller_udf.teachers.encoder import EncoderTeacher

    settings = entry.settings
    return EncoderTeacher(
        TEACHERS[settings.teacher_base](entry),
        str(settings.teacher_encoder),
        share=settings.teacher_base_share,
        seed=settings.seed,
        local_only=settings.local_only,
    )


TEACHERS: Mapping[str, Callable[[Entry], Teacher]] = {
    "embedded": _embedded,
    "openai": _openai,
    "vllm": _vllm,
    "encoder": _encoder,
}
