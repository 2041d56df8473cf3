"""A dbt project as `dbt build` sees it: where it is, its settings, its profile and target."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distiller_udf.project.files import ProjectFiles, er_variables
from distiller_udf.settings import PREFIX, TEACHER, Settings

PROJECT_FILE = "dbt_project.yml"
JINJA = re.compile(r"\{[{%#]")


@dataclass(frozen=True)
class Project:
    """A project, or a folder without one, whose settings are then the defaults.

    Every path in `settings` is absolute. `profiles_dir` and `target` are instead of dbt's own choice; `variables` are
    those of `--vars`. `database` and `schema` say where the er_* tables are, where that is not what the profile says.
    """

    folder: Path
    settings: Settings
    exists: bool = False
    profiles_dir: Path | None = None
    target: str | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    database: Path | None = None
    schema: str | None = None

    @classmethod
    def of(
        cls,
        folder: Path | None = None,
        *,
        variables: Mapping[str, Any] | None = None,
        instead: Mapping[str, Any] | None = None,
        near: Path | None = None,
        **place: Any,
    ) -> Project:
        """The project at `folder`; None: the one that the file `near` lies in, or the one of this folder, if any.

        Settings come from the project's er_* variables, then `variables` (as of `--vars`), then `instead` (settings by
        their names). `place` has the other fields. Raises SettingsError for a setting that is not allowed.
        """
        found = folder if folder is not None else _nearest(near)
        given = er_variables(variables or {})
        if found is not None:
            files = ProjectFiles(found, place.get("profiles_dir"))
            given = {**er_variables(files.all_variables()), **given}
            if any(isinstance(value, str) and JINJA.search(value) for value in given.values()):
                from distiller_udf.project.dbt import rendered

                given = rendered(given, files, variables or {}, place.get("target"))
            if files.profiles_file is not None:
                place["profiles_dir"] = files.profiles_file.parent
        settings = Settings.of(given, PREFIX)
        base = (found or Path()).absolute()
        options = _absolute({name: value for name, value in (instead or {}).items() if value is not None})
        placed = settings.placed(base).but(_alone(options, settings))
        return cls(base, placed, found is not None, variables=variables or {}, **place)


def _nearest(near: Path | None) -> Path | None:
    """The folder of the nearest project above a file, or else above this folder."""
    above = [*(near.absolute().parents if near else ()), Path.cwd(), *Path.cwd().parents]
    return next((folder for folder in above if (folder / PROJECT_FILE).is_file()), None)


def _absolute(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as settings: a path that is given on the command line starts where the command does."""
    return {name: str(value.absolute()) if isinstance(value, Path) else value for name, value in options.items()}


def _alone(options: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Options that name who is asked: that one is asked alone, and a model means a server."""
    if not {TEACHER[:-1], f"{TEACHER}model"} & options.keys():
        return options
    is_server = "teacher" not in options and settings.teacher in ("embedded", "imported")
    return {"teachers": None, **({"teacher": "openai"} if is_server else {}), **options}
