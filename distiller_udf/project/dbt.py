"""What dbt knows of a project: the database of its profile, where its models are, and the SQL that it makes of them.

Beside the plug-in the only module that imports dbt, and only when it is asked. What dbt parses for us it keeps in a
folder of its own, so that `dbt build` and a command do not spoil each other's.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distiller_udf.errors import RecordError, SettingsError
from distiller_udf.project import Project
from distiller_udf.project.files import PACKAGE, installed_package
from distiller_udf.project.warehouse import Relation, Warehouse
from distiller_udf.settings import PREFIX, Settings

TARGET = Path("target") / "distiller"
QUIETLY = ("--quiet", "--log-level", "none", "--no-write-json", "--no-send-anonymous-usage-stats")
PARSED_BY_US = "parsed_by_distiller"
"""A variable by which the macros know that a command asks, and not dbt."""

KINDS = ("model", "seed", "snapshot", "source")


@dataclass(frozen=True)
class Node:
    """A model, seed, snapshot or source of a project: where it is, what it reads, and its SQL once it is compiled.

    `relation` is None of an ephemeral model; `reads` are keys of the `Graph`; `kind` is how it is materialized.
    """

    name: str
    package: str
    relation: Relation | None
    reads: tuple[str, ...]
    kind: str
    language: str = "sql"
    sql: str | None = None


@dataclass(frozen=True)
class Graph:
    """The nodes of a project by dbt's own keys, and the keys of those that were compiled, in the order of a build."""

    nodes: Mapping[str, Node]
    compiled: tuple[str, ...] = ()

    def find(self, name: str) -> Node | None:
        """The model, seed or snapshot `name` (or package.name): the project's own before those of packages."""
        package, _, own = name.rpartition(".")
        found = [node for node in self.nodes.values() if node.name == own and node.kind != "source"]
        return min(
            (node for node in found if package in ("", node.package)),
            key=lambda node: node.package == PACKAGE,
            default=None,
        )

    def node(self, name: str) -> Node:
        """The same. Raises SettingsError where there is none."""
        found = self.find(name)
        if found is None:
            raise SettingsError(f"the project has no model {name}")
        return found

    def parents(self, node: Node) -> list[Node]:
        """What a node reads."""
        return [self.nodes[key] for key in node.reads if key in self.nodes]

    @property
    def relations(self) -> dict[str, Relation]:
        """Where each model, seed and snapshot is, by its name and by package.name."""
        there = [node for node in self.nodes.values() if node.relation and node.kind != "source"]
        names = {name for node in there for name in (node.name, f"{node.package}.{node.name}")}
        return {name: node.relation for name in names if (node := self.find(name)) and node.relation}


def warehouse_of(project: Project, graph: Graph | None = None) -> Warehouse:
    """The warehouse that the project's profile and target name, with all models where dbt puts them.

    `graph` are the project's nodes, where they are known. With `project.database` it is that file, with its tables in
    main; `project.schema` is where all tables are instead. Raises SettingsError when there is neither, or dbt cannot
    read the project.
    """
    if project.database is not None:
        return Warehouse(str(project.database), {}, project.schema or "main")
    if not project.exists:
        raise SettingsError("there is no dbt project here; give --project-dir, or --database with the warehouse")
    found = _warehouse(project, (graph or parsed(project)).relations)
    return found if project.schema is None else Warehouse(found.path, {}, project.schema)


def parsed(project: Project) -> Graph:
    """The nodes of a project. Raises SettingsError with dbt's own words when it cannot read the project."""
    with _at_home(project):
        return _graph(_invoke(project, None, "parse"), {})


def compiled(project: Project, models: Sequence[str]) -> Graph:
    """The nodes of a project, the selected models with the SQL that `dbt build` makes of them.

    Models that look at the warehouse find it as it is; it is open meanwhile, and closed again. Former rows of a model
    count as `--full-refresh` lets them. Raises SettingsError as `parsed` does, RecordError where the warehouse is not
    there or another process holds it.
    """
    with _at_home(project):
        manifest = _invoke(project, None, "parse")
        _warehouse(project, {}).connect().close()  # dbt would make an empty one where there is none
        results = _invoke(project, manifest, "compile", "--full-refresh", "--select", *models)
    return _graph(manifest, {result.node.unique_id: result.node for result in results})


def project_of_files(folder: Path, settings: Settings, catalog: str, schema: str) -> Project:
    """A dbt project, written into `folder`, that has this package alone and an empty warehouse.

    `catalog` and `schema` are those of its relations; `settings` say how it decides.
    """
    import duckdb

    own = settings.model_dump(mode="json", include=set(DECIDING))
    sources = [{"name": name, "relation": name, "id": "id"} for name in settings.source_names]
    variables = {f"{PREFIX}{name}": value for name, value in {**own, "sources": sources}.items() if value is not None}
    path = str(folder / f"{catalog}.duckdb")
    duckdb.connect(path).close()
    output = {"type": "duckdb", "path": path, "schema": schema, "threads": 1}
    files = {
        "dbt_project.yml": {"name": "files", "version": "1.0.0", "profile": "files", "vars": variables},
        "profiles.yml": {"files": {"target": "files", "outputs": {"files": output}}},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    (folder / "dbt_packages").mkdir()
    (folder / "dbt_packages" / PACKAGE).symlink_to(installed_package(), target_is_directory=True)
    return Project(folder, settings, exists=True, profiles_dir=folder)


DECIDING = ("task", "constraint", "threshold", "strict", "entity_max_size", "seed")
"""The settings that say how pairs are decided, where a project has no models of its own."""


def _graph(manifest: Any, compiled: Mapping[str, Any]) -> Graph:
    nodes = {**manifest.nodes, **manifest.sources, **compiled}
    known = {key: _node(node) for key, node in nodes.items() if node.resource_type in KINDS}
    return Graph(known, tuple(key for key in compiled if key in known))


def _node(node: Any) -> Node:
    is_source = node.resource_type == "source"
    relation = Relation(node.database, node.schema, node.identifier if is_source else node.alias)
    return Node(
        name=node.name,
        package=node.package_name,
        relation=relation if node.relation_name else None,
        reads=tuple(getattr(getattr(node, "depends_on", None), "nodes", ())),
        kind="source" if is_source else node.config.materialized,
        language=str(getattr(node, "language", "sql")),
        sql=getattr(node, "compiled_code", None),
    )


def _invoke(project: Project, manifest: Any, *command: str) -> Any:
    """Run dbt in this process, without a word, and return its result."""
    from dbt.cli.main import dbtRunner

    said: list[str] = []

    def listen(event: Any) -> None:
        if event.info.level == "error":
            said.append(event.info.msg)

    outcome = dbtRunner(manifest=manifest, callbacks=[listen]).invoke([*QUIETLY, *command, *_options(project)])
    if outcome.success:
        return outcome.result
    why = ("\n".join(said) or str(outcome.exception)).strip()
    if "Could not set lock" in why:
        raise RecordError(f"the warehouse cannot be opened: {why.splitlines()[0]}; try again when dbt has ended")
    raise SettingsError(why)


def _options(project: Project) -> list[str]:
    place = str(project.folder / TARGET)
    options = ["--project-dir", str(project.folder), "--target-path", place, "--log-path", place]
    if project.profiles_dir:
        options += ["--profiles-dir", str(project.profiles_dir)]
    if project.target:
        options += ["--target", project.target]
    return [*options, "--vars", json.dumps({**project.variables, PARSED_BY_US: True})]


def _warehouse(project: Project, relations: Mapping[str, Relation]) -> Warehouse:
    """The database of the profile and target, as dbt has just read them."""
    from dbt.config.runtime import load_profile

    with _at_home(project):
        profile = load_profile(str(project.folder), dict(project.variables), None, project.target)
    credentials = profile.credentials
    if credentials.type != "duckdb":
        raise SettingsError(f"the target {profile.target_name} is of type {credentials.type}; duckdb is needed")
    path = str(credentials.path)
    if path == ":memory:":
        raise RecordError("the profile keeps its database in memory, so nothing of it is left; give it a path")
    if "://" not in path and not path.startswith("md:"):
        path = str((project.folder / path).absolute())
    return Warehouse(path, relations, credentials.schema)


@contextmanager
def _at_home(project: Project) -> Iterator[None]:
    """In the project's folder, which relative paths of a profile start from; afterwards all is as it was.

    dbt goes to that folder by itself, and stays there; the plug-in turns our log lines into dbt's.
    """
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    logger, before = logging.getLogger("distiller_udf"), Path.cwd()
    state = logger.handlers[:], logger.level, logger.propagate
    os.chdir(project.folder)
    try:
        yield
    finally:
        os.chdir(before)
        DuckDBConnectionManager.close_all_connections()
        logger.handlers[:], logger.level, logger.propagate = state
