"""A dbt project's files, as far as distiller-udf has entries in them: found, and added where they are missing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from io import StringIO
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from distiller_udf.errors import SettingsError
from distiller_udf.files import write_text
from distiller_udf.settings import PREFIX
from distiller_udf.settings.written import suggestions

PACKAGE = "distiller_udf"
PLUGIN_MODULE = "distiller_udf.plugin"


@dataclass(frozen=True)
class ProjectFiles:
    """The files of the dbt project at `folder`; `profiles_dir` overrides where dbt looks for profiles.yml.

    What dbt renders stands in them as it was written: `dbt.profile_of` says which profile is meant.

    Raises SettingsError when there is no dbt_project.yml or a file cannot be read.
    """

    folder: Path
    profiles_dir: Path | None = None

    def __post_init__(self) -> None:
        if not self.settings_file.exists():
            raise SettingsError(
                f"{self.settings_file} does not exist; run this in a dbt project, or give --project-dir"
            )

    @property
    def settings_file(self) -> Path:
        return self.folder / "dbt_project.yml"

    @property
    def packages_file(self) -> Path:
        """packages.yml, or dependencies.yml where the project uses that one."""
        packages, dependencies = self.folder / "packages.yml", self.folder / "dependencies.yml"
        return dependencies if dependencies.exists() and not packages.exists() else packages

    @property
    def profiles_file(self) -> Path | None:
        """profiles.yml, where dbt finds it in the project's folder: as named, there, or in the home folder.

        After the option comes DBT_PROFILES_DIR; a command that runs elsewhere looks there, too, as dbt does.
        """
        named = self.profiles_dir or os.environ.get("DBT_PROFILES_DIR")
        folders = [Path(named)] if named else [self.folder, Path(), Path.home() / ".dbt"]
        files = (folder.absolute() / "profiles.yml" for folder in folders)
        return next((file for file in files if file.exists()), None)

    @property
    def profile(self) -> Any:
        """The name of the project's profile, as it was written; None where there is none."""
        return _read(self.settings_file).get("profile")

    def package(self) -> str | None:
        """Where the dbt package distiller_udf comes from, as the project says; None when it is not listed."""
        if not self.packages_file.exists():
            return None
        for entry in _read(self.packages_file).get("packages") or []:
            place = next((str(entry[key]) for key in ("local", "git", "package") if key in entry), "")
            if PACKAGE in place.replace("-", "_") or _is_package(self.folder / place):
                return place
        return None

    @property
    def is_installed(self) -> bool:
        """Whether `dbt deps` has brought the dbt package."""
        place = _read(self.settings_file).get("packages-install-path") or "dbt_packages"
        return any(_is_package(folder) for folder in (self.folder / str(place)).glob("*"))

    @property
    def target(self) -> Path:
        """The folder that dbt writes its results to."""
        named = os.environ.get("DBT_TARGET_PATH") or _read(self.settings_file).get("target-path") or "target"
        return self.folder / str(named)

    def sources(self) -> list[Any] | None:
        """The variable er_sources, from the package's own variables where it is there; None when it is not set."""
        variables = _read(self.settings_file).get("vars") or {}
        found: list[Any] | None = {**variables, **(variables.get(PACKAGE) or {})}.get("er_sources")
        return found

    def all_variables(self) -> dict[str, Any]:
        """The variables that this package sees, as they were written: those of all, and over them its own section."""
        variables = _read(self.settings_file, _as_dbt).get("vars") or {}
        return {**variables, **(variables.get(PACKAGE) or {})}

    def outputs(self, profile: str, types: Mapping[str, str]) -> dict[str, bool]:
        """The DuckDB outputs of a profile, by the types of its outputs, and whether each has the plug-in."""
        found = self._outputs(_read(self.profiles_file), profile, types) if self.profiles_file else {}
        return {name: _has_plugin(output) for name, output in found.items()}

    def add_package(self, place: str) -> None:
        """List the dbt package: a git URL, or a folder, which is written relative to the project where it lies near."""
        content = _read(self.packages_file) if self.packages_file.exists() else {}
        is_url = "://" in place or place.startswith("git@")
        entry = {"git": place} if is_url else {"local": self._relative(Path(place))}
        content["packages"] = [*(content.get("packages") or []), entry]
        _write(self.packages_file, content)

    def add_sources(self, sources: Sequence[dict[str, str]]) -> None:
        """Set er_sources, where the project has it already or among the variables of all packages.

        Above it, as comments, stands what else most people set.
        """
        content = _read(self.settings_file)
        variables: CommentedMap = content.get("vars") or CommentedMap()
        content["vars"] = variables
        own: CommentedMap = variables.get(PACKAGE) or CommentedMap()
        chosen = own if "er_sources" in own else variables
        is_new = "er_sources" not in chosen
        chosen["er_sources"] = list(sources)
        if is_new:
            chosen.yaml_set_comment_before_after_key("er_sources", before=suggestions(), indent=2)
        _write(self.settings_file, content)

    def add_plugin(self, profile: str, types: Mapping[str, str]) -> list[str]:
        """Add the plug-in to every DuckDB output of a profile that lacks it; their names."""
        if self.profiles_file is None:
            return []
        content = _read(self.profiles_file)
        outputs = self._outputs(content, profile, types)
        missing = [(name, output) for name, output in outputs.items() if not _has_plugin(output)]
        for _, output in missing:
            output["plugins"] = [*(output.get("plugins") or []), {"module": PLUGIN_MODULE}]
        if missing:
            _write(self.profiles_file, content)
        return [name for name, _ in missing]

    @staticmethod
    def _outputs(profiles: dict[str, Any], profile: str, types: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        outputs = (profiles.get(profile) or {}).get("outputs") or {}
        return {name: output for name, output in outputs.items() if types.get(name) == "duckdb"}

    def _relative(self, package: Path) -> str:
        """A path that still holds when package and project, lying together, are checked out elsewhere."""
        package, project = package.resolve(), self.folder.resolve()
        together = project.is_relative_to(package) or package.is_relative_to(project.parent)
        return Path(os.path.relpath(package, project)).as_posix() if together else package.as_posix()


def er_variables(given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of these variables that are settings of ours, by their names; other packages have others."""
    return {str(name): value for name, value in given.items() if str(name).startswith(PREFIX)}


def read_variables(text: str) -> dict[str, Any]:
    """Variables as `dbt --vars` takes them: a YAML mapping. Raises SettingsError for any other text."""
    return _mapping(text, "--vars", _as_dbt)


def installed_package() -> Path:
    """The dbt package that came with this installation: the checkout, or the copy that the wheel carries.

    Raises SettingsError when neither is there.
    """
    beside = Path(__file__).resolve().parents[2]  # the checkout; its share/ after `pip install --target`
    for folder in (beside, *_carried(), beside / "share" / PACKAGE):
        if _is_package(folder):
            return folder
    raise SettingsError("the dbt package is not beside this installation; name it with --package FOLDER_OR_GIT_URL")


def _carried() -> Iterator[Path]:
    """Where pip says that it put the wheel's dbt package, which depends on the kind of installation."""
    try:
        files = metadata.files("distiller-udf") or []
    except metadata.PackageNotFoundError:
        return
    for file in files:
        if file.parts[-3:] == ("share", PACKAGE, "dbt_project.yml"):
            yield Path(str(file.locate())).resolve().parent


def _is_package(folder: Path) -> bool:
    settings = folder / "dbt_project.yml"
    return settings.is_file() and _read(settings).get("name") == PACKAGE


def _has_plugin(output: dict[str, Any]) -> bool:
    return any((plugin or {}).get("module") == PLUGIN_MODULE for plugin in output.get("plugins") or [])


def _yaml() -> YAML:
    round_trip = YAML()  # comments, order and quotes stay as they are
    round_trip.preserve_quotes = True
    round_trip.width = 4096
    round_trip.indent(mapping=2, sequence=4, offset=2)
    return round_trip


def _as_it_stands(text: str) -> Any:
    """Content that can be written back."""
    return _yaml().load(text)


def _as_dbt(text: str) -> Any:
    """Plain values, as the parser that dbt has reads them: `on` is true, `N` a text, 010 eight."""
    return yaml.safe_load(text)


def _read(path: Path, load: Callable[[str], Any] = _as_it_stands) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read as YAML: {error}") from error
    return _mapping(text, str(path), load)


def _mapping(text: str, where: str, load: Callable[[str], Any]) -> dict[str, Any]:
    try:
        content = load(text)
    except (YAMLError, yaml.YAMLError) as error:
        raise SettingsError(f"{where} cannot be read as YAML: {error}") from error
    if not isinstance(content, (dict, type(None))):
        raise SettingsError(f"{where} is not a mapping; correct it first")
    return content or {}


def _write(path: Path, content: dict[str, Any]) -> None:
    """Replace the file whole, so that a crash never leaves half of it."""
    text = StringIO()
    _yaml().dump(content, text)
    try:
        write_text(path, text.getvalue())
    except OSError as error:
        raise SettingsError(f"{path} could not be written: {error.strerror or error}") from error
