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
from distiller_udf.settings.declared import GROUPS, Declared, Group
from distiller_udf.settings.rules import rules, way_rules
from distiller_udf.settings.training import FINE_TUNING
from distiller_udf.settings.ways import EXAMPLE, IDENTICAL, MAX_HASHES, NEIGHBOURS, WORDS

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 120

_WAY_WORDS = {
    "words": WORDS,
    "neighbours": NEIGHBOURS,
    "identical": IDENTICAL,
    "max_hashes": MAX_HASHES,
    "example": EXAMPLE,
}

MARK = "settings: written by `python -m distiller_udf.settings`"
"""Stands before what is written into a file by hand, and after its end as `end of settings`."""

ABOUT = """\
Every setting is a dbt variable: set it under `vars:` in your `dbt_project.yml`, or for one run with `--vars`. A name
that does not exist, or a value that is not allowed, stops dbt before anything runs or costs. The commands of
`distiller` go by the same variables; their options override them for one run. Files and folders are relative to the
dbt project. dbt renders a value that is a text, such as `er_student_name: "{{ target.name }}"`, and nothing in a list
or mapping."""

ABOUT_TRAINING = """\
What `er_llm_training` may hold, such as `{method: sft, epochs: 3}`. `distiller train sft`, `dpo` and `grpo` start from
it as well; their options (with - for _; `start` is `--from`) take its place. Where the command's method is not the
project's, what has another default there is left out."""


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


def described(name: str, group: type[Group] = Declared) -> str:
    """The sentence that explains a setting."""
    return str(group.model_fields[name].description)


def default_of(name: str, group: type[Group] = Declared) -> str:
    """A setting's default as YAML has it; an empty text where there is none."""
    default = group.model_fields[name].default
    return "" if default is None else _yaml(default)


def variables() -> Iterator[str]:
    """The lines of `vars` in dbt_project.yml."""
    yield "vars:"
    for group in GROUPS:
        title = f"  # --- {group.__doc__} "
        yield title + "-" * (WIDTH - len(title))
        for name in group.model_fields:
            yield from textwrap.wrap(described(name), WIDTH, initial_indent="  # ", subsequent_indent="  # ")
            yield f"  er_{name}: {default_of(name) or 'null'}"
        yield ""


def suggestions() -> str:
    """What `distiller init` writes above er_sources: the other settings that most people set, with their defaults."""
    lines = ["What most people set; dbt_packages/distiller_udf/dbt_project.yml has all of them."]
    for name in common():
        if name != "sources":
            lines += [f"er_{name}: {default_of(name) or 'null'}"]
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
        "{#- What else there is to know of ways: words that are none, those that bring identical, the most hashes. -#}",
        "{% macro _er_way_words() %}",
        f"    {{% do return({_jinja(_WAY_WORDS)}) %}}",
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
    parts += ["## Training a language model", "", ABOUT_TRAINING, "", *training_table(), ""]
    return "\n".join(parts)


def table(names: Sequence[str]) -> Iterator[str]:
    """Settings as a Markdown table: name, default, what it may be, what it is."""
    yield "| variable | default | may be | |"
    yield "|---|---|---|---|"
    for name in names:
        yield _row(f"`er_{name}`", _code(default_of(name)), _allowed(rules()[name]), described(name))


def training_table() -> Iterator[str]:
    """The settings in `er_llm_training`, likewise; a setting has several defaults where methods differ."""
    yield "| setting | default | may be | |"
    yield "|---|---|---|---|"
    for name, rule in rules()["llm_training"]["keys"].items():
        having = {method: group for method, group in FINE_TUNING.items() if name in group.model_fields}
        defaults = {method: _code(default_of(name, group)) for method, group in having.items()}
        same = len(set(defaults.values())) == 1 or name == "method"
        shown = next(iter(defaults.values())) if same else ", ".join(f"{m}: {d}" for m, d in defaults.items())
        alone = "" if len(having) == len(FINE_TUNING) else f"{', '.join(having)}: "
        yield _row(f"`{name}`", shown, _allowed(rule), alone + described(name, next(iter(having.values()))))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _allowed(rule: Mapping[str, Any]) -> str:
    if rule["type"] == "choice":
        return ", ".join(f"`{value}`" for value in rule["values"])
    return str(rule["allowed"])


def _code(default: str) -> str:
    return f"`{default}`" if default else ""


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
