"""`distiller students`: what has been trained, and which one answers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from distiller_udf.cli.console import json_option, out, print_facts, print_json, print_table
from distiller_udf.registry import Registry

if TYPE_CHECKING:
    from distiller_udf.students.base import StudentInfo

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
    print_student(info, folder)
    made_of = {
        "left columns": ", ".join(info.left_columns),
        "right columns": ", ".join(info.right_columns),
        "settings": dict(info.settings),
        "version of the code": info.trained_from.get("code_version"),
        "fingerprint of the labels": info.trained_from.get("label_fingerprint"),
    }
    print_facts("Made of", made_of)


def print_student(info: StudentInfo, folder: Path) -> None:
    """What a student learned from, and how good its decisions are expected to be, for people."""
    print_facts(f"Student {info.version}", {"kind": info.kind, "folder": folder} | learned_from(info))
    columns = ["decision", "match from", "precision", "recall", "F1", "calibration error"]
    print_table("Expected, judged by answers that were held out", columns, expected(info))


def learned_from(info: StudentInfo) -> dict[str, str]:
    """What a student was trained on, name by name; what its manifest does not know is left out."""
    metrics, origin = info.metrics, info.trained_from
    facts: dict[str, str] = {}
    if origin.get("labels") is not None:
        teachers = ", ".join(origin.get("teachers") or ["unknown"])
        facts["learned from"] = f"{_counted(origin['labels'], 'answer')} by {teachers}"
    if metrics.get("labelled_pairs") is not None:
        matches = _counted(metrics["labelled_matches"], "match", "matches")
        facts["labelled pairs"] = f"{metrics['labelled_pairs']:,}, of them {matches}"
    if metrics.get("unlabelled_pairs") is not None:
        number = metrics["unlabelled_pairs"]
        facts["unlabelled pairs"] = f"{number:,}, which say what the rest is like" if number else "none"
    target = info.settings.get("target_precision")
    facts["thresholds"] = f"the lowest that keep a precision of {target:g}" if target else "those of the best F1"
    return facts


def expected(info: StudentInfo) -> list[list[object]]:
    """The rows of the table of expectations: a pair judged alone and, where records compete, among its rivals."""
    if info.choice:
        alone, among = "a pair by itself: er_match", "a pair among its rivals: er_matches"
        decisions = [("pair", alone, info.threshold), ("choice", among, info.choice_threshold)]
    else:
        decisions = [("pair", "a pair: er_match and er_matches", info.threshold)]
    names = ("precision", "recall", "f1", "calibration_error")
    return [
        [says, threshold, *(info.metrics.get(f"{kind}_{name}") for name in names)]
        for kind, says, threshold in decisions
    ]


def _counted(number: int, one: str, several: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else several or one + 's'}"
