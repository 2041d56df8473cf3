"""The options that all commands share: which project and target, and settings in place of the project's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from distiller_udf.cli.console import Command, say, with_options
from distiller_udf.project import Project
from distiller_udf.project.dbt import Graph, warehouse_of
from distiller_udf.project.files import read_variables
from distiller_udf.project.warehouse import Warehouse
from distiller_udf.settings import PREFIX, place_of
from distiller_udf.settings.rules import rules
from distiller_udf.settings.written import described

FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
"""A file that is read."""

REGISTRY = {"--students": "students_path", "--name": "student_name"}
"""The options that say which students are meant."""

STORE = {"--store": "label_store"}
"""The option that says which label store is meant."""

BUDGET = {f"--budget-{what}": f"budget_{what}" for what in ("calls", "tokens", "usd")}
"""The options that limit what a run may spend."""

PROJECT = (
    click.option(
        "--project-dir",
        type=FOLDER,
        envvar="DBT_PROJECT_DIR",
        help="The dbt project.  [default: that of --database, or this folder's]",
    ),
    click.option("--profiles-dir", type=FOLDER, help="Where profiles.yml is.  [default: where dbt looks]"),
    click.option("--target", envvar="DBT_TARGET", help="The target of the profile.  [default: the profile's]"),
    click.option("--vars", "variables", metavar="YAML", default="", help="More er_* variables, as dbt takes them."),
)
_WAREHOUSE = (
    click.option(
        "--database",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The DuckDB file that dbt built.  [default: that of the project's target]",
    ),
    click.option(
        "--schema", help="The schema of all er_* tables.  [default: the project's; without one, that which holds them]"
    ),
)


def opened_warehouse(project: Project, graph: Graph | None = None) -> Warehouse:
    """The project's warehouse; says which schema was found to be that of its tables. Raises as `warehouse_of`."""
    found = warehouse_of(project, graph)
    if found.remark:
        say(found.remark)
    return found


def with_project(settings: Mapping[str, str] | None = None, *, warehouse: bool = False) -> Callable[..., Any]:
    """A decorator that calls a command with `project`: what its options, and the dbt project that they name, come to.

    `settings` are options in place of settings: a flag, such as `--students`, and the setting's name. With `warehouse`
    there are `--database` and `--schema` as well.
    """
    instead = {_parameter(name): name for name in (settings or {}).values()}
    own = [setting_option(flag, name) for flag, name in (settings or {}).items()]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def called(
            *arguments: Any,
            project_dir: Path | None,
            profiles_dir: Path | None,
            target: str | None,
            variables: str,
            database: Path | None = None,
            schema: str | None = None,
            **options: Any,
        ) -> Any:
            given = {name: options.pop(parameter) for parameter, name in instead.items()}
            place = {"profiles_dir": profiles_dir, "target": target, "database": database, "schema": schema}
            project = Project.of(
                project_dir, variables=read_variables(variables), instead=given, near=database, **place
            )
            return command(*arguments, project=project, **options)

        decorated: Callable[..., Any] = with_options(*PROJECT, *(_WAREHOUSE if warehouse else ()), *own)(called)
        return decorated

    return decorate


def setting_option(flag: str, name: str) -> Callable[[Command], Command]:
    """The option `flag` in place of a setting, with what the setting may be."""
    rule = rules()[name]
    told = f"Instead of {PREFIX}{name}: {described(name).split('. ')[0].rstrip('.')}."
    if rule["type"] == "boolean":
        return click.option(flag, _parameter(name), is_flag=True, default=None, help=told)
    return click.option(flag, _parameter(name), type=option_type(rule, place_of(name)), help=told)


def _parameter(name: str) -> str:
    return f"setting_{name}"


def option_type(rule: Mapping[str, Any], place: str) -> Any:
    """What click makes of the option's text, by the setting's rule."""
    if rule["type"] == "choice":
        return click.Choice(rule["values"])
    if rule["type"] == "integer":
        return click.IntRange(rule["from"], rule.get("to"))
    if rule["type"] == "number":
        between = bool(rule.get("between"))
        return click.FloatRange(rule["from"], rule.get("to"), min_open=between, max_open=between and "to" in rule)
    return click.Path(path_type=Path) if place == "path" else str
