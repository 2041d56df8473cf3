"""What dbt knows of a project: the database of its profile, where its models are, and the SQL that it makes of them.

Beside the plug-in the only module that imports dbt, and only when it is asked. What dbt parses for us it keeps in a
folder of its own, so that `dbt build` and a command do not spoil each other's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distiller_udf.errors import RecordError, SettingsError
from distiller_udf.project import Project
from distiller_udf.warehouse import Relation, Warehouse

TARGET = Path("target") / "distiller"


@dataclass(frozen=True)
class Node:
    """A model, seed or snapshot of the project: where it is, what it reads, and its SQL once it is compiled."""

    name: str
    relation: Relation
    reads: tuple[str, ...]
    sql: str | None = None


def warehouse_of(project: Project) -> Warehouse:
    """The warehouse that the project's profile and target name, with all models where dbt puts them.

    With `project.database` it is that file, with its tables in `project.schema` (main by default). Raises SettingsError
    when there is neither, or dbt cannot read the project.
    """
    if project.database is not None:
        return Warehouse(str(project.database), {}, project.schema or "main")
    if not project.exists:
        raise SettingsError("there is no dbt project here; give --project-dir, or --database with the warehouse")
    nodes = parsed(project)
    credentials = _credentials(project)
    path = str(credentials.path)
    if path == ":memory:":
        raise RecordError("the profile keeps its database in memory, so nothing of it is left; give it a path")
    if "://" not in path and not path.startswith("md:"):
        path = str((project.folder / path).absolute())
    return Warehouse(path, {name: node.relation for name, node in nodes.items()}, credentials.schema)


def parsed(project: Project) -> dict[str, Node]:
    """Every model, seed and snapshot by its name, those of other packages than the project as package.name too.

    Raises SettingsError with dbt's own words when it cannot read the project.
    """
    manifest = _invoke(project, "parse")
    return _named(manifest.nodes.values(), project)


def compiled(project: Project, models: Sequence[str]) -> dict[str, Node]:
    """These models with the SQL that dbt makes of them. Raises SettingsError as `parsed` does."""
    results = _invoke(project, "compile", "--select", *models)
    return _named([result.node for result in results], project)


def _named(nodes: Any, project: Project) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for node in nodes:
        if node.resource_type in ("model", "seed", "snapshot"):
            reads = tuple(name.rpartition(".")[2] for name in node.depends_on_nodes)
            relation = Relation(node.database, node.schema, node.alias)
            known = Node(node.name, relation, reads, getattr(node, "compiled_code", None))
            found.setdefault(node.name, known)
            found[f"{node.package_name}.{node.name}"] = known
    return found


def _invoke(project: Project, *command: str) -> Any:
    """Run dbt in this process and return its result; this process's folder stays what it is."""
    from dbt.cli.main import dbtRunner

    said: list[str] = []

    def listen(event: Any) -> None:
        if event.info.level == "error":
            said.append(event.info.msg)

    with _folder_kept():
        outcome = dbtRunner(callbacks=[listen]).invoke(["--quiet", *command, *_options(project)])
    if not outcome.success:
        raise SettingsError("\n".join(said) or str(outcome.exception))
    return outcome.result


def _options(project: Project) -> list[str]:
    place = str(project.folder / TARGET)
    options = ["--project-dir", str(project.folder), "--target-path", place, "--log-path", place, "--no-write-json"]
    if project.profiles_dir:
        options += ["--profiles-dir", str(project.profiles_dir)]
    if project.target:
        options += ["--target", project.target]
    if project.variables:
        options += ["--vars", json.dumps(dict(project.variables))]
    return options


def _credentials(project: Project) -> Any:
    """The credentials of the profile and target, as dbt has just read them."""
    from dbt.config.runtime import load_profile

    with _folder_kept():
        profile = load_profile(str(project.folder), dict(project.variables), None, project.target)
    if profile.credentials.type != "duckdb":
        raise SettingsError(f"the target {profile.target_name} is of type {profile.credentials.type}; duckdb is needed")
    return profile.credentials


@contextmanager
def _folder_kept() -> Iterator[None]:
    """dbt goes to the project's folder and stays there."""
    before = Path.cwd()
    try:
        yield
    finally:
        os.chdir(before)
