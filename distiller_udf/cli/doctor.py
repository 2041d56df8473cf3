"""`distiller doctor`: what is missing, and the command that fixes it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from distiller_udf.cli.console import json_option, out, print_json
from distiller_udf.cli.labels import store_option
from distiller_udf.cli.students import name_option, students_option
from distiller_udf.errors import DistillerError, SettingsError
from distiller_udf.project import Project

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
@click.option(
    "--project-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="The dbt project; the other paths are relative to it.",
)
@students_option
@name_option
@store_option
@click.option("--key-env", default="OPENAI_API_KEY", show_default=True, help="The variable that holds the LLM's key.")
@json_option
@click.pass_context
def doctor(
    context: click.Context, project_dir: Path, root: Path, name: str, store: Path, key_env: str, as_json: bool
) -> None:
    """Say what is missing, and the command that fixes it; exits 1 when something needed is missing."""
    checks = [
        *check_packages(),
        *check_project(project_dir),
        check_student(project_dir / root, name),
        check_label_store(project_dir / store),
        check_key(key_env),
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


def check_project(folder: Path) -> Iterator[Check]:
    """The dbt project: package entry, sources and plug-in, as `distiller init` would write them."""
    try:
        project = Project(folder)
    except DistillerError as error:
        fix = "without dbt, register(connection, student=…) is all it takes"
        yield Check("dbt project", False, str(error), fix, needed=False)
        return
    try:
        package, sources, outputs = project.package(), project.sources(), project.outputs()
        variables = project.variables()
    except DistillerError as error:
        yield Check("dbt project", False, str(error), "correct the file, then run `distiller doctor` again")
        return
    yield check_package(package, folder, project.packages_file.name)
    yield from check_encoder(str(variables["er_student"]))
    yield from check_language_model(variables)
    names = ", ".join(str(source.get("name")) for source in sources or [] if isinstance(source, dict))
    yield Check("er_sources", bool(sources), names or "no table is listed", "distiller init --source NAME=MODEL:ID")
    lacking = [name for name, plugged in outputs.items() if not plugged]
    found = f"missing in {', '.join(lacking)}" if lacking else ", ".join(outputs) or "no duckdb output in profiles.yml"
    yield Check("dbt plug-in", bool(outputs) and not lacking, found, "distiller init")


def check_language_model(variables: Mapping[str, Any]) -> Iterator[Check]:
    """Whether a language model can be fine-tuned here, where that is the student that is set."""
    if variables["er_student"] != "llm":
        return
    from distiller_udf.students.llm.causal import INSTALL

    missing = [name for name in ("torch", "transformers", "peft", "trl", "datasets") if find_spec(name) is None]
    said = f"er_student is llm; {'not installed: ' + ', '.join(missing) if missing else 'what trains it is here'}"
    yield Check("language model", not missing, said, INSTALL)
    if variables["er_llm_model"] is None:
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


def check_package(package: str | None, folder: Path, file: str) -> Check:
    """The dbt package's entry, and whether its folder is still there: a new environment has its copy elsewhere."""
    if not package:
        return Check("dbt package", False, f"not in {file}", "distiller init")
    local = package.startswith((".", "/"))
    there = not local or (folder / package / "dbt_project.yml").is_file()
    return Check("dbt package", there, package if there else f"no package at {package}", f"correct it in {file}")


def check_student(root: Path, name: str) -> Check:
    """The current student, loaded for real."""
    from distiller_udf.registry import Registry
    from distiller_udf.students import load_student
    from distiller_udf.students.llm import LLMStudent

    try:
        student = load_student(Registry(root, name).current())
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


def check_key(variable: str) -> Check:
    """Whether the LLM's key is set; never what it is."""
    ok = bool(os.environ.get(variable))
    fix = f"export {variable}=…  (only an LLM teacher needs it)"
    return Check("LLM key", ok, f"{variable} is {'set' if ok else 'not set'}", fix, needed=False)


def print_check(check: Check) -> None:
    """One line for what was found, and one for the fix where something is missing."""
    mark = "[green]ok     [/]" if check.ok else "[red]missing[/]" if check.needed else "[yellow]not yet[/]"
    out.print(f"{mark} [bold]{check.name}[/]: ", end="")
    out.print(check.found, markup=False, highlight=False, soft_wrap=True)
    if not check.ok:
        out.print(f"        → {check.fix}", markup=False, highlight=False, soft_wrap=True)
