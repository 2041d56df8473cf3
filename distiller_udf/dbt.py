"""dbt in this process: a project's models, and the SQL that they stand for."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distiller_udf.errors import RecordError, SettingsError
from distiller_udf.project import PACKAGE, installed_package

QUIETLY = ("--quiet", "--log-level", "none", "--no-write-json", "--no-send-anonymous-usage-stats")

Relation = tuple[str, str, str]
"""Database, schema and identifier."""


@dataclass(frozen=True)
class Node:
    """A model, seed, snapshot or source of a project.

    `relation` is None for an ephemeral model, `sql` for whatever was not compiled. `parents` are what it refers to, by
    their keys in the `Graph`; `meta` is what its configuration hands to a Python model.
    """

    name: str
    package: str
    language: str
    materialized: str
    relation: Relation | None
    parents: tuple[str, ...]
    sql: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """All nodes of a project by dbt's own keys, and the keys of those that were compiled, in the order of a build."""

    nodes: Mapping[str, Node]
    compiled: tuple[str, ...]

    def __contains__(self, name: str) -> bool:
        return bool(self._named(name))

    def node(self, name: str) -> Node:
        """A model, seed or snapshot; of the project itself, where packages have one of that name too.

        Raises SettingsError where there is none.
        """
        found = self._named(name)
        if not found:
            raise SettingsError(f"the project has no model {name}")
        return min(found, key=lambda node: node.package == PACKAGE)

    def parents(self, node: Node) -> list[Node]:
        """What a node refers to."""
        return [self.nodes[key] for key in node.parents if key in self.nodes]

    @property
    def database(self) -> str:
        """The catalog of the project's warehouse."""
        return next(node.relation[0] for node in self.nodes.values() if node.relation and node.materialized != "source")

    def _named(self, name: str) -> list[Node]:
        return [node for node in self.nodes.values() if node.name == name and node.materialized != "source"]


def compiled(
    folder: Path,
    select: Sequence[str],
    profiles_dir: Path | None = None,
    target: str | None = None,
    variables: str = "",
) -> Graph:
    """Compile the selected models of a dbt project as `dbt build` would: with its variables, target and own models.

    `variables` are more of them, as `--vars` takes them. Models that look at the warehouse find it as it is, so it is
    opened; it is closed again. A former table of a model counts as `--full-refresh` lets it. Raises RecordError where
    another process holds the warehouse, SettingsError where the project does not compile.
    """
    options = ["--project-dir", str(folder.resolve())]
    options += ["--profiles-dir", str(profiles_dir.resolve())] if profiles_dir else []
    options += ["--target", target] if target else []
    options += ["--vars", variables] if variables else []
    with _at_home(folder):
        manifest = _invoke(["parse", *options])
        results = _invoke(["compile", "--full-refresh", "--select", *select, *options], manifest)
    made = {result.node.unique_id: result.node for result in results if result.node.resource_type == "model"}
    nodes = {**manifest.nodes, **manifest.sources, **made}
    wanted = ("model", "seed", "snapshot", "source")
    return Graph({key: _node(node) for key, node in nodes.items() if node.resource_type in wanted}, tuple(made))


def temporary_project(folder: Path, database: str, schema: str, variables: Mapping[str, Any]) -> Path:
    """Write a dbt project into `folder` that has this package and nothing else, over an empty warehouse; returns it.

    `database` and `schema` are those that its relations are to have.
    """
    output = {"type": "duckdb", "path": str(folder / f"{database}.duckdb"), "schema": schema, "threads": 1}
    files = {
        "dbt_project.yml": {"name": "files", "version": "1.0.0", "profile": "files", "vars": dict(variables)},
        "profiles.yml": {"files": {"target": "files", "outputs": {"files": output}}},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    packages = folder / "dbt_packages"
    packages.mkdir()
    (packages / PACKAGE).symlink_to(installed_package(), target_is_directory=True)
    return folder


def _node(node: Any) -> Node:
    is_source = node.resource_type == "source"
    relation = (node.database, node.schema, node.identifier if is_source else node.alias)
    return Node(
        name=node.name,
        package=node.package_name,
        language=getattr(node, "language", "sql"),
        materialized="source" if is_source else node.config.materialized,
        relation=relation if node.relation_name else None,
        parents=tuple(getattr(getattr(node, "depends_on", None), "nodes", ())),
        sql=getattr(node, "compiled_code", None),
        meta={} if is_source else node.config.meta,
    )


def _invoke(command: list[str], manifest: Any = None) -> Any:
    """Run dbt without a word; its result. Raises RecordError, SettingsError."""
    from dbt.cli.main import dbtRunner

    said: list[str] = []

    def listen(event: Any) -> None:
        if event.info.level == "error":
            said.append(event.info.msg)

    outcome = dbtRunner(manifest=manifest, callbacks=[listen]).invoke([*QUIETLY, *command])
    if outcome.success:
        return outcome.result
    why = str(outcome.exception or "\n".join(said)).strip()
    if "Could not set lock" in why or "already open" in why:
        raise RecordError(f"the warehouse cannot be opened: {why.splitlines()[0]}; try again when dbt has ended")
    raise SettingsError(f"dbt {command[0]} failed: {why}")


@contextmanager
def _at_home(folder: Path) -> Iterator[None]:
    """In the project's folder, which relative paths of a profile start from; what dbt leaves behind is put back."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    logger, before = logging.getLogger("distiller_udf"), Path.cwd()
    state = logger.handlers[:], logger.level, logger.propagate
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        DuckDBConnectionManager.close_all_connections()
        logger.handlers[:], logger.level, logger.propagate = state
