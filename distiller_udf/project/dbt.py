"""What dbt knows of a project: the database of its profile, where its models are, and the SQL that it makes of them.

Beside the plug-in the only module that imports dbt, and only when it is asked. What dbt parses for us it keeps in a
folder of its own, so that `dbt build` and a command do not spoil each other's.
"""

from __future__ import annotations

import json
import logging
import os
import re
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from distiller_udf.errors import DistillerError, RecordError, SettingsError
from distiller_udf.project import Project
from distiller_udf.project.files import PACKAGE, ProjectFiles, installed_package
from distiller_udf.project.warehouse import Relation, Warehouse
from distiller_udf.settings import PREFIX, Settings
from distiller_udf.sql import literal, quoted

TARGET = Path("target") / "distiller"
QUIETLY = ("--quiet", "--no-print", "--log-level", "none", "--no-write-json", "--no-send-anonymous-usage-stats")
T = TypeVar("T")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
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


@dataclass(frozen=True)
class Profile:
    """A project's profile as dbt renders it: its name, and the type of each of its outputs."""

    name: str
    types: Mapping[str, str]


def profile_of(files: ProjectFiles, variables: Mapping[str, Any]) -> Profile:
    """The profile that a project names. Raises SettingsError with dbt's own words, as where a variable is not set."""
    from dbt.config.profile import read_profile
    from dbt.config.renderer import ProfileRenderer

    def read() -> Profile:
        renderer = ProfileRenderer(dict(variables))
        name = str(renderer.render_value(files.profile))
        listed = (read_profile(str(files.profiles_file.parent)) if files.profiles_file else {}).get(name) or {}
        outputs = listed.get("outputs") or {}
        return Profile(name, {out: str(renderer.render_value((outputs[out] or {}).get("type"))) for out in outputs})

    return _begun(read)


def rendered(
    given: Mapping[str, Any], files: ProjectFiles, variables: Mapping[str, Any], target: str | None
) -> dict[str, Any]:
    """Variables as var() gives them: dbt renders a text, and nothing within a list or mapping.

    Raises SettingsError with dbt's own words.
    """
    from dbt.clients.jinja import get_rendered
    from dbt.context.base import BaseContext
    from dbt.context.target import TargetContext

    texts = {name: value for name, value in given.items() if isinstance(value, str)}
    known = {**files.all_variables(), **variables}

    def render() -> dict[str, Any]:
        if any("target" in text for text in texts.values()):
            context = TargetContext(_profile(files, variables, target).to_target_dict(), known)
        else:
            context = BaseContext(known)
        values = context.to_dict()
        return {**given, **{name: get_rendered(text, values) for name, text in texts.items()}}

    return _begun(render)


def warehouse_of(project: Project, graph: Graph | None = None) -> Warehouse:
    """The warehouse that the project's profile and target name, with all models where dbt puts them.

    `graph` are the project's nodes, where they are known. With `project.database` it is that file, its tables where the
    project has them; without a project, or where they are elsewhere, in the schema that holds them. `project.schema` is
    where all tables are instead. Raises SettingsError when there is neither, where several schemas hold some, or dbt
    cannot read the project.
    """
    if project.database is None and not project.exists:
        raise SettingsError("there is no dbt project here; give --project-dir, or --database with the warehouse")
    found = _of_file(project, graph) if project.database else _warehouse(project, (graph or parsed(project)).relations)
    if project.schema is not None:
        return replace(found, relations=None, schema=project.schema)
    return found.located() if project.database else found


def _of_file(project: Project, graph: Graph | None) -> Warehouse:
    """The warehouse in a file: that of the project, wherever it lies; of the file alone where dbt cannot read one."""
    path = str(project.database)
    if not project.exists:
        return Warehouse(path)
    try:
        of_project = _warehouse(project, (graph or parsed(project)).relations)
    except DistillerError:
        return Warehouse(path)
    return replace(of_project, path=path)


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
    sources = [{"name": name, "relation": [name], "id": "id"} for name in settings.source_names]
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
    why = _sentence("\n".join(said) or str(outcome.exception))
    if "Could not set lock" in why:
        raise RecordError(f"the warehouse cannot be opened: {why}; try again when dbt has ended")
    raise SettingsError(why)


def _sentence(text: str) -> str:
    """What dbt says, in one line, as it would stand in a log without colours and without where it stands in one."""
    lines = [line.strip() for line in COLOUR.sub("", text).splitlines()]
    return " ".join(line for line in lines if line and line != "Encountered an error:")


def _options(project: Project) -> list[str]:
    place = str(project.folder / TARGET)
    options = ["--project-dir", str(project.folder), "--target-path", place, "--log-path", place]
    profiles = _files(project).profiles_file
    if profiles:
        options += ["--profiles-dir", str(profiles.parent)]
    if project.target:
        options += ["--target", project.target]
    return [*options, "--vars", json.dumps({**project.variables, PARSED_BY_US: True})]


def _warehouse(project: Project, relations: Mapping[str, Relation]) -> Warehouse:
    """The database of the profile and target."""
    with _at_home(project):  # which closes what dbt has opened
        profile = _begun(lambda: _profile(_files(project), project.variables, project.target))
    credentials = profile.credentials
    if credentials.type != "duckdb":
        raise SettingsError(f"the target {profile.target_name} is of type {credentials.type}; duckdb is needed")
    path = str(credentials.path)
    if path == ":memory:":
        raise RecordError("the profile keeps its database in memory, so nothing of it is left; give it a path")
    return Warehouse(
        _placed(path, project.folder),
        relations,
        credentials.schema,
        catalog=credentials.path_derived_database_name(path),
        setup=lambda read_only: _setup(credentials, project.folder, read_only),
    )


def _setup(credentials: Any, folder: Path, read_only: bool) -> Iterator[tuple[str, str]]:
    """What dbt does with a connection before it uses one, but for its plug-ins: what for, and the statement.

    Relative paths start from the project, those that a view has in it, too.
    """
    for extension in credentials.extensions or []:
        name = extension if isinstance(extension, str) else extension["name"]
        yield f"the extension {name}", f"load {quoted(name)}"
    for statement in credentials.secrets_sql():
        yield "a secret", statement
    if "file_search_path" not in credentials.settings:
        yield "the project's folder", f"set file_search_path = {literal(str(folder))}"
    for name, value in credentials.settings.items():
        yield f"the setting {name}", f"set {name} = {literal(str(value))}"
    for attachment in credentials.attach or []:
        options = {key: value for key, value in (attachment.options or {}).items() if key != "read_only"}
        path = _placed(attachment.path, folder) if attachment.type in (None, "duckdb", "sqlite") else attachment.path
        whole = read_only or attachment.read_only or bool((attachment.options or {}).get("read_only"))
        placed = replace(attachment, path=path, read_only=whole, options=options)
        yield f"the database {attachment.alias or attachment.path}", placed.to_sql()


def _placed(path: str, folder: Path) -> str:
    """Where a path of the profile leads, for who runs dbt in the project's folder."""
    if ":" in path.split("/", 1)[0]:  # md:, ducklake:, https:
        return path
    return str((folder / Path(path).expanduser()).absolute())


def _profile(files: ProjectFiles, variables: Mapping[str, Any], target: str | None) -> Any:
    """dbt's own profile of a project, as dbt loads it at the start of a command."""
    from dbt.config.profile import Profile as DbtProfile
    from dbt.config.profile import read_profile
    from dbt.config.renderer import ProfileRenderer

    renderer = ProfileRenderer(dict(variables))
    name = DbtProfile.pick_profile_name(None, renderer.render_value(files.profile))
    profiles = read_profile(str(files.profiles_file.parent)) if files.profiles_file else {}
    return DbtProfile.from_raw_profiles(profiles, name, renderer, target_override=target)


def _files(project: Project) -> ProjectFiles:
    return ProjectFiles(project.folder, project.profiles_dir)


def _begun(work: Callable[[], T]) -> T:
    """Do something of dbt's as at the start of a command: with the environment as it is now.

    Raises SettingsError with dbt's own words.
    """
    from dbt.flags import get_flags, set_flags, set_from_args
    from dbt_common.context import set_invocation_context
    from dbt_common.exceptions import DbtBaseException

    def begin() -> T:
        set_invocation_context(dict(os.environ))
        flags = get_flags()
        if hasattr(flags, "PROFILES_DIR"):  # of a command that is running, or has run
            return work()
        try:
            set_from_args(Namespace(), None)
            return work()
        finally:
            set_flags(flags)

    try:
        return copy_context().run(begin)
    except DbtBaseException as error:
        raise SettingsError(_sentence(str(error))) from error


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
