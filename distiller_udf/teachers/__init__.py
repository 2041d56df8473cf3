"""Teachers by name: whom to ask, made from settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from distiller_udf.errors import SettingsError, one_of
from distiller_udf.teachers.base import Teacher

SETTINGS: Mapping[str, Any] = {
    "teacher": None,
    "teacher_model": None,
    "teacher_base_url": None,
    "teacher_api_key_env": "OPENAI_API_KEY",
    "teacher_concurrency": 8,
    "teacher_timeout": 120.0,
    "teacher_parameters": None,
    "teacher_prices": None,
}
"""Every setting of a teacher, with its default; `teacher` is a name from `TEACHERS`."""


def make_teacher(settings: Mapping[str, Any]) -> Teacher:
    """The teacher that `settings` describe (names of `SETTINGS`; others are ignored, None means the default).

    Raises SettingsError for a setting that is missing or has an impossible value.
    """
    make = TEACHERS[one_of("teacher", settings.get("teacher"), TEACHERS)]
    check_settings(settings)
    return make(_merged(settings))


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise SettingsError for a setting whose value can never be right; None means the default."""
    merged = _merged(settings)
    if merged["teacher"] is not None:
        one_of("teacher", merged["teacher"], TEACHERS)
    for name in ("teacher_model", "teacher_base_url", "teacher_api_key_env", "teacher_prices"):
        check_text(name, merged[name])
    for name in ("teacher_concurrency", "teacher_timeout"):
        _positive(merged, name)
    parameters = merged["teacher_parameters"]
    if parameters is not None and not isinstance(parameters, Mapping):
        raise SettingsError(f"teacher_parameters is {parameters!r}; it must be a mapping, such as {{temperature: 0}}")


def check_text(name: str, value: object) -> None:
    """Raise SettingsError unless `value` is text (or a path) that says something, or None."""
    if value is not None and not (isinstance(value, (str, Path)) and str(value).strip()):
        raise SettingsError(f"{name} is {value!r}; it must be text, in quotes where it looks like a number")


def _merged(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: default if settings.get(name) is None else settings[name] for name, default in SETTINGS.items()}


def _embedded(settings: Mapping[str, Any]) -> Teacher:
    from distiller_udf.teachers.embedded import EmbeddedMixture

    return EmbeddedMixture()


def _openai(settings: Mapping[str, Any]) -> Teacher:
    from distiller_udf.teachers.openai_compatible import OpenAICompatible
    from distiller_udf.teachers.prices import read_prices

    model, parameters = settings["teacher_model"], settings["teacher_parameters"]
    if model is None:
        raise SettingsError("the teacher openai needs a teacher_model, such as gpt-4.1-mini or qwen2.5:32b")
    prices = read_prices(settings["teacher_prices"]) if settings["teacher_prices"] else {}
    return OpenAICompatible(
        model,
        base_url=settings["teacher_base_url"],
        api_key_env=str(settings["teacher_api_key_env"]),
        concurrency=int(_positive(settings, "teacher_concurrency")),
        timeout=_positive(settings, "teacher_timeout"),
        parameters=parameters,
        price=prices.get(model),
    )


def _positive(settings: Mapping[str, Any], name: str) -> float:
    value = settings[name]
    try:
        number = 0.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not 1 <= number <= 10_000:
        raise SettingsError(f"{name} is {value!r}; it must be a number from 1 to 10000")
    return number


TEACHERS: Mapping[str, Callable[[Mapping[str, Any]], Teacher]] = {"embedded": _embedded, "openai": _openai}
