"""`distiller doctor`: what is missing, and the command that fixes it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import click

from distiller_udf.cli.console import json_option, out, print_json, tell
from distiller_udf.cli.options import REGISTRY, STORE, opened_warehouse, with_project
from distiller_udf.english import counted
from distiller_udf.errors import DistillerError, SettingsError
from distiller_udf.project import Project
from distiller_udf.project.dbt import profile_of
from distiller_udf.project.files import ProjectFiles
from distiller_udf.project.results import last_run
from distiller_udf.settings import Settings

CORE = ("duckdb", "dbt-core", "dbt-duckdb", "pyarrow", "lightgbm", "rapidfuzz", "scikit-learn", "openai")


@dataclass(frozen=True)
class Check:
    """One thing looked at; `fix` says what to do where it is not `ok`. Only `needed` ones fail the command."""

    name: str
    ok: bool
    found: str
    fix: str = ""
    needed: bool = True


@click.command()
@with_project({**REGISTRY, **STORE}, warehouse=True)
@json_option
@click.pass_context
def doctor(context: click.Context, /, project: Project, as_json: bool) -> None:
    """Say what is missing, and the command that fixes it; exits 1 when something needed is missing."""
    settings = project.settings
    checks = [
        *check_packages(),
        *check_project(project),
        check_student(settings),
        check_label_store(Path(settings.label_store)),
        *check_keys(settings),
    ]
    healthy = all(check.ok or not check.needed for check in checks)
    if as_json:
        print_json({"ok": healthy, "checks": [asdict(check) for check in checks]})
    else:
        for check in checks:
            print_check(check)
    context.exit(0 if healthy else 1)


def check_packages() -> Iterator[Check]:
    """The installed packages that every run needs."""
    for package in CORE:
        try:
            yield Check(package, True, version(package))
        except PackageNotFoundError:
            yield Check(package, False, "not installed", f"pip install {package}")


def check_project(project: Project) -> Iterator[Check]:
    """The dbt project: package entry, sources and plug-in, as `distiller init` would write them, and its warehouse."""
    if not project.exists:
        fix = "without dbt, register(connection, student=…) is all it takes"
        yield Check("dbt project", False, f"none at {project.folder}", fix, needed=False)
        return
    files, settings = ProjectFiles(project.folder, project.profiles_dir), project.settings
    yield check_package(files)
    yield from check_encoder(settings.student)
    yield from check_language_model(settings)
    yield Check(
        "er_sources",
        bool(settings.sources),
        ", ".join(settings.source_names) or "no table is listed",
        "distiller init --source NAME=MODEL:ID",
    )
    yield check_plugin(files, project)
    yield from check_last_build(files)
    yield check_warehouse(project, files)


def check_plugin(files: ProjectFiles, project: Project) -> Check:
    """Whether the outputs of the profile have the plug-in; a profile that dbt cannot read is told in dbt's words."""
    name, where = (
        "dbt plug-in",
        files.profiles_file or "profiles.yml, which was not found; --profiles-dir says where it is",
    )
    try:
        profile = profile_of(files, project.variables)
    except SettingsError as error:
        return Check(name, False, f"dbt cannot read the profile: {error}", f"correct it in dbt_project.yml or {where}")
    outputs = files.outputs(profile.name, profile.types)
    if not outputs:
        found = f"the profile {profile.name} has no output of type duckdb"
        return Check(name, False, found, f"add one to {where}; then distiller init")
    lacking = [output for output, plugged in outputs.items() if not plugged]
    found = f"missing in {', '.join(lacking)}" if lacking else ", ".join(outputs)
    return Check(name, not lacking, found, "distiller init")


def check_last_build(files: ProjectFiles) -> Iterator[Check]:
    """What failed in the last run of dbt that wrote its results."""
    found = last_run(files)
    if found is None or found.failed == ():
        return
    (node, message), *others = found.failed
    more = f", and {len(others):,} more failed" if others else ""
    skipped = f"; {found.skipped:,} were skipped" if found.skipped else ""
    yield Check("last build", False, f"{node}: {message}{more}{skipped}", f"correct it, then {found.command}")


def check_warehouse(project: Project, files: ProjectFiles) -> Check:
    """Where the project's target has its er_* tables, asked of dbt itself, and whether they have been built."""
    if not files.is_installed:
        return Check("warehouse", False, "dbt has not installed the package yet", "dbt deps && dbt build", needed=False)
    try:
        warehouse = opened_warehouse(project)
        matches = warehouse.table("er_matches").aggregate("count(*)").fetchall()[0][0]
    except DistillerError as error:
        return Check("warehouse", False, str(error), "dbt deps && dbt build", needed=False)
    return Check(
        "warehouse",
        True,
        f"{warehouse.path}, {warehouse.relation('er_matches')}: {counted(matches, 'match')}",
    )


def check_language_model(settings: Settings) -> Iterator[Check]:
    """Whether a language model can be fine-tuned here, where that is the student that is set."""
    if settings.student != "llm":
        return
    from distiller_udf.students.llm.causal import INSTALL

    missing = [name for name in ("torch", "transformers", "peft", "trl", "datasets") if find_spec(name) is None]
    said = f"er_student is llm; {'not installed: ' + ', '.join(missing) if missing else 'what trains it is here'}"
    yield Check("language model", not missing, said, INSTALL)
    if settings.llm_model is None:
        yield Check(
            "base model", False, "er_llm_model is not set", "set it to a folder, or the id of a model on the hub"
        )


def check_encoder(student: str) -> Iterator[Check]:
    """Whether a student that uses an encoder can be trained and loaded here; nothing where it uses none."""
    if student in ("lexical", "llm"):
        return
    from distiller_udf.encoding.loading import torch_module

    try:
        torch_module()
    except SettingsError as error:
        yield Check("encoder", False, f"er_student is {student}, and {error}")
    else:
        yield Check("encoder", True, f"er_student is {student}; torch and transformers are here")


def check_package(files: ProjectFiles) -> Check:
    """The dbt package's entry, and whether its folder is still there: a new environment has its copy elsewhere."""
    package, file = files.package(), files.packages_file.name
    if not package:
        return Check("dbt package", False, f"not in {file}", "distiller init")
    local = package.startswith((".", "/"))
    there = not local or (files.folder / package / "dbt_project.yml").is_file()
    return Check("dbt package", there, package if there else f"no package at {package}", f"correct it in {file}")


def check_student(settings: Settings) -> Check:
    """The student that answers, loaded for real: the one that is given, or the registry's current one."""
    from distiller_udf.registry import Registry
    from distiller_udf.students import load_student
    from distiller_udf.students.llm import LLMStudent, serving_of

    try:
        folder = Path(settings.student_path) if settings.student_path else Registry.of(settings).current()
        student = load_student(folder, serving_of(settings))
        if isinstance(student, LLMStudent):
            student.model()  # its base model must be there
    except DistillerError as error:
        return Check("student", False, str(error), "dbt build, or distiller train", needed=False)
    return Check("student", True, f"{student.info.version}, threshold {student.info.threshold:.3f}")


def check_label_store(path: Path) -> Check:
    """The label store, opened for real."""
    from distiller_udf.labels import LabelStore

    if not path.exists():
        fix = "dbt build, or distiller labels import FILE"
        return Check("label store", False, f"none at {path}", fix, needed=False)
    try:
        with LabelStore(path) as store:
            found = [f"{row.labels:,} by {row.teacher}" for row in store.summary()]
    except DistillerError as error:
        return Check("label store", False, str(error), "move the file away, or set another er_label_store")
    return Check("label store", True, ", ".join(found) or "empty")


def check_keys(settings: Settings) -> Iterator[Check]:
    """The keys that the teachers are asked with, where they are set or OpenAI needs one; never what they are."""
    from distiller_udf.teachers import entries

    needs: dict[str, bool] = {}
    for each in (entry.settings for entry in entries(settings)):
        asks = "openai" in (each.teacher, each.teacher_base if each.teacher == "encoder" else None)
        needed = asks and each.teacher_base_url is None
        needs[each.teacher_api_key_env] = needed or needs.get(each.teacher_api_key_env, False)
    for variable, needed in needs.items():
        ok = bool(os.environ.get(variable))
        if ok or needed:
            yield Check(
                "LLM key", ok, f"{variable} is {'set' if ok else 'not set'}", f"export {variable}=…", needed=False
            )


def print_check(check: Check) -> None:
    """One line for what was found, and one for the fix where something is missing."""
    mark = "[green]ok     [/]" if check.ok else "[red]missing[/]" if check.needed else "[yellow]not yet[/]"
    out.print(f"{mark} [bold]{check.name}[/]: ", end="")
    tell(check.found)
    if not check.ok:
        tell(f"        → {check.fix}")
