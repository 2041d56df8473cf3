"""What each setting may be as plain data, in the words of an error: read by the macros, the command line and Python.

A rule is a mapping: `type` (choice, integer, number, boolean, text, list, mapping, any), `nullable`, `allowed` (the
end of the sentence that refuses a value), and what the type needs: `values`, `from`, `to` (not where any larger number
is allowed), `between` (neither end), `pattern` (a regular expression of the whole text), `least` and `most` (how many),
`of` (the rule of the entries, or those of which one must hold), `distinct` (what no two entries share), `keys`,
`required`, `one_of` (the keys of which exactly one is there), `entries` (the rule of the values
of a mapping whose keys may be any text).
`check.py` and `macros/utils/_er_settings.sql` read them alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from distiller_udf.settings.declared import ADDRESS, ENVIRONMENT, GROUPS, RELATION, WITHOUT_COLON, Declared
from distiller_udf.settings.training import FINE_TUNING
from distiller_udf.settings.ways import FILLED, WAYS

Rule = dict[str, Any]

TEACHER = "teacher_"
"""How the settings of a teacher begin; an entry of `teachers` leaves it out."""

_WORDS = {"Source": "a source is {name, id, and one of model, source, relation}, and may have columns"}
_LISTS = {
    "sources": "a list such as [{name: shop, model: customers, id: customer_id}]",
    "blocking_rules": "a list of SQL expressions, each a text or {name, expression}",
    "teachers": "a list of mappings, such as [{model: qwen2.5:32b}]",
    "source": "[name of the dbt source, name of the table]",
    "relation": 'schema.table, or a list of its parts; "my schema"."table 1" where a part is no plain name',
    "columns": "a list of columns, or a mapping of new name to SQL expression",
    "all": "a list of two ways or more",
    "blocking": "auto, or a list of ways of blocking, such as [tokens, {qgrams: {top_k: 10}}]",
}
_NAMES = "a list of column names"
_TEXTS = {
    FILLED: "a text",
    ADDRESS: "an address such as http://localhost:8000/v1, without a user, a password, a query or a fragment; a key "
    "goes into an environment variable",
    ENVIRONMENT: "the name of an environment variable, not what it holds",
    RELATION: "database.schema.table, of which the first two may be left out",
    WITHOUT_COLON: "a text without a colon; entity ids are source:id",
}
_PLACES = {"model": "a folder, or the id of a model on the hub", "student": "a student's folder, or its version"}


@lru_cache(maxsize=1)
def rules() -> dict[str, Rule]:
    """The rule of every setting by its name, in the order in which people read them."""
    found = rules_of(Declared)
    ordered = {name: found[name] for group in GROUPS for name in group.model_fields}
    ordered["sources"]["distinct"] = "name"
    ordered["teachers"]["private"] = True  # it holds settings that are
    ordered["teachers"]["of"] = _entry_rule(ordered)
    ordered["llm_training"]["keys"] = {name: rule for name, rule in training_rules().items() if name != "constraint"}
    return ordered


def training_rules() -> dict[str, Rule]:
    """The rule of every setting of the training of a language model, whichever method has it."""
    return {name: rule for settings in FINE_TUNING.values() for name, rule in rules_of(settings).items()}


def text_of(pattern: str) -> str:
    """What a text of a pattern is, in the words of an error."""
    return _TEXTS[pattern]


@lru_cache(maxsize=1)
def way_rules() -> dict[str, dict[str, Rule]]:
    """The options of every way of blocking: for each kind, the rule of each option by its name."""
    return {
        kind: {name: _with_default(options, name, rule) for name, rule in rules_of(options).items()}
        for kind, options in WAYS.items()
    }


def _with_default(options: type[BaseModel], name: str, rule: Rule) -> Rule:
    """An option's rule, with its default where it has one of its own."""
    default = options.model_fields[name].get_default()
    return rule if rule.get("required") or not default else {**rule, "default": default}


def rules_of(model: type[BaseModel]) -> dict[str, Rule]:
    """The rule of every setting of a group by its name."""
    schema = model.model_json_schema()
    return _keys(schema, schema.get("$defs", {}))


def _keys(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Rule]:
    required = schema.get("required", [])
    return {
        name: _rule(field, defs, name) | ({"required": True} if name in required else {})
        for name, field in schema["properties"].items()
    }


def _entry_rule(known: Mapping[str, Rule]) -> Rule:
    """The rule of an entry of `teachers`: the settings of a teacher without their beginning, and a name."""
    keys = {name.removeprefix(TEACHER): {**rule, "nullable": True} for name, rule in known.items() if _is_own(name)}
    name = {"type": "text", "nullable": True, "allowed": "a text"}
    return {"type": "mapping", "keys": {**keys, "name": name}, "allowed": _LISTS["teachers"], "private": True}


def _is_own(name: str) -> bool:
    return name == TEACHER[:-1] or name.startswith(TEACHER)


def _rule(schema: Mapping[str, Any], defs: Mapping[str, Any], name: str) -> Rule:
    """A field's JSON schema as a rule."""
    schema = _resolved(schema, defs)
    options = [_resolved(option, defs) for option in schema.get("anyOf", [schema])]
    wanted = [option for option in options if option.get("type") != "null"]
    if len(wanted) == 1:
        rule = _plain(wanted[0], defs, name)
    else:
        kinds = [_plain(option, defs, name) for option in wanted]
        rule = {"type": "any", "of": kinds, "allowed": _LISTS.get(name) or ", or ".join(k["allowed"] for k in kinds)}
    if len(wanted) < len(options):
        rule["nullable"] = True
    rule["allowed"] = _PLACES.get(schema.get("place", ""), rule["allowed"])
    if schema.get("private"):
        rule["private"] = True
    return rule


def _resolved(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema with what it refers to in its place."""
    if "$ref" not in schema:
        return schema
    own = {key: value for key, value in schema.items() if key != "$ref"}
    return {**defs[schema["$ref"].rpartition("/")[2]], **own}


def _plain(schema: Mapping[str, Any], defs: Mapping[str, Any], name: str) -> Rule:
    if "enum" in schema:
        return {"type": "choice", "values": schema["enum"], "allowed": ", ".join(schema["enum"])}
    kind = schema["type"]
    if kind in ("integer", "number"):
        return _number(kind, schema)
    if kind == "boolean":
        return {"type": "boolean", "allowed": "true, false"}
    if kind == "string":
        return _text(schema)
    if kind == "array":
        return _list(schema, defs, name)
    return _mapping(schema, defs, name)


def _number(kind: str, schema: Mapping[str, Any]) -> Rule:
    between = "exclusiveMinimum" in schema
    ends = ("exclusiveMinimum", "exclusiveMaximum") if between else ("minimum", "maximum")
    least, most = schema[ends[0]], schema.get(ends[1])
    what = "a whole number" if kind == "integer" else "a number"
    if most is None:
        allowed = f"{what} above {least}" if between else f"{what} from {least}"
    else:
        allowed = f"{what} between {least} and {most}, neither of them" if between else f"{what} from {least} to {most}"
    return {
        "type": kind,
        "from": least,
        **({} if most is None else {"to": most}),
        **({"between": True} if between else {}),
        "allowed": allowed,
    }


def _text(schema: Mapping[str, Any]) -> Rule:
    pattern = schema.get("pattern", FILLED)
    return {"type": "text", **({"pattern": pattern} if pattern != FILLED else {}), "allowed": text_of(pattern)}


def _list(schema: Mapping[str, Any], defs: Mapping[str, Any], name: str) -> Rule:
    rule: Rule = {"type": "list", "least": schema.get("minItems", 0), "allowed": _LISTS.get(name, _NAMES)}
    if "maxItems" in schema:
        rule["most"] = schema["maxItems"]
    if schema.get("items"):
        rule["of"] = _rule(schema["items"], defs, name)
    return rule


def _mapping(schema: Mapping[str, Any], defs: Mapping[str, Any], name: str) -> Rule:
    rule: Rule = {"type": "mapping", "allowed": _WORDS.get(schema.get("title", ""), "a mapping")}
    if "properties" in schema:
        rule["keys"] = _keys(schema, defs)
    elif "minProperties" in schema:
        rule["least"] = schema["minProperties"]
    if isinstance(schema.get("additionalProperties"), dict):
        rule["entries"] = _rule(schema["additionalProperties"], defs, name)
    if "one_of" in schema:
        rule["one_of"] = schema["one_of"]
    return rule
