"""What of the settings is written elsewhere: dbt_project.yml, the macros' rules, the tables of the documentation.

`python -m distiller_udf.settings` writes them all in a checkout; a test fails where they are out of date.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distiller_udf.settings.check import NEEDS
from distiller_udf.settings.declared import GROUPS, Declared
from distiller_udf.settings.rules import rules, way_rules

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 120

MARK = "settings: written by `python -m distiller_udf.settings`"
"""Stands before what is written into a file by hand, and after its end as `end of settings`."""

ABOUT = """\
Every setting is a dbt variable: set it under `vars:` in your `dbt_project.yml`, or for one run with `--vars`. A name
that does not exist, or a value that is not allowed, stops dbt before anything runs or costs. The commands of
`distiller` go by the same variables; their options override them for one run. Files and folders are relative to the
dbt project."""


def written(root: Path) -> dict[Path, str]:
    """Every generated file, and every file with a generated part, in the checkout `root`: what it has to hold."""
    project, readme = root / "dbt_project.yml", root / "README.md"
    return {
        root / "macros" / "utils" / "_er_variables.sql": macro(),
        root / "docs" / "settings.md": page(),
        project: _between(project.read_text(encoding="utf-8"), "# ", "\n".join(variables())),
        readme: _between(readme.read_text(encoding="utf-8"), "<!-- ", "\n".join(table(common())), " -->"),
    }


def common() -> list[str]:
    """The names of the settings that most people set."""
    return [name for name in rules() if _extra(name)["common"]]


def described(name: str) -> str:
    """The sentence that explains a setting."""
    return str(Declared.model_fields[name].description)


def variables() -> Iterator[str]:
    """The lines of `vars` in dbt_project.yml."""
    yield "vars:"
    for group in GROUPS:
        title = f"  # --- {group.__doc__} "
        yield title + "-" * (WIDTH - len(title))
        for name in group.model_fields:
            yield from textwrap.wrap(described(name), WIDTH, initial_indent="  # ", subsequent_indent="  # ")
            yield f"  er_{name}: {_yaml(_default(name))}"
        yield ""


def suggestions() -> str:
    """What `distiller init` writes above er_sources: the other settings that most people set, with their defaults."""
    lines = ["The settings of distiller-udf that most people set; docs/settings.md has all of them."]
    for name in common():
        if name != "sources":
            lines += [f"er_{name}: {_yaml(_default(name))}"]
    return "\n".join(lines)


def macro() -> str:
    """The macro that holds the rule of every variable."""
    lines = [
        f"{{#- What each variable may be. {MARK[0].upper()}{MARK[1:]}. -#}}",
        "{% macro _er_variables() %}",
        "    {% do return({",
        *(f"        {_jinja('er_' + name)}: {_jinja(rule)}," for name, rule in rules().items()),
        "    }) %}",
        "{% endmacro %}",
        "",
        "",
        "{#- The options of every way of blocking; those without a default have a variable for it. -#}",
        "{% macro _er_way_rules() %}",
        "    {% do return({",
        *(f"        {_jinja(kind)}: {_jinja(options)}," for kind, options in way_rules().items()),
        "    }) %}",
        "{% endmacro %}",
        "",
        "",
        "{#- Which variable needs which other one. -#}",
        "{% macro _er_needs() %}",
        "    {% do return([",
        *(f"        {_jinja(['er_' + n.setting, n.values, 'er_' + n.needs, n.such])}," for n in NEEDS),
        "    ]) %}",
        "{% endmacro %}",
    ]
    return "\n".join(lines) + "\n"


def page() -> str:
    """docs/settings.md."""
    parts = [
        "# Settings",
        "",
        f"<!-- {MARK} -->",
        "",
        ABOUT,
        "",
        "## What most people set",
        "",
        *table(common()),
        "",
        "## All of them",
        "",
    ]
    for group in GROUPS:
        parts += [f"### {group.__doc__}", "", *table(list(group.model_fields)), ""]
    return "\n".join(parts)


def table(names: Sequence[str]) -> Iterator[str]:
    """Settings as a Markdown table: name, default, what it may be, what it is."""
    yield "| variable | default | may be | |"
    yield "|---|---|---|---|"
    for name in names:
        cells = (f"`er_{name}`", _code(_default(name)), _allowed(name), described(name))
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _allowed(name: str) -> str:
    rule = rules()[name]
    if rule["type"] == "choice":
        return ", ".join(f"`{value}`" for value in rule["values"])
    return str(rule["allowed"])


def _code(value: Any) -> str:
    return "" if value is None else f"`{_yaml(value)}`"


def _default(name: str) -> Any:
    return Declared.model_fields[name].default


def _extra(name: str) -> Mapping[str, Any]:
    extra = Declared.model_fields[name].json_schema_extra
    return extra if isinstance(extra, dict) else {}


def _yaml(value: Any) -> str:
    """A default as YAML has it in one line."""
    if isinstance(value, str):
        return value
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)


def _jinja(value: Any) -> str:
    """Plain data as Jinja reads it: as Python writes it, with Jinja's words for true and none."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_jinja(key)}: {_jinja(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_jinja, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)


def _between(text: str, comment: str, part: str, end: str = "") -> str:
    """A text with a part in place of what stands between the two marks."""
    first, last = f"{comment}{MARK}{end}", f"{comment}end of settings{end}"
    before, after = text.partition(first)[0], text.partition(last)[2]
    return f"{before}{first}\n{part}\n{last}{after}"
