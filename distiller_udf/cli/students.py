"""`distiller students`: what has been trained, and which one answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distiller_udf.cli.console import Group, json_option, out, print_facts, print_json, print_table, say, tell
from distiller_udf.cli.options import REGISTRY, with_project
from distiller_udf.cli.weighing import compare
from distiller_udf.english import counted
from distiller_udf.errors import StudentError
from distiller_udf.project import Project
from distiller_udf.registry import Registry

if TYPE_CHECKING:
    from distiller_udf.registry.pointer import Pointer, Promotion
    from distiller_udf.students.base import StudentInfo


@click.group(cls=Group)
def students() -> None:
    """List and show trained students, and choose which one answers.

    A version may be named by its beginning, where no other one begins so. Whoever has loaded a student keeps it until
    it connects again.
    """


students.add_command(compare)


@students.command("list")
@with_project(REGISTRY)
@json_option
def list_students(project: Project, as_json: bool) -> None:
    """List all versions, the oldest first.

    It says which one answers, whether that is pinned, when each last became the current one, and which are damaged.
    """
    registry = Registry.of(project.settings)
    pointer = registry.pointer()
    rows = [described(registry, pointer, version) for version in registry.names()]
    if as_json:
        changes = pointer.history if pointer else ()
        history = [asdict(change) | {"promoted_at": written(change)} for change in changes]
        print_json({"current": pointer.version if pointer else None, "students": rows, "history": history})
        return
    if rows:
        columns = ["version", "kind", "state", "promoted (UTC)", "labels", "expected F1", "path"]
        print_table(f"Students in {registry.folder}", columns, [cells(row) for row in rows])
    else:
        out.print(f"No student in {registry.folder}; `dbt build` or `distiller train` makes one.")
    if pointer and pointer.version not in registry.names():
        say(f"The current student, {pointer.version}, is not there; `distiller students promote` makes another that.")


def described(registry: Registry, pointer: Pointer | None, version: str) -> dict[str, Any]:
    """What the list says of a version; of a damaged one little more than why it cannot be used."""
    kind, labels, expected_f1, damaged = None, None, None, None
    try:
        info = registry.read(version)
        kind, labels, expected_f1 = described_kind(info), info.trained_from.get("labels"), info.metrics.get("choice_f1")
    except StudentError as error:
        damaged = str(error)
    changes = pointer.history if pointer else ()
    return {
        "version": version,
        "kind": kind,
        "current": pointer is not None and pointer.version == version,
        "pinned": pointer is not None and pointer.version == version and pointer.pinned,
        "promoted_at": next((written(change) for change in changes if change.version == version), None),
        "labels": labels,
        "expected_f1": expected_f1,
        "damaged": damaged,
        "path": str(registry.path(version)),
    }


def described_kind(info: StudentInfo) -> str:
    """The kind and, of a language model, how it was fine-tuned and from what."""
    method, start = info.settings.get("method"), info.settings.get("start")
    return f"{info.kind} ({method}{f' from {start}' if start else ''})" if method else info.kind


def cells(row: Mapping[str, Any]) -> list[Any]:
    state = ", ".join(name for name in ("current", "pinned", "damaged") if row[name])
    promoted = (row["promoted_at"] or "").replace("T", " ")[:16]
    return [row["version"], row["kind"], state, promoted, row["labels"], row["expected_f1"], row["path"]]


def written(promotion: Promotion) -> str:
    return promotion.promoted_at.isoformat(timespec="seconds")


@students.command()
@click.argument("version", required=False)
@with_project(REGISTRY)
@json_option
def show(project: Project, version: str | None, as_json: bool) -> None:
    """Show what a version is made of.

    Without VERSION it is the current one; of a damaged one it says why it cannot be used.
    """
    registry = Registry.of(project.settings)
    folder = registry.path(registry.find(version)) if version else registry.current()
    info = registry.read(folder.name)
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


@students.command()
@click.argument("version")
@click.option("--pin", is_flag=True, help="It stays when `dbt build` trains others.")
@with_project(REGISTRY)
@json_option
def promote(project: Project, version: str, pin: bool, as_json: bool) -> None:
    """Make VERSION the one that answers.

    The next student that is trained takes its place unless it is pinned. Promoting the current version again, with or
    without --pin, pins it or releases it.
    """
    registry = Registry.of(project.settings)
    version = registry.find(version)
    wanted = project.settings.known_constraint
    if wanted is not None:
        registry.read(version).check_constraint(wanted)
    before = registry.current_version()
    registry.promote(version, pin=pin)
    report(version, before, pin, as_json)


@students.command()
@click.option("--pin/--no-pin", default=True, show_default=True, help="It stays when `dbt build` trains others.")
@with_project(REGISTRY)
@json_option
def rollback(project: Project, pin: bool, as_json: bool) -> None:
    """Go back to the version that answered before.

    Once more, and it is the one before that; versions that are gone or damaged are passed over. The version is pinned,
    because the next `dbt build` has the same labels and would promote again what was rolled back;
    `distiller students promote VERSION` releases it.
    """
    registry = Registry.of(project.settings)
    before = registry.current_version()
    report(registry.rollback(pin=pin), before, pin, as_json)


def report(version: str, before: str | None, pinned: bool, as_json: bool) -> None:
    """Say which student answers now, which one did, and what the next training will change."""
    if as_json:
        print_json({"current": version, "previous": before, "pinned": pinned})
        return
    was = f"; it was {before}" if before and before != version else ""
    if pinned:
        then = (
            "It is pinned: `dbt build` would otherwise bring back what its labels give. "
            f"`distiller students promote {version}` ends that."
        )
    else:
        then = "The next student that is trained takes its place."
    for line in (f"{version} is the current student{was}.", then):
        tell(line)


def print_student(info: StudentInfo, folder: Path) -> None:
    """What a student learned from, and how good its decisions are expected to be, for people."""
    print_facts(f"Student {info.version}", {"kind": described_kind(info), "folder": folder} | learned_from(info))
    columns = ["decision", "match from", "precision", "recall", "F1", "calibration error"]
    print_table("Expected, by answers that were held out; intervals of 95 %", columns, expected(info))


def learned_from(info: StudentInfo) -> dict[str, str]:
    """What a student was trained on, name by name; what its manifest does not know is left out."""
    metrics, origin = info.metrics, info.trained_from
    facts: dict[str, str] = {}
    if origin.get("labels") is not None:
        teachers = ", ".join(origin.get("teachers") or ["unknown"])
        facts["learned from"] = f"{counted(origin['labels'], 'answer')} by {teachers}"
    if metrics.get("labelled_pairs") is not None:
        matches = counted(metrics["labelled_matches"], "match")
        facts["labelled pairs"] = f"{metrics['labelled_pairs']:,}, of them {matches}"
    if metrics.get("unlabelled_pairs") is not None:
        number = metrics["unlabelled_pairs"]
        facts["unlabelled pairs"] = f"{number:,}, which say what the rest is like" if number else "none"
    facts["constraint"] = str(info.constraint)
    target = info.settings.get("target_precision")
    facts["thresholds"] = f"the lowest that keep a precision of {target:g}" if target else "those of the best F1"
    return facts


def expected(info: StudentInfo) -> list[list[object]]:
    """The rows of the table of expectations: a pair judged alone, and in the light of all others."""
    decisions = [
        ("pair", "a pair by itself: er_match", info.threshold),
        ("choice", "a pair among all others: er_matches", info.choice_threshold),
    ]
    names = ("precision", "recall", "f1", "calibration_error")
    return [[says, threshold, *(info.expected(kind, name) for name in names)] for kind, says, threshold in decisions]
