"""`distiller students`: what has been trained, and which one answers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from distiller_udf.cli.console import json_option, out, print_facts, print_json, print_table
from distiller_udf.registry import Registry

students_option = click.option(
    "--students",
    "root",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("distiller/students"),
    show_default=True,
    help="The folder of the registry.",
)
name_option = click.option("--name", default="default", show_default=True, help="The student's name in the registry.")


@click.group()
def students() -> None:
    """List and show trained students."""


@students.command("list")
@students_option
@name_option
@json_option
def list_students(root: Path, name: str, as_json: bool) -> None:
    """List all versions, the oldest first; the current one is marked."""
    registry = Registry(root, name)
    current = registry.current_version()
    rows = [
        {
            "version": info.version,
            "kind": info.kind,
            "current": info.version == current,
            "labels": info.trained_from.get("labels"),
            "expected_f1": info.metrics.get("choice_f1"),
            "path": str(registry.path(info.version)),
        }
        for info in registry.versions()
    ]
    if as_json:
        print_json({"current": current, "students": rows})
    elif rows:
        cells = [[v if not isinstance(v, bool) else "current" if v else "" for v in row.values()] for row in rows]
        print_table(f"Students in {registry.folder}", list(rows[0]), cells)
    else:
        out.print(f"No student in {registry.folder}; `dbt build` or `distiller train` makes one.")


@students.command()
@click.argument("version", required=False)
@students_option
@name_option
@json_option
def show(version: str | None, root: Path, name: str, as_json: bool) -> None:
    """Show one version's manifest; without VERSION the current one's."""
    from distiller_udf.students import load_student

    registry = Registry(root, name)
    folder = registry.path(version) if version else registry.current()
    info = load_student(folder).info
    if as_json:
        print_json({"path": str(folder), **asdict(info)})
        return
    facts = {"path": folder, "kind": info.kind, "threshold": info.threshold, "choice threshold": info.choice_threshold}
    facts |= {"left columns": ", ".join(info.left_columns), "right columns": ", ".join(info.right_columns)}
    print_facts(f"Student {info.version}", facts)
    print_facts("Trained from", info.trained_from)
    print_facts("Expected, from held-out labels", info.metrics)
