"""Whether er_blocking and er_blocking_rules are ways of blocking, and the sentence that refuses them.

`macros/blocking/steps/_er_ways.sql` and `_er_way_options.sql` say the very same, by the same `ways.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from distiller_udf.errors import SettingsError, unknown
from distiller_udf.settings.check import as_json, refusal
from distiller_udf.settings.rules import way_rules
from distiller_udf.settings.ways import EXAMPLE, IDENTICAL, MAX_HASHES, NEIGHBOURS, WORDS

Named = tuple[str, str]
"""A way's kind, and the name by which blocked_by calls it."""


def check_ways(blocking: Any, rules: Sequence[Any] | None) -> None:
    """Check the ways and the rules that a project blocks by, each of which its own rule allows.

    Raises SettingsError for what is no way, has an option that is none, or has another one's name; and for rules that
    are not there, or that nobody asks for.
    """
    given = [blocking] if isinstance(blocking, (str, Mapping)) else list(blocking)
    kinds = [kind for way in given for kind in (way if isinstance(way, Mapping) else [way])]
    _check_rules_are_used(kinds, rules)
    ways: list[Named] = []
    for way in given:
        if way == "auto":
            ways += [_way(kind) for kind in ("tokens", "qgrams") if kind not in kinds]
        elif way != "rules":
            ways.append(_way(way, WORDS))
    ways += [_way({"equal": rule}) for rule in rules or ()]
    if any(kind in NEIGHBOURS for kind, _ in ways):
        ways.append((IDENTICAL, IDENTICAL))
    _check_names(ways)


def _way(given: Any, words: Sequence[str] = ()) -> Named:
    """One way, checked."""
    rules = way_rules()
    options: Any
    if isinstance(given, str):
        kind, options = given, {}
    elif isinstance(given, Mapping) and given.get("all") is not None:
        kind, options = "all", given
    elif isinstance(given, Mapping) and len(given) == 1:
        ((kind, options),) = given.items()
        options = {} if options is None else options
    else:
        raise SettingsError(f"er_blocking has {as_json(given)}, which is no way of blocking.{EXAMPLE}")
    if kind not in rules:
        raise SettingsError(unknown(f"er_blocking has {as_json(kind)}", kind, [*words, *rules]))
    if isinstance(options, str) and "expression" in rules[kind]:
        options = {"expression": options}
    rule = {"type": "mapping", "keys": rules[kind], "allowed": f"a mapping of its options.{EXAMPLE}"}
    if said := refusal(f"{kind} in er_blocking", options, rule):
        raise SettingsError(said)
    if kind == "all":
        parts = [_way(part) for part in options["all"]]
        return kind, options.get("name") or " and ".join(name for _, name in parts)
    if kind == "minhash":
        bands, rows = (int(options.get(name, rules[kind][name]["default"])) for name in ("bands", "rows"))
        if bands * rows > MAX_HASHES:
            raise SettingsError(
                f"er_blocking has minhash with bands: {bands} and rows: {rows}; "
                f"together these are {MAX_HASHES} at most."
            )
    return kind, options.get("name") or options.get("expression", kind)


def _check_rules_are_used(kinds: Sequence[Any], rules: Sequence[Any] | None) -> None:
    if "rules" in kinds and not rules:
        raise SettingsError("er_blocking has rules, but er_blocking_rules is empty; name at least one.")
    if rules and "rules" not in kinds and "auto" not in kinds:
        listed = ", ".join(str(kind) for kind in kinds)
        raise SettingsError(f"er_blocking_rules are set, but er_blocking is {listed}; add rules to it, or drop them.")


def _check_names(ways: Sequence[Named]) -> None:
    """No two ways have one name, and none is named like another kind."""
    taken = [*(kind for kind in way_rules() if kind != "all"), IDENTICAL]
    times = Counter[str]()
    for kind, name in ways:
        times[name] += 1
        if times[name] > 1:
            raise SettingsError(f"er_blocking has the name {name} twice; every way needs a name of its own.")
        if name == "all" or (name in taken and name != kind):
            raise SettingsError(
                f"er_blocking has the name {name} for a way of the kind {kind}; give it another name, for "
                f"{', '.join(taken)} and all are taken."
            )
