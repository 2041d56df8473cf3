"""`distiller init`: add what is missing to an existing dbt project, and overwrite nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from distiller_udf.cli.console import json_option, out, print_json, tell
from distiller_udf.cli.options import FOLDER
from distiller_udf.errors import SettingsError
from distiller_udf.files import write_text
from distiller_udf.project.dbt import profile_of
from distiller_udf.project.files import ProjectFiles, installed_package, read_variables
from distiller_udf.sql import quoted

IGNORED = ("target/", "dbt_packages/", "logs/", "*.duckdb", "*.duckdb.wal", "distiller/")
"""What dbt and this package write: the database, and in distiller/ the label store and the students."""

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

    Adds the package entry, the plug-in in the profile, the variable er_sources and a .gitignore where they are missing.
    Where er_sources is set otherwise than --source says, it says what differs. Without ID, the id is the column
    that tells the table's rows apart, where the table has been built; otherwise `id` is assumed, and that is said.
    """
    project, report = ProjectFiles(project_dir, profiles_dir), Report()
    entries = [parse_source(text) for text in sources]
    if not project.sources():
        # Before the package is listed: until `dbt deps`, dbt reads no project that lists one.
        entries = [with_id(entry, project, report) for entry in entries]
    init_package(project, package, report)
    init_sources(project, entries, report)
    init_plugin(project, read_variables(variables), report)
    init_ignored(project, report)
    report.next.append("dbt deps && dbt build")
    if as_json:
        print_json(asdict(report))
        return
    for title, lines in (("added", report.added), ("already there", report.kept), ("next", report.next)):
        for line in lines:
            out.print(f"[bold]{title:>13}[/]  ", end="")
            tell(line)


def parse_source(text: str) -> dict[str, str]:
    """One --source as an entry of er_sources; without an id it has none. Raises SettingsError for other texts."""
    name, _, rest = text.partition("=")
    model, _, id_column = rest.partition(":")
    if not (name and model):
        raise SettingsError(f"--source {text!r} is not NAME=MODEL or NAME=MODEL:ID, as in customers=stg_customers:id")
    return {"name": name, "model": model, **({"id": id_column} if id_column else {})}


def with_id(entry: dict[str, str], project: ProjectFiles, report: Report) -> dict[str, str]:
    """The entry with its id: the one that was given, else the column of its table that tells all rows apart."""
    if "id" in entry:
        return entry
    columns = unique_columns(project, entry["model"])
    named = [name for name in columns if name.lower().endswith(("id", "key"))]
    found = next((name for name in columns if name.lower() == "id"), None)
    found = found or next((some[0] for some in (columns, named) if len(some) == 1), None)
    if found is None:
        which = f"one of {', '.join(columns)}, which tell all rows apart today" if columns else "the column that does"
        report.next.append(
            f"check the id of {entry['name']} in dbt_project.yml: `id` was assumed. It must tell the rows of "
            f"{entry['model']} apart; if it is another column, write {which}, as in --source "
            f"{entry['name']}={entry['model']}:{columns[0] if columns else 'customer_id'}"
        )
    elif found.lower() != "id":
        report.added.append(f"the id of {entry['name']}: {found}, which tells all rows of {entry['model']} apart")
    return {**entry, "id": found or "id"}


def unique_columns(project: ProjectFiles, model: str) -> list[str]:
    """The columns of a model's table whose values are all there and all different; none where it cannot be read."""
    import duckdb

    from distiller_udf.errors import DistillerError
    from distiller_udf.project import Project
    from distiller_udf.project.dbt import warehouse_of

    try:
        table = warehouse_of(Project.of(project.folder, profiles_dir=project.profiles_dir)).table(model)
        names = table.columns
        rows, *distinct = table.aggregate(
            ", ".join(["count(*)", *(f"count(distinct {quoted(name)})" for name in names)])
        ).fetchall()[0]
    except (DistillerError, duckdb.Error):
        return []
    return [name for name, values in zip(names, distinct, strict=True) if values == rows > 1]


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
        known = {str(source.get("name")): source for source in found if isinstance(source, dict)}
        for entry in entries:
            is_there = all(known.get(entry["name"], {}).get(key) == value for key, value in entry.items())
            if not is_there:
                report.next.append(f"er_sources is set, and nothing of it was changed; {difference(entry, known)}")
    elif entries:
        project.add_sources(entries)
        report.added.append(f"er_sources in dbt_project.yml: {', '.join(entry['name'] for entry in entries)}")
    else:
        report.next.append(
            "name your tables: `distiller init --source NAME=MODEL:ID`, or under vars: er_sources in dbt_project.yml, "
            f"as in - {EXAMPLE}"
        )


def difference(entry: dict[str, str], known: Mapping[str, Mapping[str, object]]) -> str:
    """What an entry of er_sources says otherwise than dbt_project.yml, and what to write there."""
    there = known.get(entry["name"])
    full = {**entry, "id": str(entry.get("id") or (there or {}).get("id") or "id")}
    wanted = "{" + ", ".join(f"{key}: {value}" for key, value in full.items()) + "}"
    if there is None:
        return f"it has no {entry['name']}: add - {wanted} to it in dbt_project.yml"
    others = [f"{key} is {there.get(key)}, not {value}" for key, value in entry.items() if there.get(key) != value]
    return f"of {entry['name']}, {' and '.join(others)}: if that is meant, write {wanted} in dbt_project.yml"


def init_ignored(project: ProjectFiles, report: Report) -> None:
    """Write a .gitignore of what runs leave behind, or say which lines one that is there lacks."""
    file = project.folder / ".gitignore"
    if not file.exists():
        write_text(file, "".join(f"{line}\n" for line in IGNORED))
        report.added.append(f".gitignore: {', '.join(IGNORED)}")
        return
    lines = {line.strip().strip("/") for line in file.read_text(encoding="utf-8").splitlines()}
    missing = [line for line in IGNORED if line.strip("/") not in lines]
    if missing:
        report.next.append(f"add to .gitignore: {', '.join(missing)} (what dbt and distiller-udf write)")


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
