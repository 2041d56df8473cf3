"""A teacher's settings: their names, their defaults, and which values can never be right."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distiller_udf.errors import SettingsError, one_of
from distiller_udf.prompts import Asking

IMPORTED = "imported"
"""The name that stands for labels which someone has brought: there is nobody to ask."""

KINDS = ("embedded", "openai", "vllm", "encoder")

SETTINGS: Mapping[str, Any] = {
    "teacher": None,
    "teacher_model": None,
    "teacher_base_url": None,
    "teacher_api_key_env": "OPENAI_API_KEY",
    "teacher_concurrency": 8,
    "teacher_timeout": 120.0,
    "teacher_parameters": None,
    "teacher_prices": None,
    "teacher_ask": "select",
    "teacher_reply": "explanation",
    "teacher_orders": 1,
    "teacher_justify": False,
    "teacher_justify_each": False,
    "teacher_encoder": None,
    "teacher_base": "openai",
    "teacher_base_share": 0.2,
    "local_only": False,
    "seed": 42,
}
"""Every setting of a teacher, with its default; `teacher` is one of `KINDS`."""

_TEXTS = (
    "teacher_model",
    "teacher_base_url",
    "teacher_api_key_env",
    "teacher_prices",
    "teacher_encoder",
)


def merged(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with the defaults of those that are not there or None."""
    return {name: default if settings.get(name) is None else settings[name] for name, default in SETTINGS.items()}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise SettingsError for a setting whose value can never be right; None means the default."""
    whole = merged(settings)
    if whole["teacher"] is not None:
        one_of("teacher", whole["teacher"], KINDS)
    for name in _TEXTS:
        check_text(name, whole[name])
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(whole["teacher_api_key_env"])):
        # What stands there may be the key itself: it is not repeated.
        raise SettingsError(
            "teacher_api_key_env is the name of an environment variable that holds the key, not the key"
        )
    check_text("name", settings.get("name"))
    for name in ("teacher_concurrency", "teacher_timeout"):
        positive(whole, name)
    parameters = whole["teacher_parameters"]
    if parameters is not None and not isinstance(parameters, Mapping):
        raise SettingsError(f"teacher_parameters is {parameters!r}; it must be a mapping, such as {{temperature: 0}}")
    if not isinstance(whole["local_only"], bool):
        raise SettingsError(f"local_only is {whole['local_only']!r}; allowed: true, false")
    if not isinstance(whole["seed"], int) or isinstance(whole["seed"], bool):
        raise SettingsError(f"seed is {whole['seed']!r}; it must be a whole number")
    one_of("teacher_base", whole["teacher_base"], ("openai", "vllm"))
    share = whole["teacher_base_share"]
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise SettingsError(f"teacher_base_share is {share!r}; it must be a number above 0, up to 1")
    Asking(
        whole["teacher_ask"],
        whole["teacher_reply"],
        whole["teacher_orders"],
        justify=whole["teacher_justify"],
        justify_each=whole["teacher_justify_each"],
    )


def check_text(name: str, value: object) -> None:
    """Raise SettingsError unless `value` is text (or a path) that says something, or None."""
    if value is not None and not (isinstance(value, (str, Path)) and str(value).strip()):
        raise SettingsError(f"{name} is {value!r}; it must be text, in quotes where it looks like a number")


def positive(settings: Mapping[str, Any], name: str) -> float:
    """The number of this name. Raises SettingsError unless it is one from 1 to 10000."""
    value = settings[name]
    try:
        number = 0.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not 1 <= number <= 10_000:
        raise SettingsError(f"{name} is {value!r}; it must be a number from 1 to 10000")
    return number
