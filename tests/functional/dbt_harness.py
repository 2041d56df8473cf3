"""Real dbt on small projects that are written into a temporary folder, with this package installed from its root."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import yaml
from dbt.cli.main import dbtRunner
from dbt_common.tests import enable_test_caching

ROOT = Path(__file__).parents[2]
FROM_TEACHERS = (
    "er_labels",
    "er_votes",
    "er_teacher_agreement",
    "er_teacher_reliability",
    "er_student",
    "er_scores",
    "er_choices",
)

# Stand-ins for what comes from teachers: the most similar candidates are matches.
STUBS = {
    "er_student": "select 'stub' as student, true as is_current, 0.2 as threshold, 0.2 as choice_threshold",
    "er_scores": """
        {{ config(materialized='table') }}
        select
            left_source, left_id, right_source, right_id,
            similarity as probability, similarity as choice_probability, student, pair_fingerprint
        from {{ ref('er_pairs') }} cross join {{ ref('er_student') }}
    """,
    "er_choices": "select * exclude (pair_fingerprint) from {{ ref('er_scores') }}",
}

# dbt's own cache for tests: what a macro's text parses to is kept from one project of this process to the next.
enable_test_caching()

# Every warning is an error, but the one that dbt gives where a project replaces a package's model by its own.
SILENT = ("PackageNodeDependsOnRootProjectNode",)
WARNED = ("JinjaLogWarning",)
"""What the package itself warns of, to be `silent` where a test expects that."""


class Project:
    """A dbt project in a folder of its own: `run` and `error` run dbt in this process, `query` reads the database.

    dbt writes its log and the JSON files of its results, which take a fifth of a run, where `written` is set.
    """

    def __init__(
        self,
        folder: Path,
        *,
        models: Mapping[str, str] | None = None,
        macros: Mapping[str, str] | None = None,
        seeds: Mapping[str, str] | None = None,
        variables: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
        output: Mapping[str, Any] | None = None,
        written: bool = False,
    ) -> None:
        self.folder = folder
        self.unwritten = () if written else ("--no-write-json", "--log-level-file", "none")
        self.database = folder / "warehouse.duckdb"
        self._write("packages.yml", {"packages": [{"local": str(ROOT)}]})
        self._write(
            "profiles.yml",
            {
                "shop": {
                    "outputs": {"dev": {"type": "duckdb", "path": str(self.database), "threads": 2, **(output or {})}},
                    "target": "dev",
                }
            },
        )
        self._write(
            "dbt_project.yml",
            {
                "name": "shop",
                "version": "1.0.0",
                "config-version": 2,
                "profile": "shop",
                "vars": {"distiller_udf": dict(variables or {})},
                "flags": {"send_anonymous_usage_stats": False, "validate_macro_args": True},
                **(config or {}),
            },
        )
        for name, text in (models or {}).items():
            self._write(f"models/{name if '.' in name else name + '.sql'}", text)
        for name, text in (macros or {}).items():
            self._write(f"macros/{name}.sql", text)
        for name, text in (seeds or {}).items():
            self._write(f"seeds/{name}.csv", text)
        self.run("deps")

    def run(self, *arguments: str, variables: Mapping[str, Any] | None = None, silent: Sequence[str] = ()) -> Any:
        """Run dbt; a warning is an error, unless its kind is `silent`. Returns its result, fails with its messages."""
        success, messages, result = self._invoke(arguments, variables, silent)
        assert success, messages
        return result

    def error(self, *arguments: str, variables: Mapping[str, Any] | None = None) -> str:
        """Run dbt, which must fail; returns its messages."""
        success, messages, _ = self._invoke(arguments, variables)
        assert not success, f"dbt {' '.join(arguments)} was expected to fail"
        return messages

    def copied(self, folder: Path) -> Project:
        """The project as it stands, with its warehouse and whatever lies beside it, in another folder."""
        self.query("checkpoint")
        unneeded = shutil.ignore_patterns("target", "logs")
        shutil.copytree(self.folder, folder, symlinks=True, ignore=unneeded, dirs_exist_ok=True)
        for name in ("profiles.yml", "dbt_project.yml"):
            text = (folder / name).read_text(encoding="utf-8")
            (folder / name).write_text(text.replace(str(self.folder), str(folder)), encoding="utf-8")
        made = copy.copy(self)
        made.folder, made.database = folder, folder / self.database.relative_to(self.folder)
        return made

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query on the project's database."""
        with duckdb.connect(str(self.database)) as connection:
            return connection.execute(sql).fetchall()

    def _invoke(
        self, arguments: Sequence[str], variables: Mapping[str, Any] | None, silent: Sequence[str] = ()
    ) -> tuple[bool, str, Any]:
        folder = str(self.folder)
        given = ["--vars", json.dumps(variables)] if variables else []
        messages: list[str] = []

        def listen(event: Any) -> None:
            if event.info.level == "error":
                messages.append(event.info.msg)

        outcome = dbtRunner(callbacks=[listen]).invoke(
            [
                "--warn-error-options",
                json.dumps({"error": "all", "silence": [*SILENT, *silent]}),
                "--quiet",
                *self.unwritten,
                *arguments,
                *given,
                "--project-dir",
                folder,
                "--profiles-dir",
                folder,
            ]
        )
        return outcome.success, "\n".join([*messages, str(outcome.exception or "")]), outcome.result

    def _write(self, name: str, content: Any) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))


def stubbed_project(folder: Path, *, models: Mapping[str, str], **parts: Any) -> Project:
    """A project without teachers: their models are replaced by SQL ones or left out, as a user would replace a step."""
    disabled = {name: {"+enabled": False} for name in FROM_TEACHERS}
    return Project(folder, models={**STUBS, **models}, config={"models": {"distiller_udf": disabled}}, **parts)


def in_steps(model: str) -> str:
    """A model that is made step by step."""
    return "{{ config(materialized='er_steps') }}\n" + model


def blocking_models(name: str, records: str, sources: Sequence[str], **options: Any) -> dict[str, str]:
    """The steps from `records` to the candidates `name`, as a user's models would call the macros one by one.

    What several candidates of the same records need is a model that they share.
    """
    text = {"columns": options.pop("columns", None)}
    size = options.pop("qgram_size", 3)
    search = {key: options[key] for key in ("task", "top_k") if key in options}
    numbering = {key: options[key] for key in ("blocking", "rules") if key in options}
    made = {f"{name}_blocking": _call("er_blocking_records", records, sources=list(sources), **numbering, **text)}
    numbers = "_".join([records, *(text["columns"] or ())]).replace('"', "")
    made[numbers + "_numbered"] = _call("er_blocking_records", records, sources=list(sources), **text)
    relations: dict[str, dict[str, str]] = {"terms": {}, "neighbours": {}}
    for kind in ("tokens", "qgrams"):
        terms = relations["terms"][kind] = f"{numbers}_{kind}" + (f"_{size}" if kind == "qgrams" else "")
        near = relations["neighbours"][kind] = "_".join([terms, "near", *(str(value) for value in search.values())])
        made[terms] = _call(f"er_terms '{kind}'", records, numbers + "_numbered", qgram_size=size, **text)
        made[near] = _call("er_neighbours", terms, numbers + "_numbered", sources=list(sources), **search)
    made[name] = _call("er_candidates", f"{name}_blocking", sources=list(sources), **relations, **options)
    return made


def _call(macro: str, *relations: str, **arguments: Any) -> str:
    macro, *given = macro.split()
    given += [f"ref({relation!r})" for relation in relations]
    for name, value in arguments.items():
        if name in ("terms", "neighbours"):
            given.append(f"{name}={{" + ", ".join(f"{kind!r}: ref({made!r})" for kind, made in value.items()) + "}")
        else:
            given.append(f"{name}={value!r}")
    call = f"{{{{ distiller_udf.{macro}({', '.join(given)}) }}}}"
    return call if macro == "er_blocking_records" else in_steps(call)


def macro_project(folder: Path, **parts: Any) -> Project:
    """A project that calls macros from models of its own; the package's models are switched off."""
    config = {"models": {"distiller_udf": {"+enabled": False}, "shop": {"+materialized": "table"}}}
    return Project(folder, config=config, **parts)
