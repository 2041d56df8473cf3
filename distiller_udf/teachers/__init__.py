"""Teachers by name: whom to ask and how, made from settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from distiller_udf.constraint import Constraint
from distiller_udf.errors import SettingsError, check_names, one_of
from distiller_udf.prompts import Asking
from distiller_udf.teachers.base import Learner, Teacher
from distiller_udf.teachers.settings import IMPORTED, SETTINGS, check_settings, check_text, merged, positive

__all__ = [
    "IMPORTED",
    "SETTINGS",
    "TEACHERS",
    "check_settings",
    "check_text",
    "entries",
    "make_teacher",
    "make_teachers",
    "voices",
]

_IN_ENTRIES = {"teacher", "name", *(name.removeprefix("teacher_") for name in SETTINGS if name.startswith("teacher_"))}


def make_teacher(settings: Mapping[str, Any]) -> Teacher:
    """The teacher that `settings` describe (names of `SETTINGS`, None means the default, and those of
    `Constraint.of`; others are ignored).

    Raises SettingsError for a setting that is missing or has an impossible value.
    """
    make = TEACHERS[one_of("teacher", settings.get("teacher"), TEACHERS)]
    check_settings(settings)
    constraint = Constraint.of(settings) if "constraint" in settings else Constraint.ONE_TO_ONE
    return make({**merged(settings), "name": settings.get("name"), "constraint": constraint})


def make_teachers(settings: Mapping[str, Any], folder: Path | None = None) -> list[Teacher]:
    """All teachers that are asked, in the order in which they are set; imported labels have no teacher to ask.

    Files of prices lie in `folder`; without it nobody's price is known. Raises SettingsError, also where two teachers
    would answer under the same name.
    """
    listed = [_with_prices(entry, folder) for entry in entries(settings)]
    teachers = [make_teacher(entry) for entry in listed if entry["teacher"] != IMPORTED]
    imported = [entry.get("teacher_model") for entry in listed if entry["teacher"] == IMPORTED]
    names = [*(name for teacher in teachers for name in voices(teacher)), *imported]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(
                f"two teachers answer under the name {name!r}; give one of them another `name`, or leave it out"
            )
    return teachers


def _with_prices(entry: dict[str, Any], folder: Path | None) -> dict[str, Any]:
    prices = entry.get("teacher_prices")
    return {**entry, "teacher_prices": str(folder / prices) if folder and prices else None}


def voices(teacher: Teacher) -> list[str]:
    """The names under which a teacher's answers are kept: its own, and its base's where it learns from one."""
    return [teacher.name, *voices(teacher.base)] if isinstance(teacher, Learner) else [teacher.name]


def entries(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The settings of each teacher: those of `settings` under the ones of its entry in the list `teachers`.

    An entry has the names of `SETTINGS` without `teacher_`, and `name`; without `teacher`, a model means a server.
    Raises SettingsError for an entry of another shape.
    """
    listed = settings.get("teachers")
    common = {name: value for name, value in settings.items() if name != "teachers"}
    if listed is None:
        return [common]
    if not isinstance(listed, (list, tuple)) or not listed:
        raise SettingsError("teachers is a list, each entry such as {model: qwen2.5:32b} or {teacher: embedded}")
    result = []
    for entry in listed:
        if not isinstance(entry, Mapping):
            raise SettingsError(f"a teacher's entry is {entry!r}; it looks like {{model: qwen2.5:32b}}")
        check_names("entry of a teacher", entry, sorted(_IN_ENTRIES))
        own = {name if name in ("teacher", "name") else f"teacher_{name}": value for name, value in entry.items()}
        if own.get("teacher") == IMPORTED:
            own.setdefault("teacher_model", None)  # all who were imported, whatever model is set for the others
        kind = common.get("teacher")
        if "teacher" not in own and own.get("teacher_model") and kind in (None, "embedded"):
            own["teacher"] = "openai"
        result.append({**common, **own})
    return result


def _asking(settings: Mapping[str, Any]) -> Asking:
    return Asking(
        ask=settings["teacher_ask"],
        reply=settings["teacher_reply"],
        orders=settings["teacher_orders"],
        seed=settings["seed"],
        justify=settings["teacher_justify"],
        justify_each=settings["teacher_justify_each"],
    )


def _embedded(settings: Mapping[str, Any]) -> Teacher:
    from distiller_udf.teachers.embedded import EmbeddedMixture

    return EmbeddedMixture(Asking(seed=settings["seed"]), settings["constraint"])


def _openai(settings: Mapping[str, Any]) -> Teacher:
    from distiller_udf.teachers.openai_compatible import OpenAICompatible

    return OpenAICompatible(
        **_llm(settings, "openai", "such as gpt-4.1-mini or qwen2.5:32b"),
        base_url=settings["teacher_base_url"],
        api_key_env=str(settings["teacher_api_key_env"]),
        concurrency=int(positive(settings, "teacher_concurrency")),
        timeout=positive(settings, "teacher_timeout"),
    )


def _vllm(settings: Mapping[str, Any]) -> Teacher:
    from distiller_udf.teachers.vllm import VLLMTeacher

    return VLLMTeacher(**_llm(settings, "vllm", "a folder, or the id of a model on the hub"))


def _llm(settings: Mapping[str, Any], teacher: str, examples: str) -> dict[str, Any]:
    """What every LLM is made from. Raises SettingsError where no model is named."""
    from distiller_udf.teachers.prices import read_prices

    model = settings["teacher_model"]
    if model is None:
        raise SettingsError(f"the teacher {teacher} needs a teacher_model, {examples}")
    prices = read_prices(settings["teacher_prices"]) if settings["teacher_prices"] else {}
    return {
        "model": model,
        "name": settings["name"],
        "asking": _asking(settings),
        "parameters": settings["teacher_parameters"],
        "price": prices.get(model),
        "local_only": settings["local_only"],
    }


def _encoder(settings: Mapping[str, Any]) -> Teacher:
    from distiller_udf.teachers.encoder import EncoderTeacher

    if settings["teacher_encoder"] is None:
        raise SettingsError("the teacher encoder needs teacher_encoder: a folder, or the id of a model on the hub")
    base = TEACHERS[one_of("teacher_base", settings["teacher_base"], ("openai", "vllm"))](settings)
    return EncoderTeacher(
        base,
        str(settings["teacher_encoder"]),
        share=settings["teacher_base_share"],
        seed=settings["seed"],
        local_only=settings["local_only"],
    )


TEACHERS: Mapping[str, Callable[[Mapping[str, Any]], Teacher]] = {
    "embedded": _embedded,
    "openai": _openai,
    "vllm": _vllm,
    "encoder": _encoder,
}
