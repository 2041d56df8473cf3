"""Whether a setting may have a value, by its rule, and the sentence that refuses it; the macros say the very same."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distiller_udf.errors import SettingsError, unknown
from distiller_udf.settings.rules import Rule


@dataclass(frozen=True)
class Need:
    """A setting that must be there where another one has one of some values; `such` are examples of it."""

    setting: str
    values: tuple[str, ...]
    needs: str
    such: str


NEEDS = (
    Need("teacher", ("openai", "vllm", "encoder"), "teacher_model", "such as gpt-4.1-mini or qwen2.5:32b"),
    Need("teacher", ("encoder",), "teacher_encoder", "a folder, or the id of a model on the hub"),
    Need("llm_engine", ("server",), "llm_base_url", "such as http://localhost:8000/v1"),
)
"""What is asked of every teacher, and of a served student, before anything is spent."""


def check_all(given: Mapping[str, Any], known: Mapping[str, Rule], prefix: str = "") -> None:
    """Check settings by their names, which begin with `prefix`, against the rules that are `known`.

    Raises SettingsError for an unknown name or a value that is not allowed, with what is.
    """
    for name, value in given.items():
        if name.removeprefix(prefix) not in known or not name.startswith(prefix):
            what = f"there is no {'variable' if prefix else 'setting'} {name}"
            raise SettingsError(unknown(what, name, [prefix + each for each in known]))
        if said := refusal(name, value, known[name.removeprefix(prefix)]):
            raise SettingsError(said)


def missing(settings: Mapping[str, Any], prefix: str = "er_") -> str | None:
    """The sentence that names a setting which another one needs; None where nothing is missing."""
    for need in NEEDS:
        if settings.get(need.setting) in need.values and settings.get(need.needs) is None:
            return f"{prefix}{need.setting} is {settings[need.setting]}, which needs {prefix}{need.needs}, {need.such}"
    return None


def refusal(name: str, value: Any, rule: Rule) -> str | None:
    """The sentence that refuses `value` for the setting `name`; None where its rule allows it."""
    if value is None:
        return None if rule.get("nullable") else f"{name} has no value; leave it out to get its default."
    if rule["type"] == "any":
        return _of_several(name, value, rule)
    if not _FITS[rule["type"]](value, rule):
        return _refused(name, value, rule)
    if rule["type"] == "list":
        return _of_list(name, value, rule)
    return _of_mapping(name, value, rule) if rule["type"] == "mapping" else None


def _refused(name: str, value: Any, rule: Rule) -> str:
    if rule.get("private"):
        return f"{name} is something else than is allowed. Allowed: {rule['allowed']}."
    if rule["type"] == "choice":
        return unknown(f"{name} is {as_json(value)}", str(value), rule["values"])
    return f"{name} is {as_json(value)}. Allowed: {rule['allowed']}."


def _of_several(name: str, value: Any, rule: Rule) -> str | None:
    """Refuse what none of several rules allows; of the one that it is meant by, if that can be told."""
    found = [refusal(name, value, option) for option in rule["of"]]
    if None in found:
        return None
    meant = [said for said, option in zip(found, rule["of"], strict=True) if _FITS[option["type"]](value, option)]
    return meant[0] if meant else _refused(name, value, rule)


def _of_list(name: str, value: Sequence[Any], rule: Rule) -> str | None:
    if "of" not in rule:
        return None
    for number, entry in enumerate(value, start=1):
        if said := refusal(f"entry {number} of {name}", entry, rule["of"]):
            return said
    if key := rule.get("distinct"):
        names = [entry[key] for entry in value]
        for each in names:
            if names.count(each) > 1:
                return f"two entries of {name} have the {key} {each}."
    return None


def _of_mapping(name: str, value: Mapping[str, Any], rule: Rule) -> str | None:
    if "entries" in rule:
        return _of_entries(name, value, rule["entries"])
    if "keys" not in rule:
        return None
    for key in value:
        if key not in rule["keys"]:
            return unknown(f"{name} has {as_json(key)}", str(key), list(rule["keys"]))
    for key, own in rule["keys"].items():
        if own.get("required") and value.get(key) is None:
            return f"{name} has no {key}; {rule['allowed']}."
        if key in value and (said := refusal(f"{key} of {name}", value[key], own)):
            return said
    given = [key for key in rule.get("one_of", []) if value.get(key) is not None]
    if "one_of" in rule and len(given) != 1:
        return f"{name} needs exactly one of {', '.join(rule['one_of'])}; it has {' and '.join(given) or 'none'}."
    return None


def _of_entries(name: str, value: Mapping[Any, Any], rule: Rule) -> str | None:
    for key, entry in value.items():
        if not isinstance(key, str):
            return f"{name} has the key {as_json(key)}. Allowed: a text."
        if said := refusal(f"{key} of {name}", entry, rule):
            return said
    return None


def _is_number(value: Any, rule: Rule) -> bool:
    if isinstance(value, bool) or not isinstance(value, int if rule["type"] == "integer" else (int, float)):
        return False
    inside = math.isfinite(value) and rule["from"] <= value <= rule.get("to", value)
    return inside and not (rule.get("between") and value in (rule["from"], rule.get("to")))


def _is_text(value: Any, rule: Rule) -> bool:
    return isinstance(value, str) and bool(value.strip() and re.fullmatch(rule.get("pattern", "(?s).*"), value))


def _has_enough(value: Sequence[Any] | Mapping[str, Any], rule: Rule) -> bool:
    return bool(rule.get("least", 0) <= len(value) <= rule.get("most", len(value)))


_FITS: Mapping[str, Callable[[Any, Rule], bool]] = {
    "choice": lambda value, rule: isinstance(value, str) and value in rule["values"],
    "integer": _is_number,
    "number": _is_number,
    "boolean": lambda value, rule: isinstance(value, bool),
    "text": _is_text,
    "list": lambda value, rule: isinstance(value, list) and _has_enough(value, rule),
    "mapping": lambda value, rule: isinstance(value, dict) and _has_enough(value, rule),
}
"""Whether a value is of a rule's type at all; what is within a list or a mapping is looked at afterwards."""


def as_json(value: Any) -> str:
    """A value as JSON, which is how the macros write it."""
    return json.dumps(value, default=str)
