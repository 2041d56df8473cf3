"""`distiller init`: add what is missing to an existing dbt project, and overwrite nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from distiller_udf.cli.console import json_option, out, print_json, tell
from distiller_udf.cli.options import FOLDER
from distiller_udf.errors import SettingsError
from distiller_udf.project.dbt import profile_of
from distiller_udf.project.files import ProjectFiles, installed_package, read_variables

EXAMPLE = "{name: customers, model: stg_customers, id: customer_id}"


@dataclass
class Report:
    """What was added, what was in place already, and what is left to the user, as sentences."""

    added: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    next: list[str] = field(default_factory=list)


@click.command()
@click.option(
    "--project-dir",
    type=FOLDER,
    envvar="DBT_PROJECT_DIR",
    default=Path(),
    help="The dbt project.  [default: this folder]",
)
@click.option("--profiles-dir", type=FOLDER, help="Where profiles.yml is.  [default: where dbt looks]")
@click.option("--vars", "variables", metavar="YAML", default="", help="Variables that the profile needs.")
@click.option("--package", help="The dbt package: a folder or a git URL.  [default: the one of this installation]")
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="NAME=MODEL[:ID]",
    help="A table to resolve, as in customers=stg_customers:customer_id; repeat it to link several.",
)
@json_option
def init(
    project_dir: Path,
    profiles_dir: Path | None,
    variables: str,
    package: str | None,
    sources: Sequence[str],
    as_json: bool,
) -> None:
    """Add distiller-udf to an existing dbt project; nothing is overwritten.

    Adds the package entry, the plug-in in the profile and the variable er_sources where they are missing.
    """
    project, report = ProjectFiles(project_dir, profiles_dir), Report()
    entries = [parse_source(text) for text in sources]
    init_package(project, package, report)
    init_sources(project, entries, report)
    init_plugin(project, read_variables(variables), report)
    report.next.append("dbt deps && dbt build")
    if as_json:
        print_json(asdict(report))
        return
    for title, lines in (("added", report.added), ("already there", report.kept), ("next", report.next)):
        for line in lines:
            out.print(f"[bold]{title:>13}[/]  ", end="")
            tell(line)


def parse_source(text: str) -> dict[str, str]:
    """One --source as an entry of er_sources. Raises SettingsError when it is not NAME=MODEL[:ID]."""
    name, _, rest = text.partition("=")
    model, _, id_column = rest.partition(":")
    if not (name and model):
        raise SettingsError(f"--source {text!r} is not NAME=MODEL or NAME=MODEL:ID, as in customers=stg_customers:id")
    return {"name": name, "model": model, "id": id_column or "id"}


def init_package(project: ProjectFiles, package: str | None, report: Report) -> None:
    """List the dbt package unless it is listed."""
    found = project.package()
    if found:
        report.kept.append(f"the package in {project.packages_file.name}: {found}")
        return
    project.add_package(package or str(installed_package()))
    report.added.append(f"the package in {project.packages_file.name}: {project.package()}")


def init_sources(project: ProjectFiles, entries: list[dict[str, str]], report: Report) -> None:
    """Set er_sources unless tables are listed there; without entries nothing is written."""
    found = project.sources()
    if found:
        names = [str(source.get("name")) for source in found if isinstance(source, dict)]
        report.kept.append(f"er_sources in dbt_project.yml: {', '.join(names)}")
        new = [entry["name"] for entry in entries if entry["name"] not in names]
        if new:
            report.next.append(f"add {', '.join(new)} to er_sources in dbt_project.yml yourself: it is set already")
    elif entries:
        project.add_sources(entries)
        report.added.append(f"er_sources in dbt_project.yml: {', '.join(entry['name'] for entry in entries)}")
    else:
        report.next.append(
            "name your tables: `distiller init --source NAME=MODEL:ID`, or under vars: er_sources in dbt_project.yml, "
            f"as in - {EXAMPLE}"
        )


def init_plugin(project: ProjectFiles, variables: dict[str, Any], report: Report) -> None:
    """Add the plug-in to the profile's DuckDB outputs unless it is there."""
    try:
        profile = profile_of(project, variables)
    except SettingsError as error:
        report.next.append(f"dbt cannot read the profile: {error}; then run this again")
        return
    if not project.outputs(profile.name, profile.types):
        where = project.profiles_file or "profiles.yml, which was not found (--profiles-dir says where it is)"
        report.next.append(
            f"add a profile {profile.name} with an output of type duckdb to {where}, then run this again"
        )
        return
    added = project.add_plugin(profile.name, profile.types)
    if added:
        report.added.append(f"the plug-in in {project.profiles_file}: {', '.join(added)}")
    else:
        report.kept.append(f"the plug-in in {project.profiles_file}")
